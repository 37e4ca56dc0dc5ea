"""Where in a raster is what was pointed at on a map? Coordinates of any CRS become pixels."""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import shapely

from geoseg.area import polygonal
from geoseg.errors import ConfigError
from geoseg.frame import Frame, horizontal_wkt
from geoseg.interactive.pointed import Box
from geoseg.reproject import corners, in_pixels, points_in_pixels

if TYPE_CHECKING:
    import geopandas as gpd

LONLAT = "EPSG:4326"


class Places:
    """Coordinates of a raster."""

    def __init__(self, frame: Frame, crs: Any = None) -> None:
        """Take coordinates in a CRS where nothing else is said: longitude and latitude where None.

        Those of a raster without a CRS are its own.

        Raises:
            ConfigError: There is no such CRS, or the raster has none.
        """
        self._frame = frame
        self.crs = None if frame.crs is None else horizontal_wkt(LONLAT)
        self.crs = self._known(crs)

    def point(self, x: float, y: float, crs: Any) -> tuple[float, float]:
        """Return column and row of a place, as pixel corner coordinates.

        Raises:
            ConfigError: It does not lie in the raster.
        """
        if not all(isinstance(v, Real) and math.isfinite(v) for v in (x, y)):
            raise ConfigError(f"({x!r}, {y!r}) is no place: give x and y as numbers")
        known = self._known(crs)
        col, row = self._pixel(x, y, known)
        if not self._holds(col, row):
            turned = self._pixel(y, x, known)
            swapped = " (x comes first, as longitude does: swap them)"
            raise ConfigError(
                f"({self._shown(x, y, known)}) lies outside the raster, {self._says(known)}"
                f"{swapped if self._holds(*turned) else ''}"
            )
        return col, row

    def _pixel(self, x: float, y: float, crs: str | None) -> tuple[float, float]:
        at = np.array([(x, y)], np.float64)
        with np.errstate(invalid="ignore"):
            col, row = points_in_pixels(at, crs, self._frame, "the point")[0].tolist()
        return col, row

    def _holds(self, col: float, row: float) -> bool:
        return 0 <= col < self._frame.width and 0 <= row < self._frame.height

    def box(self, bounds: Any, crs: Any) -> Box:
        """Return the box in pixels around bounds x0, y0, x1, y1, cut to the raster.

        What has bounds is taken for them: a geometry, or a layer of geopandas.

        Raises:
            ConfigError: They are no box, or do not meet the raster.
        """
        if isinstance(bounds, shapely.Geometry) or hasattr(bounds, "geometry"):
            geometry, crs = self._geometry(bounds, crs)
            bounds = geometry.bounds
        try:
            given = np.array(bounds, np.float64).ravel()
        except (TypeError, ValueError):
            given = np.zeros(0)
        if given.shape != (4,) or not np.isfinite(given).all():
            raise ConfigError(f"bounds {str(bounds)[:60]!r} are no box; give x0, y0, x1, y1")
        x0, x1 = given[[0, 2]].tolist()
        known = self._known(crs)
        if x0 - x1 > 180 and known is not None and pyproj.CRS.from_wkt(known).is_geographic:
            # Over the far side of the globe, as in GeoJSON (RFC 7946, 5.2).
            x1 += 360
        x0, x1 = sorted((x0, x1))
        y0, y1 = sorted(given[[1, 3]].tolist())
        if x0 == x1 or y0 == y1:
            raise ConfigError(f"bounds {tuple(given.tolist())} hold nothing; give x0, y0, x1, y1")
        shape = self._in_raster(shapely.box(x0, y0, x1, y1), crs, "the box")
        low_x, low_y, high_x, high_y = shape.bounds
        return low_x, low_y, high_x, high_y

    def polygon(self, polygon: Any, crs: Any) -> shapely.MultiPolygon:
        """Return polygons in pixels, cut to the raster.

        Args:
            polygon: A shapely (multi)polygon; a GeoSeries or GeoDataFrame brings its CRS.
            crs: Of a shapely polygon.

        Raises:
            ConfigError: There is no polygon, or none that meets the raster.
        """
        geometry, crs = self._geometry(polygon, crs)
        if not np.isfinite(shapely.get_coordinates(geometry)).all():
            raise ConfigError("the polygon has coordinates that are no numbers")
        geometry = shapely.make_valid(geometry)
        if not geometry.area:
            what = geometry.geom_type.lower()
            raise ConfigError(f"the {what} encloses nothing; a mask is a polygon")
        shape = self._in_raster(geometry, crs, "the polygon")
        return shapely.multipolygons(polygonal(shapely.get_parts(np.array([shape]))))

    def _in_raster(self, shape: Any, crs: Any, what: str) -> shapely.Geometry:
        known = self._known(crs)
        parts = shapely.get_parts(np.array([shapely.make_valid(shape)]))
        if not np.isfinite(shapely.area(parts)).all():
            raise ConfigError(f"{what} is larger than any place")
        placed, _ = in_pixels(polygonal(parts), known, self._frame, what)
        size = self._frame.width, self._frame.height
        inside = shapely.union_all([shapely.clip_by_rect(p, 0, 0, *size) for p in placed])
        if not inside.area:
            raise ConfigError(f"{what} does not meet the raster, {self._says(known)}")
        return inside

    def _geometry(self, given: Any, crs: Any) -> tuple[Any, Any]:
        """Return one geometry and its CRS, which layers of geopandas bring.

        Raises:
            ConfigError: It is none, or a layer that does not say its CRS.
        """
        if isinstance(given, shapely.Geometry):
            return given, crs
        layer: gpd.GeoSeries | None = getattr(given, "geometry", None)
        if layer is None or not hasattr(layer, "union_all"):
            raise ConfigError(
                f"{type(given).__name__} is no polygon; give one of shapely, a GeoSeries or a "
                "GeoDataFrame"
            )
        if layer.crs is None and crs is None and self._frame.crs is not None:
            raise ConfigError("the layer does not say its coordinate reference system; say crs=...")
        return layer.union_all(), crs if layer.crs is None else layer.crs

    def _known(self, crs: Any) -> str | None:
        """Return the WKT of a CRS; the usual one where none is said."""
        if crs is None:
            return self.crs
        if self._frame.crs is None:
            raise ConfigError(
                "the raster has no coordinate reference system: point in its own coordinates and "
                "leave crs out, or set one with gdal_edit -a_srs"
            )
        try:
            return horizontal_wkt(crs)
        except pyproj.exceptions.CRSError as error:
            raise ConfigError(f"crs {str(crs)[:60]!r} is none: {error}") from error

    def _says(self, known: str | None) -> str:
        """Return where the raster lies, in the words of who pointed."""
        x0, y0, x1, y1 = self._spans(known)
        across, down = (self._shown(*pair, known).split(", ") for pair in ((x0, y0), (x1, y1)))
        spans = f"which spans {across[0]} to {down[0]} and {across[1]} to {down[1]}"
        if known is None:
            return f"{spans} in its own coordinates"
        named = pyproj.CRS.from_user_input(known).name
        return f"{spans} in {named}; say crs=... where you point in another"

    def _spans(self, known: str | None) -> tuple[float, float, float, float]:
        frame = self._frame
        x0, y0, x1, y1 = corners(frame)
        if known is None or frame.crs is None:
            return x0, y0, x1, y1
        to_known = pyproj.Transformer.from_crs(frame.crs, known, always_xy=True)
        x0, y0, x1, y1 = to_known.transform_bounds(x0, y0, x1, y1)
        return x0, y0, x1, y1

    def _shown(self, x: float, y: float, known: str | None) -> str:
        """Return coordinates with as many digits as tell a tenth of a pixel."""
        x0, y0, x1, y1 = self._spans(known)
        shown = []
        for v, size in ((x, (x1 - x0) / self._frame.width), (y, (y1 - y0) / self._frame.height)):
            fine = math.isfinite(size) and size > 0
            digits = max(0, math.ceil(1 - math.log10(size))) if fine else 6
            shown.append(f"{v:.{min(digits, 12)}f}")
        return ", ".join(shown)
