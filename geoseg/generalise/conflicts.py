"""Which chords and corners are in the way of others?

Lines that end in fixed points stay a map of the same topology if three things hold: they meet in
shared ends only; between a line and what it was lies no end of another; and lines with the same two
ends keep their order (a ring its orientation). The first two are asked window by window, of points
on a grid, so that the answer is exact and the same in each window; the third of areas of lines.
(Conditions as of de Berg, van Kreveld and Schirra 1998, Cartography and GIS 25:243-257, and
Saalfeld 1999, ibid. 26:7-18.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from geoseg.generalise.lines import (
    GRID,
    Corners,
    Curves,
    Ints,
    Lines,
    Mask,
    chords,
    corners,
    cross,
    curves,
    expand,
)
from geoseg.window import Window

_SHARES = 3
"""Lines with the same two ends, and rings, keep one of so many shares of the area between them, so
that small features are no slivers."""


@dataclass(frozen=True, slots=True, eq=False)
class _Edges:
    """Straight pieces of curves, in 1/GRID px."""

    a: Ints
    """(n, 2) where it begins."""
    b: Ints
    """(n, 2) where it ends."""
    line: Ints
    """(n,) its line."""
    place: Ints
    """(n,) which piece of all it is: pieces that follow each other along a line have a joint."""
    ends: tuple[Mask, Mask]
    """(n,) whether it begins, and ends, in an end of its line."""
    cause: Ints
    """(n,) as of Curves."""


def in_window(lines: Lines, changed: Mask, window: Window, rounding: float) -> Ints:
    """Return the causes of all conflicts in a window.

    Args:
        lines: All lines of one coverage that meet the window.
        changed: (m,) lines of which conflicts are wanted, with whatever other.
        window: In pixels; its border belongs to it.
        rounding: As of `corners`.
    """
    cut = corners(lines, rounding)
    edges = _edges(lines, cut, curves(lines, cut))
    found = [
        _crossings(edges, changed, window),
        *_swept(lines, cut, changed, window),
    ]
    return np.unique(np.concatenate(found))


def _edges(lines: Lines, cut: Corners, drawn: Curves) -> _Edges:
    at = np.arange(len(drawn.xy))
    line = np.repeat(np.arange(len(lines.closed)), np.diff(drawn.start))
    begins, stops = at == drawn.start[line], at == drawn.start[line + 1] - 1
    at = at[~stops]
    edges = _Edges(
        drawn.xy[at],
        drawn.xy[at + 1],
        line[at],
        at,
        (begins[at], stops[at + 1]),
        drawn.cause[at],
    )
    # A ring's fixed point is off the ring where that is rounded there. What comes between the two
    # would be on the other side of the ring, so they are held together.
    held = (cut.cut > 0) & lines.closed[cut.line] & (cut.at == lines.start[cut.line])
    held[1:] &= cut.line[1:] != cut.line[:-1]
    which = np.flatnonzero(held)
    a, b = drawn.xy[drawn.start[cut.line[which]]], lines.xy[cut.at[which]]
    yes = np.ones(len(which), bool)
    return _Edges(
        np.concatenate([edges.a, a]),
        np.concatenate([edges.b, b]),
        np.concatenate([edges.line, cut.line[which]]),
        np.concatenate([edges.place, -2 - 2 * which]),
        (np.concatenate([edges.ends[0], yes]), np.concatenate([edges.ends[1], ~yes])),
        np.concatenate([edges.cause, 2 * cut.at[which] + 1]),
    )


def _crossings(edges: _Edges, changed: Mask, window: Window) -> Ints:
    """Return the causes of edges that meet elsewhere than in a joint."""
    low, high = np.minimum(edges.a, edges.b), np.maximum(edges.a, edges.b)
    box = np.array([window.x0, window.y0, window.x1, window.y1]) * GRID
    here = np.flatnonzero(((low <= box[2:]) & (high >= box[:2])).all(axis=1))
    asked = changed[edges.line[here]]
    shapes = shapely.linestrings(np.stack((edges.a[here], edges.b[here]), axis=1))
    i, j = shapely.STRtree(shapes).query(shapes[asked])
    i = np.flatnonzero(asked)[i]
    once = (i < j) | ((i > j) & ~asked[j])
    i, j = here[i[once]], here[j[once]]
    meet = _meet(edges.a[i], edges.b[i], edges.a[j], edges.b[j])
    i, j = i[meet], j[meet]
    bad = ~_is_joint(edges, i, j)
    return np.concatenate([edges.cause[i[bad]], edges.cause[j[bad]]])


def _meet(a: Ints, b: Ints, c: Ints, d: Ints) -> Mask:
    """Return which edges a-b and c-d, whose boxes meet, meet."""
    sides = [np.sign(cross(b - a, p - a)) for p in (c, d)]
    others = [np.sign(cross(d - c, p - c)) for p in (a, b)]
    found: Mask = (sides[0] * sides[1] <= 0) & (others[0] * others[1] <= 0)
    return found


def _is_joint(edges: _Edges, i: Ints, j: Ints) -> Mask:
    """Return which pairs of edges that meet do so in a joint and nowhere else."""
    joined, folded = np.zeros(len(i), bool), np.zeros(len(i), bool)
    ends = (edges.a, edges.b)
    same_line = edges.line[i] == edges.line[j]
    for p, q in ((0, 0), (0, 1), (1, 0), (1, 1)):
        follows = same_line & (p != q) & (edges.place[j] - edges.place[i] == p - q)
        joint = (follows | (edges.ends[p][i] & edges.ends[q][j])) & (ends[p][i] == ends[q][j]).all(
            axis=1
        )
        u, w = ends[1 - p][i] - ends[p][i], ends[1 - q][j] - ends[q][j]
        joined |= joint
        folded |= joint & (cross(u, w) == 0) & ((u * w).sum(axis=1) > 0)
    return joined & ~folded


def _swept(lines: Lines, cut: Corners, changed: Mask, window: Window) -> list[Ints]:
    """Return the causes that have an end of a line on another side than it was."""
    fixed = np.unique(lines.xy[np.r_[lines.start[:-1], lines.start[1:] - 1]], axis=0)
    box = np.array([window.x0, window.y0, window.x1, window.y1]) * GRID
    fixed = fixed[((fixed >= box[:2]) & (fixed <= box[2:])).all(axis=1)]
    tree = shapely.STRtree(shapely.points(fixed))
    return [
        _passed(lines, changed, (tree, fixed)),
        _cut_off(lines, cut, changed, (tree, fixed)),
    ]


def _passed(lines: Lines, changed: Mask, nodes: tuple[shapely.STRtree, Ints]) -> Ints:
    """Return the causes of chords around which, with what they replace, a node is walked."""
    tree, fixed = nodes
    first, last = chords(lines)
    asked = (last - first > 1) & changed[np.searchsorted(lines.start, first, "right") - 1]
    first, last = first[asked], last[asked]
    if len(first) == 0:
        return first
    corner = expand(first, last + 1)[0]
    begin = np.cumsum(last + 1 - first) - (last + 1 - first)
    low = np.minimum.reduceat(lines.xy[corner], begin)
    high = np.maximum.reduceat(lines.xy[corner], begin)
    which, node = tree.query(shapely.box(*low.T, *high.T))
    point = fixed[node]
    at_end = [(point == lines.xy[end[which]]).all(axis=1) for end in (first, last)]
    which, point = which[~at_end[0] & ~at_end[1]], point[~at_end[0] & ~at_end[1]]
    corner, pair = expand(first[which], last[which])
    a, b = lines.xy[corner], lines.xy[corner + 1]
    turns = np.bincount(pair, _turns(a, b, point[pair]), minlength=len(which))
    turns += _turns(lines.xy[last[which]], lines.xy[first[which]], point)
    found: Ints = 2 * first[which[turns != 0]]
    return found


def _turns(a: Ints, b: Ints, point: Ints) -> Ints:
    """Return by how much edges a-b add to the winding number around points."""
    side = cross(b - a, point - a)
    up = (a[:, 1] <= point[:, 1]) & (b[:, 1] > point[:, 1]) & (side > 0)
    down = (a[:, 1] > point[:, 1]) & (b[:, 1] <= point[:, 1]) & (side < 0)
    return up.astype(np.int64) - down


def _cut_off(
    lines: Lines, cut: Corners, changed: Mask, nodes: tuple[shapely.STRtree, Ints]
) -> Ints:
    """Return the causes of rounded corners that cut off a node."""
    tree, fixed = nodes
    which = np.flatnonzero((cut.cut > 0) & changed[cut.line])
    tip = lines.xy[cut.at[which]]
    legs = [
        tip + np.rint(cut.cut[which, None] * way[which] * GRID).astype(np.int64)
        for way in (cut.before, cut.after)
    ]
    low, high = np.minimum(np.minimum(*legs), tip), np.maximum(np.maximum(*legs), tip)
    corner, node = tree.query(shapely.box(*low.T, *high.T))
    point = fixed[node]
    other = (point != tip[corner]).any(axis=1)
    corner, point = corner[other], point[other]
    a, b, c = tip[corner], legs[0][corner], legs[1][corner]
    sides = np.stack([cross(q - p, point - p) for p, q in ((a, b), (b, c), (c, a))])
    inside = (sides >= 0).all(axis=0) | (sides <= 0).all(axis=0)
    found: Ints = 2 * cut.at[which[corner[inside]]] + 1
    return found


def areas(xy: Ints, start: Ints) -> Ints:
    """Return twice the signed area between each line and its chord, in 1/GRID px squared."""
    line = np.repeat(np.arange(len(start) - 1), np.diff(start))
    off = xy - xy[start[:-1]][line]
    part = np.r_[cross(off[:-1], off[1:]), 0]
    # From one line to the next there is no edge.
    part[start[1:] - 1] = 0
    found: Ints = np.add.reduceat(part, start[:-1])
    return found


def out_of_order(ends: Ints, before: Ints, now: Ints) -> Ints:
    """Return the lines that changed places with one that has the same ends, or turned over.

    Or that nearly did.

    Args:
        ends: (m, 2) a number for either end.
        before: (m,) areas of the original lines.
        now: (m,) areas of the lines.
    """
    turned = ends[:, 0] > ends[:, 1]
    low, high = np.sort(ends, axis=1).T
    was, is_now = np.where(turned, -before, before), np.where(turned, -now, now)
    order = np.lexsort((was, high, low))
    left, right = order[:-1], order[1:]
    rivals = (low[left] == low[right]) & (high[left] == high[right])
    swapped = rivals & (_SHARES * (is_now[right] - is_now[left]) < was[right] - was[left])
    inverted = (low == high) & (_SHARES * is_now * np.sign(was) < np.abs(was))
    return np.unique(np.concatenate([left[swapped], right[swapped], np.flatnonzero(inverted)]))
