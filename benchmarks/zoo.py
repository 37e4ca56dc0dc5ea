"""Does every good, awkward, broken and hostile raster of a zoo work, or fail clearly?

    python benchmarks/zoo.py --zoo ZOO.py [--only PART] [--verbose] [--json]

ZOO.py lists cases and makes their files. Each goes through the real command in a process of its
own, with a backend that finds the bright object of the scene; it is brought in as any package would
bring one, through the entry points. Judged are: exit code, words of the message, no traceback,
nothing at the final path after an error, the object's outline (IoU with the truth 0.99, 0.95 for
lossy pictures), a warning's words in exactly one line, seconds and MiB.

A block that only decoding shows to be corrupt is an error without a map in the zoo, where rasters
are small and are read whole before the run; of a large raster it costs its tiles, and exit code 1.

Where a case cannot be, or is not, judged as it is written, EXPLAINED says why, and it is counted
apart. Cases of kind `policy` are errors by default; what each does with --trust-input is told too.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from rasterio.errors import NotGeoreferencedWarning

import geoseg

BACKEND = '''
import numpy as np
import geoseg
from geoseg.raster import sample


class Bright:
    """Finds what is as bright as half of the way from the darkest to the brightest sample."""

    halo_px = 0

    def __init__(self, limit=0.0):
        self.limit, self.identity = limit, f"bright {limit}"

    def fit(self, raster, legend):
        found = [data[0][valid].astype(float) for _, data, valid in sample(raster)]
        values = np.concatenate(found) if found else np.zeros(1)
        return Bright(float(values.min() + values.max()) / 2)

    def segment(self, tiles):
        return [self.one(tile) for tile in tiles]

    def one(self, tile):
        mask = tile.valid & (tile.data[0] >= self.limit)
        height, width = mask.shape
        return geoseg.Instances(
            boxes=np.array([[0, 0, width, height]], np.int32),
            masks=[mask],
            classes=np.array([0], np.int32),
            scores=np.array([0.9], np.float32),
        )
'''
LEGEND = '[[class]]\nname = "bright"\nkind = "cover"\n'
SMALL_TILES = ("--tile", "32", "--overlap", "8")
LOSSY = ("jpeg", "webp")
AS_A_USER = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Takes from root the right to read what it has no permission for."""
LARGE = ("size__10_gigapixel_sparse", "size__one_huge_strip")
"""Cases run with the usual tiles."""

EXPLAINED = {
    "damage__bitflip_uncompressed": "a flipped bit in raw samples is a sample like any other: "
    "there is no checksum to hold it against, so no warning can know. Judged: it works, and "
    "identity() tells it from the file before",
    "geo__conflicting_aux": "the side-car's nodata value counts, as in GDAL and QGIS; it is the "
    "object's own value. Judged: one warning, and nothing where the object is",
}
"""Cases that are judged otherwise than they are written, and why."""


@dataclass
class Verdict:
    """What became of a case."""

    id: str
    expect: str
    says: str
    code: int = -1
    seconds: float = 0.0
    mib: int = 0
    iou: float | None = None
    words: str = ""
    wrong: list[str] = field(default_factory=list)
    trusted: str = ""


@dataclass
class Child:
    """A command that has ended."""

    code: int
    seconds: float
    mib: int
    text: str


