"""How do rings become arcs, which neighbours share?

A ring is cut where it meets others. Both neighbours walk an arc in one canonical direction and
know it by its first unit edge: so they find the same one, and no two arcs are taken for one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoseg.generalise.lines import Ints, Mask, cross, expand
from geoseg.generalise.nodes import Lattice, Nodes
from geoseg.generalise.saddles import way

MOST_CORNERS = 1024
"""Corners after which an arc is cut: its end is fixed, and work and memory stay bounded."""


@dataclass(frozen=True, slots=True, eq=False)
class Rings:
    """Closed rings one after the other: the last corner is the first one."""

    xy: Ints
    """(n, 2) corners in pixels, on pixel corners."""
    start: Ints
    """(r + 1,) index of each ring's first corner, and n."""
    coverage: Ints
    """(r,) which rings share lines."""


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """Arcs in the order in which rings walk them; an arc that two rings share is there twice."""

    xy: Ints
    """(n, 2) corners of each arc in its canonical direction, in pixels; in 1/GRID px once they
    are opened."""
    size: Ints
    """(k,) corners per arc."""
    name: Ints
    """(k,) equal for arcs that are the same."""
    backward: Mask
    """(k,) whether the ring walks it against its canonical direction."""
    closed: Mask
    """(k,) whether it is a ring that meets no other."""
    per_ring: Ints
    """(r,) arcs of each ring."""


@dataclass(frozen=True, slots=True, eq=False)
class _Open:
    """Rings without the corner that closes them, nodes put in."""

    xy: Ints
    key: Ints
    ring: Ints
    start: Ints
    node: Mask


def walk(rings: Rings, nodes: Nodes) -> Walk:
    """Cut rings into arcs at nodes."""
    found = _with_nodes(rings, nodes)
    free = np.add.reduceat(found.node, found.start[:-1], dtype=np.int64) == 0
    _fix_ends(found, free, nodes)
    at = np.flatnonzero(found.node)
    ring = found.ring[at]
    base, length = found.start[ring], np.diff(found.start)[ring]
    is_last = np.r_[ring[1:] != ring[:-1], True]
    first_of_ring = at[np.searchsorted(ring, ring)]
    edges = np.where(is_last, first_of_ring + length, np.r_[at[1:], 0]) - at

    def around(step: Ints, arc: Ints) -> Ints:
        found: Ints = base[arc] + (at[arc] - base[arc] + step) % length[arc]
        return found

    arcs = np.arange(len(at))
    begin, end = found.key[at], found.key[around(edges, arcs)]
    second, last_but_one = (found.key[around(k, arcs)] for k in (np.ones_like(edges), edges - 1))
    back = (begin > end) | ((begin == end) & (second > last_but_one))
    pieces = -(-edges // MOST_CORNERS)
    piece, arc = expand(np.zeros_like(pieces), pieces)
    piece = np.where(back[arc], pieces[arc] - 1 - piece, piece)
    low = piece * MOST_CORNERS
    high = np.minimum(low + MOST_CORNERS, edges[arc])
    step, owner = expand(low, high + 1)
    of_arc = arc[owner]
    corner = around(np.where(back[of_arc], edges[of_arc] - step, step), of_arc)
    xy, size = found.xy[corner], high - low + 1
    first = np.cumsum(size) - size
    return Walk(
        xy,
        size,
        found.key[corner[first]] * 4 + way(xy[first + 1] - xy[first]),
        back[arc],
        free[ring[arc]] & (pieces[arc] == 1),
        np.bincount(ring[arc], minlength=len(rings.coverage)),
    )


def _with_nodes(rings: Rings, nodes: Nodes) -> _Open:
    """Put in the nodes that lie inside edges; leave out corners that are none."""
    is_edge = np.ones(len(rings.xy), bool)
    is_edge[rings.start[1:] - 1] = False
    edge = np.flatnonzero(is_edge)
    ring = np.repeat(np.arange(len(rings.coverage)), np.diff(rings.start) - 1)
    coverage = rings.coverage[ring]
    a, b = rings.xy[edge], rings.xy[edge + 1]
    level, lattice = a[:, 1] == b[:, 1], nodes.lattice
    begin, count = np.zeros(len(edge), np.int64), np.zeros(len(edge), np.int64)
    for which, keys, key in (
        (level, nodes.by_row, lattice.key),
        (~level, nodes.by_column, lattice.column_key),
    ):
        ends = np.sort([key(coverage[which], a[which]), key(coverage[which], b[which])], axis=0)
        begin[which] = np.searchsorted(keys, ends[0], "right")
        count[which] = np.searchsorted(keys, ends[1], "left") - begin[which]
    at = np.cumsum(count + 1) - (count + 1)
    xy = np.empty((len(edge) + int(count.sum()), 2), np.int64)
    node = np.ones(len(xy), bool)
    xy[at] = a
    node[at] = nodes.has(lattice.key(coverage, a))
    which, owner = expand(begin, begin + count)
    step = which - begin[owner]
    falling = b.sum(axis=1) < a.sum(axis=1)
    place = at[owner] + 1 + np.where(falling[owner], count[owner] - 1 - step, step)
    across = level[owner]
    xy[place[across]] = lattice.point(nodes.by_row[which[across]])
    xy[place[~across]] = lattice.column_point(nodes.by_column[which[~across]])
    return _without_straight(xy, np.repeat(ring, count + 1), node, rings, lattice)


def _without_straight(xy: Ints, ring: Ints, node: Mask, rings: Rings, lattice: Lattice) -> _Open:
    """Leave out what is neither a corner nor a node."""
    start = np.searchsorted(ring, np.arange(len(rings.coverage) + 1))
    index = np.arange(len(xy))
    before, after = index - 1, index + 1
    before[start[:-1]], after[start[1:] - 1] = start[1:] - 1, start[:-1]
    keep = node | (cross(xy - xy[before], xy[after] - xy) != 0)
    xy, ring, node = xy[keep], ring[keep], node[keep]
    start = np.searchsorted(ring, np.arange(len(rings.coverage) + 1))
    return _Open(xy, lattice.key(rings.coverage[ring], xy), ring, start, node)


def _fix_ends(found: _Open, free: Mask, nodes: Nodes) -> None:
    """Give a ring that meets no other its first corner, one with a single node the farthest."""
    at = np.flatnonzero(found.node)
    begin = found.start[:-1]
    lowest = np.minimum.reduceat(found.key, begin)
    alone = np.add.reduceat(found.node, begin, dtype=np.int64) == 1
    # Where two features pass, a ring ends in another point than it begins.
    alone[found.ring[at[nodes.passes(found.key[at]) > 0]]] = False
    anchor = np.zeros((len(begin), 2), np.int64)
    anchor[found.ring[found.node]] = found.xy[found.node]
    distance2 = ((found.xy - anchor[found.ring]) ** 2).sum(axis=1)
    farthest = np.maximum.reduceat(distance2, begin)
    key = np.where(distance2 == farthest[found.ring], found.key, np.iinfo(np.int64).max)
    opposite = np.minimum.reduceat(key, begin)
    found.node[free[found.ring] & (found.key == lowest[found.ring])] = True
    found.node[alone[found.ring] & (key == opposite[found.ring])] = True
