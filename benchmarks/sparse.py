"""Does a continent of nothing with islands of data cost what the islands cost?

    python benchmarks/sparse.py [--side 100000] [--islands 12] [--json]

Two GeoTIFFs of the same islands of 2048 px (4 bands of uint8, tiled, deflate, nodata 0): a sparse
one of `--side` squared pixels, whose other blocks were never written, and a small one in which the
islands lie side by side, nodata between them. Each is segmented by `geoseg segment` in a process of
its own, turn and turn about. `seconds` are those of the run's own steps; per valid tile they are
divided by the tiles that hold data, of which the large raster has more: its islands lie across
more tiles.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window as RasterioWindow
from scaling import PERIOD_PX, TILE_PX, pattern, segment

from geoseg.geotiff import open_raster
from geoseg.grid import Grid

GAP_PX = 512
PROFILE = {
    "driver": "GTiff", "count": 4, "dtype": "uint8", "nodata": 0, "crs": "EPSG:32633",
    "transform": Affine(1, 0, 300_000, 0, -1, 5_000_000), "tiled": True, "blockxsize": 512,
    "blockysize": 512, "compress": "deflate", "zlevel": 1, "interleave": "pixel",
    "bigtiff": "if_safer", "sparse_ok": True,
}  # fmt: skip


def draw(path: Path, size: tuple[int, int], corners: list[tuple[int, int]]) -> None:
    """Write islands with these upper left corners into a raster of (width, height)."""
    block = pattern(7)
    with rasterio.open(path, "w", width=size[0], height=size[1], **PROFILE) as target:
        for number, role in enumerate(("red", "green", "blue", "nir"), 1):
            target.set_band_description(number, role)
        for x, y in corners:
            target.write(block, window=RasterioWindow(x, y, PERIOD_PX, PERIOD_PX))


def draw_both(large: Path, small: Path, side: int, count: int) -> None:
    """Write the same islands strewn over a large raster, and side by side."""
    random = np.random.default_rng(3)
    cells = int(np.ceil(np.sqrt(count)))
    room = side // cells
    places = random.permutation(cells * cells)[:count]
    shift = random.integers(0, room - PERIOD_PX, (count, 2))
    strewn = [
        (int(p % cells * room + dx), int(p // cells * room + dy))
        for p, (dx, dy) in zip(places, shift, strict=True)
    ]
    step = PERIOD_PX + GAP_PX
    beside = [(k % cells * step, k // cells * step) for k in range(count)]
    draw(large, (side, side), strewn)
    draw(small, (cells * step, -(-count // cells) * step), beside)


def tiles(path: Path) -> tuple[int, int]:
    """Return the number of tiles, and of those that hold data."""
    raster = open_raster(path)
    grid = Grid(raster.frame.window, TILE_PX, 128)
    valid = (t for t in grid if not raster.empty(t.read) and raster.read(t.read)[1].any())
    return len(grid), sum(1 for _ in valid)


def main() -> None:
    """Print one line per run, and with --json all of it as the last line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--side", type=int, default=100_000)
    parser.add_argument("--islands", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--prompt", default="vegetation, water")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {"large": [], "small": []}
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{name}.tif" for name in found}
        alone = multiprocessing.get_context("spawn")
        # In a process of its own: the peak of a child begins at what its parent holds.
        with ProcessPoolExecutor(1, alone) as helper:
            helper.submit(draw_both, paths["large"], paths["small"], args.side, args.islands)
        with ProcessPoolExecutor(1, alone) as helper:
            held = {name: helper.submit(tiles, path).result() for name, path in paths.items()}
        for _ in range(args.repeats):
            for name, path in paths.items():
                report = segment(path, args.prompt, Path(folder) / "map.gpkg", 1)
                found[name].append({**report, "work_s": sum(report["seconds"].values())})
                print(name, held[name], report["features"], report["seconds"], flush=True)
    if args.json:
        print(json.dumps(summary(found, held, args.side)))


def summary(
    found: dict[str, list[dict[str, Any]]], held: dict[str, tuple[int, int]], side: int
) -> dict[str, Any]:
    """Return the medians of both rasters."""

    def median(name: str, key: str) -> float:
        return statistics.median(run[key] for run in found[name])

    per_tile = {name: median(name, "work_s") / held[name][1] for name in found}
    return {
        "gigapixels": side**2 / 1e9,
        "tiles": held["large"][0],
        "valid_tiles": held["large"][1],
        "small_valid_tiles": held["small"][1],
        "seconds": round(median("large", "work_s"), 2),
        "small_seconds": round(median("small", "work_s"), 2),
        "wall_seconds": round(median("large", "wall_s"), 2),
        "seconds_per_valid_tile": round(per_tile["large"], 3),
        "small_seconds_per_valid_tile": round(per_tile["small"], 3),
        "peak_mb": round(median("large", "peak_mb"), 1),
        "small_peak_mb": round(median("small", "peak_mb"), 1),
        "features": found["large"][0]["features"],
        "small_features": found["small"][0]["features"],
        "steps": found["large"][-1]["seconds"],
        "small_steps": found["small"][-1]["seconds"],
    }


if __name__ == "__main__":
    main()
