"""Where on a browser's map is a raster? Its coordinates there and back, and pictures of its parts.

A raster with a CRS lies on the web's projection; one without, or one that reaches beyond what the
web shows, towards the poles, lies flat, a pixel being a unit.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyproj
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj.exceptions import ProjError

from geoseg.frame import Floats, Frame
from geoseg.mercator import HALF_M, HIGHEST_DEG, Bounds, drawn, from_lonlat, to_lonlat, web_of
from geoseg.overview import Overview, part
from geoseg.raster import RasterReader
from geoseg.stretch import Stretch
from geoseg.window import Window

_FLAT = "EPSG:3857"
"""Any projection, on both sides: nothing is warped."""

_TWICE = Affine.scale(2)
"""GDAL takes pixels of one unit, at the origin, for pixels of no place at all."""

_TILE_PX = 256
"""Side of the whole Earth at zoom 0."""

ZOOM_STEP = 0.5
"""A map is closer by this or more: at 1 it shows twice as much."""

_LOOKS = 17
"""Places a side at which it is asked which pixels a screen shows."""


@dataclass(frozen=True, slots=True)
class Screen:
    """What a browser shows."""

    bounds: Bounds
    """In the map's plane."""
    shape: tuple[int, int]
    """(rows, cols) of the screen."""


@dataclass(frozen=True, slots=True)
class Place:
    """A raster on a map.

    Map coordinates are (n, 2) longitudes and latitudes as the browser counts them; the plane is
    what the browser draws.
    """

    frame: Frame
    """The raster's."""
    middle: float | None
    """Longitude around which the map is drawn; None where the raster lies flat."""

    @staticmethod
    def of(frame: Frame) -> Place:
        """Return where a raster is."""
        return Place(frame, _middle(frame))

    @property
    def is_flat(self) -> bool:
        """Whether the raster has no place on Earth that the web shows."""
        return self.middle is None

    def to_map(self, xy: Floats) -> Floats:
        """Return map coordinates of (n, 2) x and y in the raster's CRS."""
        plane = self._to_plane(xy)
        return plane if self.middle is None else to_lonlat(plane, self.middle)

    def from_map(self, lonlat: Floats) -> Floats:
        """Return x and y in the raster's CRS of map coordinates."""
        plane = lonlat if self.middle is None else from_lonlat(lonlat, self.middle)
        return self._from_plane(plane)

    def on_map(self, geometry: shapely.Geometry) -> shapely.Geometry:
        """Return a geometry in the raster's CRS in map coordinates."""
        return shapely.transform(geometry, self.to_map)

    def screen(self, lonlat: Bounds, shape: tuple[int, int]) -> Screen:
        """Return what a browser shows that shows west, south, east, north."""
        west, south, east, north = lonlat
        corners = np.array([(west, south), (east, north)])
        if self.middle is not None:
            (_, low), (_, high) = from_lonlat(corners, self.middle)
            left, right = np.radians(corners[:, 0] - self.middle) * (HALF_M / math.pi)
            return Screen((float(left), float(low), float(right), float(high)), shape)
        return Screen((west, south, east, north), shape)

    def fitting(self, xy: Floats, shape: tuple[int, int]) -> tuple[tuple[float, float], float]:
        """Return the centre (latitude, longitude) and the zoom at which a screen shows places.

        Args:
            xy: (n, 2) x and y in the raster's CRS.
            shape: (rows, cols) of the screen.
        """
        plane = self._to_plane(xy)
        plane = plane[np.isfinite(plane).all(axis=1)]
        low, high = plane.min(axis=0), plane.max(axis=0)
        [(lon, lat)] = self.from_plane_to_map(((low + high) / 2)[None]).tolist()
        wide, tall = np.maximum(high - low, 1e-9)
        unit_px = min(shape[1] / wide, shape[0] / tall)
        zoom = math.floor(math.log2(unit_px * self._unit) / ZOOM_STEP) * ZOOM_STEP
        return (lat, lon), min(zoom, self.closest_zoom)

    def from_plane_to_map(self, plane: Floats) -> Floats:
        """Return map coordinates of places in the plane."""
        return plane if self.middle is None else to_lonlat(plane, self.middle)

    @property
    def closest_zoom(self) -> int:
        """Zoom at which a pixel of the raster is about 16 pixels of the screen, or more."""
        w, h = self.frame.width / 2, self.frame.height / 2
        middle = self.frame.to_crs(np.array([(w - 0.5, h - 0.5), (w + 0.5, h + 0.5)]))
        plane = self._to_plane(middle)
        side = float(np.abs(plane[1] - plane[0]).max())
        return math.ceil(math.log2(16 * self._unit / side))

    @property
    def _unit(self) -> float:
        """Units of the plane per pixel of the screen, at zoom 0."""
        return 1.0 if self.middle is None else 2 * HALF_M / _TILE_PX

    def _to_plane(self, xy: Floats) -> Floats:
        if self.middle is None:
            return self.frame.to_pixels(xy) * (1, -1)
        to_web = _to_web(self.frame.crs or "", self.middle, threading.get_ident())
        return np.column_stack(to_web.transform(xy[:, 0], xy[:, 1]))

    def _from_plane(self, plane: Floats) -> Floats:
        if self.middle is None:
            return self.frame.to_crs(plane * (1, -1))
        to_web = _to_web(self.frame.crs or "", self.middle, threading.get_ident())
        xy = np.column_stack(to_web.transform(plane[:, 0], plane[:, 1], direction="INVERSE"))
        turn = _turn(self.frame.crs or "")
        if turn is not None:
            # Rasters of longitudes up to 360 lie on another turn than PROJ answers with.
            centre = self.frame.to_crs(np.array([(self.frame.width, self.frame.height)]) / 2)
            xy[:, 0] += turn * np.round((centre[0, 0] - xy[:, 0]) / turn)
        return xy

    def whole(self) -> Screen:
        """Return a screen that shows all of the raster, of about as many pixels."""
        w, h = self.frame.width, self.frame.height
        edge = _lattice(0, 0, w, h)
        plane = self._to_plane(self.frame.to_crs(edge))
        plane = plane[np.isfinite(plane).all(axis=1)].clip(-HALF_M, HALF_M)
        (left, low), (right, high) = plane.min(axis=0).tolist(), plane.max(axis=0).tolist()
        return Screen((left, low, right, high), (h, w))

    def picture(
        self, raster: RasterReader, stretch: Stretch, screen: Screen
    ) -> NDArray[np.uint8] | None:
        """Return what a screen shows of a raster; None where it shows nothing of it.

        Returns:
            (4, row, col) red, green, blue, and 255 where data is good.

        Raises:
            TileFailedError: The raster cannot be read there.
        """
        found = self.looked_at(screen)
        if found is None:
            return None
        window, step = found
        seen = part(raster, stretch, window, step)
        if self.middle is None:
            place = _TWICE @ Affine.scale(1, -1) @ ~self.frame.transform @ seen.transform
            left, low, right, high = (2 * v for v in screen.bounds)
            flat = Overview(seen.image, seen.valid, place)
            return drawn(flat, _FLAT, _FLAT, (left, low, right, high), screen.shape)
        crs = self.frame.crs or ""
        return drawn(seen, crs, web_of(self.middle), screen.bounds, screen.shape)

    def looked_at(self, screen: Screen) -> tuple[Window, int] | None:
        """Return which pixels a screen shows, and every how many-th is enough; None of none."""
        px = self.frame.to_pixels(self._from_plane(_lattice(*screen.bounds)))
        step = _step(px.reshape(_LOOKS, _LOOKS, 2), screen.shape)
        px = px[np.isfinite(px).all(axis=1)]
        if not len(px) or step is None:
            return None
        (x0, y0), (x1, y1) = np.floor(px.min(axis=0)), np.ceil(px.max(axis=0))
        margin = 2 * step
        full = self.frame.window
        shown = Window(
            int(max(x0, 0)), int(max(y0, 0)), int(min(x1, full.x1)), int(min(y1, full.y1))
        )
        return (shown.grow(margin, full), step) if shown.area else None


