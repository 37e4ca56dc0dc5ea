"""A QGIS with the plugin in a profile of its own, for tests that need one.

Without QGIS they are skipped; where the variable CI is set, they fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
import psutil
import pytest
import rasterio
from affine import Affine

ROOT = Path(__file__).parents[2]
MARK = "GEOSEG_TEST_MARK"

# Debian 12 wraps `qgis_process` in a script that fails.
PROCESS = next(filter(None, map(shutil.which, ("qgis_process.bin", "qgis_process"))), None)
PYTHON = shutil.which("python3", path=os.pathsep.join(["/usr/bin", os.environ.get("PATH", "")]))


@dataclass(frozen=True)
class Qgis:
    """How to run QGIS."""

    environ: Mapping[str, str]
    mark: str
    """By which all processes are known that descend from it."""

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run `qgis_process`."""
        return subprocess.run(  # noqa: S603
            [str(PROCESS), *map(str, arguments)],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """Start `qgis_process`."""
        return subprocess.Popen(  # noqa: S603
            [str(PROCESS), *map(str, arguments)],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @staticmethod
    def results(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
        """Return what `qgis_process run` says of its results."""
        lines = done.stdout.rpartition("Results\n")[2].splitlines()
        return dict(line.split(":\t", 1) for line in lines if ":\t" in line)

    def end(self, number: int, ready: Callable[[], bool], *arguments: object) -> None:
        """Send a signal to a `qgis_process` once it is ready; nothing that runs is left of it."""
        process, until = self.start(*arguments), time.monotonic() + 60
        while not ready():
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(number)
        said = process.communicate(timeout=60)[0]
        assert process.returncode != 0, said
        psutil.wait_procs(self.processes(), timeout=20)
        assert self.processes() == []

    def script(self, name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run a script of this folder with the Python of QGIS."""
        return subprocess.run(  # noqa: S603
            [str(PYTHON), str(Path(__file__).with_name(name)), *map(str, arguments)],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def talk(self, name: str, *arguments: object) -> subprocess.Popen[str]:
        """Start a script of this folder with the Python of QGIS; it may be told more on stdin."""
        return subprocess.Popen(  # noqa: S603
            [str(PYTHON), str(Path(__file__).with_name(name)), *map(str, arguments)],
            env=self.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def processes(self) -> list[psutil.Process]:
        """Return what descends from this QGIS and runs."""
        return [p for p in psutil.process_iter() if self._owns(p)]

    def _owns(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            known = process.environ().get(MARK) == self.mark
            return known and process.status() != psutil.STATUS_ZOMBIE
        return False


def _missing() -> str | None:
    """Return what is missing; None if all is here."""
    if PROCESS is None or PYTHON is None:
        return "QGIS is not installed (apt-get install qgis python3-qgis qgis-providers)"
    found = subprocess.run([PYTHON, "-c", "import qgis.core"], capture_output=True, check=False)  # noqa: S603
    return None if found.returncode == 0 else f"{PYTHON} cannot import qgis.core"


@pytest.fixture(scope="session")
def qgis(tmp_path_factory) -> Iterator[Qgis]:
    """A QGIS with the plugin, as `geoseg qgis install --enable` leaves it."""
    missing = _missing()
    if missing is not None:
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("qgis")
    (folder / "profiles" / "default").mkdir(parents=True)
    # The plugin tells its child nothing of PYTHONPATH, and these sources are to be run.
    command = folder / "geoseg"
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m geoseg "$@"\n')
    command.chmod(0o755)
    mark = uuid4().hex
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "QGIS_CUSTOM_CONFIG_PATH": str(folder),
        "QT_QPA_PLATFORM": "offscreen",
        "XDG_RUNTIME_DIR": str(folder),
        "GEOSEG_EXECUTABLE": str(command),
        MARK: mark,
    }
    install = [str(command), "qgis", "install", "--enable"]
    subprocess.run(install, env=environ, capture_output=True, check=True)  # noqa: S603
    yield Qgis(environ, mark)
    for process in Qgis(environ, mark).processes():
        process.kill()


@pytest.fixture(scope="session")
def lakes(tmp_path_factory) -> Path:
    """Two lakes in a meadow, 10 m: red, green, blue, near infrared."""
    data = np.empty((4, 120, 160), np.uint8)
    data[:] = np.array([70, 110, 60, 190], np.uint8)[:, None, None]
    for rows, cols in ((slice(20, 60), slice(20, 70)), (slice(70, 110), slice(90, 150))):
        data[:, rows, cols] = np.array([30, 50, 60, 10], np.uint8)[:, None, None]
    path = tmp_path_factory.mktemp("scene") / "two lakes.tif"
    place = {"crs": "EPSG:32633", "transform": Affine(10, 0, 5e5, 0, -10, 5e6)}
    shape = {"width": 160, "height": 120, "count": 4, "dtype": "uint8"}
    tiled = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    with rasterio.open(
        path, "w", driver="GTiff", photometric="MINISBLACK", **tiled, **place, **shape
    ) as to:
        to.write(data)
    return path
