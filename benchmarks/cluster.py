"""Does a Dask cluster give the same file, also when a worker is killed half way?

    python benchmarks/cluster.py [--size 2048] [--tile 256] [--json]

Draws a synthetic 4-band scene, starts a cluster of two worker processes on the loopback, and
segments the scene in this process, in two processes, on the cluster, and on the cluster while one
of its workers is killed. Seconds are of whole runs, side by side; a cluster on one machine cannot
be faster than two processes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from distributed import LocalCluster
from scipy import ndimage

import geoseg


def draw(path: Path, size: int) -> None:
    """Write a scene of plants on soil: (red, green, blue, nir) uint8."""
    noise = np.random.default_rng(0).standard_normal((size, size))
    field = ndimage.gaussian_filter(noise, 12)
    plants = field > 0.2 * field.std()
    colours = ((60, 150), (90, 130), (55, 105), (180, 150))
    profile = {
        "driver": "GTiff", "width": size, "height": size, "count": 4, "dtype": "uint8",
        "crs": "EPSG:32633", "transform": Affine(1, 0, 500_000, 0, -1, 5_000_000), "tiled": True,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as target:
        target.write(np.stack([np.where(plants, a, b) for a, b in colours]).astype(np.uint8))
        for number, role in enumerate(("red", "green", "blue", "nir"), 1):
            target.set_band_description(number, role)


def run(scene: Path, out: Path, tile: int, **options: Any) -> tuple[bytes, float]:
    """Return the map's bytes, and seconds."""
    begin = time.perf_counter()
    geoseg.segment(scene, "vegetation", out=out, tile=tile, overlap=32, **options)
    return out.read_bytes(), round(time.perf_counter() - begin, 2)


class Killer:
    """Kills a worker when half of the tiles are done."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._pid = next(iter(cluster.workers.values())).pid
        self.has_killed = False

    def __call__(self, step: str, done: int, total: int) -> None:
        """See how far the run is."""
        if step == "detect" and total // 2 <= done < total and not self.has_killed:
            os.kill(self._pid, signal.SIGKILL)
            self.has_killed = True


def measure(folder: Path, size: int, tile: int) -> dict[str, Any]:
    """Return whether all files are the same, and seconds of each way."""
    scene = folder / "scene.tif"
    draw(scene, size)
    serial, serial_s = run(scene, folder / "serial.gpkg", tile)
    processes, processes_s = run(scene, folder / "processes.gpkg", tile, workers=2)
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=50,
    ) as cluster:
        address = cluster.scheduler_address
        dask, dask_s = run(scene, folder / "dask.gpkg", tile, scheduler=address)
        killer = Killer(cluster)
        killed, killed_s = run(
            scene, folder / "killed.gpkg", tile, scheduler=address, progress=killer
        )
    return {
        "identical": serial == processes == dask,
        "killed_worker_identical": killer.has_killed and killed == serial,
        "map_bytes": len(serial),
        "seconds": {
            "serial": serial_s,
            "processes": processes_s,
            "dask": dask_s,
            "dask_one_worker_killed": killed_s,
        },
    }


def main() -> None:
    """Print what was found, with --json as one line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--tile", type=int, default=256)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), args.size, args.tile)
    print(json.dumps(found, indent=None if args.json else 1))


if __name__ == "__main__":
    main()
