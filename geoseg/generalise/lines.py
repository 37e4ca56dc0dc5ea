"""Which corners of a line stay, and how is what is left drawn?

Lines are made coarse by Douglas and Peucker (1973, Cartographica 10:112-122): what lies farther
from the chord than the tolerance stays. Where a coarse line is in the way of others, `refined`
takes up the next corner in the same order, only there.

Corners are rounded as Chaikin (1974, Computer Graphics and Image Processing 3:346-349) cuts them:
in the limit a quadratic B-spline (Riesenfeld 1975, ibid. 4:304-310), of which points are drawn.
How far it may leave its corner is limited, so a short cut is made where Chaikin's is a long one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Shorts = NDArray[np.int32]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
States = NDArray[np.uint8]

GRID = 64
"""Corners and drawn points lie on multiples of 1/GRID pixel: what is said of them is exact."""

DROPPED, ROUND, SHARP = 0, 1, 2
"""States of a corner. ROUND is rounded where that is asked for."""

_SHARE = 0.45
"""Most of an edge that a rounded corner takes, at either end."""

_LEAST_PX = 0.25
"""Cuts that are shorter are not made: on the grid their points could fall together."""

_GENTLE = 0.77
"""Length of the sum of the unit vectors along both edges; below, a turn is under 45 degrees."""

_AT = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
_MIDDLE = 2


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Lines one after the other, each of two corners or more."""

    xy: Ints
    """(n, 2) corners in 1/GRID px: on pixel corners, or ends that were moved."""
    start: Ints
    """(m + 1,) index of each line's first corner, and n."""
    state: States
    """(n,) DROPPED, ROUND or SHARP; both ends of a line are never dropped."""
    closed: Mask
    """(m,) whether it is a ring that meets no other: its end is a corner like the others."""

    @property
    def is_last(self) -> Mask:
        """(n,) whether a corner ends a line."""
        found = np.zeros(len(self.xy), bool)
        found[self.start[1:] - 1] = True
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Lines as they are drawn."""

    xy: Ints
    """(k, 2) points in 1/GRID px."""
    start: Ints
    """(m + 1,) index of each line's first point, and k."""
    cause: Ints
    """(k,) why the edge that begins at a point is there: twice the index of the corner at which a
    chord begins; one more: that of a corner that is rounded."""


def expand(start: Ints, stop: Ints) -> tuple[Ints, Ints]:
    """Return all numbers of the ranges start..stop, and the range that each is of."""
    size = stop - start
    owner = np.repeat(np.arange(len(size)), size)
    return np.arange(len(owner)) + (start - np.cumsum(size) + size)[owner], owner


def cross(a: Ints, b: Ints) -> Ints:
    """Return the cross products of (n, 2) vectors."""
    found: Ints = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return found


def chords(lines: Lines) -> tuple[Ints, Ints]:
    """Return the first and the last corner of each chord."""
    kept = np.flatnonzero(lines.state)
    goes_on = ~lines.is_last[kept]
    return kept[goes_on], kept[1:][goes_on[:-1]]


def farthest(xy: Ints, first: Ints, last: Ints) -> tuple[Ints, Floats]:
    """Return the corner that is farthest from each chord, and the square of its distance.

    Args:
        xy: (n, 2) corners.
        first: (c,) where the chords begin.
        last: (c,) where they end, two or more further on.
    """
    corner, chord = expand(first + 1, last)
    along, from_first = (xy[last] - xy[first])[chord], xy[corner] - xy[first][chord]
    length2, dot = (along**2).sum(1), (along * from_first).sum(1)
    from_last = xy[corner] - xy[last][chord]
    with np.errstate(divide="ignore", invalid="ignore"):
        beside = cross(along, from_first).astype(np.float64) ** 2 / length2
    distance2 = np.where(dot >= length2, (from_last**2).sum(1), beside)
    distance2 = np.where(dot <= 0, (from_first**2).sum(1), distance2)
    begin = np.cumsum(last - first - 1) - (last - first - 1)
    most = np.maximum.reduceat(distance2, begin) if len(begin) else np.zeros(0)
    best = np.flatnonzero(distance2 == most[chord])
    found = best[np.unique(chord[best], return_index=True)[1]]
    return corner[found], most


def simplified(lines: Lines, tolerance: float) -> Lines:
    """Return lines whose corners stay if they are needed for a tolerance in pixels.

    Ends are sharp, unless they are corners of a closed line.
    """
    state = np.zeros(len(lines.xy), np.uint8)
    kind = np.where(lines.closed, ROUND, SHARP).astype(np.uint8)
    state[lines.start[:-1]] = state[lines.start[1:] - 1] = kind
    state[_needed(lines, (lines.start[:-1], lines.start[1:] - 1), lines.closed, tolerance)] = ROUND
    return replace(lines, state=state)


