"""Is a disk that fails while a map is written ever overlooked?

    python benchmarks/faults.py [--points 12] [--formats .gpkg,.fgb] [--naive] [--json]

A child writes a small map over an older one, by `geoseg.export.write`, and strace makes one of its
system calls fail: the N-th `pwrite64`, `write`, `fsync`, `rename` or `ftruncate`, alone or with all
that follow, with ENOSPC or EIO, for up to `--points` values of N spread over all calls of that kind
that a child makes. Maps with failed tiles and without take turns.

`faults` were met. `silent`: the child ended well, and the map is not the one that an undisturbed
child writes. `torn`: at a final path lies neither the older file nor the new one, or a new map that
lacks tiles lies there without the file that tells so. `unclear`: an error that is not one line, or
does not say that what is done is kept. `leftovers`: files that should not be there. `resumed`: the
same call, undisturbed, then gave the same bytes; of `faults`. `--naive` does the same with
`GeoDataFrame.to_file` (`to_parquet`), for comparison. About 2 s per fault. Needs strace. Exit code
1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyproj
import shapely

import geoseg
from geoseg.errors import OutputError
from geoseg.export import FORMATS, write
from geoseg.export.place import failed_path
from geoseg.export.table import Failed, Target
from geoseg.features import Features
from geoseg.legend import Legend
from geoseg.runfolder import RunFolder

CRS = pyproj.CRS("EPSG:32633").to_wkt()
COUNT = 400
CALLS = {
    "pwrite64": "pwrite64",
    "write": "write",
    "fsync": "fsync,fdatasync",
    "rename": "rename,renameat,renameat2",
    "ftruncate": "ftruncate",
}
"""System calls that are made to fail, together where they do the same."""
ERRORS = ("ENOSPC", "EIO")
OLDER, OLDER_TOLD = b"an older map", b"older failed tiles"
PYTHON = [sys.executable, "-B", str(Path(__file__).resolve()), "--child"]
_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(geoseg.__file__).parents[1])}
_SECONDS = 120
_ONE_LINE = re.compile(r"cannot write [^\n]*what is done is kept[^\n]*\n")

Seen = tuple[bytes | None, bytes | None]
"""What is at the place of the map, and of its failed tiles."""


def features(count: int = COUNT) -> Iterator[Features]:
    """Return round things in batches, the same each time."""
    random = np.random.default_rng(1)
    angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    for first in range(0, count, 4096):
        i = np.arange(first, min(first + 4096, count))
        radius = random.uniform(4, 9, (len(i), 16))
        x = 500_000 + i[:, None] % 1000 * 20 + radius * np.cos(angle)
        y = 5_000_000 - i[:, None] // 1000 * 20 + radius * np.sin(angle)
        rings = shapely.polygons(np.stack([x, y], axis=-1))
        shapes = shapely.multipolygons(rings.reshape(-1, 1))
        score, ones = random.random(len(i)), np.ones(len(i), int)
        seam_iou = np.where(i % 3, np.nan, 0.5)
        yield Features(i + 1, i % 2, score, score, score, ones, seam_iou, shapes)


def holes(count: int) -> Failed:
    """Return failed tiles."""
    return [(f"t{n}", "out of luck", shapely.box(n, 0, n + 1, 1)) for n in range(count)]


def make(out: Path, failed: int) -> None:
    """Write a map as a run does."""
    target = Target(out, CRS, Legend.parse("tree, water"), "{}")
    write(target, features(), holes(failed), RunFolder.beside(out))


def make_naively(out: Path, failed: int) -> None:
    """Write a map as one would without thinking of it."""
    for path, layer, frame in _frames(out, failed):
        if out.suffix == ".parquet":
            frame.to_parquet(path)
        else:
            mode = "a" if path == out and layer != "features" else "w"
            if mode == "w":
                path.unlink(missing_ok=True)
            frame.to_file(path, layer=layer, driver=FORMATS[out.suffix], mode=mode)


def _frames(out: Path, failed: int) -> Iterator[tuple[Path, str, gpd.GeoDataFrame]]:
    crs = "OGC:CRS84" if out.suffix == ".geojson" else CRS
    if failed:
        names, reasons, outlines = zip(*holes(failed), strict=True)
        told = gpd.GeoDataFrame(
            {"tile": names, "reason": reasons}, geometry=list(outlines), crs=CRS
        )
    if failed and out.suffix != ".gpkg":
        yield failed_path(out), "failed_tiles", told.to_crs(crs)
    for found in features():
        columns = {"id": found.number, "score": found.score}
        frame = gpd.GeoDataFrame(columns, geometry=found.geometry, crs=CRS)
        yield out, "features", frame.to_crs(crs)
    if failed and out.suffix == ".gpkg":
        yield out, "failed_tiles", told


@dataclass(frozen=True)
class Fault:
    """What is made to fail."""

    calls: str
    """Name in CALLS."""
    error: str
    """Name of the error."""
    first: int
    """Which call of its kind fails, 1-based."""
    lasting: bool
    """Whether those after it fail too."""

    def __str__(self) -> str:
        return f"inject={CALLS[self.calls]}:error={self.error}:when={self.first}" + (
            "+" if self.lasting else ""
        )


@dataclass
class Score:
    """What was seen."""

    faults: int = 0
    silent: int = 0
    torn: int = 0
    unclear: int = 0
    leftovers: int = 0
    resumed: int = 0
    harmless: int = 0
    """Faults that the child survived with the right map: their call did not matter."""
    met: Counter[str] = field(default_factory=Counter)
    """Faults by format and call."""
    wrong: list[str] = field(default_factory=list)
    """Each thing that is wrong."""

    def blame(self, kind: str, case: str, what: object = "") -> None:
        """Count what is wrong, and keep it for whoever has to mend it."""
        setattr(self, kind, getattr(self, kind) + 1)
        self.wrong.append(f"{kind}: {case} {what}".strip())

    @property
    def is_good(self) -> bool:
        """Whether nothing was wrong."""
        return not self.wrong and self.faults == self.resumed


@dataclass(frozen=True)
class Case:
    """A map that is written over an older one."""

    ending: str
    failed: int
    naive: bool

    def command(self, out: Path) -> list[str]:
        """Return what writes the map in a process of its own."""
        return [*PYTHON, str(out), str(self.failed), *(["--naive"] if self.naive else [])]

    def prepare(self, folder: Path) -> Path:
        """Put an older map into a folder, with its failed tiles."""
        out = folder / f"map{self.ending}"
        out.write_bytes(OLDER)
        if self.ending != ".gpkg":
            failed_path(out).write_bytes(OLDER_TOLD)
        return out


def look(out: Path) -> Seen:
    """Return what is at the final paths."""
    paths = (out, failed_path(out))
    whole, told = (path.read_bytes() if path.exists() else None for path in paths)
    return whole, told


def counted(case: Case, folder: Path) -> tuple[Seen, Counter[str]]:
    """Write a map undisturbed; returns its bytes and how often it makes each call."""
    out, log = case.prepare(folder), folder / "log"
    names = ",".join(CALLS.values())
    subprocess.run(
        ["strace", "-f", "-qq", "-o", str(log), "-e", f"trace={names}", *case.command(out)],
        check=True,
        env=_ENVIRONMENT,
        timeout=_SECONDS,
    )
    kinds = {name: kind for kind, group in CALLS.items() for name in group.split(",")}
    calls = (line.split(maxsplit=1)[1].partition("(")[0] for line in log.read_text().splitlines())
    return look(out), Counter(kinds[call] for call in calls if call in kinds)


def faults(calls: Counter[str], points: int) -> Iterator[Fault]:
    """Spread faults over the calls of a map."""
    for kind, count in sorted(calls.items()):
        spread = np.unique(np.linspace(1, count, min(points, count)).round().astype(int))
        for (turn, first), lasting in product(enumerate(spread.tolist()), (True, False)):
            yield Fault(kind, ERRORS[(turn + lasting) % 2], first, lasting)


def disturb(case: Case, fault: Fault, new: Seen, score: Score, folder: Path) -> None:
    """Let one call fail, judge what is left, and write the map again."""
    out, log = case.prepare(folder), folder.with_suffix(".log")
    command = ["strace", "-f", "-qq", "-o", str(log), "-e", f"trace={CALLS[fault.calls]}"]
    done = subprocess.run(
        [*command, "-e", str(fault), *case.command(out)],
        check=False,
        capture_output=True,
        text=True,
        env=_ENVIRONMENT,
        timeout=_SECONDS,
    )
    if "INJECTED" not in log.read_text():
        return
    score.faults += 1
    score.met[f"{case.ending} {fault.calls}"] += 1
    name = f"{case.ending} failed={case.failed} {fault}"
    judge(case, (done.returncode, done.stderr), (look(out), new), score, name)
    beside = {p.name for p in folder.iterdir()} - {out.name, failed_path(out).name}
    beside -= {f"{out.name}.geoseg"}
    if beside or list(folder.glob("*.geoseg/writing/*")):
        score.blame("leftovers", name, sorted(beside))
    with suppress(Exception):
        # The naive way fails on what it left; that shows in `resumed`.
        (make_naively if case.naive else make)(out, case.failed)
    if look(out) == new:
        score.resumed += 1


def judge(
    case: Case, ended: tuple[int, str], found: tuple[Seen, Seen], score: Score, name: str
) -> None:
    """Compare what a disturbed child left with what it may leave."""
    (code, said), (seen, new) = ended, found
    # With a lasting fault of `write` nothing can be said.
    is_mute = "=write:" in name and name.endswith("+")
    older = (OLDER, None if case.ending == ".gpkg" else OLDER_TOLD)
    if code == 0:
        if seen == new:
            score.harmless += 1
        else:
            score.blame("silent", name)
    elif not case.naive and (said or not is_mute) and not _ONE_LINE.fullmatch(said):
        score.blame("unclear", name, said.strip().splitlines()[-1:])
    # A complete map may lie beside older failed tiles, an older map beside new ones: see publish().
    between = (new[0], older[1]) if case.failed == 0 else (older[0], new[1])
    if seen not in (older, new, between):
        score.blame("torn", name, [part and part[:20] for part in seen])


def sweep(cases: list[Case], points: int) -> Score:
    """Disturb all cases."""
    score = Score()
    with tempfile.TemporaryDirectory() as root:
        for number, case in enumerate(cases):
            home = Path(root) / str(number)
            home.mkdir()
            new, calls = counted(case, home)
            for turn, fault in enumerate(faults(calls, points)):
                folder = home / str(turn)
                folder.mkdir()
                disturb(case, fault, new, score, folder)
                shutil.rmtree(folder)
    return score


def main() -> None:
    """Run the sweep, or one child of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--points", type=int, default=12)
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--naive", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", nargs=2, metavar=("OUT", "FAILED"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(Path(args.child[0]), int(args.child[1]), naive=args.naive)
    if shutil.which("strace") is None:
        sys.exit("strace is not installed")
    endings = args.formats.split(",")
    score = sweep([Case(e, failed, args.naive) for e in endings for failed in (0, 2)], args.points)
    facts = vars(score)
    if args.json:
        print(json.dumps(facts))
    else:
        print(*(f"{key}: {value}" for key, value in facts.items()), sep="\n")
    sys.exit(not score.is_good)


def child(out: Path, failed: int, *, naive: bool) -> None:
    """Write a map and end; nothing is flushed, for that may be what fails."""
    try:
        (make_naively if naive else make)(out, failed)
    except OutputError as error:
        with suppress(OSError):
            os.write(2, f"{error}\n".encode())
        os._exit(1)
    except BaseException as error:  # noqa: BLE001  the naive way may end in any way
        with suppress(OSError):
            os.write(2, f"{error!r}\n".encode())
        os._exit(3)
    os._exit(0)


if __name__ == "__main__":
    main()
