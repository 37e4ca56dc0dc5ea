"""What is on the disk? The arcs of a map, the state of their corners, and who walks them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.features import Drawn
from geoseg.generalise.arcs import Rings, walk
from geoseg.generalise.growing import Growing
from geoseg.generalise.lines import GRID, Ints, Lines, Mask, Shorts, States, expand
from geoseg.generalise.links import joined
from geoseg.generalise.nodes import Lattice, Nodes, nodes_in
from geoseg.generalise.saddles import Owners, Pairs, passing
from geoseg.generalise.windows import Index, portions

PORTION = 2**17
"""Corners that are worked on at once, unless a single ring or arc has more."""

_PIECE = 512
"""Corners of a ring that have a box of their own."""

_WALKED = np.dtype(
    [
        ("name", "<i8"),
        ("first", "<i8"),
        ("size", "<i4"),
        ("coverage", "<i4"),
        ("backward", "?"),
        ("closed", "?"),
    ]
)
"""An arc as a ring walks it: as of Walk, and where its first corner is on the disk."""


@dataclass(frozen=True, slots=True, eq=False)
class Spooled:
    """Features whose rings are on the disk."""

    drawn: list[Drawn]
    """Batches of features, without outlines."""
    rings: Rings
    """Their rings, on the disk; after them those of the edge, once in each coverage."""
    still: Mask
    """(r,) which of them stay as they are: those of the edge, and of some classes."""
    per_polygon: Ints
    """Rings of each polygon."""
    per_feature: Ints
    """Polygons of each feature."""
    area: NDArray[np.float32]
    """(p,) of each polygon, in pixels."""

    @property
    def of_features(self) -> int:
        """How many rings are those of features."""
        return int(self.per_polygon.sum())

    def owners(self) -> Owners:
        """Return whose the rings are."""
        polygon = np.full(len(self.still), -1, np.int32)
        polygon[: self.of_features] = np.repeat(np.arange(len(self.area)), self.per_polygon)
        feature = np.repeat(np.arange(len(self.per_feature), dtype=np.int32), self.per_feature)
        cls = np.concatenate([np.zeros(0, np.int64), *(drawn.cls for drawn in self.drawn)])
        return Owners(polygon, self.still, feature, cls[feature], self.area)


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Arcs, each once, and the rings that walk them."""

    xy: Ints
    """(n, 2) corners in 1/GRID px, on the disk."""
    state: States
    """(n,) state of each corner, on the disk; may be changed."""
    first: Ints
    """(m,) index of the first corner of each arc, rising."""
    size: Shorts
    """(m,) corners of each arc."""
    closed: Mask
    """(m,) whether it is a ring that meets no other."""
    coverage: Shorts
    """(m,) with which others it may not cross."""
    fixed: Mask
    """(m,) whether it lies on the edge: it stays as it is."""
    walked: Shorts
    """(k,) arcs in the order in which rings walk them."""
    backward: Mask
    """(k,) in which direction."""
    per_ring: Shorts
    """(r,) arcs of each ring of a feature."""
    per_polygon: Ints
    """(p,) rings of each polygon: fewer than were spooled where two of them became one."""

    def corners(self, arcs: Ints | Shorts) -> tuple[Ints, Ints]:
        """Return the indices of all corners of some arcs, and where in them each arc begins."""
        at = expand(self.first[arcs], self.first[arcs] + self.size[arcs])[0]
        return at, np.r_[0, np.cumsum(self.size[arcs])]

    def lines(self, arcs: Ints | Shorts) -> Lines:
        """Read arcs."""
        at, start = self.corners(arcs)
        return Lines(self.xy[at].astype(np.int64), start, self.state[at], self.closed[arcs])


def spool(
    batches: Iterable[Drawn],
    classes: tuple[Ints, Mask],
    edge: NDArray[np.object_],
    folder: Path,
) -> Spooled:
    """Put outlines on the disk.

    Args:
        batches: Features; their outlines have integer corners.
        classes: The coverage of each class, and whether its lines stay as they are.
        edge: (n,) MultiPolygons beyond which there is nothing, with integer corners.
        folder: Where to.
    """
    xy = Growing(folder / "rings", "<i4", 2)
    drawn: list[Drawn] = []
    coverage, is_still = classes
    still = [np.zeros(0, bool)]
    none = np.zeros(0, np.int64)
    sizes, of_ring, per_polygon, per_feature = [none], [none], [none], [none]
    area = [np.zeros(0, np.float32)]
    for batch in batches:
        corners, (rings, polygons, features) = shapely.to_ragged_array(batch.outline)[1:]
        xy.append(np.rint(corners))
        sizes.append(np.diff(rings))
        per_polygon.append(np.diff(polygons))
        per_feature.append(np.diff(features))
        cls = np.repeat(np.repeat(batch.cls, per_feature[-1]), per_polygon[-1])
        of_ring.append(coverage[cls])
        still.append(is_still[cls])
        area.append(shapely.area(shapely.get_parts(batch.outline)).astype(np.float32))
        drawn.append(replace(batch, outline=np.zeros(0, object)))
    corners, (rings, *_) = shapely.to_ragged_array(edge)[1:]
    for one in np.unique(coverage):
        xy.append(np.rint(corners))
        sizes.append(np.diff(rings))
        of_ring.append(np.full(len(rings) - 1, one))
        still.append(np.ones(len(rings) - 1, bool))
    start = np.r_[0, np.cumsum(np.concatenate(sizes))]
    rings = Rings(xy.done(), start, np.concatenate(of_ring))
    return Spooled(
        drawn,
        rings,
        np.concatenate(still),
        np.concatenate(per_polygon),
        np.concatenate(per_feature),
        np.concatenate(area),
    )


