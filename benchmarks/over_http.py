"""Does a COG over a bad network give the same map, and fetch no more than it needs?

    python benchmarks/over_http.py [--size 4096] [--drop 0.05] [--busy 0.05] [--delay 0.1] [--json]

Draws a COG, serves it on 127.0.0.1 with byte ranges, and segments it over HTTP: once through a
server that drops connections in the middle of a body, answers 503 and answers late (seeded), once
through one that works (`clean`), and once a COG of which a ninth is valid (`part`: an internal mask
tells that nothing else is). `bytes_needed` are the sizes of all blocks, as the TIFF's index tells,
that the tiles touch; `bytes_fetched` what the server sent, what was dropped half way included.
`counted` is what geoseg itself says it fetched.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.shutil import copy
from scaling import draw

import geoseg
from geoseg.geotiff import open_raster
from geoseg.grid import Grid
from geoseg.library import Traffic, traffic

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from ranges import Trouble, serve

CUT = {"tile": 1024, "overlap": 128}


def make(folder: Path, size: int) -> None:
    """Write a COG of a scene, and one of which the middle ninth is valid."""
    draw(folder / "plain.tif", size)
    third = size // 3
    with rasterio.open(folder / "plain.tif") as source:
        profile, data = source.profile, source.read()
        described = source.descriptions
    hole = np.zeros_like(data)
    hole[:, third : 2 * third, third : 2 * third] = data[:, third : 2 * third, third : 2 * third]
    with rasterio.open(folder / "hole.tif", "w", **{**profile, "nodata": 0}) as target:
        target.write(hole)
        target.descriptions = described
    for name, result in (("plain", "whole"), ("hole", "part")):
        options = {"driver": "COG", "blocksize": 512, "compress": "deflate", "SPARSE_OK": "TRUE"}
        copy(folder / f"{name}.tif", folder / f"{result}.tif", **options)


def needed(path: Path) -> int:
    """Return the bytes of all blocks that the tiles touch, each counted once."""
    frame = open_raster(path).frame
    touched = set()
    with rasterio.open(path) as source:
        height, width = source.block_shapes[0]
        for tile in Grid(frame.window, CUT["tile"], CUT["overlap"]):
            w = tile.read
            rows = range(w.y0 // height, -(-w.y1 // height))
            cols = range(w.x0 // width, -(-w.x1 // width))
            touched |= {(row, col) for row in rows for col in cols}
        sizes = [
            source.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=1) for row, col in touched
        ]
    return sum(int(size or 0) for size in sizes)


def measure(folder: Path, name: str, trouble: Trouble) -> dict[str, Any]:
    """Segment a file on the disk and over HTTP."""
    local = geoseg.segment(folder / f"{name}.tif", "vegetation, water", **CUT)
    before = traffic() or Traffic(0, 0)
    start = time.perf_counter()
    with serve(folder, trouble) as address:
        far = geoseg.segment(f"{address}/{name}.tif", "vegetation, water", **CUT)
    seconds = time.perf_counter() - start
    after = traffic() or Traffic(0, 0)
    least = needed(folder / f"{name}.tif")
    return {
        "identical": far.complete and far.features().equals(local.features()),
        "tiles": far.tiles,
        "requests": trouble.requests,
        "dropped": trouble.counts["drop"],
        "refused": trouble.counts["busy"],
        "delayed": trouble.counts["delay"],
        "bytes_fetched": trouble.bytes_sent,
        "bytes_needed": least,
        "bytes_of_file": (folder / f"{name}.tif").stat().st_size,
        "ratio": round(trouble.bytes_sent / least, 3),
        "counted": {
            "requests": after.requests - before.requests,
            "bytes": after.fetched_bytes - before.fetched_bytes,
        },
        "seconds": round(seconds, 2),
        "local_seconds": round(sum(local.seconds.values()), 2),
    }


def main() -> None:
    """Print one line per run, and with --json all of it as the last line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--drop", type=float, default=0.05)
    parser.add_argument("--busy", type=float, default=0.05)
    parser.add_argument("--delay", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    bad = {"drop": args.drop, "busy": args.busy, "delay": args.delay, "seed": args.seed}
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), args.size)
        found = measure(Path(folder), "whole", Trouble(**bad))
        print("whole", found, flush=True)
        for name, file in (("clean", "whole"), ("part", "part")):
            found[name] = measure(Path(folder), file, Trouble())
            print(name, found[name], flush=True)
    if args.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
