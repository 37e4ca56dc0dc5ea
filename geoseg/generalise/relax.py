"""How do lines become coarse without getting in each other's way?

All of them are made as coarse as is allowed; whatever is in conflict anywhere is made finer there,
all at once, and again, until nothing is. It ends, because the original lines are not in conflict.
What is found does not depend on windows or their order, so neither does the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from geoseg.generalise.conflicts import areas, in_window, out_of_order
from geoseg.generalise.lines import (
    GRID,
    SHARP,
    Ints,
    Lines,
    Mask,
    corners,
    curves,
    refined,
    simplified,
)
from geoseg.generalise.network import Network, parts
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
class _Facts:
    """Of each arc, held in memory."""

    boxes: Ints
    """(m, 4) box of its corners."""
    before: Ints
    """(m,) area between the original arc and its chord."""
    now: Ints
    """(m,) area between the drawn arc and its chord; changes."""


def relax(network: Network, rules: Rules, side: int, tell: Callable[[int, int], None]) -> None:
    """Set the states of all corners.

    Args:
        network: The arcs; changed.
        rules: How far they may move.
        side: Of a window, in pixels; does not change the result.
        tell: Called with the windows that are done, and all, while each is looked at first.
    """
    facts = _begin(network, rules)
    index = Index(side, facts.boxes)
    changed = ~network.fixed
    while changed.any():
        causes = [_unordered(network, facts, changed)]
        places, members = index.windows(changed)
        for step, ((column, row), arcs) in enumerate(zip(places.tolist(), members, strict=True), 1):
            x, y = column * side, row * side
            window = Window(x, y, x + side, y + side)
            causes += _conflicts(network, arcs, changed, (window, rules))
            tell(step, len(members))
        changed = _refine(network, np.unique(np.concatenate(causes)), facts, rules)


def _begin(network: Network, rules: Rules) -> _Facts:
    count = len(network.first)
    facts = _Facts(
        np.zeros((count, 4), np.int64), np.zeros(count, np.int64), np.zeros(count, np.int64)
    )
    for arcs in parts(network, np.arange(count)):
        lines = simplified(network.lines(arcs), rules.tolerance)
        lines.state[np.repeat(network.fixed[arcs], network.size[arcs])] = SHARP
        network.state[network.corners(arcs)[0]] = lines.state
        begin = lines.start[:-1]
        facts.boxes[arcs] = np.hstack(
            [f.reduceat(lines.xy, begin, axis=0) for f in (np.minimum, np.maximum)]
        )
        facts.before[arcs] = areas(lines.xy * GRID, lines.start)
        facts.now[arcs] = _area(lines, rules)
    return facts


def _area(lines: Lines, rules: Rules) -> Ints:
    drawn = curves(lines, corners(lines, rules.rounding))
    return areas(drawn.xy, drawn.start)


def _conflicts(
    network: Network, arcs: Ints, changed: Mask, how: tuple[Window, Rules]
) -> list[Ints]:
    """Return the causes in a window, as indices of corners on the disk."""
    window, rules = how
    found = []
    for coverage in np.unique(network.coverage[arcs[changed[arcs]]]).tolist():
        mine = arcs[network.coverage[arcs] == coverage]
        local = in_window(network.lines(mine), changed[mine], window, rules.rounding)
        found.append(2 * network.corners(mine)[0][local // 2] + local % 2)
    return found


def _unordered(network: Network, facts: _Facts, changed: Mask) -> Ints:
    """Return all that makes up arcs that have changed places; it is rare."""
    arcs = out_of_order(network.ends, facts.before, facts.now)
    arcs = arcs[changed[arcs]]
    at = network.corners(arcs)[0]
    return np.concatenate([2 * at, 2 * at + 1])


def _refine(network: Network, causes: Ints, facts: _Facts, rules: Rules) -> Mask:
    """Make finer what is to blame; returns which arcs are drawn otherwise now."""
    changed = np.zeros(len(network.first), bool)
    arc_of = np.searchsorted(network.first, causes // 2, "right") - 1
    for arcs in parts(network, np.unique(arc_of)):
        lines = network.lines(arcs)
        at = network.corners(arcs)[0]
        mine = causes[np.searchsorted(arc_of, arcs[0]) : np.searchsorted(arc_of, arcs[-1], "right")]
        local = 2 * np.searchsorted(at, mine // 2) + mine % 2
        finer = refined(lines, local)
        network.state[at] = finer.state
        facts.now[arcs] = _area(finer, rules)
        other = np.flatnonzero(finer.state != lines.state)
        changed[arcs[np.searchsorted(lines.start, other, "right") - 1]] = True
    return changed
