"""Which pixels, and which part of them, lie in an area of interest?

An Area is polygons in pixel corner coordinates, with vertices on multiples of 1/UNIT pixel. Their
integers make every answer here exact: what is said of a pixel does not depend on the window in
which it is asked. A pixel is touched if it shares more than a line or a point with the area.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.grid import Grid
from geoseg.window import Window

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Geometries = NDArray[np.object_]

UNIT = 256
"""Vertices of an area lie on multiples of 1/UNIT of a pixel: they are moved by half of that."""

FINE_PX = 2.0**-24
"""New vertices where outlines are cut lie on this grid: coarser than what float64 resolves once
they are georeferenced, so that cut outlines stay valid there."""

MARGIN_PX = 16
"""How far an area reaches beyond the raster at most; so the raster's edge is not the area's."""

_EDGE_PX = 2.0**16
"""Longest edge, so that products of coordinates stay within 64 bits."""

_STRIP_ROWS = 256
_INSIDE_PX = 0.25


@dataclass(frozen=True, eq=False)
class Area:
    """An area of interest; picklable."""

    polygons: Geometries
    """(n,) valid shapely Polygons that share no interior, in pixel corner coordinates."""

    def __reduce__(self) -> tuple[Any, ...]:
        # What is derived is made anew: prepared geometries do not travel.
        return Area, (self.polygons,)

    @classmethod
    def of(cls, polygons: Geometries, frame: Window) -> Area | None:
        """Return the union of polygons near a raster, or None where nothing of it lies inside.

        Args:
            polygons: (n,) shapely (Multi)Polygons in pixel corner coordinates, in any order,
                overlapping or invalid.
            frame: The raster.
        """
        near = shapely.box(
            frame.x0 - MARGIN_PX, frame.y0 - MARGIN_PX, frame.x1 + MARGIN_PX, frame.y1 + MARGIN_PX
        )
        short = shapely.segmentize(polygons, _EDGE_PX)
        valid = shapely.make_valid(short, method="structure", keep_collapsed=False)
        cut = shapely.set_precision(shapely.intersection(valid, near), 1 / UNIT)
        # The union is much faster in floating point; where edges cross, its vertices are snapped
        # again. In the end floating point it is, so that outlines are not cut on this grid.
        united = shapely.union_all(shapely.set_precision(cut, 0))
        snapped = shapely.set_precision(united, 1 / UNIT)
        area = cls(polygonal(shapely.get_parts(shapely.set_precision(snapped, 0))))
        return area if area.touches(frame) else None

    @cached_property
    def identity(self) -> str:
        """Digest and bounds in pixels."""
        parts = np.sort(shapely.to_wkb(shapely.normalize(self.polygons)))
        digest = hashlib.sha256(b"".join(parts.tolist())).hexdigest()[:12]
        x0, y0, x1, y1 = np.round(shapely.total_bounds(self.polygons), 2).tolist()
        return f"{digest}, columns {x0:g}..{x1:g}, rows {y0:g}..{y1:g}"

    @cached_property
    def bounds(self) -> Window:
        """The smallest window around the area, which may reach beyond the raster."""
        low_x, low_y, high_x, high_y = shapely.total_bounds(self.polygons).tolist()
        return Window(
            int(np.floor(low_x)), int(np.floor(low_y)), int(np.ceil(high_x)), int(np.ceil(high_y))
        )

    @cached_property
    def _tree(self) -> shapely.STRtree:
        shapely.prepare(self.polygons)
        return shapely.STRtree(self.polygons)

    @cached_property
    def _edges(self) -> Ints:
        """(n, 4) x0, y0, x1, y1 in 1/UNIT px with y0 <= y1."""
        rings = shapely.get_rings(self.polygons)
        coords, ring = shapely.get_coordinates(rings, return_index=True)
        points = np.rint(coords * UNIT).astype(np.int64)
        edges: Ints = np.hstack((points[:-1], points[1:]))[ring[:-1] == ring[1:]]
        down = edges[:, 1] > edges[:, 3]
        edges[down] = edges[down][:, [2, 3, 0, 1]]
        return edges

    # ------------------------------------------------------------------------------- pixels

    def touches(self, window: Window) -> bool:
        """Tell whether the window has a pixel that the area touches."""
        return bool(self.touching([window])[0])

    def touching(self, windows: Sequence[Window]) -> Mask:
        """Tell of each window, of one pixel or more, whether the area touches a pixel of it."""
        x0, y0, x1, y1 = (
            np.array([(w.x0, w.y0, w.x1, w.y1) for w in windows], float).reshape(-1, 4).T
        )
        near = self._meets(shapely.box(x0, y0, x1, y1))
        d = _INSIDE_PX
        found = self._meets(shapely.box(x0 + d, y0 + d, x1 - d, y1 - d))
        # Between these two the area may share with a window no more than a line.
        for i in np.flatnonzero(near & ~found).tolist():
            found[i] = self.mask(windows[i]).any()
        return found

    def _meets(self, boxes: Geometries) -> Mask:
        box, polygon = self._tree.query(boxes)
        hit = shapely.intersects(self.polygons[polygon], boxes[box])
        found = np.zeros(len(boxes), bool)
        found[box[hit]] = True
        return found

    def tiles(self, grid: Grid) -> tuple[int, ...]:
        """Return the tiles that decide a pixel which the area touches, in row-major order."""
        rows, cols = grid.shape
        seen = self.bounds.intersection(grid.raster)
        across = range(min(seen.x0 // grid.core_px, cols - 1), cols)
        across = range(across.start, min((seen.x1 - 1) // grid.core_px + 1, cols))
        found: list[int] = []
        for row in range(rows):
            first = row * cols
            core = grid[first].core
            if core.y1 <= seen.y0 or core.y0 >= seen.y1:
                continue
            here = [first + col for col in across] or [first + cols - 1]
            touched = self.touching([grid[i].core for i in here])
            found += [i for i, hit in zip(here, touched.tolist(), strict=True) if hit]
        return tuple(found)

    def mask(self, window: Window) -> Mask:
        """Return (row, col) of a window, True for the pixels that the area touches."""
        mask = np.empty(window.shape, bool)
        for y in range(window.y0, window.y1, _STRIP_ROWS):
            strip = Window(window.x0, y, window.x1, min(y + _STRIP_ROWS, window.y1))
            mask[strip.slices_in(window)] = self._strip(strip)
        return mask

    def _strip(self, window: Window) -> Mask:
        """Mark the pixels whose inside an edge crosses, and those whose centre lies inside."""
        edges = self._edges
        here = (edges[:, 3] >= window.y0 * UNIT) & (edges[:, 1] <= window.y1 * UNIT)
        here &= np.minimum(edges[:, 0], edges[:, 2]) < window.x1 * UNIT
        edge, row = _rows(edges[here], window)
        x0, y0, x1, y1 = edges[here][edge].T
        height, width = window.shape
        line, left = row - window.y0, window.x0
        level = y0 == y1
        # Where an edge enters and leaves a row, as fractions of one denominator.
        dx, dy = x1 - x0, np.where(level, 1, y1 - y0)
        enter = x0 * dy + (np.maximum(y0, row * UNIT) - y0) * dx
        leave = np.where(level, x1, x0 * dy + (np.minimum(y1, (row + 1) * UNIT) - y0) * dx)
        first = np.minimum(enter, leave) // (UNIT * dy)
        stop = -(-np.maximum(enter, leave) // (UNIT * dy))
        crossed = np.zeros((height, width + 1), np.int32)
        np.add.at(crossed, (line, np.clip(first - left, 0, width)), 1)
        np.subtract.at(crossed, (line, np.clip(stop - left, 0, width)), 1)

        centre = row * UNIT + UNIT // 2
        spans = (y0 <= centre) & (centre < y1)
        at = x0 * dy + (centre - y0) * dx
        column = -(-(at - UNIT // 2 * dy) // (UNIT * dy))
        turns = np.zeros((height, width + 1), bool)
        np.logical_xor.at(turns, (line[spans], np.clip(column[spans] - left, 0, width)), np.True_)
        inside = np.logical_xor.accumulate(turns, axis=1)
        return ((np.cumsum(crossed, axis=1) > 0) | inside)[:, :width]

    # ----------------------------------------------------------------------------- outlines

    def clip(self, outlines: Geometries) -> tuple[Geometries, Mask]:
        """Cut outlines to the area.

        Args:
            outlines: (n,) MultiPolygons in pixel corner coordinates.

        Returns:
            (n,) valid MultiPolygons, empty where nothing is left; and (n,) whether the outline
            reaches the edge of the area, so that what it shows may go on outside.
        """
        outline, polygon = self._tree.query(outlines)
        whole = np.zeros(len(outlines), bool)
        inner = shapely.contains_properly(self.polygons[polygon], outlines[outline])
        whole[outline[inner]] = True
        shapes = outlines.copy()
        cut = np.flatnonzero(~whole)
        stops = np.searchsorted(outline, np.arange(len(outlines) + 1))
        for i in cut.tolist():
            around = shapely.multipolygons(self.polygons[polygon[stops[i] : stops[i + 1]]])
            left = shapely.intersection(outlines[i], around, grid_size=FINE_PX)
            shapes[i] = shapely.multipolygons(polygonal(shapely.get_parts(left)))
            # Its parts may lie in several polygons, each well inside.
            whole[i] = shapely.contains_properly(around, outlines[i])
        return shapes, ~whole


def polygonal(parts: Geometries) -> Geometries:
    """Return those parts that are polygons and not empty."""
    found: Geometries = parts[
        (shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & ~shapely.is_empty(parts)
    ]
    return found


def _rows(edges: Ints, window: Window) -> tuple[Ints, Ints]:
    """Return (edge, row) of every row of the window whose inside an edge crosses."""
    first = np.maximum(edges[:, 1] // UNIT, window.y0)
    stop = np.minimum(-(-edges[:, 3] // UNIT), window.y1)
    # An edge along a row's border crosses none; one that lies level inside a row crosses that.
    level_inside = (edges[:, 1] == edges[:, 3]) & (edges[:, 1] % UNIT != 0)
    stop = np.where(level_inside, np.minimum(first + 1, window.y1), stop)
    count = np.maximum(stop - first, 0)
    edge = np.repeat(np.arange(len(edges)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    return edge, row
