"""Does memory stay flat, and time grow with the pixels only?

    python benchmarks/scaling.py [--sizes 4096,8192,16384] [--prompt "vegetation, water"] [--json]

Draws a synthetic 4-band scene (red, green, blue, near infrared; uint8, tiled, deflate) of each
size, reads it plainly window by window, and segments it with `geoseg segment`, each in a process of
its own. Rates are of the run's own steps; starting Python and fitting is told apart as `start_s`.
Objects per megapixel are the same at every size. Needs 0.6 GB of disk at 16384.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window
from scipy import ndimage

PERIOD_PX = 2048
TILE_PX = 1024


def pattern(seed: int) -> np.ndarray[Any, Any]:
    """Return one period of the scene, (4, PERIOD_PX, PERIOD_PX) uint8, seamless at its edges."""
    rng = np.random.default_rng(seed)
    shape = (PERIOD_PX, PERIOD_PX)

    def field(sigma: float) -> np.ndarray[Any, Any]:
        noise = ndimage.gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
        return noise / noise.std()

    plants = field(40) + 0.5 * field(12) > 0.2
    water = field(60) > 1.2
    colours = np.array([[150, 130, 105, 150], [60, 90, 55, 180], [40, 60, 80, 20]], np.float64)
    cover = np.where(water, 2, plants.astype(int))
    speckle = rng.normal(0, 4, (4, *shape)) + 6 * field(2)
    scene = np.moveaxis(colours[cover], -1, 0) + speckle
    return np.clip(np.rint(scene), 1, 255).astype(np.uint8)


def draw(path: Path, size: int) -> None:
    """Write a scene that repeats the pattern."""
    block = pattern(7)
    profile = {
        "driver": "GTiff", "width": size, "height": size, "count": 4, "dtype": "uint8",
        "crs": "EPSG:32633", "transform": Affine(1, 0, 500_000, 0, -1, 5_000_000), "tiled": True,
        "blockxsize": 512, "blockysize": 512, "compress": "deflate", "zlevel": 1,
        "interleave": "pixel", "bigtiff": "if_safer",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as target:
        for number, role in enumerate(("red", "green", "blue", "nir"), 1):
            target.set_band_description(number, role)
        for y in range(0, size, PERIOD_PX):
            for x in range(0, size, PERIOD_PX):
                height, width = min(PERIOD_PX, size - y), min(PERIOD_PX, size - x)
                target.write(block[:, :height, :width], window=Window(x, y, width, height))


def read_plainly(path: Path) -> float:
    """Return the seconds that reading every window once takes."""
    start = time.perf_counter()
    with rasterio.Env(GDAL_CACHEMAX=64 * 2**20), rasterio.open(path) as source:
        for y in range(0, source.height, TILE_PX):
            for x in range(0, source.width, TILE_PX):
                source.read(window=Window(x, y, TILE_PX, TILE_PX))
    return time.perf_counter() - start


def segment(path: Path, prompt: str, out: Path, workers: int) -> dict[str, Any]:
    """Run the command; returns its own report, wall seconds and peak memory in MB."""
    command = [sys.executable, "-m", "geoseg.cli", "segment", str(path), "--prompt", prompt]
    command += ["--out", str(out), "--overwrite", "--json", "--workers", str(workers)]
    return watched(command)


def watched(command: list[str]) -> dict[str, Any]:
    """Run a command of geoseg with --json; returns its report, wall seconds and peak memory."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        text = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"geoseg ended with {process.returncode}")
    report: dict[str, Any] = json.loads(text.splitlines()[-1])
    report["wall_s"] = time.perf_counter() - start
    report["peak_mb"] = usage.ru_maxrss / 1024
    return report


def alone(work: Any, *arguments: Any) -> Any:
    """Work in a process of its own: the peak of a child begins at what its parent holds."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as helper:
        return helper.submit(work, *arguments).result()


def measure(size: int, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Measure one size."""
    path = folder / f"scene{size}.tif"
    alone(draw, path, size)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as helper:
        # Read before and after: the machine's speed drifts.
        before = helper.submit(read_plainly, path).result()
        report = segment(path, args.prompt, folder / "map.gpkg", args.workers)
        plain = (before + helper.submit(read_plainly, path).result()) / 2
    path.unlink()
    megapixels = size * size / 1e6
    seconds = report["seconds"]
    after, work = seconds["stitch"] + seconds["write"], sum(seconds.values())
    return {
        "size": size,
        "features": report["features"],
        "peak_mb": round(report["peak_mb"], 1),
        "wall_s": round(report["wall_s"], 2),
        "start_s": round(report["wall_s"] - work, 2),
        "s_per_megapixel": round(work / megapixels, 4),
        "megapixels_per_s": round(megapixels / work, 2),
        "plain_read_megapixels_per_s": round(megapixels / plain, 2),
        "speed_ratio": round(plain / work, 3),
        "stitch_and_write_share": round(after / work, 3),
        "seconds": seconds,
    }


def main() -> None:
    """Print one line per size, and with --json all of it as the last line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", default="4096,8192,16384")
    parser.add_argument("--prompt", default="vegetation, water")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size in map(int, args.sizes.split(",")):
            rows.append(measure(size, Path(folder), args))
            print(rows[-1], flush=True)
    if args.json:
        peaks = [r["peak_mb"] for r in rows]
        times = [r["s_per_megapixel"] for r in rows]
        print(
            json.dumps(
                {
                    "memory_growth": round(peaks[-1] / peaks[0] - 1, 4),
                    "time_spread": round(max(times) / min(times) - 1, 4),
                    "runs": rows,
                }
            )
        )


if __name__ == "__main__":
    main()
