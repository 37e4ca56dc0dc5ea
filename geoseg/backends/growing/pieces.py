"""What do clicks mean? The first one a region; each further one that is not met yet, a correction.

A correction adds or takes the region of the tree under the click that suits it best, holds no
earlier click of the other kind and changes less than most of what is there; so nothing changes far
from where is clicked. Regions of a binary partition tree as answers to marks: Salembier and Garrido
2000.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from geoseg.backends.growing.asked import Point
from geoseg.backends.growing.borders import Ints
from geoseg.backends.growing.choosing import ranked
from geoseg.backends.growing.seen import Region, Seen

LEAST_PX = 12
"""Smaller regions are specks of texture; they count where a click forbids larger ones."""

MOST_CHANGE = 0.7
"""A correction changes at most this share of the area that there is."""

_ALIKE = 0.9
"""Of regions that overlap by more (intersection over union) one is a candidate."""


def first_regions(seen: Seen, point: Point, count: int) -> list[Region]:
    """Return what a click may mean, the most likely first: nested regions of different size."""
    tree = seen.tree
    said = ranked(tree, _chain(seen, seen.at(*point), ()), point)
    chosen: list[Region] = []
    sizes: list[float] = []
    for region, quality in zip(said.regions.tolist(), said.quality.tolist(), strict=True):
        size = float(tree.size[region])
        if len(chosen) < count and all(min(size, s) <= _ALIKE * max(size, s) for s in sizes):
            leaves = np.zeros(tree.leaves, bool)
            leaves[tree.first[region] : tree.stop[region]] = True
            chosen.append(Region(leaves, quality))
            sizes.append(size)
    return chosen


def corrected(seen: Seen, region: Region, points: Sequence[tuple[Point, bool]]) -> Region:
    """Return a region after clicks, in their order; those that are met change nothing."""
    done: list[tuple[Point, bool]] = []
    for point, positive in points:
        if region.leaves[seen.at(*point)] != positive:
            against = [p for p, sign in done if sign != positive]
            region = replace(region, leaves=_corrected(seen, region, point, against))
        done.append((point, positive))
    return region


def _corrected(
    seen: Seen, region: Region, point: Point, against: Sequence[Point]
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return the leaves of a region after one click changed sides."""
    tree, leaf = seen.tree, seen.at(*point)
    if any(seen.at(*other) == leaf for other in against):
        return region.leaves
    positive = not region.leaves[leaf]
    chain = _chain(seen, leaf, [seen.at(*other) for other in against])
    size = tree.size[: tree.leaves]
    upto = np.concatenate(([0.0], np.cumsum(np.where(region.leaves != positive, size, 0.0))))
    change = upto[tree.stop[chain]] - upto[tree.first[chain]]
    small = change <= MOST_CHANGE * size[region.leaves].sum()
    small[0] |= not small.any()
    best = ranked(tree, chain[small], point).regions[0]
    leaves = region.leaves.copy()
    leaves[tree.first[best] : tree.stop[best]] = positive
    return leaves


def _chain(seen: Seen, leaf: int, never: Sequence[int]) -> Ints:
    """Return the regions around a leaf, from the smallest, that hold none of other leaves."""
    tree = seen.tree
    found = np.array(list(tree.upward(leaf)), np.int64)
    for other in never:
        found = found[~tree.holds(found, other)]
    large = found[tree.size[found] >= LEAST_PX]
    return large if len(large) else found[-1:]
