"""Where does a raster say that it is, and can that be?

Impossible positions are refused; doubtful ones are told in one line each.
"""

from __future__ import annotations

import logging
import math

import numpy as np
import pyproj
import shapely
from affine import Affine
from rasterio.io import DatasetReader

from geoseg.errors import RasterError
from geoseg.frame import Frame, horizontal_wkt

log = logging.getLogger(__name__)

_FAR_DEGREES = 5.0
"""So far beyond the area a CRS is made for, its coordinates are doubtful."""

_DISTORTED = 1.2
"""From this ratio on, areas counted in the plane of the CRS would mislead."""


def frame_of(name: str, dataset: DatasetReader) -> Frame:
    """Return size, transform and CRS of an open dataset; warn of what is doubtful.

    Raises:
        RasterError: A transform or CRS that cannot be, or a position outside it.
    """
    frame = Frame(dataset.width, dataset.height, _transform(name, dataset), _crs(name, dataset))
    _check_position(name, frame)
    return frame


def _transform(name: str, dataset: DatasetReader) -> Affine:
    transform: Affine = dataset.transform
    if not all(math.isfinite(v) for v in transform[:6]):
        raise RasterError(f"the transform of {name} is not finite: {tuple(transform[:6])}")
    if transform.is_degenerate:
        raise RasterError(f"the transform of {name} is degenerate: {tuple(transform[:6])}")
    if transform == Affine.identity():
        points, _ = dataset.gcps
        if points:
            log.warning(
                "%s has ground control points but no transform; coordinates will be pixels "
                "(warp it first: gdalwarp)", name
            )  # fmt: skip
        elif dataset.rpcs:
            log.warning(
                "%s has rational polynomial coefficients but no transform; coordinates will be "
                "pixels (orthorectify it first: gdalwarp -rpc)", name
            )  # fmt: skip
    return transform


def _crs(name: str, dataset: DatasetReader) -> str | None:
    if dataset.crs is None:
        if dataset.transform == Affine.identity():
            log.warning(
                "%s is not georeferenced: polygons are in pixels, rows counted from the top, and "
                "areas stay empty",
                name,
            )
            return None
        log.warning(
            "%s has no coordinate reference system: polygons are in its own coordinates and "
            "areas stay empty", name
        )  # fmt: skip
        return None
    try:
        return horizontal_wkt(dataset.crs.to_wkt())
    except pyproj.exceptions.CRSError as error:
        raise RasterError(
            f"the coordinate reference system of {name} cannot be used: {error}; set another "
            "with gdal_edit -a_srs"
        ) from error


def _check_position(name: str, frame: Frame) -> None:
    if frame.crs is None:
        return
    crs = pyproj.CRS.from_wkt(frame.crs)
    if crs.is_geographic:
        _check_degrees(name, frame)
    if crs.geodetic_crs is None:
        log.warning(
            "the coordinate reference system of %s, '%s', is local: areas are those of its plane, "
            "and it has no longitude and latitude", name, crs.name
        )  # fmt: skip
        return
    # Measuring a pixel fails, clearly, where the position is impossible.
    try:
        gsd_m = frame.gsd_m
    except (pyproj.exceptions.ProjError, shapely.errors.GEOSException) as error:
        raise RasterError(
            f"the position of {name} cannot be measured in its coordinate reference system: "
            f"{error}; set another with gdal_edit -a_srs"
        ) from error
    if crs.is_projected and gsd_m:
        _warn_of_distance(name, frame, crs)
        _warn_of_distortion(name, frame, crs, gsd_m)


def _check_degrees(name: str, frame: Frame) -> None:
    w, h = frame.width, frame.height
    corners = frame.to_crs(np.array([[0, 0], [w, 0], [w, h], [0, h]]))
    longitudes, latitudes = corners.T
    # Grids of cell centres reach half a cell beyond the poles; that is customary.
    slack = abs(frame.transform.e) + abs(frame.transform.d)
    if np.abs(latitudes).max() > 90 + slack:
        raise RasterError(
            f"{name} has latitudes {latitudes.min():.3f}..{latitudes.max():.3f}, outside -90..90; "
            "are its axes swapped?"
        )
    west, east = longitudes.min(), longitudes.max()
    # Grids of cell centres reach half a cell beyond 180 degrees, too.
    if any(west + slack < edge < east - slack for edge in (-180, 180)):
        log.warning(
            "%s crosses the antimeridian (longitudes %.4f..%.4f): its polygons keep longitudes "
            "beyond 180 degrees", name, west, east
        )  # fmt: skip


def _warn_of_distance(name: str, frame: Frame, crs: pyproj.CRS) -> None:
    known = crs.to_epsg()
    area = pyproj.CRS.from_epsg(known).area_of_use if known is not None else None
    if area is None:
        return
    centre = frame.to_crs(np.array([[frame.width / 2, frame.height / 2]]))
    to_lonlat = pyproj.Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    lon, lat = to_lonlat.transform(*centre[0])
    width = (area.east - area.west) % 360 or 360.0
    beyond = max((lon - area.west) % 360 - width, 0.0)
    off = max(min(beyond, 360 - width - beyond), area.south - lat, lat - area.north)
    if off > _FAR_DEGREES:
        log.warning(
            "%s lies %.1f degrees outside the area of its coordinate reference system, %s: far "
            "outside it positions may be wrong; is it the right one? Areas are measured on the "
            "ellipsoid", name, off, crs.name
        )  # fmt: skip


def _warn_of_distortion(name: str, frame: Frame, crs: pyproj.CRS, gsd_m: float) -> None:
    unit_m = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0
    ratio = abs(frame.transform.determinant) * unit_m**2 / gsd_m**2
    if not 1 / _DISTORTED < ratio < _DISTORTED:
        log.warning(
            "areas in the plane of %s are %.3g times those on the ground at %s: use area_ha, "
            "measured on the ellipsoid, not the area that a GIS counts in this plane", crs.name,
            ratio, name
        )  # fmt: skip
