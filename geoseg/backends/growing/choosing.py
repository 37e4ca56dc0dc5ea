"""Which of the nested regions under a click is meant? The one that stands out and lies around it.

A region stands out where its colour differs from what it next unites with and, along most of its
edge, from what lies beyond. People click near the middle; an object is rather small, compact, and
not cut by the edge of the picture. The weights of these terms were fitted to buildings, crowns,
ponds and clearings (benchmarks/clicks.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoseg.backends.growing.borders import Doubles, Ints
from geoseg.backends.growing.tree import Tree

_WEIGHTS = np.array((1.97, 2.53, -1.35, -6.72, -0.21, -2.63))
"""Of the columns of `terms`, for the choice."""

_QUALITY = np.array((0.0, 0.49, -0.45, -0.62, -0.04, -1.78))
_USUAL = -0.2
"""Of the same columns, and alone, for the logit of the intersection over union to be expected."""

_LEAST_STEP = 0.1
"""Colour differences below are none."""

_WEAK_SHARE = 0.25
"""Where an edge is weakest does not count; how strong it is beyond this share of it does."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """Nested regions, the most likely first."""

    regions: Ints
    """(k,)."""
    quality: Doubles
    """(k,) which intersection over union with the object is to be expected, 0..1."""


def ranked(tree: Tree, chain: Ints, at: tuple[float, float]) -> Ranked:
    """Return nested regions (k,), given from the smallest, as a click at x, y may mean them."""
    speaks = terms(tree, chain, at)
    order = np.argsort(-(speaks @ _WEIGHTS), kind="stable")
    quality = 1 / (1 + np.exp(-(speaks @ _QUALITY) - _USUAL))
    return Ranked(chain[order], quality[order])


def terms(tree: Tree, chain: Ints, at: tuple[float, float]) -> Doubles:
    """Return what speaks for nested regions: (k, 6)."""
    size = tree.size[chain]
    middle, spread = _middle(tree, chain)
    aside = np.array(at) - middle
    det = spread[:, 0] * spread[:, 1] - spread[:, 2] ** 2
    away = (
        spread[:, 1] * aside[:, 0] ** 2
        - 2 * spread[:, 2] * aside[:, 0] * aside[:, 1]
        + spread[:, 0] * aside[:, 1] ** 2
    ) / det
    rim, length = _rim(tree, chain)
    cut = tree.frame[chain]
    return np.column_stack(
        (
            np.log(np.maximum(_step(tree, chain), _LEAST_STEP)),
            np.log(np.maximum(rim, _LEAST_STEP)),
            np.minimum(away, 6),
            # How much of its edge, or of the picture's, is where the picture ends.
            np.maximum(cut / (cut + length), cut / tree.frame[-1]),
            np.log10(size) ** 2,
            # The area of the ellipse of the same spread over its own: 1 of an ellipse.
            np.log(4 * np.pi * np.sqrt(det) / size),
        )
    )


def _middle(tree: Tree, chain: Ints) -> tuple[Doubles, Doubles]:
    """Return the mean of pixels (k, 2), and variance along x and y and covariance (k, 3)."""
    x, y, xx, yy, xy = tree.moments[chain].T
    # A pixel has an extent: its own variance is 1/12.
    spread = np.column_stack((xx - x * x + 1 / 12, yy - y * y + 1 / 12, xy - x * y))
    return np.column_stack((x, y)), spread


def _step(tree: Tree, chain: Ints) -> Doubles:
    """Return the distance in colour from each region to what it unites with; 0 of the picture."""
    step = np.zeros(len(chain))
    for k, region in enumerate(chain.tolist()):
        parent = int(tree.parent[region])
        if parent >= 0:
            one, other = tree.children[parent - tree.leaves]
            step[k] = np.linalg.norm(tree.colour[one] - tree.colour[other])
    return step


@dataclass(frozen=True, slots=True, eq=False)
class _Crossings:
    """Borders of leaves of which some region of a chain holds one side only."""

    enters: Ints
    """The first region of the chain that holds a side."""
    leaves: Ints
    """The first that holds both."""
    beyond: Ints
    """The leaf on the other side."""
    length: Doubles


def _crossings(tree: Tree, chain: Ints) -> _Crossings:
    within = np.full(tree.leaves, len(chain))
    for k in range(len(chain) - 1, -1, -1):
        within[tree.first[chain[k]] : tree.stop[chain[k]]] = k
    touching = tree.touching
    one, other = within[touching.one], within[touching.other]
    some = np.flatnonzero(one != other)
    one, other = one[some], other[some]
    beyond = np.where(one > other, touching.one[some], touching.other[some])
    return _Crossings(np.minimum(one, other), np.maximum(one, other), beyond, touching.length[some])


def _rim(tree: Tree, chain: Ints) -> tuple[Doubles, Doubles]:
    """Return how much colour differs across the edge but for its weakest part, and its length."""
    crossings = _crossings(tree, chain)
    strength, total = np.zeros(len(chain)), np.zeros(len(chain))
    for k, region in enumerate(chain.tolist()):
        here = np.flatnonzero((crossings.enters <= k) & (crossings.leaves > k))
        if len(here):
            step = tree.colour[crossings.beyond[here]] - tree.colour[region]
            distance = np.sqrt((step * step).sum(axis=1))
            order = np.argsort(distance, kind="stable")
            passed = np.cumsum(crossings.length[here][order])
            total[k] = passed[-1]
            strength[k] = distance[order][np.searchsorted(passed, _WEAK_SHARE * passed[-1])]
    return strength, total
