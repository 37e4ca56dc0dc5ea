"""Which part of a box or a rough mask is the object? What looks unlike its surroundings.

Colours of the object and of what lies around it are learnt in turns, and a minimum cut draws the
edge between them: GrabCut (Rother, Kolmogorov and Blake 2004) on regions instead of pixels, as in
Lazy Snapping (Li et al. 2004).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from geoseg.backends.growing.asked import Asked
from geoseg.backends.growing.borders import Doubles, Ints, borders
from geoseg.backends.growing.fields import Field, bounds, field
from geoseg.backends.growing.seen import Region, Seen
from geoseg.instances import Mask

REGIONS = 300
"""A part of a picture is cut as about this many regions."""

_ROUNDS = 3
"""How often colours are learnt anew."""

_LEAST_WIDTH, _MOST_WIDTH = 1.0, 6.0
"""Colours (CIELAB) nearer than a width between these are much the same: half of how far colours
spread in the part that is cut, so that a faint object is told from a faint ground."""

_MOST_LOGIT = 3.0
"""Colour alone never says more."""

_RARE = 1e-3
"""Share of colours that nobody has seen."""

_STIFFNESS = 2.0
"""What a pixel of edge costs between equal colours, in logits of a pixel; between colours that
differ by the width, 1/e of that."""

_STEPS = 10
"""Capacities are whole numbers of 1/10 logit."""

_MOST_FLOW = 2**30
"""Sums of two stay within 32 bits."""

_NOT_CHOSEN = 0.05
"""How much of the regions that are not chosen is still taken for the object's colours."""

BIASES = (0.0, 0.5, -0.5, 1.0, -1.0, 2.0, -2.0)
"""Logits of a pixel by which the object is drawn larger or smaller: the candidates, in order."""


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """A field as regions of one colour each, cut where the object may not be."""

    label: NDArray[np.intp]
    """(row, col) of the window."""
    free: NDArray[np.bool_]
    """(n,) whether the object may be there."""
    area: Doubles
    """(n,) pixels."""
    logit: Doubles
    """(n,) mean of the field."""
    kernel: Doubles
    """(n, n) how alike colours are, 0..1."""
    one: Ints
    """Neighbours (k,)."""
    other: Ints
    """Their neighbours (k,)."""
    cost: Doubles
    """(k,) of an edge between them."""


def cut_out(seen: Seen, asked: Asked) -> list[Region]:
    """Return what a box, a rough mask or both may mean.

    The first is the most likely; the others are larger and smaller.
    """
    place = field(asked, seen.shape)
    parts = _parts(seen, place)
    inside = np.where(parts.free, 1 / (1 + np.exp(-2 * parts.logit)), 0.0)
    for _ in range(_ROUNDS - 1):
        chosen = _cut(parts, _looks(parts, inside), 0.0)
        inside = np.where(parts.free, np.where(chosen, 1.0, _NOT_CHOSEN), 0.0)
    looks = _looks(parts, inside)
    drawn = {bias: _cut(parts, looks, bias)[parts.label] for bias in sorted(BIASES)}
    quality = dict(zip(drawn, _qualities(list(drawn.values()), place.allowed), strict=True))
    part = place.window.slices_in(seen.window)
    return [
        Region(_leaves(seen, drawn[bias], part), quality[bias])
        for bias in BIASES
        if drawn[bias].any()
    ]


def _qualities(masks: Sequence[Mask], allowed: Mask) -> list[float]:
    """Return how sure masks are, 0..1, given from the smallest.

    As stable against more or less bias as they are (SAM's stability), and as much as they fill.
    """
    areas = [int(np.count_nonzero(mask)) for mask in masks]
    stable = [
        smaller / larger if larger else 0.0
        for smaller, larger in zip([areas[0], *areas[:-1]], [*areas[1:], areas[-1]], strict=True)
    ]
    room = bounds(allowed).area
    return [
        share * bounds(mask).area / room if mask.any() else 0.0
        for share, mask in zip(stable, masks, strict=True)
    ]


def _leaves(seen: Seen, mask: Mask, part: tuple[slice, slice]) -> NDArray[np.bool_]:
    """Return which leaves lie mostly in a mask of a part of the picture, or else at all."""
    count = np.bincount(seen.leaf[part][mask], minlength=seen.tree.leaves)
    here = np.bincount(seen.leaf[part].ravel(), minlength=seen.tree.leaves)
    most: NDArray[np.bool_] = 2 * count > here
    return most if most.any() else count > 0


