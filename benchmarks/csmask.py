"""Does csmask, tiled and turned into polygons, keep the accuracy that its makers' net has?

    python benchmarks/csmask.py --data DIR [--json]

`--data` is a folder with `water/sentinel2.npz` (512x512, six bands of reflectance, five classes).
The reference is the net run by hand on 2x2 windows of 256 pixels. Needs `geoseg[csmask]`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from rasterio.features import rasterize

import geoseg
from geoseg.backends import Backend
from geoseg.backends.clouds import Cloudless
from geoseg.backends.compose import load
from geoseg.backends.csmask import Csmask, card, folder
from geoseg.export import COLUMNS
from geoseg.legend import LandClass, Legend
from geoseg.raster import ArrayRaster

Classes = NDArray[np.int64]
"""(row, col) index into CLASSES, or NOBODY."""

CLASSES = ("shadow", "water", "snow", "land", "cloud")
NOBODY = -1
WATER = CLASSES.index("water")
UNTILED = {"tile": 4096, "overlap": 448}
TILED = {"tile": 504, "overlap": 448}
SAME = [c for c in COLUMNS if c not in ("n_tiles", "seam_iou")]


def by_hand(picture: NDArray[np.float32]) -> Classes:
    """Return the net's first choice for (row, col, band) reflectance, from 2x2 windows."""
    wanted = card("csmask6")
    mean, std = (np.array(v, np.float32) for v in (wanted.input.mean, wanted.input.std))
    session = onnxruntime.InferenceSession(
        str(folder() / wanted.model), providers=["CPUExecutionProvider"]
    )
    side = wanted.input.size_px
    shown = (picture - mean) / std
    out = np.full(picture.shape[:2], NOBODY)
    for y in range(0, picture.shape[0], side):
        for x in range(0, picture.shape[1], side):
            window = shown[None, y : y + side, x : x + side]
            said = session.run(None, {session.get_inputs()[0].name: window})[0][0]
            out[y : y + side, x : x + side] = said.argmax(axis=-1)
    return out


def legend(*words: str, threshold: float | None = None) -> Legend:
    """Return one cover per word."""
    return Legend(
        classes=tuple(LandClass(name=w, kind="cover", threshold=threshold) for w in words)
    )


def painted(found: gpd.GeoDataFrame, shape: tuple[int, int]) -> Classes:
    """Return the class of each pixel of a map in pixels."""
    shapes = [(g, CLASSES.index(c)) for g, c in zip(found.geometry, found["class"], strict=True)]
    if not shapes:
        return np.full(shape, NOBODY)
    image: Classes = rasterize(shapes, shape, fill=NOBODY, dtype="int16").astype(np.int64)
    return image


def score(said: Classes, truth: Classes) -> dict[str, float]:
    """Return accuracy over all pixels and the IoU of water."""
    water = [x == WATER for x in (said, truth)]
    return {
        "accuracy": round(float((said == truth).mean()), 4),
        "water_iou": round(float((water[0] & water[1]).sum() / (water[0] | water[1]).sum()), 4),
    }


def border_ratio(said: Classes) -> float:
    """Return how often the class changes at borders of the lattice's cells, 1 for as elsewhere."""
    wanted = card("csmask6").input
    stride = wanted.size_px - 2 * wanted.margin_px
    at, elsewhere = [], []
    for image in (said, said.T):
        changes = (image[1:] != image[:-1]).mean(axis=1)
        border = np.arange(1, len(image)) % stride == 0
        at.append(changes[border].mean())
        elsewhere.append(changes[~border].mean())
    return round(float(np.mean(at) / np.mean(elsewhere)), 2)


def measure(raster: ArrayRaster, truth: Classes) -> dict[str, Any]:
    """Return figures of the map, tiled and untiled: all classes, and water at the default."""
    result: dict[str, Any] = {}
    maps = {}
    everything = legend(*CLASSES, threshold=0.0)
    for name, cut in (("untiled", UNTILED), ("tiled", TILED)):
        start = time.perf_counter()
        run = geoseg.segment(raster, everything, backend=Csmask(), **cut)
        maps[name] = run.features()
        result[f"{name}_seconds"] = round(time.perf_counter() - start, 2)
        result[f"{name}_tiles"] = run.tiles
        for key, value in score(painted(maps[name], truth.shape), truth).items():
            result[f"{name}_{key}"] = value
    result["cell_border_ratio"] = border_ratio(painted(maps["untiled"], truth.shape))
    one, two = maps["untiled"], maps["tiled"]
    result["identical"] = bool(
        one[SAME].equals(two[SAME]) and list(one.geometry.to_wkb()) == list(two.geometry.to_wkb())
    )
    found = geoseg.segment(raster, legend("water"), backend=Csmask(), **UNTILED).features()
    result["water_iou_at_0.5"] = score(painted(found, truth.shape), truth)["water_iou"]
    return result


def under_clouds(raster: ArrayRaster, truth: Classes, backend: Backend) -> float:
    """Return the share of cloud and shadow that a map of the ground covers."""
    asked = legend("vegetation", "water", "bare soil", "built-up")
    found = geoseg.segment(raster, asked, backend=backend, tile=1024, overlap=512).features()
    hidden = np.isin(truth, [CLASSES.index("cloud"), CLASSES.index("shadow")])
    return round(float((rasterize(found.geometry, truth.shape) > 0)[hidden].mean()), 4)


def main() -> int:
    """Measure on the published scene."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("GEOSEG_DATA"))
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    given = parser.parse_args()
    path = Path(given.data or ".") / "water" / "sentinel2.npz"
    if not path.is_file():
        sys.stderr.write(f"no '{path}'; pass --data DIR or set GEOSEG_DATA\n")
        return 2
    scene = np.load(path)
    truth: Classes = scene["msk"][..., 0].astype(np.int64)
    bands = card("csmask6").input.bands
    raster = ArrayRaster(
        np.moveaxis(scene["img"], -1, 0), roles={role: i for i, role in enumerate(bands, 1)}
    )
    result = {f"reference_{k}": v for k, v in score(by_hand(scene["img"]), truth).items()}
    result |= measure(raster, truth)
    result["under_clouds_spectral"] = under_clouds(raster, truth, load("spectral"))
    masked = Cloudless(load("spectral"), Csmask())
    result["under_clouds_cloudless"] = under_clouds(raster, truth, masked)
    for name, value in result.items():
        print(f"{name:24} {value}")
    if given.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
