"""Which polygons of all dates are one pond?

Those that share a pixel, directly or through others, at any two dates: a pond that nobody saw for
a year, or that was dry, is the same when it comes back. So every pixel that was ever wet belongs to
one pond, and the extent of a pond is all of these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geoseg.analysis.changes.linking import Extent, meetings
from geoseg.analysis.hydroperiod.stack import Stack
from geoseg.frame import Floats
from geoseg.seams import sum_by_pair
from geoseg.window import Window

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

Hear = Callable[[Window, int, Mask, Mask, Floats], None]
"""Is told of a window and a date: what was seen, what was wet, and the ground of pixels in m2."""


@dataclass(frozen=True, slots=True, eq=False)
class Lineages:
    """Ponds, numbered from 1 by the date and place of their first polygon."""

    of: Ints
    """(m + 1,) pond of each polygon of the stack, from 1; 0 of those without a pixel."""
    m2: Floats
    """(m + 1,) ground of each polygon."""

    @property
    def count(self) -> int:
        """Number of ponds."""
        return int(self.of.max(initial=0))


def link(stack: Stack, hear: Hear) -> Lineages:
    """Link the polygons of all dates that share pixels; dates are heard of on the way.

    Args:
        stack: The dates.
        hear: Is told of every window, and in it of every date in the order of time.
    """
    total = int(stack.offset[-1])
    extent = Extent.none(total)
    pairs = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for window in stack.windows():
        m2 = stack.m2(window)
        last = np.zeros(window.shape, np.int64)
        for date in range(stack.count):
            number, seen = stack.read(date, window)
            wet = number > 0
            hear(window, date, seen, wet, m2)
            extent.add(number, wet, m2)
            # Each date at which a pixel was wet is linked with the one before: so all are.
            pairs.append(meetings(last, number, wet))
            last = np.where(wet, number, last)
    a, b, _ = sum_by_pair(*(np.concatenate(part) for part in zip(*pairs, strict=True)))
    graph = coo_array((np.ones(len(a), np.int8), (a, b)), (total + 1,) * 2)
    label = connected_components(graph, directed=False)[1]
    there = np.flatnonzero(extent.px > 0)
    _, first, place = np.unique(label[there], return_index=True, return_inverse=True)
    of = np.zeros(total + 1, np.int64)
    of[there] = np.argsort(np.argsort(first))[place] + 1
    return Lineages(of, extent.m2)


def ponds_in(stack: Stack, lineages: Lineages, window: Window) -> Ints:
    """Return (row, col) the pond to whose extent each pixel belongs, 0 for none."""
    last = np.zeros(window.shape, np.int64)
    for date in range(stack.count):
        number, _ = stack.read(date, window)
        np.copyto(last, number, where=number > 0)
    return lineages.of[last]


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """What was seen of each pond (k, from 1; 0 is none) at each of n dates."""

    extent_m2: Floats
    """(k + 1,) ground of its extent."""
    area_m2: Floats
    """(n, k + 1) ground of its water that was seen."""
    seen: Floats
    """(n, k + 1) part of its extent that was seen, 0..1."""
    parts: Ints
    """(n, k + 1) its polygons."""
    cut: NDArray[np.bool_]
    """(n, k + 1) whether its water reaches the edge of the grid, or ground that was not seen."""
    last_row: Ints
    """(k + 1,) the end of the last strip that it reaches into."""


def watch(stack: Stack, lineages: Lineages) -> Watched:
    """Measure ponds at each date."""
    size = lineages.count + 1
    extent, cut = Extent.none(lineages.count), np.zeros((stack.count, size), bool)
    last_row = np.zeros(size, np.int64)
    seen_m2 = [Extent.none(lineages.count) for _ in range(stack.count)]
    for window in stack.windows():
        pond, m2 = ponds_in(stack, lineages, window), stack.m2(window)
        last_row[pond] = window.y1
        extent.add(pond, pond > 0, m2)
        for date in range(stack.count):
            number, seen = _around(stack, date, window)
            seen_m2[date].add(pond, seen[1:-1, 1:-1], m2)
            cut[date, np.unique(lineages.of[number[_at_edge(seen)]])] = True
    cut[:, 0] = False
    places = [slice(a + 1, b + 1) for a, b in zip(stack.offset, stack.offset[1:], strict=False)]
    known = [
        (np.bincount(lineages.of[at], lineages.m2[at], size),
         np.bincount(lineages.of[at], minlength=size)) for at in places
    ]  # fmt: skip
    share = np.stack([s.m2 for s in seen_m2]) / np.maximum(extent.m2, np.finfo(float).tiny)
    # What is seen whole is summed in the same order, and is 1 exactly.
    return Watched(extent.m2, np.stack([m for m, _ in known]), share,
                   np.stack([n for _, n in known]), cut, last_row)  # fmt: skip


def _around(stack: Stack, date: int, window: Window) -> tuple[Ints, Mask]:
    """Return numbers in a window, and what was seen there and a pixel around it."""
    more = window.grow(1, stack.frame.window)
    number, seen = stack.read(date, more)
    rows, cols = window.slices_in(more)
    top, left = rows.start, cols.start
    padded = np.zeros((window.height + 2, window.width + 2), bool)
    padded[1 - top : 1 - top + more.height, 1 - left : 1 - left + more.width] = seen
    return number[rows, cols], padded


def _at_edge(seen: Mask) -> Mask:
    """Return which pixels have a neighbour across an edge that was not seen; one less around."""
    whole: Mask = ndimage.binary_erosion(seen)
    return ~whole[1:-1, 1:-1]
