"""Are the seams exact? The torture scenes, with a model that is perfect inside every tile.

    python benchmarks/torture.py --harness DIR [--sizes 2048,4096,8192] [--json]

DIR is the folder of the seam-torture harness (run.py, scenes.py, oracle.py). Its own `ideal`, which
gives the model the whole raster in memory, is run beside geoseg for the ratios of time and memory.
Needs the extra `bench`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import geoseg
from geoseg.pixels import Pixels

if TYPE_CHECKING:
    import geopandas as gpd

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Oracle:
    """The harness's perfect model as a geoseg backend."""

    model: Any
    """Callable that takes a (row, col, 3) uint8 tile and returns its instances."""
    identity: str = "oracle"
    halo_px: int = 0

    def segment(self, tiles: Sequence[Pixels]) -> list[geoseg.Instances]:
        """Ask the model about each tile; converting its answer is charged to the model."""
        return [self._one(tile) for tile in tiles]

    def _one(self, tile: Pixels) -> geoseg.Instances:
        found = self.model(tile.rgb())
        with self.model.clock():
            if not found:
                return geoseg.Instances.empty()
            return geoseg.Instances(
                np.array([i.box for i in found], np.int32),
                [i.mask for i in found],
                np.array([self.model.prompts.index(i.label) for i in found], np.int32),
                np.array([i.score for i in found], np.float32),
            )


def segment(raster_path: Path, model: Any, tile: int, overlap: int) -> gpd.GeoDataFrame:
    """Run geoseg's public API in the plug-in form of the harness."""
    legend = geoseg.Legend(
        classes=tuple(geoseg.LandClass(name=name, kind="object") for name in model.prompts)
    )
    run = geoseg.segment(raster_path, legend, backend=Oracle(model), tile=tile, overlap=overlap)
    return run.features()


def measure(harness: Path, tool: str, size: int, grid: tuple[int, int]) -> dict[str, Any]:
    """Run one tool on one scene in a watched process; returns the harness's row."""
    tile, overlap = grid
    command = [sys.executable, "run.py", "--tool", tool, "--size", size, "--tile", tile]
    command += ["--overlap", overlap, "--limit-s", 1800]
    paths = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [str(part) for part in command],
        cwd=harness,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{tool} at {size}: {done.stderr[-2000:]}")
    row: dict[str, Any] = json.JSONDecoder().raw_decode(done.stdout)[0]
    if row["status"] != "ok":
        raise SystemExit(f"{tool} at {size}: {row['status']} {row.get('error', '')}")
    return row


def main() -> None:
    """Print one line per run, and with --json all of it as the last line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--harness", type=Path, required=True)
    parser.add_argument("--sizes", default="2048,4096,8192")
    parser.add_argument("--grids", default="1024/128,512/64")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = []
    for size in map(int, args.sizes.split(",")):
        ideal = measure(args.harness, "ideal", size, (1024, 128))
        for text in args.grids.split(","):
            tile, overlap = map(int, text.split("/"))
            ours = measure(args.harness, "torture:segment", size, (tile, overlap))
            row = {
                "size": size,
                "tile": tile,
                "overlap": overlap,
                "F1": ours["F1@0.999"],
                "macro_recall": ours["macro_R@0.999"],
                "wall_s": round(ours["wall_s"], 2),
                "peak_gb": round(ours["peak_gb"], 3),
                "ideal_wall_s": round(ideal["wall_s"], 2),
                "ideal_peak_gb": round(ideal["peak_gb"], 3),
                "time_ratio": round(ours["wall_s"] / ideal["wall_s"], 2),
                "memory_ratio": round(ours["peak_gb"] / ideal["peak_gb"], 2),
            }
            rows.append(row)
            print(row, flush=True)
    if args.json:
        exact = all(r["F1"] == r["macro_recall"] == 1 for r in rows)
        print(json.dumps({"exact": exact, "runs": rows}))


if __name__ == "__main__":
    main()
