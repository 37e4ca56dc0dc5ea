"""How do lines become coarse without getting in each other's way?

All of them are made as coarse as is allowed; whatever is in conflict anywhere is made finer there,
all at once, and again, until nothing is. It ends, because the original lines are not in conflict.
So are the lines of features that would be too small.
What is found does not depend on windows or their order, so neither does the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from geoseg.generalise.conflicts import areas, in_window, out_of_order
from geoseg.generalise.lines import (
    DROPPED,
    GRID,
    SHARP,
    Curves,
    Ints,
    Lines,
    Mask,
    Shorts,
    corners,
    curves,
    refined,
    simplified,
)
from geoseg.generalise.network import Network, parts
from geoseg.generalise.nodes import Lattice
from geoseg.generalise.sizes import Sizes
from geoseg.generalise.windows import Index
from geoseg.window import Window


@dataclass(frozen=True, slots=True)
class Rules:
    """How far a line may move, in pixels: by the sum of both."""

    tolerance: float
    """By being simplified."""
    rounding: float
    """By being rounded at its corners."""


@dataclass(frozen=True, slots=True, eq=False)
class _Rivals:
    """Arcs that have an order: those with the same two ends, and rings."""

    arcs: Ints
    """(r,) rising."""
    ends: Ints
    """(r, 2) keys of where they begin and end."""
    before: Ints
    """(r,) area between the original arc and its chord."""
    now: Ints
    """(r,) area between the drawn arc and its chord; changes."""

    def draw(self, arcs: Ints, drawn: Curves) -> None:
        """Note how arcs, rising, are drawn now."""
        at = np.searchsorted(self.arcs, arcs)
        mine = np.append(self.arcs, -1)[at] == arcs
        self.now[at[mine]] = areas(drawn.xy, drawn.start)[mine]


def settle(
    network: Network,
    lattice: Lattice,
    how: tuple[Rules, int],
    sizes: Sizes | None,
    tell: Callable[[int, int], None],
) -> None:
    """Set the states of all corners.

    Args:
        network: The arcs; changed.
        lattice: Numbers corners, in 1/GRID px.
        how: How far they may move; and the side of a window, in pixels, which does not change the
            result.
        sizes: How large features must be; None where they may be of any size.
        tell: Called with the windows that were looked at, and all.
    """
    rules, side = how
    index, rivals = Index.of(_begin(network, rules), side), _find_rivals(network, lattice)
    changed = ~network.fixed
    noted = rivals.arcs if sizes is None else np.arange(len(network.first))
    for some in parts(network, noted):
        _note(some, network.lines(some), rules, (rivals, sizes))
    done, most = 0, len(index.windows(changed))
    while changed.any():
        causes = [_unordered(network, rivals)]
        if sizes is not None:
            causes.append(sizes.too_small(network))
        for window, arcs in index.windows(changed):
            causes += _conflicts(network, arcs, changed, (window, rules))
            # The first look is at all windows; further ones are short.
            done = min(done + 1, most)
            tell(done, most)
        changed = _refine(network, np.unique(np.concatenate(causes)), rules, (rivals, sizes))


def _note(arcs: Ints, lines: Lines, rules: Rules, books: tuple[_Rivals, Sizes | None]) -> None:
    """Note how arcs are drawn now."""
    rivals, sizes = books
    drawn = curves(lines, corners(lines, rules.rounding))
    rivals.draw(arcs, drawn)
    if sizes is not None:
        sizes.draw(arcs, drawn)


def _begin(network: Network, rules: Rules) -> Shorts:
    """Make all arcs as coarse as is allowed; returns (m, 4) their boxes in whole pixels."""
    boxes = np.zeros((len(network.first), 4), np.int32)
    for arcs in parts(network, np.arange(len(network.first))):
        lines = simplified(network.lines(arcs), rules.tolerance)
        lines.state[np.repeat(network.fixed[arcs], network.size[arcs])] = SHARP
        network.state[network.corners(arcs)[0]] = lines.state
        low, high = (
            f.reduceat(lines.xy, lines.start[:-1], axis=0) for f in (np.minimum, np.maximum)
        )
        boxes[arcs] = np.hstack((low // GRID, -(-high // GRID)))
    return boxes


def _find_rivals(network: Network, lattice: Lattice) -> _Rivals:
    coverage = network.coverage.astype(np.int64)
    points = (network.first, network.first + network.size - 1)
    ends = np.column_stack(
        [lattice.key(coverage, network.xy[at].astype(np.int64)) for at in points]
    )
    low, high = np.sort(ends, axis=1).T
    order = np.lexsort((high, low))
    same = (low[order[1:]] == low[order[:-1]]) & (high[order[1:]] == high[order[:-1]])
    arcs = np.unique(
        np.concatenate([order[1:][same], order[:-1][same], np.flatnonzero(low == high)])
    )
    before = np.zeros(len(arcs), np.int64)
    for some in parts(network, arcs):
        lines = network.lines(some)
        before[np.searchsorted(arcs, some)] = areas(lines.xy, lines.start)
    return _Rivals(arcs, ends[arcs], before, np.zeros_like(before))


def _conflicts(
    network: Network, arcs: Shorts, changed: Mask, how: tuple[Window, Rules]
) -> list[Ints]:
    """Return the causes in a window, as indices of corners on the disk."""
    window, rules = how
    found = []
    for coverage in np.unique(network.coverage[arcs[changed[arcs]]]).tolist():
        mine = arcs[network.coverage[arcs] == coverage]
        local = in_window(network.lines(mine), changed[mine], window, rules.rounding)
        found.append(2 * network.corners(mine)[0][local // 2] + local % 2)
    return found


def _unordered(network: Network, rivals: _Rivals) -> Ints:
    """Return all that makes up arcs that have changed places; it is rare."""
    arcs = rivals.arcs[out_of_order(rivals.ends, rivals.before, rivals.now)]
    at = network.corners(arcs)[0]
    at = at[network.state[at] != DROPPED]
    return np.concatenate([2 * at, 2 * at + 1])


def _refine(
    network: Network, causes: Ints, rules: Rules, books: tuple[_Rivals, Sizes | None]
) -> Mask:
    """Make finer what is to blame; returns which arcs are drawn otherwise now."""
    changed = np.zeros(len(network.first), bool)
    arc_of = np.searchsorted(network.first, causes // 2, "right") - 1
    for arcs in parts(network, np.unique(arc_of)):
        lines = network.lines(arcs)
        at = network.corners(arcs)[0]
        mine = causes[np.searchsorted(arc_of, arcs[0]) : np.searchsorted(arc_of, arcs[-1], "right")]
        local = 2 * np.searchsorted(at, mine // 2) + mine % 2
        finer = refined(lines, local, rules.tolerance)
        network.state[at] = finer.state
        _note(arcs, finer, rules, books)
        other = np.flatnonzero(finer.state != lines.state)
        changed[arcs[np.searchsorted(lines.start, other, "right") - 1]] = True
    return changed
