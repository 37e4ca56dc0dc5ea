"""At which points do lines meet? Those are fixed: whoever shares a line finds the same ends.

A node is a pixel corner in which three or four unit edges of the lines of one coverage end. Where
two features pass crosswise (see `saddles`), it is drawn as two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoseg.generalise.lines import Ints, Mask
from geoseg.generalise.saddles import Pairs
from geoseg.window import Window


@dataclass(frozen=True, slots=True)
class Lattice:
    """The pixel corners of a raster, or a finer grid, one set per coverage, as numbers."""

    extent: Window
    """The raster, which begins at 0, 0, in units of its points."""

    def key(self, coverage: Ints, xy: Ints) -> Ints:
        """Return a number for each point, sorted by coverage, row, column."""
        height, width = self.extent.shape
        found: Ints = (coverage * (height + 1) + xy[:, 1]) * (width + 1) + xy[:, 0]
        return found

    def column_key(self, coverage: Ints, xy: Ints) -> Ints:
        """Return a number for each point, sorted by coverage, column, row."""
        height, width = self.extent.shape
        found: Ints = (coverage * (width + 1) + xy[:, 0]) * (height + 1) + xy[:, 1]
        return found

    def point(self, key: Ints) -> Ints:
        """Return the (n, 2) points of keys."""
        height, width = self.extent.shape
        row, x = np.divmod(key, width + 1)
        return np.column_stack((x, row % (height + 1)))

    def column_point(self, key: Ints) -> Ints:
        """Return the (n, 2) points of column keys."""
        height, width = self.extent.shape
        column, y = np.divmod(key, height + 1)
        return np.column_stack((column % (width + 1), y))


@dataclass(frozen=True, slots=True, eq=False)
class Nodes:
    """The nodes of all coverages, twice, so that those along any edge follow each other."""

    lattice: Lattice
    """Gives them their numbers."""
    by_row: Ints
    """(n + 1,) keys, rising, and one that no point has."""
    by_column: Ints
    """(n,) column keys, rising."""
    pair: Pairs
    """(n + 1,) which pair passes at each, by row."""

    @classmethod
    def of(cls, keys: Ints, pair: Pairs, lattice: Lattice) -> Nodes:
        """Sort nodes."""
        height, width = lattice.extent.shape
        coverage = keys // ((height + 1) * (width + 1))
        # Sorting plain integers is much faster than an argsort.
        both = np.append(np.sort(keys * 4 + pair), np.iinfo(np.int64).max - 3)
        return cls(
            lattice,
            both // 4,
            np.sort(lattice.column_key(coverage, lattice.point(keys))),
            (both % 4).astype(np.uint8),
        )

    def has(self, keys: Ints) -> Mask:
        """Return which points are nodes."""
        found: Mask = self.by_row[np.searchsorted(self.by_row, keys)] == keys
        return found

    def passes(self, keys: Ints) -> Pairs:
        """Return which pair passes at points; 0 at those that are no nodes."""
        at = np.searchsorted(self.by_row, keys)
        return np.where(self.by_row[at] == keys, self.pair[at], np.uint8(0))


def nodes_in(window: Window, a: Ints, b: Ints) -> tuple[Ints, Mask]:
    """Return the nodes in a window.

    Args:
        window: Pixel corners x0..x1 - 1, y0..y1 - 1.
        a: (n, 2) where level and upright edges begin; all that meet the window.
        b: (n, 2) where they end.

    Returns:
        (k, 2) points row by row, and whether in each four unit edges end, and edges of rings only.
    """
    across, down = _painted_both(np.minimum(a, b), np.maximum(a, b), window)
    left, right, up, below = across[:, :-1], across[:, 1:], down[:-1], down[1:]
    ends = left.astype(np.int8) + right + up + below
    y, x = np.nonzero(ends >= 3)
    crosswise = ends[y, x] == 4
    if crosswise.any():
        # What is left of edges without their first pixel begins where they go straight on.
        across, down = _painted_both(np.minimum(a, b) + (a != b), np.maximum(a, b), window)
        crosswise &= ~(across[:, 1:] | down[1:])[y, x]
    return np.column_stack((x + window.x0, y + window.y0)), crosswise


def _painted_both(low: Ints, high: Ints, window: Window) -> tuple[Mask, Mask]:
    """Return (row, col) of level unit edges, as of `_painted`, and of upright ones."""
    level = low[:, 1] == high[:, 1]
    across = _painted(low[level], high[level], window)
    down = _painted(low[~level][:, ::-1], high[~level][:, ::-1], _turned(window)).T
    return across, down


def _painted(low: Ints, high: Ints, window: Window) -> Mask:
    """Return (row, col) of the unit edges x..x + 1 for x in x0 - 1..x1 - 1, y in y0..y1 - 1."""
    rows, columns = window.height, window.width + 1
    here = (low[:, 1] >= window.y0) & (low[:, 1] < window.y1)
    line = (low[here, 1] - window.y0) * (columns + 1)
    begin = line + np.clip(low[here, 0] - window.x0 + 1, 0, columns)
    end = line + np.clip(high[here, 0] - window.x0 + 1, 0, columns)
    size = rows * (columns + 1)
    change = np.bincount(begin, minlength=size) - np.bincount(end, minlength=size)
    painted: Mask = np.cumsum(change.reshape(rows, -1), axis=1)[:, :columns] > 0
    return painted


def _turned(window: Window) -> Window:
    return Window(window.y0, window.x0, window.y1, window.x1)
