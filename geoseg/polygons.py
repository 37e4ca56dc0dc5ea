"""How do row runs become polygons?

Everything happens on integer pixel corners, so a shared edge is the same numbers on both sides,
and pieces of different tiles unite exactly: where two runs meet, their edges cancel. The outline
depends on the set of pixels only, not on how it was cut into runs, nor on their order.

Regions are 4-connected: two pixels that meet at a corner only are two parts. Rings are valid in
the sense of OGC Simple Features: where a ring would touch itself at a corner it becomes two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geoseg.runs import Runs

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Edges:
    """Horizontal outline edges, sorted by owner, y, low."""

    owner: Ints
    y: Ints
    low: Ints
    high: Ints
    east: NDArray[np.bool_]
    """True: directed east, the region lies below; False: directed west, the region lies above."""


def outlines(runs: Runs, count: int) -> NDArray[np.object_]:
    """Return the outline of each label's pixels.

    Args:
        runs: Labels 1..count; the runs of one label must not overlap.
        count: Number of labels.

    Returns:
        (count,) shapely MultiPolygons in pixel corner coordinates; empty for a label without
        runs. Shells run clockwise on the screen (row axis down), holes the other way.
    """
    edges = _horizontal_edges(runs)
    order, ring_start = trace(_successors(edges, simple=True))
    return _assemble(edges, order, ring_start, count)


@dataclass(frozen=True, slots=True, eq=False)
class Rings:
    """Outlines as they are walked, each pixel of a region on the right hand."""

    xy: Ints
    """(n, 2) corners, ring after ring; the first is not said again at the end of its ring."""
    start: Ints
    """(m,) where each ring begins."""
    owner: Ints
    """(m,) label of each ring."""


def rings(runs: Runs) -> Rings:
    """Return the rings around each label's pixels: as `outlines`, but never through a pixel.

    Where pixels meet crosswise a ring turns around those of its region, and so may touch itself;
    those of `outlines` are cut in two there, and then turn around a corner of two regions.

    Args:
        runs: As `outlines`.
    """
    edges = _horizontal_edges(runs)
    order, ring_start = trace(_successors(edges, simple=False))
    if len(order) == 0:
        none = np.zeros(0, np.int64)
        return Rings(none.reshape(0, 2), none, none)
    closed, size = _coordinates(edges, order, ring_start)
    xy = np.delete(closed, np.cumsum(size) - 1, axis=0)
    return Rings(xy, 2 * ring_start, edges.owner[order[ring_start]])


def _horizontal_edges(runs: Runs) -> _Edges:
    """Sum what begins and ends on each grid line; what is left over is outline."""
    if len(runs) == 0:
        none = np.zeros(0, np.int64)
        return _Edges(none, none, none, none, none.astype(bool))
    y_low, x_low = int(runs["y"].min()), int(runs["x0"].min())
    rows = int(runs["y"].max()) - y_low + 2
    cols = int(runs["x1"].max()) - x_low + 1
    top = (runs["label"].astype(np.int64) * rows + runs["y"] - y_low) * cols - x_low
    bottom = top + cols
    # The lowest bit tells +1 from -1: sorting plain integers is much faster than an argsort.
    events = np.concatenate(
        [
            (top + runs["x0"]) * 2 + 1,
            (top + runs["x1"]) * 2,
            (bottom + runs["x0"]) * 2,
            (bottom + runs["x1"]) * 2 + 1,
        ]
    )
    events.sort()
    place = events >> 1
    first = np.flatnonzero(np.r_[True, place[1:] != place[:-1]])
    step = np.add.reduceat((events & 1) * 2 - 1, first)
    place, step = place[first][step != 0], step[step != 0]
    inside = np.cumsum(step)[:-1]
    is_edge = inside != 0
    line, low = np.divmod(place[:-1][is_edge], cols)
    owner, y = np.divmod(line, rows)
    high = low + (place[1:] - place[:-1])[is_edge]
    return _Edges(owner, y + y_low, low + x_low, high + x_low, inside[is_edge] > 0)


def _successors(edges: _Edges, *, simple: bool) -> Ints:
    """Return, for each edge, the edge that follows it around its ring.

    In each column the ends of edges pair up from the top: between the two of a pair runs a
    vertical edge. Where four pixels meet crosswise two ends share a place; the upper one belongs
    to the edge directed west, so that each ring turns around its own pixel. Simple rings do not
    touch themselves.
    """
    n = len(edges.y)
    owner, y, east = (np.repeat(v, 2) for v in (edges.owner, edges.y, edges.east))
    x = np.column_stack((edges.low, edges.high)).ravel()
    by_column = np.lexsort((east, y, x, owner))
    partner = np.empty(2 * n, np.int64)
    partner[by_column[0::2]], partner[by_column[1::2]] = by_column[1::2], by_column[0::2]
    end = np.arange(n) * 2 + edges.east
    successor = partner[end] >> 1

    upper, lower = by_column[1:-1:2], by_column[2::2]
    cross = (owner[upper] == owner[lower]) & (x[upper] == x[lower]) & (y[upper] == y[lower])
    upper, lower = upper[cross], lower[cross]
    if simple and len(upper):
        graph = coo_array((np.ones(n, np.int8), (np.arange(n), successor)), (n, n))
        ring = connected_components(graph, directed=False)[1]
        # A ring that meets itself at a corner becomes two by exchanging its ways there.
        same = ring[upper >> 1] == ring[lower >> 1]
        upper, lower = upper[same], lower[same]
        exchange = np.arange(2 * n)
        exchange[upper], exchange[lower] = lower, upper
        partner = exchange[partner[exchange]]
        successor = partner[end] >> 1
    return successor


def trace(successor: Ints) -> tuple[Ints, Ints]:
    """Walk every cycle, beginning at its first edge.

    Args:
        successor: (n,) what follows each edge.

    Returns:
        The edges in walking order, and where in it each ring starts.
    """
    following = successor.tolist()
    seen = bytearray(len(following))
    order: list[int] = []
    starts: list[int] = []
    for first in range(len(following)):
        if seen[first]:
            continue
        starts.append(len(order))
        edge = first
        while not seen[edge]:
            seen[edge] = 1
            order.append(edge)
            edge = following[edge]
    return np.array(order, np.int64), np.array(starts, np.int64)


def _assemble(edges: _Edges, order: Ints, ring_start: Ints, count: int) -> NDArray[np.object_]:
    """Sort rings into polygons and polygons into owners."""
    if len(order) == 0:
        return np.full(count, shapely.MultiPolygon(), dtype=object)
    length = (edges.high - edges.low) * np.where(edges.east, -1, 1)
    area = np.add.reduceat((length * edges.y)[order], ring_start)
    first = order[ring_start]
    owner = edges.owner[first] - 1
    shell = area > 0
    parent = np.arange(len(ring_start))
    shells_of = np.bincount(owner[shell], minlength=count)
    shell_at = np.zeros(count, np.int64)
    shell_at[owner[shell]] = np.flatnonzero(shell)
    parent[~shell] = shell_at[owner[~shell]]
    coords, ring_size = _coordinates(edges, order, ring_start)
    doubtful = ~shell & (shells_of[owner] > 1)
    if doubtful.any():
        inside = np.column_stack((edges.low[first] + 0.5, edges.y[first] - 0.5))
        some = np.zeros(count, bool)
        some[owner[doubtful]] = True
        candidates = np.flatnonzero(shell & some[owner])
        parent[doubtful] = _around(
            inside[doubtful], owner[doubtful], candidates, owner, coords, ring_size
        )
    rank = np.lexsort((np.arange(len(parent)), ~shell, parent))
    return _ragged(coords, ring_size, rank, shell, owner, count)


def _coordinates(edges: _Edges, order: Ints, ring_start: Ints) -> tuple[Ints, Ints]:
    """Return the closed rings' corners (n, 2) and the number of corners of each ring."""
    east = edges.east[order]
    low, high, y = edges.low[order], edges.high[order], edges.y[order]
    edge_count = np.diff(np.r_[ring_start, len(order)])
    ring = np.repeat(np.arange(len(ring_start)), edge_count)
    at = 2 * np.arange(len(order)) + ring
    coords = np.empty((2 * len(order) + len(ring_start), 2), np.int64)
    coords[at, 0], coords[at + 1, 0] = np.where(east, low, high), np.where(east, high, low)
    coords[at, 1] = coords[at + 1, 1] = y
    size = 2 * edge_count + 1
    stop = np.cumsum(size)
    coords[stop - 1] = coords[stop - size]
    return coords, size


