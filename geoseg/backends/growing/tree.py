"""Which regions may be one object? A tree of ever larger ones, grown from the basins.

Neighbours unite that differ least for the border they lose: |A||B| / (|A| + |B|) times the squared
distance of their colours, over the length of their border. It is the full lambda schedule
(Koepfler, Lopez and Morel 1994, "A multiscale algorithm for image segmentation by variational
method"; Robinson, Redding and Crisp 2002), here all at once for pairs that are each other's best
(Baatz and Schaepe 2000, local mutual best fitting).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geoseg.backends.detections import Floats
from geoseg.backends.growing.basins import Labels
from geoseg.backends.growing.borders import Borders, Doubles, Ints, borders, united


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """Nested regions: n leaves, numbered first, then what unites two, the whole picture last."""

    parent: Ints
    """(m,) what a region is part of; -1 for the picture."""
    children: Ints
    """(m - n, 2) what unites in regions n, n + 1, ..."""
    level: Doubles
    """(m,) how different its parts were, never more than its parent's were; 0 of leaves."""
    first: Ints
    """(m,) the first of the leaves it consists of; they have numbers in a row."""
    stop: Ints
    """(m,) the leaf after its last."""
    size: Doubles
    """(m,) pixels."""
    colour: Doubles
    """(m, 3) mean CIELAB."""
    moments: Doubles
    """(m, 5) means of x, y, xx, yy and xy over its pixels."""
    frame: Doubles
    """(m,) sides of its pixels on the edge of the picture."""
    touching: Borders
    """Of the leaves."""

    @property
    def leaves(self) -> int:
        """Number of leaves."""
        return len(self.parent) - len(self.children)

    def upward(self, region: int) -> Iterator[int]:
        """Give a region, and all that it is part of."""
        while region >= 0:
            yield region
            region = int(self.parent[region])

    def holds(self, regions: Ints, leaf: int) -> NDArray[np.bool_]:
        """Tell which regions (k,) a leaf is part of."""
        inside: NDArray[np.bool_] = (self.first[regions] <= leaf) & (leaf < self.stop[regions])
        return inside


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """What adds up when regions unite."""

    size: Doubles
    more: Doubles
    """(m, 9) size times colour, moments and frame."""


def grow_tree(labels: Labels, planes: Floats) -> tuple[Labels, Tree]:
    """Unite basins until one is left.

    Args:
        labels: Basins.
        planes: (3, row, col) CIELAB.

    Returns:
        Basins numbered as leaves of the tree, and the tree.
    """
    sums = _measured(labels, planes)
    touching = borders(labels)
    pairs, levels, all_sums = _united(touching, sums)
    n, m = len(sums.size), len(all_sums.size)
    parent = np.full(m, -1, np.int64)
    parent[pairs] = np.arange(n, m)[:, None]
    first, stop = _ranges(pairs, n)
    number = first[:n]
    # Leaves are renumbered so that those of any region are in a row.
    old = np.concatenate((np.argsort(number), np.arange(n, m)))
    new = np.concatenate((number, np.arange(n, m)))
    whole = all_sums.more[old] / all_sums.size[old, None]
    tree = Tree(
        parent=parent[old],
        children=new[pairs],
        level=np.concatenate((np.zeros(n), levels)),
        first=first[old],
        stop=stop[old],
        size=all_sums.size[old],
        colour=whole[:, :3],
        moments=whole[:, 3:8],
        frame=all_sums.more[old, 8],
        touching=united(replace(touching, one=number[touching.one], other=number[touching.other])),
    )
    return number[labels].astype(np.int32), tree


