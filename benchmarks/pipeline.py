"""Is the accelerator ever left waiting for the CPU?

    python benchmarks/pipeline.py [--size 8192] [--repeats 3] [--json]

The device is simulated: 20 ms of sleep per tile of 1024 px, also in a batch, which leave the CPU
free as a GPU would; then it answers 20 objects of 60 px. `busy` is tiles x 20 ms over the wall time
from the first call of the device to the last stored tile (`busy_with_start`: from the call of
detect_each, the first read included). What the sleep lasts longer than asked, and what waiting for
the interpreter adds to it, counts as idle. `plain` is the same work one after the other: windowed
read, stretch, device, flatten and store. Medians of the repeats. Of two files, both tiled, deflate,
the keys at the top are of 3 bands of uint8; 4 of uint16 (under `files`) need 28 of the 40 ms that
two cores have for each tile. `cpu` is what the way took of all cores: near 1 the machine is too
small, and well below it with a device that waits, others were at work on it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.windows import Window as RasterioWindow
from scaling import PERIOD_PX, pattern

import geoseg
from geoseg.detect import Job, detect_each
from geoseg.flatten import flatten
from geoseg.folder import LocalFolder
from geoseg.geotiff import open_raster
from geoseg.grid import Grid
from geoseg.pixels import Pixels
from geoseg.store import Store
from geoseg.stretch import fit_stretch

if TYPE_CHECKING:
    from collections.abc import Sequence

DEVICE_S = 0.020
OBJECTS, OBJECT_PX = 20, 60
FILES = {"uint8": 3, "uint16": 4}
LEGEND = geoseg.Legend.parse("house").model_copy(
    update={"classes": (geoseg.LandClass(name="house", kind="object", threshold=0.5),)}
)


def disc() -> np.ndarray[Any, Any]:
    """Return the mask of an object, (OBJECT_PX, OBJECT_PX)."""
    y, x = np.mgrid[:OBJECT_PX, :OBJECT_PX] - (OBJECT_PX - 1) / 2
    return x**2 + y**2 < (OBJECT_PX / 2) ** 2


@dataclass(frozen=True)
class Accelerator:
    """A device that takes its time and answers without looking."""

    identity: str = "accelerator"
    halo_px: int = 0
    wants_rgb: bool = True
    mask: np.ndarray[Any, Any] = field(default_factory=disc)
    places: np.ndarray[Any, Any] = field(
        default_factory=lambda: np.random.default_rng(0).random((OBJECTS, 2))
    )
    """Where objects are, in parts of a tile."""
    calls: list[float] = field(default_factory=list)
    """When each call came."""

    def segment(self, tiles: Sequence[Pixels]) -> list[geoseg.Instances]:
        """Return the same objects for each tile."""
        self.calls.append(time.perf_counter())
        for tile in tiles:
            tile.rgb()
        time.sleep(DEVICE_S * len(tiles))
        return [self.answer(tile) for tile in tiles]

    def answer(self, tile: Pixels) -> geoseg.Instances:
        """Return objects that were drawn beforehand."""
        room = (tile.window.width - OBJECT_PX, tile.window.height - OBJECT_PX)
        corner = (self.places * room).astype(np.int32)
        return geoseg.Instances(
            np.hstack((corner, corner + OBJECT_PX)),
            [self.mask] * OBJECTS,
            np.zeros(OBJECTS, np.int32),
            np.linspace(0.5, 1, OBJECTS, dtype=np.float32),
        )


def draw(path: Path, size: int, dtype: str) -> None:
    """Write a scene."""
    count = FILES[dtype]
    block = pattern(7)[:count].astype(dtype) * (37 if dtype == "uint16" else 1)
    profile = {
        "driver": "GTiff", "width": size, "height": size, "count": count, "dtype": dtype,
        "crs": "EPSG:32633", "transform": rasterio.Affine(1, 0, 5e5, 0, -1, 5e6), "tiled": True,
        "blockxsize": 512, "blockysize": 512, "compress": "deflate", "zlevel": 1,
        "interleave": "pixel", "photometric": "MINISBLACK",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as target:
        for number, role in enumerate(("red", "green", "blue", "nir")[:count], 1):
            target.set_band_description(number, role)
        for y in range(0, size, PERIOD_PX):
            for x in range(0, size, PERIOD_PX):
                height, width = min(PERIOD_PX, size - y), min(PERIOD_PX, size - x)
                target.write(block[:, :height, :width], window=RasterioWindow(x, y, width, height))


def prepare(path: Path, folder: Path, batch: int) -> Job:
    """Return a run that has everything but its tiles."""
    raster = open_raster(path)
    store = Store(
        LocalFolder(Path(tempfile.mkdtemp(dir=folder)) / "run"),
        Grid(raster.frame.window, 1024, 128),
    )
    store.open({})
    return Job(raster, Accelerator(), LEGEND, fit_stretch(raster, raster.roles), store, batch)


def pipelined(job: Job) -> None:
    """Work as a run does."""
    receipts = list(detect_each(job, range(len(job.grid))))
    if any(r.error for r in receipts):
        raise SystemExit(f"a tile failed: {receipts}")


def plain(job: Job) -> None:
    """Work as a loop does."""
    with rasterio.open(job.raster.path) as source:
        for index, tile in enumerate(job.grid):
            w = tile.read
            data = source.read(window=RasterioWindow(w.x0, w.y0, w.width, w.height))
            valid = np.ones(w.shape, bool)
            scope = job.scope(index)
            picture = job.stretch.apply(data)
            shown = Pixels(w, data, valid, job.stretch, scope.trust, tile.core, picture)
            (answer,) = job.backend.segment([shown])
            job.store.put(index, flatten(answer, job.legend, valid, scope))


def measure(path: Path, batch: int | None) -> dict[str, float]:
    """Return how busy the device was, and seconds; `batch` None is the plain loop."""
    with tempfile.TemporaryDirectory() as folder:
        job = prepare(path, Path(folder), batch or 1)
        start, spent = time.perf_counter(), time.process_time()
        plain(job) if batch is None else pipelined(job)
        stop, spent = time.perf_counter(), time.process_time() - spent
    work = DEVICE_S * len(job.grid)
    first = job.backend.calls[0]
    return {
        "busy": work / (stop - first),
        "busy_with_start": work / (stop - start),
        "seconds": stop - first,
        "cpu": spent / (stop - start) / (os.cpu_count() or 1),
    }


def main() -> None:
    """Print one line per file, and with --json all of it as the last line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    ways: dict[str, int | None] = {"batch_1": 1, "batch_8": 8, "plain": None}
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for dtype in FILES:
            path = Path(folder) / f"{dtype}.tif"
            draw(path, args.size, dtype)
            # Turn and turn about: the machine's speed drifts.
            rounds = [{w: measure(path, n) for w, n in ways.items()} for _ in range(args.repeats)]
            found[dtype] = {
                f"{key}_{way}": round(statistics.median(r[way][key] for r in rounds), 3)
                for key in rounds[0]["plain"]
                for way in ways
            }
            print(dtype, found[dtype], flush=True)
    if args.json:
        print(json.dumps({**found["uint8"], "cores": os.cpu_count(), "files": found}))


if __name__ == "__main__":
    main()
