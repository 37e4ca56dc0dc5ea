"""How do outlines get on the disk, and where do their lines meet?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.features import Drawn
from geoseg.generalise.arcs import Rings
from geoseg.generalise.growing import Growing
from geoseg.generalise.lines import Ints, Mask, Shorts, expand
from geoseg.generalise.nodes import Lattice, Nodes, nodes_in
from geoseg.generalise.saddles import Owners, passing
from geoseg.generalise.windows import PORTION, Index, portions

_PIECE = 512
"""Corners of a ring that have a box of their own."""


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

    def polygon(self) -> Shorts:
        """Return (r,) the polygon of each ring; -1 for those of the edge."""
        found = np.full(len(self.still), -1, np.int32)
        found[: self.of_features] = np.repeat(np.arange(len(self.area)), self.per_polygon)
        return found

    def owners(self) -> Owners:
        """Return whose the rings are."""
        feature = np.repeat(np.arange(len(self.per_feature), dtype=np.int32), self.per_feature)
        cls = np.concatenate([np.zeros(0, np.int64), *(drawn.cls for drawn in self.drawn)])
        return Owners(self.polygon(), self.still, feature, cls[feature], self.area)


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
