"""Which polygon of the map lies on which of the reference, and how well?

Areas are exact: polygons are cut with each other in pixel coordinates, no raster is made. Where
outlines follow pixels this is the count of pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.analysis.classed import Classed
from geoseg.analysis.evaluation.zones import Ground, Zone
from geoseg.area import Area, Geometries, polygonal
from geoseg.frame import Floats, Frame

Ints = NDArray[np.int64]

_SNAP_PX = 1e-5
"""How near to a pixel's corner a vertex is meant to be on it: coordinates were georeferenced."""

_DECIMALS = 4
_SNAP_IOU = 1e-9
"""How near to a number of few decimals an IoU is meant to be it: 0.5 is to stay 0.5, as what is
asked for is such a number."""

_LEAST_PX2 = 1.0
"""Least area of what is left of a polygon that was cut."""


@dataclass(frozen=True, slots=True, eq=False)
class Polygons:
    """The polygons of one layer that lie in the grid, without their outlines."""

    cls: Ints
    """(n,) class."""
    score: Floats
    """(n,) score; NaN where there is none."""
    zone: Zone
    """(n,) where they lie."""


@dataclass(frozen=True, slots=True, eq=False)
class Overlaps:
    """Two layers, and which polygons of the same class overlap."""

    map: Polygons
    """n of them."""
    reference: Polygons
    """m of them."""
    pairs: Ints
    """(k, 2) position in the map and in the reference, in this order ascending."""
    iou: Floats
    """(k,) intersection over union, of those that reach the least that was asked for."""


def find_overlaps(
    mapped: Classed, truth: Classed, ground: Ground, least: float, cut: Area | None = None
) -> Overlaps:
    """Find the polygons of the same class that overlap.

    The reference is held in memory, the map is read batch by batch.

    Args:
        mapped: The map.
        truth: The reference, with the same numbers of classes.
        ground: Which pixels count.
        least: Least IoU, above 0.
        cut: To what the map was cut; the reference is, too.

    Raises:
        ConfigError: A layer cannot be brought to the grid's CRS.
    """
    frame = ground.frame
    batches = list(_placed(truth, frame, cut))
    shapes = np.concatenate([np.empty(0, object), *(b[2] for b in batches)])
    reference = _gathered(batches, ground)
    tree, area = shapely.STRtree(shapes), shapely.area(shapes)
    sides, pairs, ious, first = [], [np.empty((0, 2), np.int64)], [np.empty(0)], 0
    for cls, score, own in _placed(mapped, frame):
        one, other = tree.query(own)
        same = cls[one] == reference.cls[other]
        found, iou = _close(own, shapes, area, (one[same], other[same]), least)
        order = np.lexsort((found[:, 1], found[:, 0]))
        pairs.append(found[order] + (first, 0))
        ious.append(iou[order])
        sides.append(Polygons(cls, score, ground.of(own)))
        first += len(own)
    return Overlaps(_joined(sides), reference, np.concatenate(pairs), np.concatenate(ious))


Placed = tuple[Ints, Floats, Geometries]
"""(n,) classes, scores, and valid shapes in pixel corner coordinates."""


def _placed(layer: Classed, frame: Frame, area: Area | None = None) -> Iterator[Placed]:
    """Yield what of each batch lies in the grid and the area, in order; both cut polygons."""
    for batch, placed, owner in layer.in_pixels(frame):
        parts = shapely.transform(placed, _snapped)
        bounds = shapely.bounds(parts)
        size = np.array([frame.width, frame.height])
        here = ((bounds[:, 2:] > 0) & (bounds[:, :2] < size)).all(axis=1)
        beyond = np.zeros(len(batch.id), bool)
        # Longitudes have copies a full turn away, which cut nothing.
        over = here & ((bounds[:, :2] < 0) | (bounds[:, 2:] > size)).any(axis=1)
        beyond[owner[over]] = True
        order = np.argsort(owner[here], kind="stable")
        which, place = np.unique(owner[here][order], return_inverse=True)
        shapes = shapely.multipolygons(parts[here][order], indices=place)
        shapes, edge = _valid(_cut(shapes, beyond[which], frame)), beyond[which]
        if area is not None:
            shapes, reaches = area.clip(shapes)
            edge |= reaches
        kept = ~edge | (shapely.area(shapes) >= _LEAST_PX2)
        yield batch.cls[which][kept], batch.score[which][kept], shapes[kept]


def _snapped(xy: Floats) -> Floats:
    corner = np.rint(xy)
    return np.where(np.abs(xy - corner) < _SNAP_PX, corner, xy)


def _snapped_iou(iou: Floats) -> Floats:
    plain = np.round(iou, _DECIMALS)
    return np.where(np.abs(iou - plain) < _SNAP_IOU, plain, iou)


def _cut(shapes: Geometries, beyond: NDArray[np.bool_], frame: Frame) -> Geometries:
    box = shapely.box(0, 0, frame.width, frame.height)
    for k in np.flatnonzero(beyond).tolist():
        left = shapely.intersection(_valid(shapes[k : k + 1])[0], box)
        shapes[k] = shapely.multipolygons(polygonal(shapely.get_parts(np.array([left]))))
    return shapes


def _valid(shapes: Geometries) -> Geometries:
    """Mend what became invalid when it was brought to the grid."""
    for k in np.flatnonzero(~shapely.is_valid(shapes)).tolist():
        mended = shapely.make_valid(shapes[k], method="structure", keep_collapsed=False)
        shapes[k] = shapely.multipolygons(polygonal(shapely.get_parts(np.array([mended]))))
    return shapes


def _gathered(batches: list[Placed], ground: Ground) -> Polygons:
    return _joined([Polygons(cls, score, ground.of(own)) for cls, score, own in batches])


def _joined(sides: list[Polygons]) -> Polygons:
    return Polygons(
        np.concatenate([np.empty(0, np.int64), *(s.cls for s in sides)]),
        np.concatenate([np.empty(0), *(s.score for s in sides)]),
        np.concatenate([np.empty(0, np.int8), *(s.zone for s in sides)]),
    )


def _close(
    own: Geometries,
    shapes: Geometries,
    area: Floats,
    candidates: tuple[Ints, Ints],
    least: float,
) -> tuple[Ints, Floats]:
    """Return (k, 2) those candidates whose IoU is at least so large, and it."""
    one, other = candidates
    a, b = shapely.area(own)[one], area[other]
    box, box_b = shapely.bounds(own)[one], shapely.bounds(shapes[other])
    sides = np.minimum(box[:, 2:], box_b[:, 2:]) - np.maximum(box[:, :2], box_b[:, :2])
    # No more than this can be shared: most pairs need not be cut.
    most = np.minimum(np.minimum(a, b), np.maximum(sides, 0).prod(axis=1))
    near = np.flatnonzero(most * (1 + least) >= least * (a + b) * (1 - 1e-9))
    one, other = one[near], other[near]
    shared = shapely.area(shapely.intersection(own[one], shapes[other]))
    iou = _snapped_iou(shared / (a[near] + b[near] - shared))
    kept = iou >= least
    return np.column_stack((one[kept], other[kept])).astype(np.int64), iou[kept]
