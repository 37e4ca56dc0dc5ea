"""What is the outline that somebody drew over a map, in the map's own CRS?"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely

from geoseg.area import polygonal
from geoseg.errors import ConfigError
from geoseg.export.by_hand import whole
from geoseg.frame import Frame
from geoseg.reproject import horizontal, in_pixels

_NAME = "the outline"

_HAIR_PX = 1e-3


def redrawn(drawn: Any, crs: Any, frame: Frame) -> shapely.MultiPolygon:
    """Return a drawn polygon in the CRS of a raster.

    Args:
        drawn: (Multi)polygon; where it crosses itself, it is mended, and it is cut to the raster.
            Or what has one and its CRS: a GeoSeries, a GeoDataFrame, an `Outline` of a session.
        crs: CRS of a bare polygon, in any form that pyproj reads; None: that of the raster.
        frame: The raster's.

    Raises:
        ConfigError: It is no polygon, encloses no ground, lies off the raster, or cannot be brought
            to its CRS.
    """
    polygon, own = _taken(drawn)
    crs = crs if own is None else own
    if crs is not None and crs == frame.crs:
        # What was outlined on the raster itself is not moved by a hair.
        crs = None
    flat = shapely.force_2d(polygon)
    if not np.isfinite(shapely.get_coordinates(flat)).all():
        raise ConfigError(f"{_NAME} has coordinates that are no numbers")
    valid = shapely.make_valid(flat, method="structure", keep_collapsed=False)
    parts = polygonal(shapely.get_parts(np.array([valid], object)))
    placed = parts
    if crs is not None:
        if frame.crs is None:
            raise ConfigError(
                f"{_NAME} has a CRS, the map has none; leave crs out, and give a polygon in the "
                "raster's own coordinates"
            )
        pixels, _ = in_pixels(parts, horizontal(crs, _NAME), frame, _NAME)
        grid = frame.window
        near = shapely.intersects(pixels, shapely.box(grid.x0, grid.y0, grid.x1, grid.y1))
        placed = shapely.transform(pixels[near], frame.to_crs)
        placed = polygonal(shapely.make_valid(placed, method="structure", keep_collapsed=False))
    if not len(placed) or not _touches(placed, frame):
        raise ConfigError(
            f"{_NAME} encloses no ground of the map's raster: give a polygon on it, and its CRS, "
            "as crs='EPSG:4326'"
        )
    return whole(_inside(shapely.union_all(placed), frame))


def _taken(drawn: Any) -> tuple[shapely.Geometry, Any]:
    """Return what was drawn as one geometry, and the CRS that it brings."""
    if isinstance(drawn, shapely.Geometry):
        return drawn, None
    geometry: Any = getattr(drawn, "geometry", None)
    if hasattr(geometry, "union_all"):
        valid = shapely.make_valid(geometry.to_numpy(), method="structure", keep_collapsed=False)
        geometry = shapely.union_all(valid)
    if not isinstance(geometry, shapely.Geometry):
        raise ConfigError(
            f"{type(drawn).__name__} is no polygon; give one of shapely, a GeoSeries, a "
            "GeoDataFrame, or an outline of a session"
        )
    return geometry, drawn.crs


def _touches(placed: Any, frame: Frame) -> bool:
    return bool(shapely.intersects(placed, _ground(frame)).any())


def _inside(placed: shapely.Geometry, frame: Frame) -> shapely.Geometry:
    """Return what lies on the raster; a hair beyond its edge stays, so that nothing moves."""
    ground = _ground(frame)
    pixel = (ground.area / (frame.width * frame.height)) ** 0.5
    if shapely.covers(ground.buffer(_HAIR_PX * pixel), placed):
        return placed
    return shapely.intersection(placed, ground)


def _ground(frame: Frame) -> shapely.Polygon:
    """Return the raster's outline in its CRS."""
    grid = frame.window
    return shapely.transform(shapely.box(grid.x0, grid.y0, grid.x1, grid.y1), frame.to_crs)
