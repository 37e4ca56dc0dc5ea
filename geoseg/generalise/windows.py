"""What lies in which window? A map is looked at in windows, so that memory does not follow it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from geoseg.generalise.lines import Ints, Mask, expand

WINDOW_PX = 512
"""Side of a window; does not change the result."""


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """Which boxes meet which window; windows are closed, so neighbours share their border."""

    side: int
    """Side of a window in pixels."""
    boxes: Ints
    """(n, 4) x0, y0, x1, y1 of what is looked for, closed."""

    def windows(self, wanted: Mask | None = None) -> tuple[Ints, list[Ints]]:
        """Return the windows that boxes meet, and the boxes of each.

        Args:
            wanted: (n,) which boxes a window must meet to be returned; any where None.

        Returns:
            (w, 2) column and row of the windows, and of each the boxes that meet it, sorted.
        """
        x0, y0, x1, y1 = self._spans(np.arange(len(self.boxes)))
        box, column, row = _cells(x0, y0, x1, y1)
        across = int(column.max(initial=0)) + 1
        cell = row * across + column
        if wanted is not None:
            here = np.isin(cell, cell[wanted[box]])
            box, cell = box[here], cell[here]
        order = np.lexsort((box, cell))
        found, start = np.unique(cell[order], return_index=True)
        return np.column_stack((found % across, found // across)), np.split(
            box[order], start[1:]
        ) if len(found) else []

    def _spans(self, which: Ints) -> Ints:
        x0, y0, x1, y1 = self.boxes[which].T
        # What ends on a border is on both sides of it.
        low = np.maximum(np.stack((x0, y0)) - 1, 0) // self.side
        return np.concatenate([low, np.stack((x1, y1)) // self.side])


def _cells(x0: Ints, y0: Ints, x1: Ints, y1: Ints) -> tuple[Ints, Ints, Ints]:
    """Return (box, column, row) of every window that boxes meet."""
    row, box = expand(y0, y1 + 1)
    column, which = expand(x0[box], x1[box] + 1)
    return box[which], column, row[which]


def portions(size: Ints, most: int) -> Iterator[slice]:
    """Cut a sequence into stretches whose sizes add up to `most`, or that are of one item."""
    stop = np.cumsum(size)
    first = 0
    while first < len(size):
        begun = stop[first] - size[first]
        last = max(int(np.searchsorted(stop, begun + most, "right")), first + 1)
        yield slice(first, last)
        first = last
