"""Which patches are too small for the map, and where do they go?

As land-cover producers do it: a patch below the least area goes to the neighbour with which it
shares most of its border, the smallest patch first, until all are large enough. From areas and
borders alone: no pixels, no tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

from geoseg.seams import sum_by_pair

Ints = NDArray[np.int64]

BORDER = np.dtype([("a", "<i8"), ("b", "<i8"), ("length", "<i8")])
"""Two patches that touch, and how many pixel edges they share."""

GONE = -1
"""In place of a patch: none."""


@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """What there is to know of patches, numbered from 0."""

    cls: Ints
    """(n,) class of each."""
    px: Ints
    """(n,) pixels of each."""
    area: NDArray[np.float64]
    """(n,) area of each, in the unit of the least area."""


def border(a: Ints, b: Ints, length: Ints) -> NDArray[np.void]:
    """Return (k,) of BORDER: the edges that each a and b share, summed, in order."""
    summed = sum_by_pair(a, b, length)
    found = np.zeros(len(summed[0]), BORDER)
    found["a"], found["b"], found["length"] = summed
    return found


def settle(patches: Patches, borders: NDArray[np.void], least: float) -> Ints:
    """Return where every patch ends: (n,) its own number, that of the patch it joins, or GONE.

    The smallest patch (ties: the first) goes to the neighbour with the longest shared border (ties:
    the first). Neighbours of that neighbour's class that it kept apart are then one, and the
    largest of them (ties: the first) gives its number. This goes on as long as a patch is too
    small; one without a neighbour is gone.

    Args:
        patches: What is known of them.
        borders: (k,) of BORDER: each two patches that may join and touch, once; those of which
            none is too small may be left out.
        least: Least area; NaN and more is large enough.
    """
    home = np.arange(len(patches.px))
    small = patches.area < least
    borders = borders[small[borders["a"]] | small[borders["b"]]]
    known = np.unique(np.concatenate([borders["a"], borders["b"], np.flatnonzero(small)]))
    if len(known) == 0:
        return home
    puzzle = _Puzzle(
        Patches(patches.cls[known], patches.px[known], patches.area[known]),
        np.searchsorted(known, borders["a"]),
        np.searchsorted(known, borders["b"]),
        borders["length"],
    )
    ends = puzzle.solve(np.flatnonzero(small[known]), least)
    home[known] = np.where(ends == GONE, GONE, known[ends])
    return home


class _Puzzle:
    """Groups of patches that have joined, by the number of one member: not always its name."""

    def __init__(self, patches: Patches, a: Ints, b: Ints, length: Ints) -> None:
        count = len(patches.px)
        self.cls: list[int] = patches.cls.tolist()
        self.px: list[int] = patches.px.tolist()
        self.area: list[float] = patches.area.tolist()
        self.name = list(range(count))
        self.parent = list(range(count))
        self.around: list[dict[int, int]] = [{} for _ in range(count)]
        for one, other, edges in zip(a.tolist(), b.tolist(), length.tolist(), strict=True):
            self.around[one][other] = self.around[other][one] = edges

    def solve(self, small: Ints, least: float) -> Ints:
        """Return the name of each patch's group, or GONE."""
        gone = np.zeros(len(self.px), bool)
        queue = [(self.px[i], i, i) for i in small.tolist()]
        heapify(queue)
        while queue:
            px, _, group = heappop(queue)
            # What has joined another, or grown, is in the queue again if it is still small.
            if self.parent[group] != group or self.px[group] != px:
                continue
            if not self.around[group]:
                gone[group] = True
                continue
            group = self._join_neighbour(group)
            if self.area[group] < least:
                heappush(queue, (self.px[group], self.name[group], group))
        roots = np.array([self._root(i) for i in range(len(self.px))])
        return np.where(gone[roots], GONE, np.array(self.name)[roots])

    def _join_neighbour(self, group: int) -> int:
        around = self.around[group]
        best = max(around, key=lambda other: (around[other], -self.name[other]))
        cls = self._cls(best)
        alike = [other for other in around if self._cls(other) == cls]
        alike.sort(key=lambda other: (-self.px[other], self.name[other]))
        name = self.name[alike[0]]
        for other in alike:
            group = self._join(group, other)
        self.name[group] = name
        return group

    def _cls(self, group: int) -> int:
        return self.cls[self.name[group]]

    def _join(self, one: int, other: int) -> int:
        """Make one group of two; the one with fewer neighbours is renamed among them."""
        fewer = len(self.around[one]) < len(self.around[other])
        left, kept = (one, other) if fewer else (other, one)
        around = self.around[kept]
        for third, edges in self.around[left].items():
            theirs = self.around[third]
            del theirs[left]
            if third != kept:
                around[third] = theirs[kept] = around.get(third, 0) + edges
        self.around[left] = {}
        self.parent[left] = kept
        self.px[kept] += self.px[left]
        self.area[kept] += self.area[left]
        return kept

    def _root(self, patch: int) -> int:
        root = patch
        while self.parent[root] != root:
            root = self.parent[root]
        while self.parent[patch] != root:
            self.parent[patch], patch = root, self.parent[patch]
        return root
