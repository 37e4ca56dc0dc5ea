"""How do two rings become one? Where a polygon is held back on both sides of a point."""

from __future__ import annotations

import numpy as np

from geoseg.generalise.lines import Ints, Shorts, expand


def joined(per_ring: Shorts, pairs: Ints) -> tuple[Ints, Shorts]:
    """Return in which order rings walk their arcs, if they change places where two of them meet.

    Of the rings that become one, the first one has all arcs; the others have none. So an outer
    ring stays the first one of its polygon.

    Args:
        per_ring: (r,) arcs of each ring.
        pairs: (m, 2) arcs of two rings that begin in the same point, as places in that order. Rings
            that are linked already, also through others, do not meet once more.

    Returns:
        (k,) which arc is walked, and (r,) arcs of each ring.
    """
    start = np.r_[0, np.cumsum(per_ring, dtype=np.int64)]
    if len(pairs) == 0:
        return np.arange(start[-1]), per_ring
    cut = np.sort(pairs, axis=None)
    ring = np.searchsorted(start, cut, "right") - 1
    number = np.arange(len(cut))
    is_last = np.r_[ring[1:] != ring[:-1], True]
    first = np.searchsorted(ring, ring)
    partner = np.empty_like(number)
    at = np.searchsorted(cut, pairs)
    partner[at] = at[:, ::-1]
    target, turn = _cycles(partner[np.where(is_last, first, number + 1)], ring)
    # From a cut to the next one, or to the end of its ring and from there to its first cut.
    whole = np.setdiff1d(np.arange(len(per_ring)), ring)
    last = np.flatnonzero(is_last)
    begin = np.r_[start[whole], cut, start[ring[last]]]
    stop = np.r_[
        start[whole + 1],
        np.where(is_last, start[ring + 1], np.r_[cut[1:], 0]),
        cut[first[last]],
    ]
    of = np.r_[whole, target, target[last]]
    order = np.lexsort((np.r_[whole * 0, turn, turn[last]], of))
    walked = expand(begin[order], stop[order])[0]
    return walked, np.bincount(of, stop - begin, len(per_ring)).astype(np.int32)


def _cycles(following: Ints, ring: Ints) -> tuple[Ints, Ints]:
    """Return the first ring of the cycle that each stretch is in, and its place in the cycle."""
    successor, target, turn = following.tolist(), np.full(len(ring), -1), np.zeros(len(ring), int)
    # Stretches are in the order of rings, so the first one that is met is of the first ring.
    for first in range(len(successor)):
        stretch, place = first, 0
        while target[stretch] < 0:
            target[stretch], turn[stretch] = ring[first], place
            stretch, place = successor[stretch], place + 1
    return target, turn
