"""Are water and ponds of several dates counted to the hectare, and does memory stay flat?

    python benchmarks/series.py [--sizes 2048,4096] [--dates 3] [--json]

A pond lies in each block of 256 pixels a side; its width differs from date to date, at some dates
it is dry, and at the second date every eighth row of blocks is nodata. The dates are mapped by a
model that is perfect inside a tile, and counted by `geoseg series` with all of its outputs, in a
process of its own. The truth in hectares is a sum of the geodesic areas of rectangles.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from affine import Affine
from scaling import alone, watched

import geoseg
from geoseg import Instances, LandClass, Legend
from geoseg.analysis.hydroperiod.counted import CLASSES, NOT_SEEN, Thresholds
from geoseg.analysis.hydroperiod.tally import NOT_OBSERVED
from geoseg.frame import Frame, horizontal_wkt
from geoseg.pixels import Pixels

BLOCK = 256
TOP, LEFT, HEIGHT = 60, 40, 100
WIDTHS = (120, 140, 160)
WATER, NODATA = 1, 255
FIRST_YEAR = 2001


class Perfect:
    """Knows water from band 1."""

    identity = "perfect"
    halo_px = 0

    def segment(self, tiles: Sequence[Pixels]) -> list[Instances]:
        """Return a mask of water per tile."""
        return [self.answer(tile) for tile in tiles]

    def answer(self, tile: Pixels) -> Instances:
        """Return what is in a tile."""
        mask = tile.valid & (tile.data[0] == WATER)
        if not mask.any():
            return Instances.empty()
        box = np.array([[0, 0, mask.shape[1], mask.shape[0]]], np.int32)
        return Instances(box, [mask], np.zeros(1, np.int32), np.ones(1, np.float32))


def frame_of(size: int) -> Frame:
    """Return a grid of 10 m pixels."""
    wkt = horizontal_wkt("EPSG:32633")
    return Frame(size, size, Affine(10, 0, 400_000, 0, -10, 5_200_000), wkt)


def blocks(size: int, date: int) -> tuple[Any, Any]:
    """Return the width of the pond in each block, 0 if it is dry, and whether the block is seen."""
    y, x = np.indices((size // BLOCK,) * 2)
    width = np.array(WIDTHS)[(x + y + date) % 3]
    width = np.where((x + 2 * y + date) % 4 == 0, 0, width)
    return width, np.full(width.shape, date != 1) | (y % 8 != 7)


def write(path: Path, size: int, date: int) -> None:
    """Write a date as a raster, a row of blocks at a time."""
    width, seen = blocks(size, date)
    frame = frame_of(size)
    profile = {
        "driver": "GTiff", "width": size, "height": size, "count": 1, "dtype": "uint8",
        "crs": rasterio.CRS.from_wkt(frame.crs), "transform": frame.transform, "nodata": NODATA,
        "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate",
    }  # fmt: skip
    column = np.arange(size) % BLOCK - LEFT
    with rasterio.open(path, "w", **profile) as target:
        for row in range(len(width)):
            wet = (column >= 0) & (column < np.repeat(width[row], BLOCK))
            strip = np.zeros((BLOCK, size), np.uint8)
            strip[TOP : TOP + HEIGHT] = np.where(wet, WATER, 0)
            strip[:, ~np.repeat(seen[row], BLOCK)] = NODATA
            place = rasterio.windows.Window(0, row * BLOCK, size, BLOCK)
            target.write(strip, 1, window=place)


def mapped(folder: Path, size: int, date: int) -> Path:
    """Return the map of a date."""
    raster = folder / f"size{size}_{FIRST_YEAR + date}.tif"
    out = raster.with_suffix(".gpkg")
    write(raster, size, date)
    water = Legend(classes=(LandClass(name="water", kind="cover"),))
    geoseg.segment(raster, water, backend=Perfect(), out=out, tile=1024, overlap=128)
    return out


def rectangles(size: int) -> Iterator[tuple[Any, Any, Any]]:
    """Yield (row, col) hectares of parts of blocks, and where they begin and end in ponds."""
    frame = frame_of(size)
    y, x = (v.ravel() * BLOCK for v in np.indices((size // BLOCK,) * 2))
    whole = frame.measure(shapely.box(x, y, x + BLOCK, y + BLOCK))[0] / 1e4
    edges = (0, *WIDTHS)
    for low, high in pairwise(edges):
        left, top = x + LEFT, y + TOP
        part = frame.measure(shapely.box(left + low, top, left + high, top + HEIGHT))[0] / 1e4
        whole = whole - part
        yield part, low, high
    yield whole, max(WIDTHS), None


def truth(size: int, dates: int) -> tuple[dict[str, float], list[float], int]:
    """Return hectares by class, hectares of water by date, and the number of ponds."""
    known = [blocks(size, date) for date in range(dates)]
    width = np.stack([w.ravel() for w, _ in known])
    seen = np.stack([s.ravel() for _, s in known])
    class_ha = dict.fromkeys((*CLASSES, NOT_OBSERVED), 0.0)
    water = np.zeros(dates)
    for ha, _, high in rectangles(size):
        wet = seen & (width >= high) if high is not None else np.zeros(width.shape, bool)
        observed = seen.sum(axis=0)
        occurrence = np.divide(wet.sum(axis=0), observed, out=np.full(len(ha), np.nan),
                               where=observed > 0)  # fmt: skip
        cls = Thresholds().classes(occurrence)
        for k, name in [*enumerate(CLASSES), (NOT_SEEN, NOT_OBSERVED)]:
            class_ha[name] += float(ha[cls == k].sum())
        water += (ha * wet).sum(axis=1)
    return class_ha, water.tolist(), int((seen & (width > 0)).any(axis=0).sum())


def worst(found: Sequence[float], wanted: Sequence[float]) -> float:
    """Return the largest relative error."""
    pairs = zip(found, wanted, strict=True)
    return max((abs(a / b - 1) if b else float(a != b)) for a, b in pairs)


def counted(size: int, dates: int, folder: Path) -> dict[str, Any]:
    """Count maps with the command, and look at its peak."""
    maps = [alone(mapped, folder, size, date) for date in range(dates)]
    table = folder / f"ponds{size}.csv"
    command = [sys.executable, "-m", "geoseg.cli", "series", *map(str, maps), "--quiet", "--json"]
    command += ["--out", str(folder / f"size{size}.tif"), "--table", str(table)]
    command += ["--ponds", str(folder / f"ponds{size}.gpkg")]
    report = watched(command)
    seconds = report["wall_s"]
    class_ha, water_ha, ponds = truth(size, dates)
    for path in maps:
        path.with_suffix(".tif").unlink()
    return {
        "size": size,
        "dates": dates,
        "peak_mb": round(report["peak_mb"], 1),
        "seconds": round(seconds, 1),
        "megapixels_per_s": round(dates * size * size / 1e6 / seconds, 1),
        "ponds": [report["ponds"], ponds],
        "rows": sum(1 for _ in table.open()) - 1,
        "class_worst_relative_error": worst(
            [report["class_ha"][name] for name in class_ha], list(class_ha.values())
        ),
        "water_worst_relative_error": worst([d["water_ha"] for d in report["dates"]], water_ha),
    }


def main() -> None:
    """Print what was found, and with --json all of it as the last line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", default="2048,4096")
    parser.add_argument("--dates", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    report = []
    with tempfile.TemporaryDirectory() as name:
        for size in map(int, args.sizes.split(",")):
            report.append(counted(size, args.dates, Path(name)))
            print(report[-1], flush=True)
    if args.json:
        print(json.dumps(report))


if __name__ == "__main__":
    main()
