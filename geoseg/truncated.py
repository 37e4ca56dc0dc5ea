"""Which polygons may go on where nothing is known?

Those that share a pixel edge with the raster's edge, with a pixel that is not valid, or with the
core of a tile that failed. It is asked of outlines that follow pixel edges, on integers; where an
area of interest cuts across pixels, the cut asks for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.window import Window

SQUARE_PX = 512
"""Side of what is looked at in one go."""

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class _Runs:
    """Pixels along the outside of outlines, in straight runs."""

    owner: Ints
    """(n,) whose outline."""
    line: Ints
    """(n,) row of level runs, column of upright ones."""
    start: Ints
    """(n,) first pixel along it."""
    stop: Ints
    """(n,) the pixel after the last."""

    def __getitem__(self, which: Mask | Ints) -> _Runs:
        return _Runs(self.owner[which], self.line[which], self.start[which], self.stop[which])


def truncated(
    outlines: NDArray[np.object_], raster: Window, known: Callable[[Window], Mask]
) -> Mask:
    """Tell of each outline whether what it shows may go on where nothing is known.

    Args:
        outlines: (n,) shapely (Multi)Polygons in pixel corner coordinates.
        raster: All of the raster.
        known: Gives (row, col) of a window inside the raster, True where something is known.
    """
    cut = np.zeros(len(outlines), bool)
    for upright, runs in enumerate(_outside(outlines)):
        lines = raster.width if upright else raster.height
        beyond = (runs.line < 0) | (runs.line >= lines)
        cut[runs.owner[beyond]] = True
        for part in _squares(_pieces(runs[~beyond])):
            asked = part[~cut[part.owner]]
            if len(asked.owner):
                cut[asked.owner[_meet(asked, known, upright=bool(upright))]] = True
    return cut


def _outside(outlines: NDArray[np.object_]) -> tuple[_Runs, _Runs]:
    """Return level and upright runs of the pixels that share an edge with an outline."""
    turned = shapely.orient_polygons(outlines, exterior_cw=False)
    parts, owner = shapely.get_parts(turned, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    step = ring[1:] == ring[:-1]
    here, there, whose = xy[:-1][step], xy[1:][step], owner[part[ring[:-1][step]]]
    return _along(here, there, whose, 0), _along(here, there, whose, 1)


def _along(here: NDArray[np.float64], there: NDArray[np.float64], owner: Ints, axis: int) -> _Runs:
    across = 1 - axis
    on_edge = (here[:, across] == there[:, across]) & (here[:, across] % 1 == 0)
    on_edge &= here[:, axis] != there[:, axis]
    a, b, line = here[on_edge, axis], there[on_edge, axis], here[on_edge, across].astype(np.int64)
    # Polygons lie left of their rings, as seen with y up: to the right of a level edge that goes
    # on in x, a row less; of an upright edge that goes on in y, the column itself.
    onward = (b > a) == (axis == 0)
    start, stop = np.floor(np.minimum(a, b)), np.ceil(np.maximum(a, b))
    return _Runs(owner[on_edge], line - onward, start.astype(np.int64), stop.astype(np.int64))


def _pieces(runs: _Runs) -> _Runs:
    """Cut runs where squares meet."""
    first = runs.start // SQUARE_PX
    count = (runs.stop - 1) // SQUARE_PX - first + 1
    run = np.repeat(np.arange(len(count)), count)
    square = first[run] + np.arange(len(run)) - np.repeat(np.cumsum(count) - count, count)
    start = np.maximum(runs.start[run], square * SQUARE_PX)
    stop = np.minimum(runs.stop[run], (square + 1) * SQUARE_PX)
    return _Runs(runs.owner[run], runs.line[run], start, stop)


def _squares(runs: _Runs) -> Iterator[_Runs]:
    """Sort runs into squares."""
    row, col = runs.line // SQUARE_PX, runs.start // SQUARE_PX
    order = np.lexsort((col, row))
    row, col = row[order], col[order]
    ends = np.flatnonzero((np.diff(row) != 0) | (np.diff(col) != 0)) + 1
    for piece in np.split(order, ends) if len(order) else ():
        yield runs[piece]


def _meet(runs: _Runs, known: Callable[[Window], Mask], *, upright: bool) -> Mask:
    """Tell of each run whether it has a pixel of which nothing is known."""
    line, along = int(runs.line.min()), int(runs.start.min())
    line_end, along_end = int(runs.line.max()) + 1, int(runs.stop.max())
    if upright:
        unknown = ~known(Window(line, along, line_end, along_end)).T
    else:
        unknown = ~known(Window(along, line, along_end, line_end))
    before = np.zeros((unknown.shape[0], unknown.shape[1] + 1), np.int64)
    np.cumsum(unknown, axis=1, out=before[:, 1:])
    row = runs.line - line
    found: Mask = before[row, runs.stop - along] > before[row, runs.start - along]
    return found
