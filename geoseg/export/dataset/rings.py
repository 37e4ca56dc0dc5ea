"""How is a mask written as rings that a reader fills, so that it gets the same pixels back?

Readers of YOLO's labels make whole numbers of a polygon's points, the numbers of pixels, and have
OpenCV fill it, which paints the pixels under its outline, too. So the ring of a region runs through
its outermost pixels, along rows and columns only: points that a reader puts in between lie on them
as well. A hole is joined to its surroundings by a cut along a row, there and back, which lies in
the region. Each 4-connected part is a ring of its own, as a line between two would be painted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons import Rings, rings, trace
from geoseg.runs import Runs

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Walks:
    """Rings through pixels."""

    xy: Ints
    """(n, 2) column and row of pixels; those of a ring are four at least, some perhaps the same."""
    stops: Ints
    """(m + 1,) where each ring begins, and at last where they end."""
    owner: Ints
    """(m,) label of each ring."""


def walks(runs: Runs) -> Walks:
    """Return one ring around each 4-connected part of each label's pixels.

    Args:
        runs: Labels 1 and up; the runs of one label must not overlap.
    """
    found = rings(runs)
    if len(found.xy) == 0:
        return Walks(found.xy, np.zeros(1, np.int64), found.owner)
    links = _Links.of(found)
    through, after = _joined(found, links)
    order, start = trace(after)
    # A ring may begin at any of its points; each has an original corner, which knows its ring.
    n = len(found.xy)
    first = np.minimum.reduceat(np.where(order < n, order, n), start)
    return Walks(through[order], np.r_[start, len(order)], found.owner[links.ring[first]])


@dataclass(frozen=True, slots=True, eq=False)
class _Links:
    """Which corner comes after which."""

    ring: Ints
    """(n,) ring of each corner."""
    before: Ints
    after: Ints

    @classmethod
    def of(cls, found: Rings) -> _Links:
        n = len(found.xy)
        stop = np.r_[found.start[1:], n]
        after = np.arange(1, n + 1)
        after[stop - 1] = found.start
        before = np.empty(n, np.int64)
        before[after] = np.arange(n)
        return cls(np.repeat(np.arange(len(stop)), stop - found.start), before, after)


def _joined(found: Rings, links: _Links) -> tuple[Ints, Ints]:
    """Join holes to what is left of them.

    Returns:
        (k, 2) pixels, of the corners first, and (k,) which comes after which.
    """
    xy, after = found.xy, links.after
    step = xy[after] - xy
    to = np.sign(step)
    # To the right of the way, half a pixel; of both edges at a corner.
    inward = np.column_stack((-to[:, 1], to[:, 0]))
    centres = xy + (inward + inward[links.before] - 1) // 2

    hole = _holes(found, links)
    if len(hole) == 0:
        return centres, after
    # The first edge down on the left side of a hole: what is left of it belongs to the region.
    down = np.flatnonzero(to[:, 1] > 0)
    down = down[np.lexsort((down, xy[down, 0], links.ring[down]))]
    leftmost = down[np.searchsorted(links.ring[down], hole)]
    x, y = xy[leftmost].T
    up, edge_x = _left_of(found, links, np.flatnonzero(to[:, 1] < 0), leftmost)

    n, k = len(xy), len(hole)
    out, at, back, home = (n + k * turn + np.arange(k) for turn in range(4))
    here = np.column_stack((x - 1, y))
    there = np.column_stack((edge_x, y))
    through = np.concatenate([centres, there, here, here, there])
    following = np.concatenate([after, at, after[leftmost], home, after[up]])
    following[leftmost] = back
    # Where several holes are joined to one edge, which leads up: the lowest comes first.
    turn = np.lexsort((-y, up))
    same = up[turn[1:]] == up[turn[:-1]]
    following[home[turn[:-1][same]]] = out[turn[1:][same]]
    first = np.r_[True, ~same]
    following[up[turn[first]]] = out[turn[first]]
    return through, following


def _holes(found: Rings, links: _Links) -> Ints:
    """Return the rings that run around what is not of the region."""
    x, y = found.xy.T
    twice = np.add.reduceat(x * y[links.after] - x[links.after] * y, found.start)
    return np.flatnonzero(twice < 0)


def _left_of(found: Rings, links: _Links, up: Ints, wanted: Ints) -> tuple[Ints, Ints]:
    """Return, for edges down, the edge up at which the run of pixels to their left begins.

    Args:
        found: The rings.
        links: Their corners' order.
        up: Corners at which edges begin that lead up.
        wanted: Corners at which the edges down begin; of the run in the row below the corner.

    Returns:
        Where those edges begin, and their column.
    """
    xy, owner = found.xy, found.owner[links.ring]
    low = xy[:, 1].min()
    rows, left = int(xy[:, 1].max() - low) + 1, int(xy[:, 0].min())
    cols = int(xy[:, 0].max()) - left + 1

    def key(corner: Ints, y: Ints) -> Ints:
        found: Ints = (owner[corner] * rows + y - low) * cols + xy[corner, 0] - left
        return found

    top, bottom = xy[links.after[up], 1], xy[up, 1]
    count = bottom - top
    edge = np.repeat(up, count)
    y = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(top, count)
    keys = key(edge, y)
    order = np.argsort(keys)
    place = np.searchsorted(keys[order], key(wanted, xy[wanted, 1])) - 1
    chosen = edge[order[place]]
    return chosen, xy[chosen, 0]