def _around(
    inside: NDArray[np.float64],
    owner: Ints,
    candidates: Ints,
    owner_of: Ints,
    coords: Ints,
    ring_size: Ints,
) -> Ints:
    """Return, for each hole, the smallest shell of its owner around the pixel above its top."""
    stop = np.cumsum(ring_size)
    rings = [coords[stop[c] - ring_size[c] : stop[c]] for c in candidates.tolist()]
    shells = np.array([shapely.Polygon(ring) for ring in rings])
    hole, shell = shapely.STRtree(shells).query(shapely.points(inside), predicate="within")
    mine = owner_of[candidates[shell]] == owner[hole]
    hole, shell = hole[mine], shell[mine]
    smallest_last = np.argsort(-shapely.area(shells)[shell], kind="stable")
    found = np.zeros(len(inside), np.int64)
    found[hole[smallest_last]] = candidates[shell[smallest_last]]
    return found


def _ragged(
    coords: Ints,
    ring_size: Ints,
    rank: Ints,
    shell: NDArray[np.bool_],
    owner: Ints,
    count: int,
) -> NDArray[np.object_]:
    """Build the geometries from rings in final order."""
    start = np.cumsum(ring_size) - ring_size
    size = ring_size[rank]
    ring_offsets = np.r_[0, np.cumsum(size)]
    take = np.arange(ring_offsets[-1]) + np.repeat(start[rank] - ring_offsets[:-1], size)
    polygon_offsets = np.r_[np.flatnonzero(shell[rank]), len(rank)]
    per_owner = np.bincount(owner[rank][shell[rank]], minlength=count)
    owner_offsets = np.r_[0, np.cumsum(per_owner)]
    geometries: NDArray[np.object_] = shapely.from_ragged_array(
        shapely.GeometryType.MULTIPOLYGON,
        coords[take].astype(np.float64),
        (ring_offsets, polygon_offsets, owner_offsets),
    )
    return geometries
