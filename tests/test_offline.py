"""What can a run reach? A server that counts, and the system's own list of sockets, know."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import rasterio
from affine import Affine

import geoseg
from geoseg import offline
from geoseg.access import is_network
from geoseg.config import ModelOptions
from geoseg.errors import ConfigError
from geoseg.executors import Processes
from geoseg.offline import harden

ROOT = Path(geoseg.__file__).parents[1]
HOSTILE = {
    "GDAL_VRT_ENABLE_PYTHON": "YES",
    "GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE": "ALL",
}


class Server:
    """Listens on the loopback and hangs up on whoever connects."""

    def __init__(self) -> None:
        self.count = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            self.count += 1
            caller.close()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.close()


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A lake in a meadow: red, green, blue, near infrared."""
    data = np.empty((4, 90, 120), np.uint8)
    data[:] = np.array([70, 110, 60, 190], np.uint8)[:, None, None]
    data[:, 20:60, 30:100] = np.array([30, 50, 60, 10], np.uint8)[:, None, None]
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    size = {"count": 4, "height": 90, "width": 120, "dtype": "uint8", "crs": "EPSG:32633"}
    place = Affine(10, 0, 5e5, 0, -10, 5e6)
    with rasterio.open(path, "w", "GTiff", transform=place, photometric="MINISBLACK", **size) as t:
        t.write(data)
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "geoseg.cli", *map(str, arguments)]


def of(scene: object, out: Path, *more: object) -> list[str]:
    return command("segment", scene, "--prompt", "water", "--out", out, *more)


def call(line: list[str], **env: str) -> subprocess.CompletedProcess[str]:
    whole = {**os.environ, **HOSTILE, **env}
    return subprocess.run(line, capture_output=True, text=True, cwd=ROOT, env=whole, check=False)  # noqa: S603


@pytest.mark.parametrize(
    ("place", "remote"),
    [
        ("map.tif", False),
        ("/data/100%/a b.tif", False),
        ("file:///data/map.tif", False),
        ("zip:///data/a.zip!map.tif", False),
        ("zip+https://host/a.zip!map.tif", True),
        ("C:\\data\\map.tif", False),
        ("/vsizip/a.zip/map.tif", False),
        ("https://host/map.tif", True),
        ("s3://bucket/map.tif", True),
        ("/vsicurl/https://host/map.tif", True),
        ("/vsizip/vsis3/bucket/a.zip/map.tif", True),
        ("/VSICURL/http:/host/map.tif", True),
        ("tcp://127.0.0.1:8786", True),
        ("WMS:http://host/wms?LAYERS=a", True),
        ("simplecache::s3://bucket/runs", True),
    ],
)
def test_what_is_on_a_network(place, remote):
    assert is_network(place) is remote


@pytest.mark.parametrize(
    ("option", "value"),
    [("boxes", "https://u:pw@host/b.gpkg?token=pw"), ("store", "s3://bucket/runs"),
     ("scheduler", "tcp://127.0.0.1:1")],
)  # fmt: skip
def test_offline_refuses_places_on_a_network(scene, tmp_path, option, value):
    models = ModelOptions(offline=True)
    with pytest.raises(ConfigError, match=f"^--{option} .* is on the network") as caught:
        geoseg.segment(scene, "water", out=tmp_path / "m.gpkg", models=models, **{option: value})
    assert "pw" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_network_stays_open_to_gdal_where_it_is_asked_for(monkeypatch):
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    harden("https://host/map.tif", None)
    assert "CPL_VSIL_CURL_ALLOWED_FILENAME" not in os.environ
    harden("map.vrt", None, trusted=True)
    assert "CPL_VSIL_CURL_ALLOWED_FILENAME" not in os.environ
    harden("map.tif", None)
    assert os.environ["CPL_VSIL_CURL_ALLOWED_FILENAME"] == "none"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_worker_trusts_files_no_more_than_the_command(monkeypatch, name):
    monkeypatch.setenv(name, HOSTILE[name])
    # The job is what the function is called with first: the name.
    with Processes(name, 1) as workers:
        assert list(workers.map(os.getenv, ["unset"])) == [offline.TRUSTLESS[name]]


VECTORS = {
    "vrt": "<OGRVRTDataSource><OGRVRTLayer name='a'><SrcDataSource>/vsicurl/{url}/a.geojson"
    "</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>",
    "wfs": "<OGRWFSDataSource><URL>{url}/wfs</URL></OGRWFSDataSource>",
}
RASTERS = {
    "vrt": "<VRTDataset rasterXSize='20' rasterYSize='20'><VRTRasterBand dataType='Byte' band='1'>"
    "<SimpleSource><SourceFilename>/vsicurl/{url}/x.tif</SourceFilename></SimpleSource>"
    "</VRTRasterBand></VRTDataset>",
}
OPEN = (
    "import sys\n"
    "if sys.argv[1] == 'hard':\n"
    "    from geoseg.offline import harden, load_vectors\n"
    "    harden('map.tif')\n"
    "    load_vectors()\n"
    "import rasterio, pyogrio\n"
    "for path in sys.argv[2:]:\n"
    "    try:\n"
    "        if '.raster' in path: rasterio.open(path).read()\n"
    "        else: pyogrio.read_dataframe(path)\n"
    "    except Exception as error: print(type(error).__name__)\n"
)


