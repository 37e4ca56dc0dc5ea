"""Where in a raster is what was pointed at on a map? Coordinates of any CRS become pixels."""

from __future__ import annotations

from collections.abc import Sequence
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
        at = np.array([(x, y)], np.float64)
        col, row = points_in_pixels(at, self._known(crs), self._frame, "the point")[0].tolist()
        if not (0 <= col < self._frame.width and 0 <= row < self._frame.height):
            raise ConfigError(f"({x:g}, {y:g}) lies outside the raster, {self._says(crs)}")
        return col, row

    def box(self, bounds: Sequence[float], crs: Any) -> Box:
        """Return the box in pixels around bounds x0, y0, x1, y1, cut to the raster.

        Raises:
            ConfigError: They are no box, or do not meet the raster.
        """
        given = np.array(bounds, np.float64).ravel()
        if given.shape != (4,) or not np.isfinite(given).all():
            raise ConfigError(f"bounds {bounds!r} are no box; give x0, y0, x1, y1")
        x0, x1 = sorted(given[[0, 2]].tolist())
        y0, y1 = sorted(given[[1, 3]].tolist())
        if x0 == x1 or y0 == y1:
            raise ConfigError(f"bounds {bounds!r} hold nothing; give x0, y0, x1, y1")
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
        geometry, own = _geometry(polygon)
        shape = self._in_raster(geometry, crs if own is None else own, "the polygon")
        return shapely.multipolygons(polygonal(shapely.get_parts(np.array([shape]))))

    def _in_raster(self, shape: Any, crs: Any, what: str) -> shapely.Geometry:
        parts = shapely.get_parts(np.array([shapely.make_valid(shape)]))
        placed, _ = in_pixels(polygonal(parts), self._known(crs), self._frame, what)
        size = self._frame.width, self._frame.height
        inside = shapely.union_all([shapely.clip_by_rect(p, 0, 0, *size) for p in placed])
        if not inside.area:
            raise ConfigError(f"{what} does not meet the raster, {self._says(crs)}")
        return inside

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

    def _says(self, crs: Any) -> str:
        """Return where the raster lies, in the words of who pointed."""
        frame, known = self._frame, self._known(crs)
        x0, y0, x1, y1 = corners(frame)
        named = "its own coordinates"
        if known is not None and frame.crs is not None:
            to_known = pyproj.Transformer.from_crs(frame.crs, known, always_xy=True)
            x0, y0, x1, y1 = to_known.transform_bounds(x0, y0, x1, y1)
            named = pyproj.CRS.from_user_input(known).name
        return (
            f"which spans {x0:.6g} to {x1:.6g} and {y0:.6g} to {y1:.6g} in {named}; say crs=... "
            "where you point in another"
        )


def _geometry(polygon: Any) -> tuple[Any, Any]:
    """Return one geometry, and the CRS that it brings."""
    if isinstance(polygon, shapely.Geometry):
        return polygon, None
    geometry: gpd.GeoSeries | None = getattr(polygon, "geometry", None)
    if geometry is None or not hasattr(geometry, "union_all"):
        raise ConfigError(
            f"{type(polygon).__name__} is no polygon; give one of shapely, a GeoSeries or a "
            "GeoDataFrame"
        )
    return geometry.union_all(), geometry.crs
