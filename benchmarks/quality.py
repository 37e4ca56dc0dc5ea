"""How good is the map of the built-in backend? Measured against the truth of real scenes.

    python benchmarks/quality.py --data DIR [--json]

`--data` is a folder with `forest/`, `water/`, `crowns/` and `buildings/` (see DATA.md of the
benchmark data); parts that are absent are left out. The default is the variable GEOSEG_DATA.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tomllib
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.features import rasterize
from scipy.optimize import linear_sum_assignment

import geoseg
from geoseg.legend import LandClass, Legend
from geoseg.raster import ArrayRaster

Mask = NDArray[np.bool_]

RGB = {"red": 1, "green": 2, "blue": 3}
SENTINEL2 = {"blue": 1, "green": 2, "red": 3, "nir": 4, "swir1": 5, "swir2": 6}
WATER_CLASSES = {"water": 1, "cloud": 4, "shadow": 0}
BOX_IOU = 0.4
LEAST_CROWN_PX = 150
"""Smaller crowns are not asked for: 1.5 m2 at 0.1 m."""


def open_raster(path: Path) -> ArrayRaster:
    """Return the first three bands of a file as an RGB raster in memory."""
    with rasterio.open(path) as image:
        crs = image.crs.to_wkt() if image.crs else None
        return ArrayRaster(image.read([1, 2, 3]), None, image.transform, crs, RGB)


def segment(raster: ArrayRaster, land_class: LandClass) -> gpd.GeoSeries:
    """Return the polygons of one class, in pixels, tiled as by default."""
    found = geoseg.segment(raster, Legend(classes=(land_class,))).features().geometry
    to_px = ~raster.transform
    return found.affine_transform([to_px.a, to_px.b, to_px.d, to_px.e, to_px.c, to_px.f])


def cover(raster: ArrayRaster, word: str) -> Mask:
    """Return the pixels (row, col) of a cover."""
    found = segment(raster, LandClass(name=word, kind="cover"))
    shape = raster.frame.window.shape
    return rasterize(found, shape).astype(bool) if len(found) else np.zeros(shape, bool)


class Overlap:
    """Counts of intersection and union over scenes."""

    def __init__(self) -> None:
        self.hit = 0
        self.both = 0

    def add(self, said: Mask, truth: Mask) -> None:
        """Count one scene."""
        self.hit += int((said & truth).sum())
        self.both += int((said | truth).sum())

    @property
    def iou(self) -> float:
        """Pooled intersection over union."""
        return round(self.hit / self.both, 4) if self.both else float("nan")


def forest(data: Path) -> dict[str, Any]:
    """Return the pooled IoU of forest over the Sentinel-2 RGB scenes."""
    paths = sorted((data / "forest" / "images").glob("*"))
    overlap = Overlap()
    for path in paths:
        raster = open_raster(path)
        height, width = raster.frame.window.shape
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            image = rasterio.open(data / "forest" / "masks" / f"{path.stem}.png")
        with image:
            truth = image.read(1)[:height, :width] == 1
        overlap.add(cover(raster, "forest"), truth)
    return {
        "forest_iou": overlap.iou,
        "forest_iou_cv_of_calibration": calibrated("forest_haze"),
        "n_scenes": len(paths),
    }


def calibrated(name: str) -> float | None:
    """Return the IoU on unseen scenes that calibrate_spectral.py noted in the table."""
    table = resources.files("geoseg.backends.spectral").joinpath("table.toml").read_text("utf-8")
    block = table.partition(f"# >>> {name}\n")[2].partition(f"# <<< {name}\n")[0]
    note = tomllib.loads(block)["rule"][0]["note"]
    return float(note.partition("pooled pixel IoU ")[2].split()[0]) if note else None


def water(data: Path) -> dict[str, Any]:
    """Return the IoU of water, cloud and shadow on the six-band Sentinel-2 scene."""
    scene = np.load(data / "water" / "sentinel2.npz")
    raster = ArrayRaster(np.moveaxis(scene["img"], -1, 0), roles=SENTINEL2)
    result = {}
    for word, value in WATER_CLASSES.items():
        overlap = Overlap()
        overlap.add(cover(raster, word), scene["msk"][..., 0] == value)
        result[f"{word}_iou"] = overlap.iou
    return result


def buildings(data: Path) -> dict[str, Any]:
    """Return the pooled IoU of built-up over building footprints on the drone mosaics."""
    overlap = Overlap()
    for path in sorted((data / "buildings").glob("*.tif")):
        raster = open_raster(path)
        shapes = json.loads(path.with_suffix(".geojson").read_text("utf-8"))["features"]
        truth = rasterize(
            [(s["geometry"], 1) for s in shapes],
            raster.frame.window.shape,
            transform=raster.transform,
            dtype="uint8",
        )
        overlap.add(cover(raster, "built-up"), truth.astype(bool))
    return {"building_iou": overlap.iou}


def crowns(data: Path) -> dict[str, Any]:
    """Return recall and precision of crown boxes at IoU 0.4: all tiles, and the dense one."""
    counts = {"": [0, 0, 0], "dense_": [0, 0, 0]}
    paths = sorted((data / "crowns").glob("*.tif"))
    for path in paths:
        truth = boxes_of(path)
        found = segment(open_raster(path), LandClass(name="tree", kind="object"))
        large = found[found.area >= LEAST_CROWN_PX]
        boxes = large.bounds.to_numpy().round().astype(np.int32)
        scored = (matches(boxes, truth), len(boxes), len(truth))
        for key in ("", "dense_") if path.with_suffix(".csv").exists() else ("",):
            counts[key] = [a + b for a, b in zip(counts[key], scored, strict=True)]
    result: dict[str, Any] = {"n_crown_tiles": len(paths)}
    for key, (hit, said, true) in counts.items():
        result[f"{key}crown_recall"] = round(hit / max(true, 1), 4)
        result[f"{key}crown_precision"] = round(hit / max(said, 1), 4)
    return result


def boxes_of(path: Path) -> NDArray[np.int32]:
    """Return the crown boxes (n, 4) x0, y0, x1, y1 that belong to an image."""
    table = path.with_suffix(".csv")
    corners = ("xmin", "ymin", "xmax", "ymax")
    rows: list[Mapping[str, str]]
    if table.exists():
        with table.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    else:
        found = ET.parse(path.with_suffix(".xml")).getroot().iter("bndbox")  # noqa: S314
        rows = [{c: box.findtext(c) or "0" for c in corners} for box in found]
    boxes = [[int(float(row[c])) for c in corners] for row in rows]
    return np.array(boxes, np.int32).reshape(-1, 4)


def matches(said: NDArray[np.int32], true: NDArray[np.int32]) -> int:
    """Return how many boxes can be paired one to one at BOX_IOU."""
    low = np.maximum(said[:, None, :2], true[None, :, :2])
    high = np.minimum(said[:, None, 2:], true[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    area = [(b[:, 2:] - b[:, :2]).prod(axis=1) for b in (said, true)]
    good = shared >= BOX_IOU * (area[0][:, None] + area[1][None] - shared)
    rows, cols = linear_sum_assignment(good, maximize=True)
    return int(good[rows, cols].sum())


PARTS = {"forest": forest, "water": water, "crowns": crowns, "buildings": buildings}


def main() -> int:
    """Measure what the folder has truth for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("GEOSEG_DATA"))
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    given = parser.parse_args()
    if given.data is None or not Path(given.data).is_dir():
        sys.stderr.write(f"no data folder '{given.data}'; pass --data DIR or set GEOSEG_DATA\n")
        return 2
    result: dict[str, Any] = {}
    for name, part in PARTS.items():
        if (Path(given.data) / name).is_dir():
            result |= part(Path(given.data))
    if not result:
        sys.stderr.write(f"'{given.data}' has none of: {', '.join(PARTS)}\n")
        return 2
    for name, value in result.items():
        print(f"{name:24} {value}")
    if given.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