def test_no_file_makes_either_gdal_ask_a_server(server, tmp_path):
    paths = []
    for kind, texts in (("vector", VECTORS), ("raster", RASTERS)):
        for name, text in texts.items():
            paths.append(tmp_path / f"{name}.{kind}")
            paths[-1].write_text(text.format(url=server.url))
    line = [sys.executable, "-W", "ignore", "-c", OPEN]
    # Without hardening they do ask: the test can fail.
    call([*line, "soft", *map(str, paths)], GDAL_HTTP_TIMEOUT="5")
    assert server.count >= len(paths)
    server.count = 0
    done = call([*line, "hard", *map(str, paths)], GDAL_HTTP_TIMEOUT="5")
    assert server.count == 0, done
    assert "Unable to find driver" not in done.stderr
    assert "GDAL_SKIP" not in os.environ


SEALED = (
    "import sys, socket, subprocess, urllib.request\n"
    "from geoseg.offline import seal\n"
    "print(seal())\n"
    "def tried(f, *a):\n"
    "    try: f(*a)\n"
    "    except Exception as e: print(type(e).__name__)\n"
    "    else: print('open')\n"
    "tried(socket.socketpair)\n"
    "tried(urllib.request.urlopen, sys.argv[1])\n"
    "tried(socket.getaddrinfo, 'localhost', 80)\n"
    "ask = 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1])'\n"
    "line = [sys.executable, '-c', ask, sys.argv[1]]\n"
    "print(subprocess.run(line, capture_output=True).returncode)"
)


def test_a_sealed_process_and_its_children_open_no_socket(server):
    done = call([sys.executable, "-c", SEALED, server.url])
    sealed, pair, url, names, child = done.stdout.split()
    assert (pair, url, names) == ("open", "OfflineError", "OfflineError")
    assert server.count == (0 if sealed == "True" else 1)
    assert child == "1"


def test_offline_runs_with_workers_and_opens_no_socket(scene, tmp_path):
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    log = tmp_path / "log"
    watch = [strace, "-f", "-qq", "-o", str(log), "-e", "trace=socket,connect,execve"]
    tiles = ("--tile", 64, "--overlap", 16, "--workers", 2, "--offline")
    done = call([*watch, *of(scene, tmp_path / "map.gpkg", *tiles)])
    if "ptrace" in done.stderr.lower():
        pytest.skip("processes may not be traced here")
    assert done.returncode == 0, done.stderr
    lines = log.read_text().splitlines()
    assert any("execve(" in line for line in lines)
    opened = [e for e in lines if "AF_INET" in e and "= -1 EACCES" not in e]
    assert opened == []
    programs = {
        line.partition('execve("')[2].partition('"')[0] for line in lines if "execve(" in line
    }
    assert {Path(p).name.rstrip("0123456789.") for p in programs} == {"python"}, programs


def test_the_command_refuses_them_in_one_line(tmp_path, scene):
    line = of(scene, tmp_path / "m.gpkg", "--offline", "--store", "s3://b/c")
    done = call(line)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert "--store s3://b/c is on the network" in done.stderr


def test_nothing_listens_on_a_network_during_a_run(tmp_path):
    size = {"count": 4, "height": 700, "width": 700, "dtype": "uint8", "crs": "EPSG:32633"}
    place = Affine(10, 0, 5e5, 0, -10, 5e6)
    path = tmp_path / "noise.tif"
    with rasterio.open(path, "w", "GTiff", transform=place, photometric="MINISBLACK", **size) as t:
        t.write(np.random.default_rng(0).integers(1, 255, (4, 700, 700)).astype(np.uint8))
    line = of(path, tmp_path / "map.fgb", "--tile", 64, "--overlap", 16, "--workers", 2)
    with subprocess.Popen(line, cwd=ROOT, stderr=subprocess.DEVNULL) as run:  # noqa: S603
        main, most, heard = psutil.Process(run.pid), 0, set()
        while run.poll() is None:
            family = [main, *main.children(recursive=True)]
            most = max(most, len(family))
            for process in family:
                try:
                    sockets = process.net_connections("inet")
                except psutil.Error:
                    continue
                heard |= {s.laddr for s in sockets}
            time.sleep(0.05)
    assert run.returncode == 0
    assert most >= 3
    assert heard == set()