def _parts(seen: Seen, place: Field) -> _Parts:
    leaf = seen.leaf[place.window.slices_in(seen.window)]
    region = _coarse(seen, leaf, REGIONS)[leaf]
    code, label = np.unique(2 * region + place.allowed, return_inverse=True)
    label = label.reshape(leaf.shape)
    area = np.bincount(label.ravel()).astype(float)
    colour = seen.tree.colour[code // 2]
    touching = borders(label.astype(np.int32))
    step = colour[:, None] - colour[None]
    distance = np.sqrt((step * step).sum(axis=2))
    width = _width(distance, area)
    between = distance[touching.one, touching.other]
    return _Parts(
        label,
        code % 2 == 1,
        area,
        np.bincount(label.ravel(), place.logit.ravel()) / area,
        np.exp(-(distance**2) / (2 * width**2)),
        touching.one,
        touching.other,
        _STIFFNESS * touching.length * np.exp(-between / width),
    )


def _width(distance: Doubles, area: Doubles) -> float:
    """Return the width of colours of regions, given distances (n, n) and areas (n,)."""
    share = area / area.sum()
    spread = np.sqrt(share @ (distance * distance) @ share / 2)
    return float(np.clip(spread / 2, _LEAST_WIDTH, _MOST_WIDTH))


def _coarse(seen: Seen, leaf: NDArray[np.int32], count: int) -> Ints:
    """Return for each leaf of the picture the region that stands for it in a part of the picture.

    As if all were united that differ least, until the part shows `count` regions.
    """
    tree = seen.tree
    here = np.zeros(tree.leaves, bool)
    here[leaf] = True
    upto = np.concatenate(([0], np.cumsum(here)))
    shown = upto[tree.stop] - upto[tree.first]
    splits = (shown[tree.children] > 0).all(axis=1)
    levels = np.sort(tree.level[tree.leaves :][splits])[::-1]
    limit = levels[count - 1] if len(levels) >= count else 0.0
    above = np.append(tree.level, np.inf)[tree.parent]
    tops = np.flatnonzero((tree.level <= limit) & (above > limit))
    tops = tops[np.argsort(tree.first[tops])]
    return np.repeat(tops, tree.stop[tops] - tree.first[tops])


def _looks(parts: _Parts, inside: Doubles) -> Doubles:
    """Return logits (n,) of colours, given how much of each region is of the object, 0..1."""
    mine, theirs = parts.area * inside, parts.area * (1 - inside)
    share = [parts.kernel @ w / max(w.sum(), 1e-9) + _RARE for w in (mine, theirs)]
    logit: Doubles = np.clip(np.log(share[0] / share[1]), -_MOST_LOGIT, _MOST_LOGIT)
    return logit


def _cut(parts: _Parts, looks: Doubles, bias: float) -> NDArray[np.bool_]:
    """Return which regions (n,) are of the object where edge and logits together cost least."""
    n = len(parts.area)
    gain = (looks + parts.logit + bias) * parts.area
    both = parts.free[parts.one] & parts.free[parts.other]
    one_free = parts.free[parts.one] != parts.free[parts.other]
    ending = np.where(parts.free[parts.one], parts.one, parts.other)[one_free]
    gain -= np.bincount(ending, parts.cost[one_free], n)
    some = np.flatnonzero(parts.free)
    wins, loses = some[gain[some] > 0], some[gain[some] <= 0]
    source, sink = n, n + 1
    one, other = parts.one[both], parts.other[both]
    rows = np.concatenate((np.full(len(wins), source), loses, one, other))
    cols = np.concatenate((wins, np.full(len(loses), sink), other, one))
    cost = parts.cost[both]
    flow = np.concatenate((gain[wins], -gain[loses], cost, cost))
    capacity = np.minimum(np.rint(flow * _STEPS), _MOST_FLOW).astype(np.int32)
    graph = csr_array((capacity, (rows, cols)), shape=(n + 2, n + 2))
    rest = graph - maximum_flow(graph, source, sink).flow
    rest.data = np.maximum(rest.data, 0)
    rest.eliminate_zeros()
    chosen = np.zeros(n + 2, bool)
    chosen[breadth_first_order(rest, source, return_predecessors=False)] = True
    return chosen[:n]
