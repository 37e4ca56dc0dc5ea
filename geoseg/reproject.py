"""Where do polygons of a layer lie in the pixels of a raster?

A straight edge is straight in the CRS it was drawn in. In the raster's CRS it may be a curve, and
is followed to within CHORD_PX of a pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from geoseg.area import Geometries
from geoseg.errors import ConfigError
from geoseg.frame import Floats, Frame, horizontal_wkt

Offsets = NDArray[np.int64]

CHORD_PX = 1 / 256
"""How far a straight piece of an edge may lie from where the edge is."""

_MOST_PIECES = 2**14
_QUARTERS = np.array([0.25, 0.5, 0.75])
_PAD = 0.1
_LOST = "cannot be brought to the raster's coordinate reference system"


def horizontal(crs: Any, source: str) -> str:
    """Return the WKT of the horizontal CRS of a layer.

    Raises:
        ConfigError: It has none.
    """
    try:
        return horizontal_wkt(crs)
    except pyproj.exceptions.CRSError as error:
        raise ConfigError(f"{source}: {error}; give it a horizontal one") from error


def in_pixels(
    polygons: Geometries, crs: str | None, frame: Frame, source: str
) -> tuple[Geometries, Offsets]:
    """Return polygons in pixels, in every place where they may lie in the raster.

    Args:
        polygons: (n,) single, valid polygons.
        crs: WKT of their horizontal CRS.
        frame: The raster's.
        source: What to call them in messages.

    Returns:
        (k,) polygons in pixel corner coordinates, without what is far from the raster where the
        two CRSs differ; and (k,) which of the n each is, or is a part of.

    Raises:
        ConfigError: They cannot be brought to the raster's CRS.
    """
    turn, owner = _turn(frame.crs), np.arange(len(polygons))
    if crs is not None and frame.crs is not None and not _same(crs, frame.crs):
        try:
            to_raster = pyproj.Transformer.from_crs(crs, frame.crs, always_xy=True)
        except pyproj.exceptions.ProjError as error:
            raise ConfigError(f"{source} {_LOST}; reproject it with ogr2ogr -t_srs") from error
        polygons, owner = _near(polygons, to_raster, frame, _turn(crs))
        polygons = _bent(polygons, _Image(to_raster, frame, turn), source)
    if turn is not None:
        polygons, owner = np.concatenate(_moved(polygons, turn)), np.tile(owner, 3)
    return shapely.transform(polygons, frame.to_pixels), owner


def points_in_pixels(xy: Floats, crs: str | None, frame: Frame, source: str) -> Floats:
    """Return where points lie in pixels; not finite where the raster's CRS knows no such place.

    Args:
        xy: (n, 2) coordinates.
        crs: WKT of their horizontal CRS.
        frame: The raster's.
        source: What to call them in messages.

    Returns:
        (n, 2) columns and rows, as pixel corner coordinates.

    Raises:
        ConfigError: They cannot be brought to the raster's CRS.
    """
    if crs is not None and frame.crs is not None and not _same(crs, frame.crs):
        try:
            to_raster = pyproj.Transformer.from_crs(crs, frame.crs, always_xy=True)
        except pyproj.exceptions.ProjError as error:
            raise ConfigError(f"{source} {_LOST}; reproject it with ogr2ogr -t_srs") from error
        xy = np.column_stack(to_raster.transform(xy[:, 0], xy[:, 1]))
    turn = _turn(frame.crs)
    if turn is not None:
        middle = frame.to_crs(np.array([[frame.width / 2, frame.height / 2]]))[0, 0]
        turns = np.round((middle - xy[:, 0]) / turn)
        xy = np.column_stack((xy[:, 0] + turns * turn, xy[:, 1]))
    return frame.to_pixels(xy)


def _moved(polygons: Geometries, turn: float) -> list[Geometries]:
    """Return polygons a full turn of the globe to the west, where they are, and to the east."""
    return [
        shapely.transform(polygons, lambda xy, step=step: np.add(xy, step))
        for step in ((-turn, 0), (0, 0), (turn, 0))
    ]


def _same(one: str, other: str) -> bool:
    return pyproj.CRS.from_wkt(one).equals(pyproj.CRS.from_wkt(other), ignore_axis_order=True)


def _turn(crs: str | None) -> float | None:
    """Return what a full turn is in a CRS of longitudes, 360 as a rule; None in others."""
    known = None if crs is None else pyproj.CRS.from_wkt(crs)
    if known is None or not known.is_geographic:
        return None
    return round(2 * math.pi / known.axis_info[0].unit_conversion_factor, 9)


def _near(
    polygons: Geometries, to_raster: pyproj.Transformer, frame: Frame, turn: float | None
) -> tuple[Geometries, Offsets]:
    """Cut polygons to the surroundings of the raster: far away, its CRS may know no place.

    Returns:
        (k,) polygons, and (k,) which each was.
    """
    x0, y0, x1, y1 = _bounds(to_raster, frame)
    if not np.isfinite((x0, y0, x1, y1)).all():
        return polygons, np.arange(len(polygons))
    if turn is None:
        box = _padded(x0, y0, x1, y1)
        return _parts([shapely.intersection(polygons, box)])
    x1 += turn * (x1 < x0)
    half, inside = turn / 2, -turn / 2 <= x0 and x1 <= turn / 2
    left, low, right, high = _padded(x0, y0, x1, y1).bounds
    # Where the raster does not cross the date line, neither may its surroundings.
    if inside:
        box = shapely.box(max(left, -half), low, min(right, half), high)
    else:
        box = shapely.box(left, low, min(right, left + turn), high)
    found = [shapely.intersection(moved, box) for moved in _moved(polygons, turn)]
    return _parts(found)


def _parts(cut: list[Geometries]) -> tuple[Geometries, Offsets]:
    """Return the polygons of what was cut, several times the same n, and which each was."""
    parts, owner = shapely.get_parts(np.concatenate(cut), return_index=True)
    kept = (shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & ~shapely.is_empty(parts)
    return parts[kept], owner[kept] % len(cut[0])


def _bounds(to_raster: pyproj.Transformer, frame: Frame) -> tuple[float, float, float, float]:
    """Return the raster's bounds in the area's CRS; not finite where it has no such place."""
    low_x, low_y, high_x, high_y = corners(frame)
    try:
        return to_raster.transform_bounds(
            low_x, low_y, high_x, high_y, densify_pts=101, direction="INVERSE"
        )
    except pyproj.exceptions.ProjError:
        return math.inf, math.inf, math.inf, math.inf


def corners(frame: Frame) -> tuple[float, float, float, float]:
    """Return the raster's bounds in its own CRS."""
    w, h = frame.width, frame.height
    xy = frame.to_crs(np.array([(0, 0), (w, 0), (w, h), (0, h)]))
    return *xy.min(axis=0).tolist(), *xy.max(axis=0).tolist()


