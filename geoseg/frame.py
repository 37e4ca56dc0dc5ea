"""Where on Earth is a pixel, and how large is it there?

Pixel coordinates are corners: pixel (row 0, col 0) covers x, y in 0..1. Only the six numbers of
the affine transform are used, so rotated, sheared, mirrored and south-up rasters need no case.

Areas are ellipsoidal: vertices go to the Lambert azimuthal equal-area projection centred on the
raster, where the planar area of a small-edged ring equals its area on the ellipsoid (Snyder 1987,
USGS Professional Paper 1395, ch. 24). Where rows are parallels and columns meridians they go to the
cylindrical one (ch. 10), which is torn neither at a pole nor on the far side of the Earth.
Perimeters are sums of geodesics (Karney 2013, J. Geodesy 87:43-55, as in PROJ). A pixel is so small
that it is measured as it lies in space, between its four corners on the ellipsoid, anywhere on
Earth.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyproj
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj.enums import WktVersion

from geoseg.errors import RasterError
from geoseg.window import Window

Floats = NDArray[np.float64]

_EDGE_PX = 16.0
"""Longest edge that is measured as one piece; longer ones are densified first."""

_SAME_DEG = 1e-9
"""Degrees that are nothing."""

_CORNERS = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
"""Of a pixel, around it, from its centre."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Size, transform and CRS of a raster."""

    width: int
    """Number of columns."""
    height: int
    """Number of rows."""
    transform: Affine
    """Pixel corner (col, row) to CRS coordinates (x, y)."""
    crs: str | None
    """WKT of the horizontal CRS, or None: then coordinates have no unit and areas are NaN."""

    @property
    def window(self) -> Window:
        """Every pixel of the raster."""
        return Window(0, 0, self.width, self.height)

    def to_crs(self, xy_px: NDArray[Any]) -> Floats:
        """Map pixel corners to CRS coordinates.

        Args:
            xy_px: (n, 2) columns and rows.

        Returns:
            (n, 2) float64 x and y in the units of the CRS.
        """
        t = self.transform
        x, y = xy_px[:, 0].astype(np.float64), xy_px[:, 1].astype(np.float64)
        return np.column_stack((t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f))

    def to_pixels(self, xy: NDArray[Any]) -> Floats:
        """Map CRS coordinates, (n, 2) x and y, to pixel corners, (n, 2) columns and rows."""
        t = ~self.transform
        x, y = xy[:, 0], xy[:, 1]
        return np.column_stack((t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f))

    @property
    def gsd_m(self) -> float | None:
        """Ground length of a pixel's side at the raster's centre in metres; None without a CRS."""
        area_m2 = float(self.pixels_m2(np.array([[self.width + 1, self.height + 1]]) / 2)[0])
        return math.sqrt(area_m2) if math.isfinite(area_m2) and area_m2 > 0 else None

    def pixels_m2(self, centres: Floats) -> Floats:
        """Return (n,) ground area in m2 of pixels around (n, 2) centres; NaN without a CRS."""
        if self.crs is None:
            return np.full(len(centres), np.nan)
        corners = np.repeat(centres, 4, axis=0) + np.tile(_CORNERS, (len(centres), 1))
        corners = _ground(self, threading.get_ident()).space(self.to_crs(corners)).reshape(-1, 4, 3)
        across, down = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
        area: Floats = np.linalg.norm(np.cross(across, down), axis=1) / 2
        return area

    def measure(self, geometries_px: NDArray[np.object_]) -> tuple[Floats, Floats]:
        """Measure polygons given in pixel coordinates on the ground.

        Args:
            geometries_px: (n,) shapely (multi)polygons in pixel corner coordinates.

        Returns:
            (n,) area in m2 and (n,) perimeter in m, holes' rings included; NaN without a CRS.
        """
        if self.crs is None or len(geometries_px) == 0:
            nothing = np.full(len(geometries_px), np.nan)
            return nothing, nothing.copy()
        dense = shapely.segmentize(geometries_px, _EDGE_PX)
        ground = _ground(self, threading.get_ident())
        plane, length_m = ground.measure(self.to_crs(shapely.get_coordinates(dense)))
        area = np.abs(shapely.area(shapely.set_coordinates(dense.copy(), plane)))
        return area * ground.unit_m2, _sums(length_m, dense)

    def to_plane(self, xy: NDArray[Any]) -> Floats:
        """Map CRS coordinates, (n, 2) x and y, to the equal-area plane, in metres; NaN without CRS.

        Lengths in it are true near the raster's centre, and some per mille off far from it.
        """
        if self.crs is None or len(xy) == 0:
            return np.full((len(xy), 2), np.nan)
        return _ground(self, threading.get_ident()).to_plane(xy)

    def between_m(self, one: Floats, other: Floats) -> Floats:
        """Return the (n,) geodesic lengths in metres between (n, 2) points of the plane."""
        if self.crs is None or len(one) == 0:
            return np.full(len(one), np.nan)
        return _ground(self, threading.get_ident()).between_m(one, other)


