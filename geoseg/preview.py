"""What does the map look like? Polygons over the raster as a PNG, without a plotting library."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
import rasterio.features
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from geoseg.legend import Legend
from geoseg.overview import SIDE_PX, overview
from geoseg.raster import RasterReader

if TYPE_CHECKING:
    import geopandas as gpd

FILL = 0.35
"""Opacity of the polygons' inside; outlines are solid."""


def draw_map(
    raster: RasterReader, features: gpd.GeoDataFrame, legend: Legend, path: str | Path
) -> None:
    """Draw features in their class's colour over the raster and write a PNG.

    Args:
        raster: The picture beneath, thinned or enlarged to about SIDE_PX.
        features: Columns class and geometry, in the raster's CRS.
        legend: Gives classes their colours.
        path: The PNG.
    """
    seen = overview(raster)
    zoom = max(SIDE_PX // max(raster.frame.width, raster.frame.height), 1)
    image = seen.image.astype(np.float32).repeat(zoom, axis=0).repeat(zoom, axis=1)
    transform = seen.transform @ Affine.scale(1 / zoom)
    for land_class in legend.classes:
        shapes = features.geometry[features["class"] == land_class.name]
        if len(shapes) == 0:
            continue
        colour = np.frombuffer(bytes.fromhex(land_class.colour[1:]), np.uint8)
        size = {"out_shape": image.shape[:2], "transform": transform}
        inside = rasterio.features.rasterize(shapes, **size) > 0
        image[inside] = image[inside] * (1 - FILL) + colour * FILL
        outline = rasterio.features.rasterize(shapes.boundary, all_touched=True, **size) > 0
        image[outline] = colour
    _write_png(path, image.astype(np.uint8))


def _write_png(path: str | Path, image: NDArray[np.uint8]) -> None:
    height, width, _ = image.shape
    profile = {"driver": "PNG", "width": width, "height": height, "count": 3, "dtype": "uint8"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile) as target:
            target.write(np.moveaxis(image, -1, 0))