def _padded(x0: float, y0: float, x1: float, y1: float) -> shapely.Polygon:
    pad = _PAD * max(x1 - x0, y1 - y0)
    return shapely.box(x0 - pad, y0 - pad, x1 + pad, y1 + pad)


@dataclass(frozen=True)
class _Image:
    """Maps points to the raster's CRS."""

    to_raster: pyproj.Transformer
    frame: Frame
    turn: float | None

    def __call__(self, xy: Floats) -> Floats:
        return np.column_stack(self.to_raster.transform(xy[:, 0], xy[:, 1]))

    def beside(self, image: Floats, origin: Floats) -> Floats:
        """Return images on the same turn of the globe as others."""
        if self.turn is None:
            return image
        turns = np.round((origin[:, 0] - image[:, 0]) / self.turn)
        return np.column_stack((image[:, 0] + turns * self.turn, image[:, 1]))

    def gap_px(self, start: Floats, stop: Floats) -> Floats:
        """Return how far the images of edges are from straight, in pixels.

        Measured at three points of each edge; not finite where the raster's CRS knows no place.
        """
        first = self(start)
        last = self.beside(self(stop), first)
        a, b = self.frame.to_pixels(first), self.frame.to_pixels(last)
        known = np.asarray(np.isfinite(np.hstack((a, b))).all(axis=1))
        chords = shapely.linestrings(np.stack((a, b), axis=1)[known])
        gaps = np.full(len(start), np.inf)
        gaps[known] = 0
        for t in _QUARTERS:
            seen = self.beside(self(start + t * (stop - start)), first)
            points = shapely.points(self.frame.to_pixels(seen[known]))
            gaps[known] = np.maximum(gaps[known], shapely.distance(points, chords))
        return np.where(np.isnan(gaps), np.inf, gaps)


