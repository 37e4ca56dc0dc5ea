"""How large is each pixel of a raster on the ground?

Areas of pixels change smoothly. They are known at nodes less than NODE_M apart, and between those
by linear interpolation, which is off by the square of (distance / radius of the Earth): less than a
millionth up to 80 degrees of latitude, also in Mercator.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pyproj
from numpy.typing import NDArray

from geoseg.frame import Floats, Frame
from geoseg.window import Window

NODE_M = 1000.0
"""Farthest that nodes lie apart on the ground."""

NODE_PX = 256
"""Farthest that nodes lie apart in pixels."""

Ints = NDArray[np.int64]


def pixels_m2(frame: Frame, window: Window) -> Floats:
    """Return (row, col) ground areas of the pixels of a window in m2; NaN without a CRS.

    What is said of a pixel does not depend on the window. Where a projection knows no place there
    is no ground. In longitudes and latitudes a row has one area, which is returned as (row, 1).
    """
    if frame.crs is None:
        return np.full(window.shape, np.nan)
    geod = _of_parallels(frame)
    if geod is not None:
        return _between_parallels(frame, geod, np.arange(window.y0, window.y1))[:, None]
    step = max(1, min(NODE_PX, int(NODE_M / (frame.gsd_m or NODE_M))))
    rows, every_row = _nodes(window.y0, window.y1, frame.height, step)
    cols, every_col = _nodes(window.x0, window.x1, frame.width, step)
    x, y = np.meshgrid(cols + 0.5, rows + 0.5)
    known = np.nan_to_num(frame.pixels_m2(np.column_stack((x.ravel(), y.ravel()))))
    return _between(_between(known.reshape(x.shape), rows, every_row).T, cols, every_col).T


def _between_parallels(frame: Frame, geod: pyproj.Geod, rows: Ints) -> Floats:
    """Return (n,) areas of pixels whose sides are parallels and meridians: exact for large ones.

    In the cylindrical equal-area projection they are rectangles (Snyder 1987, as geoseg.frame,
    ch. 10).
    """
    edges = frame.to_crs(np.column_stack((np.zeros(len(rows) + 1), np.append(rows, rows[-1] + 1))))
    plane = pyproj.Proj({"proj": "cea", "a": geod.a, "b": geod.b})
    y = plane(np.zeros(len(edges)), np.clip(edges[:, 1], -90, 90))[1]
    areas: Floats = np.abs(np.diff(y)) * np.radians(abs(frame.transform.a)) * geod.a
    return areas


def _nodes(start: int, stop: int, size: int, step: int) -> tuple[Ints, Ints]:
    """Return the nodes around some pixels, and those pixels."""
    first, last = start // step * step, min(-(-(stop - 1) // step) * step, size - 1)
    return np.unique(np.r_[np.arange(first, last, step), last]), np.arange(start, stop)


def _between(known: Floats, nodes: Ints, wanted: Ints) -> Floats:
    """Return values at wanted places along the first axis, of those at nodes."""
    low = np.searchsorted(nodes, wanted, "right") - 1
    high = np.minimum(low + 1, len(nodes) - 1)
    gap = np.maximum(nodes[high] - nodes[low], 1)
    part = ((wanted - nodes[low]) / gap).reshape(-1, *[1] * (known.ndim - 1))
    found: Floats = known[low] * (1 - part) + known[high] * part
    return found


@lru_cache(maxsize=8)
def _of_parallels(frame: Frame) -> pyproj.Geod | None:
    """Return the ellipsoid of a raster whose rows are parallels, in degrees; None of another."""
    t = frame.transform
    if frame.crs is None or t.b != 0 or t.d != 0:
        return None
    crs = pyproj.CRS.from_wkt(frame.crs)
    degrees = crs.is_geographic and crs.axis_info[0].unit_name == "degree"
    return crs.get_geod() if degrees else None