def find_nodes(spooled: Spooled, lattice: Lattice, side: int, *, opening: bool) -> Nodes:
    """Find all nodes, window by window, and who passes at them if they are to be opened."""
    rings = spooled.rings
    begin, stop, of_ring = _pieces(rings)
    boxes = np.zeros((len(begin), 4), np.int32)
    for part in portions(stop - begin, PORTION):
        at = expand(begin[part], stop[part])[0]
        first = np.cumsum(stop[part] - begin[part]) - (stop[part] - begin[part])
        xy = rings.xy[at]
        boxes[part] = np.hstack([f.reduceat(xy, first, axis=0) for f in (np.minimum, np.maximum)])
    owners = spooled.owners()
    found, pairs = [np.zeros(0, np.int64)], [np.zeros(0, np.uint8)]
    for window, pieces in Index.of(boxes, side).windows(of_ring < spooled.of_features):
        coverage = rings.coverage[of_ring[pieces]]
        for one in np.unique(coverage).tolist():
            mine = pieces[coverage == one]
            at, piece = expand(begin[mine], stop[mine] - 1)
            a, b = rings.xy[at].astype(np.int64), rings.xy[at + 1].astype(np.int64)
            xy, crosswise = nodes_in(window, a, b)
            pair = np.zeros(len(xy), np.uint8)
            if opening and crosswise.any():
                pair[crosswise] = passing(xy[crosswise], (a, b, of_ring[mine][piece]), owners)
            found.append(lattice.key(np.full(len(xy), one), xy))
            pairs.append(pair)
    return Nodes.of(np.concatenate(found), np.concatenate(pairs), lattice)


def _pieces(rings: Rings) -> tuple[Ints, Ints, Ints]:
    """Cut rings into stretches; returns where they begin and stop, and their rings."""
    edges = np.diff(rings.start) - 1
    count = -(-edges // _PIECE)
    step, ring = expand(np.zeros_like(count), count)
    begin = rings.start[:-1][ring] + step * _PIECE
    return begin, np.minimum(begin + _PIECE + 1, rings.start[1:][ring]), ring


def connect(spooled: Spooled, nodes: Nodes, folder: Path) -> Network:
    """Cut all rings into arcs."""
    rings = spooled.rings
    xy, walks = Growing(folder / "arcs", "<i4", 2), Growing(folder / "walks", _WALKED)
    per_ring, met = [np.zeros(0, np.int32)], [np.zeros((0, 2), np.int64)]
    for part in portions(np.diff(rings.start), PORTION):
        begin, stop = rings.start[part.start], rings.start[part.stop]
        some = Rings(
            rings.xy[begin:stop].astype(np.int64),
            rings.start[part.start : part.stop + 1] - begin,
            rings.coverage[part],
        )
        found = walk(some, nodes)
        rows = np.zeros(len(found.size), _WALKED)
        rows["name"], rows["size"] = found.name, found.size
        rows["first"] = xy.rows + np.cumsum(found.size) - found.size
        rows["coverage"] = np.repeat(some.coverage, found.per_ring)
        rows["backward"], rows["closed"] = found.backward, found.closed
        arc, point = found.met
        met.append(np.column_stack((point, arc + walks.rows)))
        xy.append(found.xy)
        walks.append(rows)
        per_ring.append(found.per_ring.astype(np.int32))
    walked = walks.done()
    # Either neighbour wrote it; what the first one wrote is read.
    once, which = _distinct(walked["name"])
    arcs, of_ring = walked[once], np.concatenate(per_ring)
    fixed = np.zeros(len(once), bool)
    fixed[which[np.repeat(spooled.still, of_ring)]] = True
    order, of_ring = joined(of_ring, _pairs(np.concatenate(met)))
    return Network(
        xy.done(),
        _states(xy.rows, folder),
        arcs["first"],
        arcs["size"],
        arcs["closed"],
        arcs["coverage"],
        fixed,
        which[order],
        walked["backward"][order],
        of_ring[of_ring > 0],
        np.bincount(spooled.owners().polygon[of_ring > 0] + 1)[1:],
    )


def _pairs(met: Ints) -> Ints:
    """Return (m, 2) arcs that begin in the same point, of (2m, 2) points and arcs."""
    return met[np.lexsort(met.T[::-1]), 1].reshape(-1, 2)


def _distinct(names: Ints) -> tuple[Ints, Shorts]:
    """Return where each name comes first, rising, and which of those each is."""
    once, which = np.unique(names, return_index=True, return_inverse=True)[1:]
    order = np.argsort(once)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    numbers: Shorts = rank.astype(np.int32)[which]
    return once[order], numbers


def _states(rows: int, folder: Path) -> States:
    """Return a state for each corner, none set."""
    # Written, so that a disk that is full says so here, and not when they are changed.
    state = Growing(folder / "states", "u1")
    while state.rows < rows:
        state.append(np.zeros(min(PORTION, rows - state.rows), np.uint8))
    return state.done()


def parts(network: Network, arcs: Ints) -> Iterator[Ints]:
    """Cut arcs into stretches that are worked on at once."""
    for part in portions(network.size[arcs], PORTION):
        yield arcs[part]
