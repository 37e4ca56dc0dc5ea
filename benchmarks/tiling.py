"""Does the map depend on the tiling or on the number of processes?

    python benchmarks/tiling.py RASTER [--prompts "vegetation;tree"] [--json]

Each prompt is segmented with tiles of 512/128, 1024/256 and untiled, with 1 and 2 processes; all
must be identical, geometry and attributes, but for n_tiles and seam_iou, which tell of the tiles.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import geoseg
from geoseg.export import COLUMNS

UNTILED = 1 << 20
LAYOUTS = ((512, 128, 1), (1024, 256, 1), (UNTILED, 128, 1), (512, 128, 2), (1024, 256, 2))
SAME = [c for c in COLUMNS if c not in ("n_tiles", "seam_iou")]


def compare(raster: str, prompt: str) -> dict[str, Any]:
    """Return how many features there are and whether every layout gives the same."""
    reference = None
    identical, seconds = True, []
    for tile, overlap, workers in LAYOUTS:
        start = time.perf_counter()
        run = geoseg.segment(raster, prompt, tile=tile, overlap=overlap, workers=workers)
        seconds.append(round(time.perf_counter() - start, 2))
        found = run.features()
        if reference is None:
            reference = found
            continue
        identical &= found[SAME].equals(reference[SAME])
        identical &= list(found.geometry.to_wkb()) == list(reference.geometry.to_wkb())
    count = 0 if reference is None else len(reference)
    return {"prompt": prompt, "features": count, "identical": bool(identical), "seconds": seconds}


def main() -> None:
    """Print one line per prompt, and with --json all of it as the last line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("raster")
    parser.add_argument("--prompts", default="vegetation;tree", help="prompts, separated by ;")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = []
    for prompt in args.prompts.split(";"):
        rows.append(compare(args.raster, prompt))
        print(rows[-1], flush=True)
    if args.json:
        print(json.dumps({"identical": all(r["identical"] for r in rows), "runs": rows}))


if __name__ == "__main__":
    main()