def _bent(polygons: Geometries, image: _Image, source: str) -> Geometries:
    """Return the images of polygons, with vertices added where an edge becomes a curve."""
    if len(polygons) == 0:
        return polygons
    _, xy, (ring_stops, polygon_stops) = shapely.to_ragged_array(polygons)
    ring = np.repeat(np.arange(len(ring_stops) - 1), np.diff(ring_stops))
    edge = np.flatnonzero(ring[:-1] == ring[1:])
    pieces = np.ones(len(xy), np.int64)
    pieces[edge] = _pieces(xy[edge], xy[edge + 1], image, source)
    owner, t = _split(pieces)
    following = np.minimum(owner + 1, len(xy) - 1)
    moved = image(xy[owner] + t[:, None] * (xy[following] - xy[owner]))
    dense_ring = ring[owner]
    stops = np.searchsorted(dense_ring, np.arange(len(ring_stops)))
    moved = _on_one_turn(moved, stops, polygon_stops, image.turn, source)
    bent: Geometries = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, moved, (stops, polygon_stops)
    )
    return bent


def _pieces(start: Floats, stop: Floats, image: _Image, source: str) -> Offsets:
    """Return into how many equal pieces each edge is cut."""
    pieces = np.ones(len(start), np.int64)
    open_ = np.arange(len(start))
    while len(open_):
        owner, t = _split(pieces[open_])
        a, b = start[open_][owner], (stop - start)[open_][owner]
        step = 1 / pieces[open_][owner]
        gaps = image.gap_px(a + t[:, None] * b, a + (t + step)[:, None] * b)
        worst = np.zeros(len(open_))
        np.maximum.at(worst, owner, gaps)
        open_ = open_[worst > CHORD_PX]
        pieces[open_] *= 2
        if not np.isfinite(worst).all() or (pieces > _MOST_PIECES).any():
            raise ConfigError(
                f"{source} {_LOST}: an edge of it leaves the map there; cut it to the surroundings "
                "of the raster first"
            )
    return pieces


def _split(pieces: Offsets) -> tuple[Offsets, Floats]:
    """Return (edge, where on it in 0..1) of the start of each piece."""
    owner = np.repeat(np.arange(len(pieces)), pieces)
    k = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    return owner, k / pieces[owner]


def _on_one_turn(
    xy: Floats, stops: Offsets, polygon_stops: Offsets, turn: float | None, source: str
) -> Floats:
    """Undo the jumps of longitudes at the date line, ring by ring, and bring holes to shells."""
    if turn is None:
        return xy
    jumps = np.round(np.diff(xy[:, 0], prepend=xy[0, 0]) / turn)
    jumps[stops[:-1]] = 0
    turns = np.cumsum(jumps)
    turns -= np.repeat(turns[stops[:-1]], np.diff(stops))
    if (turns[stops[1:] - 1] != 0).any():
        raise ConfigError(
            f"{source} goes around a pole, which the raster's longitudes cannot show; cut it along "
            "a meridian first"
        )
    x = xy[:, 0] - turns * turn
    middle = (np.minimum.reduceat(x, stops[:-1]) + np.maximum.reduceat(x, stops[:-1])) / 2
    shell = np.repeat(polygon_stops[:-1], np.diff(polygon_stops))
    x += np.repeat(np.round((middle[shell] - middle) / turn), np.diff(stops)) * turn
    return np.column_stack((x, xy[:, 1]))
