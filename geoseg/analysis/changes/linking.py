"""Which things of two dates are the same? By the rule of the seams, on shared pixels.

Two things of one class with IoU > 0.5 are the same; two that are not, but share half of the smaller
one, are parts of a split or a merger. Pixels are counted strip by strip, so that nothing depends on
tiles, and only where both dates have seen the ground.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.frame import Floats
from geoseg.seams import RIVAL_SHARE, SAME_IOU, sum_by_pair

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Extent:
    """How large things of one date are; place k is about thing k, and 0 about none."""

    px: Ints
    """(n + 1,) pixels that were compared."""
    whole_px: Ints
    """(n + 1,) pixels on the grid, compared or not."""
    m2: Floats
    """(n + 1,) ground of the compared pixels."""

    @classmethod
    def none(cls, count: int) -> Extent:
        """Return that of things of which nothing was counted yet."""
        nothing = np.zeros(count + 1, np.int64)
        return cls(nothing, nothing.copy(), np.zeros(count + 1))

    def add(self, things: NDArray[np.integer], compared: Mask, m2: Floats) -> None:
        """Add pixels: (row, col) number of the thing at each, whether it counts, its ground."""
        starts = _runs(things)
        number = things.ravel()[starts]
        length = np.diff(np.r_[starts, things.size])
        counted = np.add.reduceat(compared.ravel(), starts, dtype=np.int64)
        ground = np.add.reduceat((m2 * compared).ravel(), starts)
        mine = number > 0
        for total, values in ((self.whole_px, length), (self.px, counted), (self.m2, ground)):
            np.add.at(total, number[mine], values[mine])


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """What things of two dates have in common."""

    before: Extent
    """Of the earlier date."""
    after: Extent
    """Of the later date."""
    a: Ints
    """(k,) things before, from 1, that share pixels with"""
    b: Ints
    """(k,) things after, from 1;"""
    px: Ints
    """(k,) so many."""

    @property
    def iou(self) -> Floats:
        """(k,) shared pixels, of those of either."""
        either = self.before.px[self.a] + self.after.px[self.b] - self.px
        ratio: Floats = self.px / either
        return ratio

    @property
    def linked(self) -> Mask:
        """(k,) whether both are the same thing."""
        either = self.before.px[self.a] + self.after.px[self.b] - self.px
        same: Mask = self.px > SAME_IOU * either
        return same

    @property
    def related(self) -> Mask:
        """(k,) whether both are the same, or one is a part of the other."""
        least = np.minimum(self.before.px[self.a], self.after.px[self.b])
        found: Mask = self.linked | (self.px >= RIVAL_SHARE * least)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """Some rows of two dates."""

    before: NDArray[np.integer]
    """(row, col) number of the thing at a pixel before, from 1; 0 for none."""
    after: NDArray[np.integer]
    """(row, col) likewise after."""
    compared: Mask
    """(row, col) whether both dates have seen it, and it is asked for."""
    m2: Floats
    """(row, col) ground of a pixel."""


def shared(strips: Iterable[Strip], counts: tuple[int, int]) -> Shared:
    """Count what things of two dates share.

    Args:
        strips: All rows of a grid, in any order.
        counts: Numbers of things before and after.
    """
    sizes = [Extent.none(count) for count in counts]
    pairs = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for strip in strips:
        for things, size in zip((strip.before, strip.after), sizes, strict=True):
            size.add(things, strip.compared, strip.m2)
        pairs.append(meetings(strip.before, strip.after, strip.compared))
    a, b, px = (np.concatenate(part) for part in zip(*pairs, strict=True))
    return Shared(sizes[0], sizes[1], *sum_by_pair(a, b, px))


def meetings(
    before: NDArray[np.integer], after: NDArray[np.integer], compared: Mask
) -> tuple[Ints, Ints, Ints]:
    """Return which things share pixels that are compared, and how many; all are (row, col)."""
    meet = (before > 0) & (after > 0) & compared
    one, other = before[meet].astype(np.int64), after[meet].astype(np.int64)
    if len(one) == 0:
        return one, other, one
    starts = np.flatnonzero(np.r_[True, (one[1:] != one[:-1]) | (other[1:] != other[:-1])])
    return sum_by_pair(one[starts], other[starts], np.diff(np.r_[starts, len(one)]))


def _runs(things: NDArray[np.integer]) -> Ints:
    """Return where runs of one number begin, row after row."""
    flat = things.ravel()
    starts: Ints = np.r_[0, np.flatnonzero(flat[1:] != flat[:-1]) + 1]
    return starts
