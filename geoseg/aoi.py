"""Where does the user look? Polygons in any coordinate reference system become an Area."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import shapely
from shapely.geometry.base import BaseGeometry

from geoseg.area import Area, Geometries, polygonal
from geoseg.bands import Band
from geoseg.errors import ConfigError
from geoseg.frame import Frame
from geoseg.raster import RasterReader, Samples, Valid, lattice
from geoseg.reproject import corners, horizontal, in_pixels
from geoseg.vectors import check_both_placed, read_layer
from geoseg.window import Window

if TYPE_CHECKING:
    import geopandas as gpd

_WANTS = "polygons"


def find_area(aoi: str | Path | gpd.GeoDataFrame | BaseGeometry, frame: Frame) -> Area:
    """Return an area of interest in the pixels of a raster.

    Args:
        aoi: A vector file or a GeoDataFrame in any CRS, or a shapely (Multi)Polygon in the CRS of
            the raster. Polygons may overlap and have holes; what is no polygon is refused.
        frame: The raster's.

    Raises:
        ConfigError: It cannot be read, holds no polygons, or does not overlap the raster; or of
            it and the raster one has a CRS and the other has none.
    """
    if isinstance(aoi, BaseGeometry):
        shapes, crs, source = np.array([aoi], object), frame.crs, "the area of interest"
    else:
        layer, source = read_layer(aoi, "--aoi", _WANTS, "the area of interest")
        shapes = layer.geometry.to_numpy()
        crs = None if layer.crs is None else horizontal(layer.crs, source)
    polygons = _polygons(shapes, source)
    check_both_placed(crs, source, frame.crs)
    area = Area.of(in_pixels(polygons, crs, frame, source)[0], frame.window)
    if area is None:
        raise ConfigError(_apart(polygons, crs, frame, source))
    return area


def _polygons(shapes: Geometries, source: str) -> Geometries:
    """Return single, flat, valid polygons."""
    parts = shapely.get_parts(shapely.get_parts(shapely.force_2d(shapes)))
    parts = parts[~shapely.is_empty(parts)]
    kinds = {shapely.GeometryType(k).name for k in np.unique(shapely.get_type_id(parts)).tolist()}
    if kinds != {"POLYGON"}:
        has = ", ".join(sorted(k.lower() for k in kinds)) or "nothing"
        raise ConfigError(f"{source} holds {has}; --aoi takes {_WANTS} (ogr2ogr -nlt, or buffer)")
    if not np.isfinite(shapely.get_coordinates(parts)).all():
        raise ConfigError(f"{source} has coordinates that are no numbers; --aoi takes {_WANTS}")
    valid = shapely.make_valid(parts, method="structure", keep_collapsed=False)
    found = polygonal(shapely.get_parts(valid))
    if len(found) == 0:
        raise ConfigError(f"{source} covers nothing; --aoi takes {_WANTS}")
    return found


# ---------------------------------------------------------------------------- what is wrong


def _apart(polygons: Geometries, crs: str | None, frame: Frame, source: str) -> str:
    """Say that an area and a raster do not overlap, and where they lie."""
    mine, theirs = _extent(shapely.total_bounds(polygons), crs), _extent(corners(frame), frame.crs)
    unit = "" if crs is None else " in longitude and latitude"
    return (
        f"{source} does not overlap the raster: it lies in {mine}, the raster in {theirs}{unit}; "
        "is the coordinate reference system of either wrong?"
    )


def _extent(bounds: Any, crs: str | None) -> str:
    x0, y0, x1, y1 = (float(v) for v in bounds)
    if crs is not None:
        to_lonlat = pyproj.Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
        x0, y0, x1, y1 = to_lonlat.transform_bounds(x0, y0, x1, y1)
    return f"x {x0:.8g}..{x1:.8g}, y {y0:.8g}..{y1:.8g}"


# ------------------------------------------------------------------------------- statistics


@dataclass(frozen=True, eq=False)
class Within:
    """A raster of which only an area is shown: statistics of a run are of what is asked for."""

    raster: RasterReader
    """The whole."""
    area: Area
    """What is shown of it."""

    @property
    def frame(self) -> Frame:
        """Size, transform and CRS of the whole."""
        return self.raster.frame

    @property
    def bands(self) -> tuple[Band, ...]:
        """As the whole's."""
        return self.raster.bands

    @property
    def roles(self) -> Mapping[str, int]:
        """As the whole's."""
        return self.raster.roles

    def identity(self) -> dict[str, Any]:
        """Return what tells the whole from a changed one."""
        return self.raster.identity()

    def read(self, window: Window) -> tuple[Samples, Valid]:
        """Return samples and validity of a window; pixels outside the area are not valid."""
        data, valid = self.raster.read(window)
        return data, valid & self.area.mask(window)

    def windows(self, blocks: int, side_px: int) -> list[Window]:
        """Return at most blocks x blocks windows that touch the area, spread over it.

        They lie on a lattice over the area's bounding window, which is made finer until it has
        hit the area often enough, or lies without gaps.
        """
        full = self.area.bounds.intersection(self.frame.window)
        enough, most = blocks * blocks // 4, blocks * blocks
        while True:
            candidates = lattice(full, blocks, side_px)
            touched = self.area.touching(candidates)
            dense = max(full.width, full.height) <= blocks * side_px
            if touched.sum() >= enough or dense:
                hit = [w for w, yes in zip(candidates, touched.tolist(), strict=True) if yes]
                keep = np.linspace(0, len(hit) - 1, min(len(hit), most)).round().astype(int)
                return [hit[k] for k in keep.tolist()]
            blocks *= 2