def _lattice(x0: float, y0: float, x1: float, y1: float) -> Floats:
    xs, ys = np.linspace(x0, x1, _LOOKS), np.linspace(y0, y1, _LOOKS)
    return np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)


def _step(px: Floats, shape: tuple[int, int]) -> int | None:
    """Return how many pixels of the raster are one of a screen's side, at least; None of none."""
    across = np.linalg.norm(np.diff(px, axis=1), axis=2) * (_LOOKS - 1) / shape[1]
    down = np.linalg.norm(np.diff(px, axis=0), axis=2) * (_LOOKS - 1) / shape[0]
    known = [v[np.isfinite(v)] for v in (across, down)]
    return max(1, int(min(np.median(v) for v in known))) if all(map(len, known)) else None


def _middle(frame: Frame) -> float | None:
    """Return the longitude of a raster's middle; beyond 180 where its CRS has it there.

    None where it has no place on Earth, or one that the web's projection does not show.
    """
    if frame.crs is None:
        return None
    places = np.concatenate([
        [(frame.width / 2, frame.height / 2)], _lattice(0, 0, frame.width, frame.height)
    ])  # fmt: skip
    try:
        to_lonlat = pyproj.Transformer.from_crs(frame.crs, "EPSG:4326", always_xy=True)
    except ProjError:
        return None
    lon, lat = to_lonlat.transform(*frame.to_crs(places).T)
    is_shown = np.abs(lat[np.isfinite(lat)]) <= HIGHEST_DEG
    return float(lon[0]) if math.isfinite(lon[0]) and is_shown.all() else None


@lru_cache(maxsize=32)
def _turn(crs: str) -> float | None:
    """Return once around the Earth in units of x; None where x is no longitude."""
    known = pyproj.CRS.from_wkt(crs)
    if not known.is_geographic:
        return None
    return 2 * math.pi / float(known.axis_info[0].unit_conversion_factor)


@lru_cache(maxsize=32)
def _to_web(crs: str, middle: float, thread: int) -> pyproj.Transformer:  # noqa: ARG001
    """Return a transformer of this thread's own: they must not be shared."""
    return pyproj.Transformer.from_crs(crs, web_of(middle), always_xy=True)
