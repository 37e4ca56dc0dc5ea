"""What do a million polygons take, format by format?

    python benchmarks/million.py [--count 1000000] [--formats .gpkg,.tif] [--folder DIR] [--json]

Writes `--count` small outlines along pixel edges by `geoseg.export.write`, as a run does: checked
against what was given, flushed, renamed. `.tif` (COG) and `coco.json` are exports of the GeoPackage
by `geoseg.convert.export`; `rows` are those that reading all of a map back takes, without writing.
Each is a process of its own. `seconds` are without starting Python, `peak_mb` is its most resident
memory, `start_mb` what it has before the first polygon, `file_mb` the size of the file. Needs 2 GB
of disk in `--folder`. Exit code 1 if a format has not all polygons.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyproj
import shapely
from affine import Affine

from geoseg.convert import Wishes, export
from geoseg.export import FORMATS, write
from geoseg.export.read import open_map
from geoseg.export.table import Target
from geoseg.features import Features
from geoseg.frame import Frame
from geoseg.legend import Legend
from geoseg.recipe import recipe_text, words_of
from geoseg.runfolder import RunFolder

CRS = pyproj.CRS("EPSG:32633").to_wkt()
LEGEND = Legend.parse("tree, water, building")
CELL_PX = 12
BATCH = 4096

CORNERS = np.array(
    [(0, 0), (0, 5), (2, 5), (2, 8), (7, 8), (7, 4), (9, 4), (9, 1), (5, 1), (5, 0)], float
)
"""An outline in pixels, of 10 vertices."""

WAYS = (*FORMATS, ".tif", "coco.json", "rows")


def frame(count: int) -> Frame:
    """Return a square raster that holds so many cells."""
    side = math.ceil(math.sqrt(count)) * CELL_PX
    return Frame(side, side, Affine(1, 0, 300_000, 0, -1, 5_000_000), CRS)


def features(count: int) -> Iterator[Features]:
    """Return outlines in batches, the same each time."""
    grid, across = frame(count), math.ceil(math.sqrt(count))
    random = np.random.default_rng(1)
    for first in range(0, count, BATCH):
        i = np.arange(first, min(first + BATCH, count))
        shift = np.stack([i % across, i // across], axis=-1)[:, None] * CELL_PX
        rings = grid.to_crs((CORNERS + shift).reshape(-1, 2)).reshape(len(i), -1, 2)
        shapes = shapely.multipolygons(shapely.polygons(rings).reshape(-1, 1))
        score, ones = random.random(len(i)).round(4), np.ones(len(i), int)
        seam_iou = np.where(i % 3, np.nan, 0.5)
        yield Features(i + 1, i % 3, score, score, score, ones, seam_iou, shapes)


def make(count: int, out: Path) -> int:
    """Write a map as a run does."""
    fingerprint = {"legend": LEGEND.model_dump(mode="json")}
    recipe = recipe_text(fingerprint, [], frame(count), words_of())
    target = Target(out, CRS, LEGEND, recipe)
    return write(target, features(count), [], RunFolder.beside(out))


def work(way: str, count: int, folder: Path) -> int:
    """Do what is measured; returns the number of polygons."""
    source = folder / "map.gpkg"
    if way == "rows":
        return sum(batch.num_rows for batch in open_map(source).batches())
    if way in FORMATS:
        return make(count, folder / f"map{way}")
    return export(source, folder / f"map{way}", Wishes(overwrite=True)).count


def peak_mb() -> float:
    """Return the most resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def measured(act: Callable[[], int]) -> dict[str, float]:
    """Do something in this process, and say what it took."""
    start_mb, start = peak_mb(), time.perf_counter()
    done = act()
    seconds = time.perf_counter() - start
    return {
        "polygons": done,
        "seconds": round(seconds, 1),
        "start_mb": round(start_mb),
        "peak_mb": round(peak_mb()),
    }


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--formats", default=",".join(WAYS), help="by comma; .gpkg is always made")
    parser.add_argument("--folder", type=Path, help="where files go, for a while")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        found = measured(lambda: work(options.child, options.count, options.folder))
        print(json.dumps(found))
        return 0
    ways = [".gpkg", *(w for w in options.formats.split(",") if w != ".gpkg")]
    report = {}
    with tempfile.TemporaryDirectory(prefix="million-", dir=options.folder) as folder:
        for way in ways:
            command = [sys.executable, __file__, "--child", way, "--count", str(options.count)]
            done = subprocess.run(
                [*command, "--folder", folder], check=True, stdout=subprocess.PIPE, text=True
            )
            out = Path(folder) / f"map{way}"
            size = {"file_mb": round(out.stat().st_size / 1e6, 1)} if out.exists() else {}
            report[way] = {**json.loads(done.stdout), **size}
            if not options.json:
                print(way, *(f"{k} {v:g}" for k, v in report[way].items()), sep="  ", flush=True)
            if out.exists() and way != ".gpkg":
                out.unlink()
    if options.json:
        print(json.dumps(report))
    return int(any(found["polygons"] != options.count for found in report.values()))


if __name__ == "__main__":
    sys.exit(main())
