"""What is the right-angled outline of a building that was drawn pixel by pixel?

Its edges run along two directions at right angles on the ground, those along which the outline is
shortest. Each edge lies at the mean of the stretch of outline that it stands for; what is shorter
than a few pixels goes into its neighbours. An outline that this fits badly stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from geoseg.area import FINE_PX
from geoseg.frame import Frame

Floats = NDArray[np.float64]
Geometries = NDArray[np.object_]

REACH_PX = 1.5
"""How far an outline may lie from a straight edge: the steps of pixels, and as much again."""

SHORTEST_PX = 3.0
"""Shorter edges go into their neighbours."""

LEAST_IOU = 0.9
"""Least agreement with the pixels; outlines that would agree less stay as they are."""

_GOOD_IOU = 0.97
"""What agrees so well is not tried another way."""

_ANGLES = np.radians(np.arange(0, 90, 0.5))
_NEAR = np.radians(12)


def regularise(outlines: Geometries, frame: Frame) -> Geometries:
    """Return outlines with right angles on the ground, of the same area, parts and holes.

    Each depends on nothing but itself. Those that no right-angled outline fits, or only one that
    leaves the raster, stay as they are: the same objects.

    Args:
        outlines: (n,) shapely MultiPolygons in pixel corner coordinates that follow pixel edges.
        frame: The raster's. In a geographic CRS the ground is that of the outline's latitude; other
            CRSs are taken to keep angles.
    """
    found = outlines.copy()
    grounds = _grounds(outlines, frame)
    raster = shapely.box(0, 0, frame.width, frame.height)
    for i, (outline, ground) in enumerate(zip(outlines, grounds, strict=True)):
        regular = None if outline.is_empty else _regular(shapely.transform(outline, ground.there))
        back = outline if regular is None else shapely.transform(regular, ground.back)
        if back.is_valid and raster.covers(back):
            found[i] = back
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Ground:
    """Pixels as they lie on the ground around a place: true angles, areas as in pixels."""

    centre: Floats
    matrix: Floats

    def there(self, xy: Floats) -> Floats:
        return (xy - self.centre) @ self.matrix.T

    def back(self, xy: Floats) -> Floats:
        moved = xy @ np.linalg.inv(self.matrix).T + self.centre
        # What is valid on a coarse grid stays so when it is georeferenced.
        snapped: Floats = np.round(moved / FINE_PX) * FINE_PX
        return snapped


def _grounds(outlines: Geometries, frame: Frame) -> list[_Ground]:
    low_high = shapely.bounds(outlines)
    centres = np.round((low_high[:, :2] + low_high[:, 2:]) / 2)
    t = frame.transform
    plain = np.array([[t.a, t.b], [t.d, t.e]])
    east = np.ones(len(centres))
    if frame.crs is not None and pyproj.CRS.from_wkt(frame.crs).is_geographic:
        east = np.cos(np.radians(frame.to_crs(centres)[:, 1]))
    matrices = plain * np.stack([east, np.ones_like(east)], axis=1)[:, :, None]
    scale = np.sqrt(np.abs(np.linalg.det(matrices)))
    return [
        _Ground(centre, matrix / size)
        for centre, matrix, size in zip(centres, matrices, scale, strict=True)
    ]


def _regular(outline: shapely.MultiPolygon) -> shapely.MultiPolygon | None:
    """Return the right-angled outline that agrees best, or None if none is good enough."""
    parts = list(outline.geoms)
    straight = [_straight(ring) for part in parts for ring in (part.exterior, *part.interiors)]
    angle = _direction(straight)
    angle += _lean([_turn(ring, -angle) for part in parts for ring in _rings(part)])
    best, agreement = None, LEAST_IOU
    for turned in (angle, _box_angle(outline)):
        if agreement > _GOOD_IOU:
            break
        rings = [_turn(ring, -turned) for part in parts for ring in _rings(part)]
        fitted = [_fit(ring) for ring in rings]
        made = iter(_turn(ring, turned) for ring in fitted)
        shapes = [
            shapely.Polygon(next(made), [next(made) for _ in part.interiors]) for part in parts
        ]
        candidate = _same_area(shapely.MultiPolygon(shapes), outline.area)
        if candidate.is_valid and (iou := _iou(candidate, outline)) >= agreement:
            best, agreement = candidate, iou
    return best


def _rings(part: shapely.Polygon) -> list[Floats]:
    return [shapely.get_coordinates(r)[:-1] for r in (part.exterior, *part.interiors)]


def _turn(ring: Floats, angle: float) -> Floats:
    c, s = np.cos(angle), np.sin(angle)
    turned: Floats = ring @ np.array([[c, s], [-s, c]])
    return turned


def _straight(ring: shapely.LinearRing) -> Floats:
    """Return the edges (n, 2) of a ring without the steps of pixels."""
    xy = _from_farthest(shapely.get_coordinates(ring)[:-1])
    return np.diff(shapely.get_coordinates(_simple(xy)), axis=0)


def _simple(xy: Floats) -> shapely.LineString:
    return shapely.simplify(
        shapely.linestrings(np.vstack((xy, xy[:1]))), REACH_PX, preserve_topology=False
    )


def _from_farthest(ring: Floats) -> Floats:
    """Begin a ring at a corner: what is simplified keeps its first point."""
    far = np.hypot(*(ring - ring.mean(axis=0)).T)
    return np.roll(ring, -int(np.argmax(np.round(far, 6))), axis=0)


def _direction(straight: list[Floats]) -> float:
    """Return the angle, 0..pi/2, along which and across which edges are shortest in sum."""
    edges = np.concatenate(straight)
    along = np.arctan2(edges[:, 1], edges[:, 0])
    length = np.hypot(*edges.T)
    off = along - _ANGLES[:, None]
    best = _ANGLES[np.argmin((length * (np.abs(np.cos(off)) + np.abs(np.sin(off)))).sum(axis=1))]
    # The edges that run about so say it better than steps of half a degree.
    rest = (along - best + np.pi / 4) % (np.pi / 2) - np.pi / 4
    near = (np.abs(rest) < _NEAR) & (length > 0)
    return float(best + np.average(rest[near], weights=length[near] ** 2)) if near.any() else best


def _lean(rings: list[Floats]) -> float:
    """Return by how much the stretches of rings lean, together, by least squares."""
    shared = spread = 0.0
    for ring in rings:
        xy = _from_farthest(ring)
        for edge in _stretches(xy):
            points = xy[np.arange(edge.first, edge.last + 1) % len(xy)]
            along, across = (points - points.mean(axis=0)).T[:: -1 if edge.axis else 1]
            shared += float(along @ across) * (-1 if edge.axis else 1)
            spread += float(along @ along)
    return float(np.arctan2(shared, spread))


def _box_angle(outline: shapely.MultiPolygon) -> float:
    box = shapely.get_coordinates(shapely.minimum_rotated_rectangle(outline))
    edge = box[1] - box[0]
    return float(np.arctan2(edge[1], edge[0]) % (np.pi / 2))


@dataclass(slots=True)
class _Edge:
    """A stretch of a ring that becomes one level or upright edge."""

    axis: int
    """0 for level, 1 for upright."""
    first: int
    """Index of its first point; points are counted on around the ring."""
    last: int


def _fit(ring: Floats) -> Floats:
    """Return the corners (n, 2) of a ring of level and upright edges."""
    xy = _from_farthest(ring)
    edges = _stretches(xy)
    while len(edges) > 4:
        lengths = [abs(xy[e.last % len(xy), e.axis] - xy[e.first % len(xy), e.axis]) for e in edges]
        shortest = int(np.argmin(np.round(lengths, 6)))
        if lengths[shortest] >= SHORTEST_PX:
            break
        edges = edges[shortest:] + [
            _Edge(e.axis, e.first + len(xy), e.last + len(xy)) for e in edges[:shortest]
        ]
        # Now the shortest is first: it, the one after it and the one before become one.
        before, after = edges[-1], edges[1]
        merged = _Edge(before.axis, before.first - len(xy), after.last)
        edges = [merged, *edges[2:-1]]
    if len(edges) < 4:
        return _rectangle(ring)
    lines = [_line(xy, e) for e in edges]
    corners = [
        (lines[k], lines[k - 1]) if edges[k].axis == 1 else (lines[k - 1], lines[k])
        for k in range(len(edges))
    ]
    return np.array(corners)


def _stretches(xy: Floats) -> list[_Edge]:
    """Cut a ring where its simplified edges turn from level to upright; they take turns."""
    simple = shapely.get_coordinates(_simple(xy))
    place = {tuple(point): k for k, point in reversed(list(enumerate(xy.tolist())))}
    stops = [place[tuple(point)] for point in simple[:-1].tolist()] + [len(xy)]
    edges: list[_Edge] = []
    for k, (dx, dy) in enumerate(np.abs(np.diff(simple, axis=0)).tolist()):
        axis = int(dy > dx)
        if edges and edges[-1].axis == axis:
            edges[-1].last = stops[k + 1]
        else:
            edges.append(_Edge(axis, stops[k], stops[k + 1]))
    if len(edges) > 1 and edges[0].axis == edges[-1].axis:
        last = edges.pop()
        edges[0].first = last.first - len(xy)
    return edges


def _line(xy: Floats, edge: _Edge) -> float:
    """Return where a stretch lies on average, across its axis; what turns back does not count."""
    points = xy[np.arange(edge.first, edge.last + 1) % len(xy)]
    step = np.diff(points[:, edge.axis])
    onward = np.maximum(step * np.sign(step.sum()), 0)
    middle = (points[1:, 1 - edge.axis] + points[:-1, 1 - edge.axis]) / 2
    return float(np.average(middle, weights=onward) if onward.any() else middle.mean())


def _rectangle(ring: Floats) -> Floats:
    """Return the rectangle of a ring's area and proportions around its centre."""
    shape = shapely.Polygon(ring)
    size = np.ptp(ring, axis=0)
    half = size * np.sqrt(shape.area / size.prod()) / 2
    turn = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    corners: Floats = shapely.get_coordinates(shape.centroid) + turn * half
    return corners


def _same_area(shape: shapely.MultiPolygon, area: float) -> shapely.MultiPolygon:
    """Scale a shape around its centre."""
    if not shape.area > 0:
        return shape
    centre = shapely.get_coordinates(shape.centroid)
    return shapely.transform(shape, lambda xy: (xy - centre) * np.sqrt(area / shape.area) + centre)


def _iou(one: shapely.MultiPolygon, other: shapely.MultiPolygon) -> float:
    shared = one.intersection(other).area
    return float(shared / (one.area + other.area - shared))