def _measured(labels: Labels, planes: Floats) -> _Sums:
    rows, cols = labels.shape
    flat = labels.ravel()
    n = int(flat.max()) + 1
    y, x = (np.arange(k) + 0.5 for k in (rows, cols))
    xs, ys = np.tile(x, rows), np.repeat(y, cols)
    frame = np.zeros(labels.shape)
    for side in ((0,), (-1,), (slice(None), 0), (slice(None), -1)):
        frame[side] += 1
    columns = (*(p.ravel() for p in planes), xs, ys, xs * xs, ys * ys, xs * ys, frame.ravel())
    sums = [np.bincount(flat, column, n) for column in columns]
    more: Doubles = np.column_stack(sums).astype(np.float64, copy=False)
    return _Sums(np.bincount(flat, minlength=n).astype(np.float64), more)


def _united(touching: Borders, leaves: _Sums) -> tuple[Ints, Doubles, _Sums]:
    """Return what unites (k, 2), how different it was (k,), and the sums of all n + k regions."""
    n = len(leaves.size)
    size, more = np.zeros(2 * n - 1), np.zeros((2 * n - 1, leaves.more.shape[1]))
    size[:n], more[:n] = leaves.size, leaves.more
    pairs, level = np.zeros((n - 1, 2), np.int64), np.zeros(2 * n - 1)
    made = n
    cost = _cost(touching, size, more)
    while len(cost):
        best = _mutual(touching, cost, made)
        one, other = touching.one[best], touching.other[best]
        new = np.arange(made, made + len(best))
        made += len(best)
        pairs[new - n] = np.column_stack((one, other))
        level[new] = np.maximum(cost[best], np.maximum(level[one], level[other]))
        size[new], more[new] = size[one] + size[other], more[one] + more[other]
        to = np.arange(made)
        to[one] = to[other] = new
        touching, cost = _carried(touching, cost, to, size, more)
    return pairs, level[n:], _Sums(size, more)


def _cost(touching: Borders, size: Doubles, more: Doubles) -> Doubles:
    a, b = size[touching.one], size[touching.other]
    step = more[touching.one, :3] / a[:, None] - more[touching.other, :3] / b[:, None]
    found: Doubles = a * b / (a + b) * (step * step).sum(axis=1) / touching.length
    return found


def _mutual(touching: Borders, cost: Doubles, count: int) -> Ints:
    """Return which pairs are the best of both sides; among equals the first."""
    least = np.full(count, np.inf)
    chosen = np.full(count, len(cost))
    for side in (touching.one, touching.other):
        np.minimum.at(least, side, cost)
    best = np.flatnonzero((cost == least[touching.one]) & (cost == least[touching.other]))
    for side in (touching.one, touching.other):
        np.minimum.at(chosen, side[best], best)
    first = (chosen[touching.one[best]] == best) & (chosen[touching.other[best]] == best)
    mutual: Ints = best[first]
    return mutual


def _carried(
    touching: Borders, cost: Doubles, to: Ints, size: Doubles, more: Doubles
) -> tuple[Borders, Doubles]:
    """Return the borders between what is left, and their costs; `to` says who became whom."""
    one, other = to[touching.one], to[touching.other]
    moved = (one != touching.one) | (other != touching.other)
    anew = moved & (one != other)
    fresh = united(Borders(one[anew], other[anew], touching.length[anew]))
    both = Borders(
        np.concatenate((one[~moved], fresh.one)),
        np.concatenate((other[~moved], fresh.other)),
        np.concatenate((touching.length[~moved], fresh.length)),
    )
    return both, np.concatenate((cost[~moved], _cost(fresh, size, more)))


def _ranges(pairs: Ints, n: int) -> tuple[Ints, Ints]:
    """Return for each region the range of its leaves, in an order that keeps them in a row."""
    united_from = pairs.tolist()
    count = [1] * n
    for one, other in united_from:
        count.append(count[one] + count[other])
    first = [0] * len(count)
    for k in range(len(pairs) - 1, -1, -1):
        one, other = united_from[k]
        first[one], first[other] = first[n + k], first[n + k] + count[one]
    return np.array(first), np.array(first) + np.array(count)
