"""Does a run survive kill -9 at any moment?

    python benchmarks/kill.py [--kills 200] [--workers 1|2|both] [--seed 0] [--json]

Runs `geoseg segment` on a small drawn scene in a process of its own, kills it at random moments
(spread over the time that an uninterrupted run takes, a part of them over its last tenth), starts
the same command again at once, kills that too, and lets the last one end. Half of the kills hit the
main process only, half its whole process group. Most maps are GeoPackages, some GeoParquet and
FlatGeobuf; in a third of the runs a good older map is replaced.

After every kill the output must be absent, the older map, or the complete new one (`torn` counts
what is not); at the end it must equal the uninterrupted map byte for byte (`identical`, of `runs`),
nothing else may lie beside it (`leftovers`), and no process may be left (`orphans`). `met` tells
what the kills hit. A run takes 2 to 4 s, of which importing libraries is about 1.5 s; 200 kills
take about 15 minutes. Needs POSIX. Exit code 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import rasterio
from affine import Affine
from scipy import ndimage

SIZE_PX, TILE_PX, OVERLAP_PX = 640, 64, 16
FORMATS = (".gpkg", ".gpkg", ".gpkg", ".parquet", ".fgb")
KILLS_PER_RUN = 3
GRACE_S = 10.0
"""How long a worker may need to notice that its main process is gone."""


@dataclass
class Tally:
    """What was seen."""

    kills: int = 0
    runs: int = 0
    identical: int = 0
    torn: int = 0
    leftovers: int = 0
    orphans: int = 0
    met: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def blame(self, what: str) -> None:
        """Keep what was wrong, for whoever has to mend it."""
        self.wrong.append(what)


@dataclass(frozen=True)
class Case:
    """One map that is made in spite of kills."""

    raster: Path
    out: Path
    workers: int
    old: bytes | None
    """An older map at the place of the output."""
    new: bytes
    """The map as an uninterrupted run writes it."""

    def start(self) -> subprocess.Popen[str]:
        """Start the command, in a process group of its own."""
        return start(self.raster, self.out, self.workers, overwrite=self.old is not None)


def start(
    raster: Path, out: Path, workers: int, *, overwrite: bool = False, prompt: str = "water"
) -> subprocess.Popen[str]:
    """Start `geoseg segment` in a process group of its own."""
    command = [sys.executable, "-m", "geoseg", "segment", str(raster), "--out", str(out)]
    command += ["--prompt", prompt, "--tile", str(TILE_PX), "--overlap", str(OVERLAP_PX)]
    command += ["--workers", str(workers), *(["--overwrite"] if overwrite else [])]
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def draw(path: Path, size: int) -> None:
    """Write lakes in a meadow: red, green, blue, near infrared."""
    lakes = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal((size, size)), 9) > 0
    colours = np.array([[70, 110, 60, 190], [30, 50, 60, 10]], np.uint8)
    data = np.moveaxis(colours[lakes.astype(int)], -1, 0)
    place = {"crs": "EPSG:32633", "transform": Affine(10, 0, 5e5, 0, -10, 5e6)}
    shape = {"width": size, "height": size, "count": 4, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", photometric="MINISBLACK", **shape, **place) as to:
        to.write(data)


def uninterrupted(raster: Path, out: Path, workers: int, prompt: str = "water") -> float:
    """Make a map in peace; returns the seconds it took."""
    began = time.monotonic()
    process = start(raster, out, workers, prompt=prompt)
    _, said = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"the uninterrupted run failed: {said}")
    return time.monotonic() - began


def moment(chance: random.Random, seconds: float) -> float:
    """Return when to kill: anywhere, or, once in three times, around the last tenth."""
    if chance.random() < 1 / 3:
        return chance.uniform(0.88 * seconds, 1.02 * seconds)
    return chance.uniform(0, seconds)


def torment(case: Case, chance: random.Random, seconds: float, kills: int, tally: Tally) -> None:
    """Make a map, killed up to so many times on the way."""
    groups: list[int] = []
    for _ in range(kills):
        process = case.start()
        groups.append(process.pid)
        # A run that continues has less to do.
        share = 1.0 if len(groups) == 1 else chance.choice((0.5, 0.75, 1.0))
        try:
            process.wait(moment(chance, seconds * share))
        except subprocess.TimeoutExpired:
            tally.met[_stage(case)] += 1
            _kill(process, whole_group=chance.random() < 0.5)
            tally.kills += 1
            _look(case, tally)
        process.communicate()
        if process.returncode != -signal.SIGKILL:
            break
    last = case.start()
    groups.append(last.pid)
    _, said = last.communicate()
    _judge(case, last.returncode, said, tally)
    for group in groups:
        for orphan in _orphans(group):
            tally.orphans += 1
            tally.blame(f"{case.out.name}: process {orphan.pid} is left: {orphan.cmdline()}")
            with suppress(psutil.NoSuchProcess):
                orphan.kill()


def _kill(process: subprocess.Popen[str], *, whole_group: bool) -> None:
    if whole_group:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _stage(case: Case) -> str:
    """Return how far a run is, by what lies on the disk."""
    folder = case.out.with_name(case.out.name + ".geoseg")
    if (folder / "complete").exists():
        return "clean up"
    if not (folder / "run.json").exists():
        return "start" if not _is_new(case) else "published"
    with suppress(OSError, ValueError):
        step = json.loads((folder / "progress.json").read_bytes())
        if step["done"] < step["total"]:
            return str(step["step"])
        return f"after {step['step']}"
    return "detect"


def _is_new(case: Case) -> bool:
    return case.out.exists() and case.out.read_bytes() == case.new


def _look(case: Case, tally: Tally) -> None:
    try:
        found = case.out.read_bytes()
    except FileNotFoundError:
        found = None
    if found not in (case.old, case.new):
        tally.torn += 1
        tally.blame(f"{case.out.name}: {'gone' if found is None else f'{len(found)} bytes'}")


def _judge(case: Case, code: int, said: str, tally: Tally) -> None:
    tally.runs += 1
    complete = code == 0 or (code == 2 and "is already there" in said)
    if complete and _is_new(case):
        tally.identical += 1
    else:
        tally.blame(f"{case.out.name}: exit {code}, {said.strip()}")
    left = sorted(p.name for p in case.out.parent.iterdir() if p != case.out)
    if left:
        tally.leftovers += len(left)
        tally.blame(f"{case.out.name}: left {', '.join(left)}")


def _orphans(group: int) -> list[psutil.Process]:
    """Return the processes of a group that do not end by themselves."""
    until = time.monotonic() + GRACE_S
    while found := [p for p in psutil.process_iter() if _is_of(p, group)]:
        if time.monotonic() > until:
            return found
        time.sleep(0.1)
    return []


def _is_of(process: psutil.Process, group: int) -> bool:
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    return False


def cases(
    folder: Path, raster: Path, workers: list[int], chance: random.Random
) -> Iterator[tuple[Case, float]]:
    """Yield maps to make, without end, and the seconds each takes in peace."""
    new: dict[str, bytes] = {}
    old: dict[str, bytes] = {}
    seconds: dict[int, float] = {}
    for suffix in dict.fromkeys(FORMATS):
        for count in workers:
            path = folder / f"peace{count}{suffix}"
            took = uninterrupted(raster, path, count)
            seconds[count] = max(took, seconds.get(count, 0.0))
            if new.setdefault(suffix, path.read_bytes()) != path.read_bytes():
                raise SystemExit(f"{suffix}: the number of workers changes the map")
        path = folder / f"old{suffix}"
        uninterrupted(raster, path, workers[0], prompt="vegetation")
        old[suffix] = path.read_bytes()
    number = 0
    while True:
        number += 1
        suffix, count = chance.choice(FORMATS), workers[number % len(workers)]
        out = folder / f"run{number}" / f"map{suffix}"
        out.parent.mkdir()
        before = old[suffix] if chance.random() < 1 / 3 else None
        if before is not None:
            out.write_bytes(before)
        yield Case(raster, out, count, before, new[suffix]), seconds[count]


def measure(kills: int, workers: list[int], seed: int = 0, size: int = SIZE_PX) -> Tally:
    """Kill so many times, and count."""
    tally, chance = Tally(), random.Random(seed)  # noqa: S311  no secret
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raster = folder / "scene.tif"
        draw(raster, size)
        for case, seconds in cases(folder, raster, workers, chance):
            left = kills - tally.kills
            torment(case, chance, seconds, min(left, chance.randint(1, KILLS_PER_RUN)), tally)
            if tally.kills >= kills:
                break
    return tally


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--workers", choices=("1", "2", "both"), default="both")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    began = time.monotonic()
    workers = [1, 2] if given.workers == "both" else [int(given.workers)]
    tally = measure(given.kills, workers, given.seed)
    found = {**vars(tally), "seconds": round(time.monotonic() - began, 1)}
    if given.json:
        print(json.dumps(found))
    else:
        for key, value in found.items():
            print(f"{key:10} {dict(value) if isinstance(value, Counter) else value}")
    whole = tally.identical == tally.runs and not (tally.torn or tally.leftovers or tally.orphans)
    sys.exit(0 if whole else 1)


if __name__ == "__main__":
    main()
