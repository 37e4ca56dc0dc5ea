"""How far is it from each polygon to the nearest other of its class, from edge to edge?

Outlines wait on the disk, cut into short pieces with a box each. What lies within a distance of a
polygon's pieces is looked for, then within a larger one, until something is found: then nothing can
be nearer. It is done in an equal-area plane around the raster's centre; between the two points that
are nearest there, the length of the geodesic is told.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.errors import WriteFailedError
from geoseg.features import Features
from geoseg.frame import Frame
from geoseg.generalise.growing import Growing
from geoseg.generalise.lines import Ints, expand
from geoseg.generalise.windows import portions

PIECE_EDGES = 32
"""Edges of a piece."""

MINE, OTHERS = 2**12, 2**15
"""Pieces that are looked at in one go, on either side; does not change the result."""

_WIDER = 3.0
"""How many times farther is looked each time."""

_PIECE = np.dtype([("box", "<f8", 4), ("owner", "<i8"), ("first", "<i8"), ("points", "<i4")])

Floats = NDArray[np.float64]
Tell = Callable[[int, int], None]


def with_nearest(
    found: Iterable[Features], frame: Frame, folder: Path, tell: Tell
) -> Iterator[Features]:
    """Yield features with the column `nearest_m`, metres; NaN without a CRS or another polygon.

    Args:
        found: Features; all are taken before the first is given.
        frame: The raster's.
        folder: Is made, and holds all outlines as long as features are given; remains.
        tell: Called with how many classes are done, and of how many.

    Raises:
        WriteFailedError: The disk is full.
    """
    map_ = _spool(found, frame, folder)
    nearest_m = np.full(len(map_.cls), np.nan)
    classes = np.unique(map_.cls).tolist()
    for step, cls in enumerate(classes, 1):
        mine = np.flatnonzero(map_.cls == cls)
        if frame.crs is not None and len(mine) > 1:
            ends = _search(map_, mine, _first_reach(frame))
            nearest_m[mine] = frame.between_m(ends[:, :2], ends[:, 2:])
        tell(step, len(classes))
    first = 0
    with (folder / "batches").open("rb") as waiting:
        for _ in range(map_.batches):
            features = pickle.load(waiting)  # noqa: S301  written by _spool
            stop = first + len(features.number)
            yield replace(features, extra={**features.extra, "nearest_m": nearest_m[first:stop]})
            first = stop


@dataclass(frozen=True, slots=True, eq=False)
class _Map:
    """Outlines on the disk."""

    xy: Floats
    """(n, 2) points of all pieces, metres in the plane; on the disk."""
    pieces: NDArray[np.void]
    """(p,) of _PIECE, by owner; on the disk."""
    cls: Ints
    """(m,) class of each feature."""
    batches: int

    def lines(self, pieces: Ints) -> NDArray[np.object_]:
        """Read pieces."""
        table = self.pieces[pieces]
        at, owner = expand(table["first"], table["first"] + table["points"])
        found: NDArray[np.object_] = shapely.linestrings(self.xy[at], indices=owner)
        return found


def _spool(found: Iterable[Features], frame: Frame, folder: Path) -> _Map:
    xy, pieces = Growing(folder / "points", "<f8", 2), Growing(folder / "pieces", _PIECE)
    cls: list[Ints] = [np.zeros(0, np.int64)]
    batches = 0
    try:
        with (folder / "batches").open("wb") as waiting:
            for features in found:
                pickle.dump(features, waiting)
                _cut(features, sum(map(len, cls)), frame, xy, pieces)
                cls.append(features.cls)
                batches += 1
    except OSError as error:
        raise WriteFailedError(
            f"cannot keep outlines in {folder}: {error.strerror or error}; make room there, then "
            "run the same again, it continues where it was"
        ) from error
    return _Map(xy.done(), pieces.done(), np.concatenate(cls), batches)


def _cut(features: Features, before: int, frame: Frame, xy: Growing, pieces: Growing) -> None:
    """Add the pieces of a batch."""
    parts, of_feature = shapely.get_parts(features.geometry, return_index=True)
    rings, of_part = shapely.get_rings(parts, return_index=True)
    points = frame.to_plane(shapely.get_coordinates(rings))
    size = shapely.get_num_coordinates(rings)
    start = np.cumsum(size) - size
    count = -(-(size - 1) // PIECE_EDGES)
    step, ring = expand(np.zeros_like(count), count)
    first = start[ring] + step * PIECE_EDGES
    stop = np.minimum(first + PIECE_EDGES + 1, (start + size)[ring])
    at, piece = expand(first, stop)
    table = np.zeros(len(first), _PIECE)
    table["owner"] = before + of_feature[of_part[ring]]
    table["points"] = stop - first
    table["first"] = xy.rows + np.cumsum(table["points"]) - table["points"]
    if len(table):
        begin = np.searchsorted(piece, np.arange(len(first)))
        for k, ends in ((0, np.minimum), (2, np.maximum)):
            table["box"][:, k : k + 2] = ends.reduceat(points[at], begin, axis=0)
    xy.append(points[at])
    pieces.append(table)


def _first_reach(frame: Frame) -> float:
    return 4 * (frame.gsd_m or 1.0)


def _search(map_: _Map, features: Ints, reach_m: float) -> Floats:
    """Return (n, 4) the two nearest points of each feature and any other of these, in the plane."""
    owner = map_.pieces["owner"]
    mine = np.flatnonzero(np.isin(owner, features))
    boxes, owner = map_.pieces["box"][mine], owner[mine]
    ends = np.full((len(features), 4), np.nan)
    left = np.arange(len(features))
    while len(left):
        wanted = np.flatnonzero(np.isin(owner, features[left]))
        best = np.full(len(features), np.inf)
        for part in portions(np.ones(len(wanted), np.int64), MINE):
            some = wanted[part]
            near = _near(boxes, boxes[some], reach_m)
            for other in portions(np.ones(len(near), np.int64), OTHERS):
                _compare(map_, (mine, owner, features), (some, near[other]), reach_m, best, ends)
        left = left[~np.isfinite(best[left])]
        reach_m *= _WIDER
    return ends


def _near(boxes: Floats, mine: Floats, reach_m: float) -> Ints:
    """Return the boxes that come within a distance of the box around some."""
    low, high = mine[:, :2].min(axis=0) - reach_m, mine[:, 2:].max(axis=0) + reach_m
    return np.flatnonzero(((boxes[:, :2] <= high) & (boxes[:, 2:] >= low)).all(axis=1))


def _compare(
    map_: _Map,
    known: tuple[Ints, Ints, Ints],
    pair: tuple[Ints, Ints],
    reach_m: float,
    best: Floats,
    ends: Floats,
) -> None:
    """Keep the nearest points between pieces of different features, if they are within reach."""
    piece, owner, features = known
    some, near = pair
    mine, others = map_.lines(piece[some]), map_.lines(piece[near])
    one, other = shapely.STRtree(others).query(mine, predicate="dwithin", distance=reach_m)
    apart = owner[some[one]] != owner[near[other]]
    one, other = one[apart], other[apart]
    distance = shapely.distance(mine[one], others[other])
    place = np.searchsorted(features, owner[some[one]])
    # The nearest of each feature, and of equal ones the first: in any portions the same.
    order = np.lexsort((near[other], some[one], distance, place))
    place, distance, one, other = (v[order] for v in (place, distance, one, other))
    first = np.flatnonzero(np.r_[True, place[1:] != place[:-1]][: len(place)])
    first = first[distance[first] < best[place[first]]]
    lines = shapely.shortest_line(mine[one[first]], others[other[first]])
    best[place[first]] = distance[first]
    ends[place[first]] = shapely.get_coordinates(lines).reshape(-1, 4)