def main() -> None:
    """Print what is not as stated, the counts, and with --json all of it as the last line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--zoo", type=Path, required=True, help="zoo.py")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--verbose", action="store_true", help="a line per case")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    zoo = _load(args.zoo)
    with tempfile.TemporaryDirectory(prefix="geoseg-zoo-") as folder:
        verdicts, missing = _run(zoo, Path(folder), args.only, verbose=args.verbose)
    _tell(verdicts, missing, as_json=args.json, verbose=args.verbose)


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("zoo", path)
    if spec is None or spec.loader is None:
        sys.exit(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules["zoo"] = module
    spec.loader.exec_module(module)
    return module


def _run(
    zoo: ModuleType, folder: Path, only: str, *, verbose: bool
) -> tuple[list[Verdict], dict[str, str]]:
    cases = [case for case in zoo.CASES if only in case.id]
    made = zoo.make(folder / "files", {case.id for case in cases})
    _install(folder / "plugin")
    verdicts, missing = [], {}
    for case in cases:
        entry = made[case.id]
        if "unavailable" in entry:
            missing[case.id] = entry["unavailable"]
            continue
        verdict = _judge(case, entry["path"], folder)
        verdicts.append(verdict)
        if verbose or verdict.wrong:
            print(_line(verdict), flush=True)
    return verdicts, missing


def _install(folder: Path) -> None:
    """Make the backend known as a package that is installed."""
    known = folder / "zoo_bright-1.dist-info"
    known.mkdir(parents=True)
    (folder / "zoo_bright.py").write_text(BACKEND)
    (known / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo-bright\nVersion: 1\n")
    (known / "entry_points.txt").write_text("[geoseg.backends]\nbright = zoo_bright:Bright\n")
    (folder / "legend.toml").write_text(LEGEND)


def _judge(case: Any, path: str, folder: Path) -> Verdict:
    out = folder / "out" / case.id
    out.mkdir(parents=True)
    final = out / "map.gpkg"
    done = _segment(case, path, final, folder)
    verdict = Verdict(case.id, case.expect, case.says, done.code, done.seconds, done.mib)
    lines = [line for line in done.text.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("WARNING") and case.says in line]
    verdict.words = next(iter(told), lines[-1] if lines else "")
    if "Traceback" in done.text:
        verdict.wrong.append("traceback")
    if done.seconds > case.max_s:
        verdict.wrong.append(f"{done.seconds:.1f} s > {case.max_s} s")
    if done.mib > case.max_mib:
        verdict.wrong.append(f"{done.mib} MiB > {case.max_mib}")
    if case.expect in ("works", "warns"):
        _judge_map(case, path, final, verdict)
        if case.expect == "warns" and case.id != "damage__bitflip_uncompressed" and len(told) != 1:
            verdict.wrong.append(f"{len(told)} warnings with '{case.says}'")
    else:
        _judge_error(case, path, final, verdict, lines)
    if case.expect == "policy":
        again = _segment(case, path, out / "trusted.gpkg", folder, "--trust-input")
        end = (again.text.strip().splitlines() or [""])[-1]
        verdict.trusted = f"exit {again.code}: {end}"
        if "Traceback" in again.text:
            verdict.wrong.append("traceback with --trust-input")
    return verdict


def _judge_map(case: Any, path: str, final: Path, verdict: Verdict) -> None:
    if verdict.code != 0 or not final.exists():
        verdict.wrong.append(f"exit {verdict.code}, map {'there' if final.exists() else 'missing'}")
        return
    found = gpd.read_file(final, layer="features")
    if case.id == "damage__bitflip_uncompressed":
        if not _flip_is_seen(path):
            verdict.wrong.append("the flip does not change identity()")
    elif case.id == "geo__conflicting_aux":
        if found.intersects(_truth(path, case.truth_px).buffer(-1)).any():
            verdict.wrong.append("the nodata value of the side-car was not used")
    elif case.truth_px is not None:
        truth = _truth(path, case.truth_px)
        both = shapely.union_all(found.geometry.to_numpy())
        verdict.iou = round(both.intersection(truth).area / both.union(truth).area, 4)
        least = 0.95 if any(word in case.id for word in LOSSY) else 0.99
        if verdict.iou < least:
            verdict.wrong.append(f"IoU {verdict.iou} < {least}")


def _judge_error(case: Any, path: str, final: Path, verdict: Verdict, lines: list[str]) -> None:
    errors = [line for line in lines if line.startswith("error:")]
    if verdict.code == 0:
        verdict.wrong.append("exit 0")
    if len(errors) != 1:
        verdict.wrong.append(f"{len(errors)} lines of error")
    message = " ".join(errors)
    verdict.words = message
    if case.says not in message:
        verdict.wrong.append(f"does not say '{case.says}'")
    shown = path.rsplit("://", maxsplit=1)[-1].split("!", maxsplit=1)[0]
    if shown not in message and Path(shown).name not in message:
        verdict.wrong.append("does not name the file")
    if final.exists():
        verdict.wrong.append("left something at the final path")


def _segment(case: Any, path: str, final: Path, folder: Path, *more: str) -> Child:
    """Run the command as a user would, without root's rights where permissions are the case."""
    tiles = () if case.id in LARGE else SMALL_TILES
    plugin = folder / "plugin"
    command = [
        sys.executable, "-m", "geoseg.cli", "segment", "--legend", str(plugin / "legend.toml"),
        "--backend", "bright", *tiles, "--out", str(final), *more, "--", path,
    ]  # fmt: skip
    paths = [str(plugin), str(Path(geoseg.__file__).parent.parent)]
    if case.id == "name__unreadable" and os.geteuid() == 0:
        command = [*AS_A_USER, *command]
    began = time.monotonic()
    with (folder / "text").open("w+") as text:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=text,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HOME": str(folder)},
            cwd=final.parent,
        )
        status, usage = _wait(child, began + case.max_s + 60)
        text.seek(0)
        said = text.read()
    code = os.waitstatus_to_exitcode(status)
    return Child(code, round(time.monotonic() - began, 2), usage // 1024, said)


def _wait(child: subprocess.Popen[bytes], deadline: float) -> tuple[int, int]:
    """Return the status and the peak memory in KiB of a child; it is ended at the deadline."""
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return status, usage.ru_maxrss
        if time.monotonic() > deadline:
            child.kill()
        time.sleep(0.02)


def _truth(path: str, box: tuple[int, int, int, int]) -> shapely.Polygon:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as dataset:
            t = dataset.transform
    x0, y0, x1, y1 = box
    corners = ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
    return shapely.Polygon([(t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f) for x, y in corners])


def _flip_is_seen(path: str) -> bool:
    file = Path(path)
    before = geoseg.open_raster(path).identity()
    stamp = file.stat()
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    return bool(geoseg.open_raster(path).identity() != before)


def _line(verdict: Verdict) -> str:
    state = "WRONG" if verdict.wrong else "ok"
    iou = "" if verdict.iou is None else f" IoU {verdict.iou}"
    why = f" [{'; '.join(verdict.wrong)}]" if verdict.wrong else ""
    more = f"\n      --trust-input: {verdict.trusted}" if verdict.trusted else ""
    return (
        f"{state:5} {verdict.id:32} {verdict.expect:6} exit {verdict.code:3} "
        f"{verdict.seconds:5.1f} s {verdict.mib:4} MiB{iou}{why}\n      {verdict.words}{more}"
    )


def _tell(
    verdicts: list[Verdict], missing: dict[str, str], *, as_json: bool, verbose: bool
) -> None:
    other = [v.id for v in verdicts if v.wrong]
    good = [v for v in verdicts if not v.wrong]
    explained = {v.id: EXPLAINED[v.id] for v in good if v.id in EXPLAINED}
    stated = [v for v in good if v.id not in explained]
    right = sum(v.expect in ("works", "warns") for v in stated)
    slow = np.array([v.seconds for v in verdicts])
    summary: dict[str, Any] = {
        "cases": len(verdicts) + len(missing),
        "as_stated": len(stated),
        "right": right,
        "clear_errors": len(stated) - right,
        "other": other,
        "explained": explained,
        "not_made": missing,
        "worst_seconds": float(slow.max(initial=0)),
        "worst_mib": max((v.mib for v in verdicts), default=0),
    }
    print(
        f"{summary['cases']} cases: {len(stated)} as stated ({right} right, "
        f"{summary['clear_errors']} clear errors), {len(other)} other, {len(explained)} explained, "
        f"{len(missing)} cannot be made here; at most {summary['worst_seconds']:.1f} s and "
        f"{summary['worst_mib']} MiB"
    )
    for name, why in {**explained, **missing}.items():
        print(f"  {name}: {why}")
    if as_json:
        if verbose:
            summary["detail"] = [asdict(v) for v in verdicts]
        print(json.dumps(summary))


if __name__ == "__main__":
    main()