def _sums(lengths: Floats, geometries: NDArray[np.object_]) -> Floats:
    """Add up consecutive-vertex lengths per geometry, leaving out the jumps between rings."""
    parts, owner = shapely.get_parts(geometries, return_index=True)
    rings, ring_part = shapely.get_rings(parts, return_index=True)
    last = np.cumsum(shapely.get_num_coordinates(rings)) - 1
    lengths = np.append(lengths, 0.0)
    lengths[last] = 0.0
    per_ring = np.add.reduceat(lengths, np.r_[0, last[:-1] + 1])
    total: Floats = np.bincount(owner[ring_part], per_ring, len(geometries)).astype(np.float64)
    return total


class _Ground:
    """Measuring tools for one CRS: made once per frame, as PROJ set-up costs milliseconds."""

    def __init__(self, frame: Frame) -> None:
        crs = pyproj.CRS.from_wkt(frame.crs or "")
        self.unit_m2 = 1.0
        self._to_lonlat: pyproj.Transformer | None = None
        self._geod = crs.get_geod()
        geodetic = crs.geodetic_crs
        if geodetic is None or self._geod is None:
            self._unit_m = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0
            self.unit_m2 = self._unit_m**2
            return
        self._to_lonlat = pyproj.Transformer.from_crs(crs, geodetic, always_xy=True)
        # Maps of France count angles in gons; what is 1 is to be 1 exactly.
        self._unit_deg = round(math.degrees(geodetic.axis_info[0].unit_conversion_factor), 12)
        centre = frame.to_crs(np.array([[frame.width / 2, frame.height / 2]]))
        lon, lat = (float(v[0]) for v in self._lonlat(self._to_lonlat, centre))
        if not (math.isfinite(lon) and math.isfinite(lat)):
            raise RasterError(
                f"the raster's centre {centre[0].tolist()} lies outside its coordinate reference "
                f"system {crs.name}; set the right one with gdal_edit -a_srs"
            )
        lat = min(max(lat, -90.0), 90.0)
        laea = pyproj.CRS.from_dict(
            {
                "proj": "laea",
                "lat_0": lat,
                "lon_0": lon,
                "a": self._geod.a,
                "b": self._geod.b,
                "units": "m",
            }
        )
        # Same ellipsoid, same datum: a plain conversion, so no grid or datum shift can slip in.
        self._lonlat_to_laea = pyproj.Proj(laea)
        cea = {"proj": "cea", "a": self._geod.a, "b": self._geod.b}
        straight = crs.is_geographic or self._is_cylindrical(self._to_lonlat, frame)
        self._lonlat_to_cea = pyproj.Proj(cea) if straight else None

    def _is_cylindrical(self, to_lonlat: pyproj.Transformer, frame: Frame) -> bool:
        """Tell whether edges of a raster are parallels and meridians, as in Mercator's projection.

        The date line does not cross it then.
        """
        # Rows from the top, three places in each.
        xy = np.stack(np.meshgrid(np.linspace(0, frame.width, 3), np.linspace(0, frame.height, 3)))
        lon, lat = self._lonlat(to_lonlat, frame.to_crs(xy.reshape(2, 9).T))
        across, down = lon.reshape(3, 3), lat.reshape(3, 3)
        with np.errstate(invalid="ignore"):
            # Not finite where the projection knows no place.
            bent = [np.ptp(across, axis=0), np.ptp(down, axis=1), np.diff(across, 2)[:, 0]]
        return bool((np.abs(bent) < _SAME_DEG).all())

    def _lonlat(self, to_lonlat: pyproj.Transformer, xy: Floats) -> tuple[Floats, Floats]:
        """Return (n,) longitudes and latitudes in degrees."""
        lon, lat = to_lonlat.transform(xy[:, 0], xy[:, 1])
        return lon * self._unit_deg, lat * self._unit_deg

    def space(self, xy: Floats) -> Floats:
        """Return (n, 3) metres of (n, 2) CRS coordinates in space, where no plane is torn.

        Those on the ellipsoid, from its centre; NaN where the projection knows no place.
        """
        if self._to_lonlat is None or self._geod is None:
            return np.column_stack((xy * self._unit_m, np.zeros(len(xy))))
        known = np.array(self._lonlat(self._to_lonlat, xy))
        lon, lat = np.radians(np.where(np.isfinite(known), known, np.nan))
        across = self._geod.a / np.sqrt(1 - self._geod.es * np.sin(lat) ** 2)
        return np.column_stack(
            (
                across * np.cos(lat) * np.cos(lon),
                across * np.cos(lat) * np.sin(lon),
                across * (1 - self._geod.es) * np.sin(lat),
            )
        )

    def measure(self, xy: Floats) -> tuple[Floats, Floats]:
        """Project vertices and measure from each to the next.

        Args:
            xy: (n, 2) CRS coordinates.

        Returns:
            (n, 2) coordinates in an equal-area plane, and (n - 1,) lengths in metres.
        """
        if self._to_lonlat is None or self._geod is None:
            return xy, np.hypot(*np.diff(xy, axis=0).T) * self._unit_m
        lon, lat = self._lonlat(self._to_lonlat, xy)
        if self._lonlat_to_cea is not None:
            # Pixels whose centres are the poles reach beyond.
            lat = np.clip(lat, -90, 90)
        length_m: Floats = self._geod.inv(lon[:-1], lat[:-1], lon[1:], lat[1:])[2]
        if self._lonlat_to_cea is None:
            return np.column_stack(self._lonlat_to_laea(lon, lat)), length_m
        # Whoever goes around the Earth does not come back to where he was.
        y = self._lonlat_to_cea(np.zeros(len(lon)), lat)[1]
        return np.column_stack((self._geod.a * np.radians(lon), y)), length_m

    def to_plane(self, xy: Floats) -> Floats:
        """Project CRS coordinates, (n, 2), to metres in the plane."""
        if self._to_lonlat is None:
            return xy * self._unit_m
        lon, lat = self._lonlat(self._to_lonlat, xy)
        return np.column_stack(self._lonlat_to_laea(lon, lat))

    def between_m(self, one: Floats, other: Floats) -> Floats:
        """Return the (n,) lengths in metres between points of the plane."""
        if self._to_lonlat is None or self._geod is None:
            plain: Floats = np.hypot(*(other - one).T)
            return plain
        ends = [self._lonlat_to_laea(p[:, 0], p[:, 1], inverse=True) for p in (one, other)]
        length_m: Floats = self._geod.inv(*ends[0], *ends[1])[2]
        return length_m


@lru_cache(maxsize=8)
def _ground(frame: Frame, _thread: int) -> _Ground:
    # One per thread: a PROJ object must not be used by two at once.
    return _Ground(frame)


def horizontal_wkt(crs: Any) -> str:
    """Return the WKT of the horizontal part of a CRS in any form pyproj reads.

    Raises:
        pyproj.exceptions.CRSError: It has no horizontal part.
    """
    parsed = pyproj.CRS.from_user_input(crs)
    if parsed.is_compound:
        parsed = parsed.sub_crs_list[0]
    if parsed.is_vertical or parsed.is_geocentric:
        kind = "vertical" if parsed.is_vertical else "geocentric"
        raise pyproj.exceptions.CRSError(f"{parsed.name} is {kind}, not a horizontal CRS")
    return parsed.to_wkt(WktVersion.WKT2_2019)
