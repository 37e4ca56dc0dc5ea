"""What do pixels under a polygon say on average? Each counts by the part of it that is covered.

The raster is read in squares of a lattice that is fixed to it, not to tiles; a polygon that reaches
over several is cut at their edges, and sums are added from square to square. So memory depends on
the square only, and the same polygon gives the same figure, to the last bit, in every tiling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.errors import MissingDependencyError
from geoseg.raster import Samples, Valid
from geoseg.window import Window

SQUARE_PX = 512
"""Side of a square of the lattice."""

_PACKAGE = "exactextract"

Floats = NDArray[np.float64]
Geometries = NDArray[np.object_]
Read = Callable[[Window], tuple[Samples, Valid]]
"""Gives (band, row, col) samples and (row, col) validity of a window inside the raster."""
Planes = Callable[[Samples, Valid], Iterator[Floats]]
"""Turns (band, row, col) samples and (row, col) validity into planes (row, col), NaN where a pixel
says nothing."""


def means(shapes: Geometries, raster: Window, read: Read, planes: Planes, count: int) -> Floats:
    """Return the mean of planes over each shape.

    Args:
        shapes: (n,) shapely (Multi)Polygons in pixel corner coordinates.
        raster: All of the raster; what of a shape lies outside says nothing.
        read: Reads it.
        planes: What is averaged.
        count: How many planes there are.

    Returns:
        (n, count) means, NaN where no pixel under the shape says something.
    """
    sums, weights = np.zeros((2, len(shapes), count))
    for index, parts, reach in squares(shapes):
        window = reach.intersection(raster)
        if window.area == 0:
            continue
        owner, cell, share = _coverage(parts, window)
        data, valid = read(window)
        for k, plane in enumerate(planes(data, valid)):
            good = np.isfinite(plane)
            value, weight = np.where(good, plane, 0).ravel()[cell], share
            if not good.all():
                weight = share * good.ravel()[cell]
            # One by one and in order: no sum depends on what else is in the batch.
            sums[index, k] += np.bincount(owner, value * weight, len(index))
            weights[index, k] += np.bincount(owner, weight, len(index))
    with np.errstate(invalid="ignore"):
        found: Floats = sums / weights
    return found


def squares(shapes: Geometries) -> Iterator[tuple[NDArray[np.int64], Geometries, Window]]:
    """Cut shapes along the lattice.

    Yields:
        (m,) which shapes reach into a square, (m,) what of them lies in it, and the window of
        whole pixels around that.
    """
    everything = np.arange(len(shapes))
    for rows, strip in _along(shapes, everything, axis=1):
        for index, parts in _along(strip, rows, axis=0):
            bounds = shapely.total_bounds(parts)
            low, high = np.floor(bounds[:2]).astype(int), np.ceil(bounds[2:]).astype(int)
            yield index, parts, Window(*low.tolist(), *high.tolist())


def _along(
    shapes: Geometries, index: NDArray[np.int64], axis: int
) -> Iterator[tuple[NDArray[np.int64], Geometries]]:
    """Cut shapes into strips across an axis; yields which are in a strip, and their parts."""
    if len(shapes) == 0:
        return
    bounds = shapely.bounds(shapes)
    around = (*(bounds[:, :2].min(axis=0) - 1).tolist(), *(bounds[:, 2:].max(axis=0) + 1).tolist())
    low, high = bounds[:, axis], bounds[:, axis + 2]
    first, stop = np.floor(low / SQUARE_PX), np.ceil(high / SQUARE_PX)
    steps = np.unique(
        np.concatenate([np.arange(a, b) for a, b in set(zip(first, stop, strict=True))])
    )
    for start in (steps * SQUARE_PX).tolist():
        end = start + SQUARE_PX
        here = np.flatnonzero((low < end) & (high > start))
        parts = shapes[here]
        over = (low[here] < start) | (high[here] > end)
        x0, y0, x1, y1 = around
        box = (start, y0, end, y1) if axis == 0 else (x0, start, x1, end)
        parts[over] = shapely.clip_by_rect(parts[over], *box)
        some = shapely.area(parts) > 0
        if some.any():
            yield index[here[some]], parts[some]


def _coverage(
    shapes: Geometries, window: Window
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Return of each covered pixel the shape, the place in the raveled window, and the part."""
    tools = _tools()
    # The library's rows go up.
    upright = shapely.transform(shapes, lambda xy: (xy - (window.x0, window.y0)) * (1, -1))
    extent = (0, -window.height, window.width, 0)
    grid = tools.raster(np.zeros(window.shape, np.uint8), *extent)
    found = tools.extract(grid, tools.shapes(shapely.to_wkb(upright)), ["cell_id", "coverage"])
    cells = [row["properties"]["cell_id"] for row in found]
    owner = np.repeat(np.arange(len(shapes)), [len(c) for c in cells])
    share = np.concatenate([row["properties"]["coverage"] for row in found])
    return owner, np.concatenate(cells).astype(np.int64), share.astype(np.float64)


def check_installed() -> None:
    """Make sure that there is what means are taken with.

    Raises:
        MissingDependencyError: It is not installed.
    """
    if find_spec(_PACKAGE) is None:
        raise MissingDependencyError(
            f"--columns: means are taken with '{_PACKAGE}', which is not installed; pip install "
            '"geoseg[columns]"'
        )


@cache
def _tools() -> Any:
    """Return what is used of exactextract, an optional dependency."""
    # A cluster's worker may lack it.
    check_installed()
    from exactextract import exact_extract
    from exactextract.feature import FeatureSource, JSONFeature
    from exactextract.raster import NumPyRasterSource

    class Shape(JSONFeature):  # type: ignore[misc]
        def __init__(self, wkb: bytes) -> None:
            super().__init__()
            self._wkb = wkb

        def geometry(self) -> bytes:
            return self._wkb

    class Shapes(FeatureSource):  # type: ignore[misc]
        def __init__(self, wkb: NDArray[np.object_]) -> None:
            super().__init__()
            self._wkb = wkb

        def count(self) -> int:
            return len(self._wkb)

        def __iter__(self) -> Iterator[Shape]:
            return map(Shape, self._wkb)

        def srs_wkt(self) -> None:
            return None

    return SimpleNamespace(extract=exact_extract, shapes=Shapes, raster=NumPyRasterSource)
