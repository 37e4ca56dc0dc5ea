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
    sizes = [_sized(count) for count in counts]
    pairs = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for strip in strips:
        for things, size in zip((strip.before, strip.after), sizes, strict=True):
            _measure(things, strip, size)
        pairs.append(_meetings(strip))
    a, b, px = (np.concatenate(part) for part in zip(*pairs, strict=True))
    return Shared(sizes[0], sizes[1], *sum_by_pair(a, b, px))


def _sized(count: int) -> Extent:
    none = np.zeros(count + 1, np.int64)
    return Extent(none, none.copy(), np.zeros(count + 1))


def _measure(things: NDArray[np.integer], strip: Strip, size: Extent) -> None:
    """Add the pixels of a strip to what is known of things."""
    starts = _runs(things)
    number = things.ravel()[starts]
    length = np.diff(np.r_[starts, things.size])
    compared = np.add.reduceat(strip.compared.ravel(), starts, dtype=np.int64)
    ground = np.add.reduceat((strip.m2 * strip.compared).ravel(), starts)
    mine = number > 0
    for total, values in ((size.whole_px, length), (size.px, compared), (size.m2, ground)):
        np.add.at(total, number[mine], values[mine])


def _meetings(strip: Strip) -> tuple[Ints, Ints, Ints]:
    """Return which things share pixels of a strip that are compared, and how many."""
    meet = (strip.before > 0) & (strip.after > 0) & strip.compared
    before, after = strip.before[meet].astype(np.int64), strip.after[meet].astype(np.int64)
    if len(before) == 0:
        return before, after, before
    new = np.r_[True, (before[1:] != before[:-1]) | (after[1:] != after[:-1])]
    starts = np.flatnonzero(new)
    return sum_by_pair(before[starts], after[starts], np.diff(np.r_[starts, len(before)]))


def _runs(things: NDArray[np.integer]) -> Ints:
    """Return where runs of one number begin, row after row."""
    flat = things.ravel()
    starts: Ints = np.r_[0, np.flatnonzero(flat[1:] != flat[:-1]) + 1]
    return starts
