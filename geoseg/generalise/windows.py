"""What lies in which window? A map is looked at in windows, so that memory does not follow it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from geoseg.generalise.lines import Ints, Mask, Shorts, expand
from geoseg.window import Window

WINDOW_PX = 512
"""Side of a window; does not change the result."""

PORTION = 2**17
"""Corners that are worked on at once, unless a single ring or arc has more."""

_BOXES = 2**18
"""Boxes that are sorted into windows at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """Which boxes meet which window; windows are closed, so neighbours share their border."""

    side: int
    """Side of a window in pixels."""
    across: int
    """Windows from left to right."""
    cell: Ints
    """(w,) number of each window that a box meets, row by row."""
    start: Ints
    """(w + 1,) where the boxes of each window begin, and how many there are."""
    box: Shorts
    """(k,) boxes, window by window, rising in each."""

    @classmethod
    def of(cls, boxes: Shorts, side: int) -> Index:
        """Sort boxes into windows.

        Args:
            boxes: (n, 4) x0, y0, x1, y1, closed.
            side: Of a window in pixels.
        """
        across = int(boxes[:, 2].max(initial=0)) // side + 1
        cells, members = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
        for first in range(0, len(boxes), _BOXES):
            # What ends on a border is on both sides of it.
            x0, y0 = np.maximum(boxes[first : first + _BOXES, :2].T.astype(np.int64) - 1, 0) // side
            x1, y1 = boxes[first : first + _BOXES, 2:].T.astype(np.int64) // side
            row, box = expand(y0, y1 + 1)
            column, which = expand(x0[box], x1[box] + 1)
            cells.append(row[which] * across + column)
            members.append((box[which] + first).astype(np.int32))
        cell = np.concatenate(cells)
        order = np.argsort(cell, kind="stable")
        found, start = np.unique(cell[order], return_index=True)
        return cls(side, across, found, np.r_[start, len(cell)], np.concatenate(members)[order])

    def windows(self, wanted: Mask) -> list[tuple[Window, Shorts]]:
        """Return the windows that wanted boxes meet, each with all boxes that meet it.

        Args:
            wanted: (n,) whether a box is wanted.
        """
        hit = np.add.reduceat(wanted[self.box], self.start[:-1], dtype=np.int64) > 0
        found = []
        for at in np.flatnonzero(hit).tolist():
            row, column = divmod(int(self.cell[at]), self.across)
            x, y = column * self.side, row * self.side
            window = Window(x, y, x + self.side, y + self.side)
            found.append((window, self.box[self.start[at] : self.start[at + 1]]))
        return found


def portions(size: Ints | Shorts, most: int) -> Iterator[slice]:
    """Cut a sequence into stretches whose sizes add up to `most`, or that are of one item."""
    stop = np.cumsum(size)
    first = 0
    while first < len(size):
        begun = stop[first] - size[first]
        last = max(int(np.searchsorted(stop, begun + most, "right")), first + 1)
        yield slice(first, last)
        first = last