def _needed(lines: Lines, chords: tuple[Ints, Ints], split: Mask, tolerance: float) -> Ints:
    """Return the corners that chords need for a tolerance; `split`, (c,): at least one."""
    (first, last), most2 = chords, (tolerance * GRID) ** 2
    # A ring is never a point only.
    least2 = np.where(split, -1.0, most2)
    found = [first[:0]]
    while len(first):
        long = last - first > 1
        first, last, least2 = first[long], last[long], least2[long]
        corner, distance2 = farthest(lines.xy, first, last)
        far = distance2 > least2
        corner, first, last = corner[far], first[far], last[far]
        found.append(corner)
        first, last = np.concatenate([first, corner]), np.concatenate([corner, last])
        least2 = np.full(len(first), most2)
    return np.concatenate(found)


def refined(lines: Lines, causes: Ints, tolerance: float) -> Lines:
    """Return lines that are closer to the original where they were in the way.

    Args:
        lines: The lines.
        causes: As those of Curves: chords get one more corner, and those that are needed once it
            is there; rounded corners become sharp.
        tolerance: As of `simplified`.
    """
    state = lines.state.copy()
    corner = causes[causes % 2 == 1] // 2
    state[corner] = SHARP
    first, last = chords(lines)
    blamed = np.isin(first, causes[causes % 2 == 0] // 2)
    split = first[blamed], last[blamed]
    state[_needed(lines, split, np.ones(len(split[0]), bool), tolerance)] = ROUND
    # The corner in which a closed line ends is that in which it begins.
    state[lines.start[1:][lines.closed] - 1] = state[lines.start[:-1][lines.closed]]
    return replace(lines, state=state)


@dataclass(frozen=True, slots=True, eq=False)
class Corners:
    """The corners that stay, and how they are cut."""

    at: Ints
    """(k,) index of the corner; the first one of a closed line for its last one."""
    line: Ints
    """(k,) its line."""
    cut: Floats
    """(k,) how far from the corner the cut begins and ends, in pixels; 0: it is sharp."""
    before: Floats
    """(k, 2) unit vector towards the corner before; anything where it is sharp."""
    after: Floats
    """(k, 2) unit vector towards the corner after; anything where it is sharp."""
    shown: Mask
    """(k, 5) which points of the curve are drawn."""


def corners(lines: Lines, rounding: float) -> Corners:
    """Return how corners are drawn that leave their place by at most `rounding` pixels."""
    kept = np.flatnonzero(lines.state)
    line = np.searchsorted(lines.start, kept, "right") - 1
    begins = kept == lines.start[line]
    ends = kept == lines.start[line + 1] - 1
    order = np.arange(len(kept))
    before, after = np.roll(order, 1), np.roll(order, -1)
    closed = lines.closed[line]
    # Around the end of a closed line.
    before[begins & closed] = order[ends & closed] - 1
    after[ends & closed] = order[begins & closed] + 1
    to_before = lines.xy[kept[before]] - lines.xy[kept]
    to_after = lines.xy[kept[after]] - lines.xy[kept]
    turns = (lines.state[kept] == ROUND) & (closed | ~(begins | ends))
    turns &= cross(to_before, to_after) != 0
    length_before, length_after = (np.sqrt((v**2).sum(1)) / GRID for v in (to_before, to_after))
    with np.errstate(divide="ignore", invalid="ignore"):
        u = to_before / (length_before * GRID)[:, None]
        w = to_after / (length_after * GRID)[:, None]
        bend = np.sqrt(((u + w) ** 2).sum(1))
        # The curve leaves its corner by a quarter of `bend` times the cut.
        cut = np.minimum(_SHARE * np.minimum(length_before, length_after), 4 * rounding / bend)
    cut = np.where(turns & (cut >= _LEAST_PX), cut, 0.0)
    shown = np.repeat((cut > 0)[:, None], len(_AT), 1)
    shown[bend < _GENTLE] &= np.array([True, False, True, False, True])
    shown[:, _MIDDLE] = True
    shown[begins, :_MIDDLE] = False
    shown[ends, _MIDDLE + 1 :] = False
    at = np.where(ends & closed, lines.start[line], kept)
    return Corners(at, line, cut, u, w, shown)


def curves(lines: Lines, found: Corners) -> Curves:
    """Return lines as they are drawn."""
    which, step = np.nonzero(found.shown)
    t, cut = _AT[step], found.cut[which]
    offset = ((1 - t) ** 2 * cut)[:, None] * found.before[which]
    offset += (t**2 * cut)[:, None] * found.after[which]
    offset[cut == 0] = 0
    xy = lines.xy[found.at[which]] + np.rint(offset * GRID).astype(np.int64)
    within = np.r_[which[1:] == which[:-1], False]
    start = np.searchsorted(found.line[which], np.arange(len(lines.start)))
    return Curves(xy, start, 2 * found.at[which] + within)
