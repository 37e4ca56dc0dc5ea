"""What is the outline that somebody drew over a map, in the map's own CRS?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyproj
import shapely

from geoseg.area import polygonal
from geoseg.errors import ConfigError
from geoseg.export.by_hand import whole
from geoseg.frame import Frame
from geoseg.reproject import horizontal, in_pixels

_NAME = "the outline"


def redrawn(polygon: shapely.Geometry, crs: Any, frame: Frame) -> shapely.MultiPolygon:
    """Return a drawn polygon in the CRS of a raster.

    Args:
        polygon: (Multi)polygon; where it crosses itself, it is mended.
        crs: Its CRS, in any form that pyproj reads; None: that of the raster.
        frame: The raster's.

    Raises:
        ConfigError: It encloses no ground, lies off the raster, or cannot be brought to its CRS.
    """
    flat = shapely.force_2d(polygon)
    if not np.isfinite(shapely.get_coordinates(flat)).all():
        raise ConfigError(f"{_NAME} has coordinates that are no numbers")
    valid = shapely.make_valid(flat, method="structure", keep_collapsed=False)
    parts = polygonal(shapely.get_parts(np.array([valid], object)))
    placed = parts
    if crs is not None:
        if frame.crs is None:
            raise ConfigError(f"{_NAME} has a CRS, the map has none; leave crs out")
        pixels, _ = in_pixels(parts, _wkt(crs), frame, _NAME)
        grid = frame.window
        near = shapely.intersects(pixels, shapely.box(grid.x0, grid.y0, grid.x1, grid.y1))
        placed = shapely.transform(pixels[near], frame.to_crs)
        placed = polygonal(shapely.make_valid(placed, method="structure", keep_collapsed=False))
    if not len(placed) or not _touches(placed, frame):
        raise ConfigError(
            f"{_NAME} encloses no ground of the map's raster: give a polygon on it, and its CRS, "
            "as crs='EPSG:4326'"
        )
    return whole(shapely.union_all(placed))


def _wkt(crs: Any) -> str:
    try:
        return horizontal(crs, _NAME)
    except pyproj.exceptions.CRSError as error:
        raise ConfigError(f"{_NAME}: '{crs}' is no coordinate reference system") from error


def _touches(placed: Any, frame: Frame) -> bool:
    grid = frame.window
    pixels = shapely.transform(placed, frame.to_pixels)
    return bool(shapely.intersects(pixels, shapely.box(grid.x0, grid.y0, grid.x1, grid.y1)).any())
