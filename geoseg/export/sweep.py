"""Which pixels have their centre in a polygon? Runs of them, from the outlines of many at once.

GDAL looks at every edge of a polygon for every row, and needs a raster to draw in; a sweep needs
time for what is crossed only, whatever the size of the raster. A centre that lies on an outline
belongs to the polygon to its right, or below it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Geometries = NDArray[np.object_]

PAINT_PIXELS = 2**21
"""About so many pixels are painted at once: their places take 8 bytes each."""


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Runs of pixels along lines, of polygons one after the other."""

    stops: Ints
    """(n + 1,) where in the rest the runs of each polygon begin, and at last where they end."""
    line: Ints
    """Row, or column, of each run."""
    start: Ints
    """Its first pixel along the line."""
    stop: Ints
    """The pixel after its last."""

    def of(self, number: int) -> tuple[Ints, Ints, Ints]:
        """Return line, start and stop of the runs of one polygon."""
        mine = slice(self.stops[number], self.stops[number + 1])
        return self.line[mine], self.start[mine], self.stop[mine]

    @property
    def owner(self) -> Ints:
        """Number of the polygon of each run."""
        return np.repeat(np.arange(len(self.stops) - 1), np.diff(self.stops))


def runs_across(shapes: Geometries) -> Runs:
    """Return runs along rows.

    Args:
        shapes: (n,) valid (multi)polygons in pixel corner coordinates.
    """
    return _sweep(shapes, along=0)


def runs_down(shapes: Geometries) -> Runs:
    """Return runs along columns; else as `runs_across`."""
    return _sweep(shapes, along=1)


def _sweep(shapes: Geometries, along: int) -> Runs:
    parts, owner_of_part = shapely.get_parts(shapes, return_index=True)
    rings, part_of_ring = shapely.get_rings(parts, return_index=True)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    edge = np.flatnonzero(ring[:-1] == ring[1:])
    # `a` goes along lines, `b` from line to line.
    a0, a1 = xy[edge, along], xy[edge + 1, along]
    b0, b1 = xy[edge, 1 - along], xy[edge + 1, 1 - along]
    first = np.ceil(np.minimum(b0, b1) - 0.5).astype(np.int64)
    count = np.ceil(np.maximum(b0, b1) - 0.5).astype(np.int64) - first
    which = np.repeat(np.arange(len(edge)), count)
    line = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count) + first[which]
    slope = np.divide(a1 - a0, b1 - b0, out=np.zeros(len(edge)), where=count > 0)
    crossing = a0[which] + (line + 0.5 - b0[which]) * slope[which]
    owner = owner_of_part[part_of_ring[ring[edge]]][which]
    order = np.lexsort((crossing, line, owner))
    place = np.ceil(crossing[order] - 0.5).astype(np.int64)
    stops = np.searchsorted(owner[order], np.arange(len(shapes) + 1)) // 2
    # Along a line, edges lead in and out in turn.
    return Runs(stops, line[order][::2], place[::2], place[1::2])


def paint(image: NDArray[Any], top: int, runs: Runs, values: Ints) -> None:
    """Paint polygons into rows of a raster, one over the other.

    Args:
        image: (row, col), whole rows, without gaps in memory; changed in place.
        top: Row of the raster with which they begin.
        runs: Of `runs_across`.
        values: (n,) what each polygon is painted with.
    """
    height, width = image.shape
    start, stop = np.clip(runs.start, 0, width), np.clip(runs.stop, 0, width)
    row = runs.line - top
    kept = np.flatnonzero((row >= 0) & (row < height) & (start < stop))
    length, value = (stop - start)[kept], values[runs.owner[kept]]
    first = row[kept] * width + start[kept]
    pixels = image.reshape(-1)
    for part in _parts(length):
        n = length[part]
        places = np.arange(n.sum()) + np.repeat(first[part] - np.cumsum(n) + n, n)
        # Where a place occurs twice, numpy keeps the later value.
        pixels[places] = np.repeat(value[part], n)


def _parts(length: Ints) -> Iterator[slice]:
    """Cut runs, in their order, into parts of no more than PAINT_PIXELS and a run."""
    ends = np.cumsum(length)
    done = 0
    while done < len(length):
        before = ends[done - 1] if done else 0
        until = max(int(np.searchsorted(ends, before + PAINT_PIXELS, "right")), done + 1)
        yield slice(done, until)
        done = until
