"""What became of a pond since it was last seen?

appeared, gone   it is wet, or dry, and was not when it was last seen
merged, split    a part has two predecessors, or two successors, that share half of the smaller
                 one (see `linking`); both: rearranged
same, dry        neither: it has water still, or still none
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.analysis.changes.linking import Strip, shared
from geoseg.analysis.hydroperiod.lineages import Lineages, Watched
from geoseg.analysis.hydroperiod.stack import Stack

Ints = NDArray[np.int64]

EVENTS = ("", "dry", "same", "appeared", "gone", "merged", "split", "rearranged")
"""By number; nothing can be said of what is seen for the first time, or not seen."""

_NONE, _DRY, _SAME, _APPEARED, _GONE, _MERGED, _SPLIT, _REARRANGED = range(len(EVENTS))


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """What became of ponds."""

    code: NDArray[np.uint8]
    """(n, k + 1) place in EVENTS of each pond at each date."""
    before: Ints
    """(m,) polygon of the stack from which, at an earlier date,"""
    after: Ints
    """(m,) this one came; of those that merged or split only, sorted."""


def last_known(known: NDArray[np.bool_]) -> Ints:
    """Return (n, k) the last date before each at which a column is known; -1 for none."""
    dates = np.arange(len(known))[:, None]
    seen = np.maximum.accumulate(np.where(known, dates, -1), axis=0)
    return np.vstack((np.full((1, known.shape[1]), -1), seen[:-1]))


def find_events(
    stack: Stack, lineages: Lineages, watched: Watched, known: NDArray[np.bool_]
) -> Events:
    """Find out what became of ponds.

    Args:
        stack: The dates.
        lineages: Their ponds.
        watched: Their size.
        known: (n, k + 1) whether enough of a pond was seen at a date.
    """
    wet, last = watched.parts > 0, last_known(known)
    code = np.full(wet.shape, _NONE, np.uint8)
    was = np.take_along_axis(wet, np.maximum(last, 0), axis=0)
    told = known & (last >= 0)
    code[known & ~wet] = _DRY
    code[told & ~was & wet] = _APPEARED
    code[told & was & ~wet] = _GONE
    code[told & was & wet] = _SAME
    links = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for date in range(1, stack.count):
        staying = code[date] == _SAME
        for earlier in np.unique(last[date, staying]).tolist():
            mine = staying & (last[date] == earlier)
            links.append(_relate(stack, lineages, (earlier, date), mine, code[date]))
    before, after = (np.concatenate(side) for side in zip(*links, strict=True))
    order = np.lexsort((before, after))
    return Events(code, before[order], after[order])


def _relate(
    stack: Stack,
    lineages: Lineages,
    dates: tuple[int, int],
    mine: NDArray[np.bool_],
    code: NDArray[np.uint8],
) -> tuple[Ints, Ints]:
    """Mark which ponds merged or split between two dates; returns the parts that did."""
    first = [int(stack.offset[d]) for d in dates]
    counts = [int(stack.offset[d + 1]) - int(stack.offset[d]) for d in dates]
    found = shared(_strips(stack, dates), (counts[0], counts[1]))
    a, b = found.a[found.related], found.b[found.related]
    pond = lineages.of[b + first[1]]
    a, b, pond = a[mine[pond]], b[mine[pond]], pond[mine[pond]]
    split = np.bincount(a, minlength=counts[0] + 1)[a] > 1
    merged = np.bincount(b, minlength=counts[1] + 1)[b] > 1
    for which, plain in ((split, _SPLIT), (merged, _MERGED)):
        ponds = np.unique(pond[which])
        code[ponds] = np.where(code[ponds] == _SAME, plain, _REARRANGED)
    several = split | merged
    return a[several] + first[0], b[several] + first[1]


def _strips(stack: Stack, dates: tuple[int, int]) -> Iterator[Strip]:
    for window in stack.windows():
        (one, seen), (other, too) = (stack.read(d, window) for d in dates)
        places = [
            np.where(n > 0, n - stack.offset[d], 0)
            for n, d in zip((one, other), dates, strict=True)
        ]
        yield Strip(places[0], places[1], seen & too, stack.m2(window))
