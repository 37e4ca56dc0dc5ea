"""Which part of a polygon lies in which zone? Zones are cut out exactly, in pixel coordinates.

Zones of one name are one zone. What lies in none is in the zone OUTSIDE, so that nothing is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.analysis.classed import valid_polygons
from geoseg.area import Geometries, polygonal
from geoseg.errors import ConfigError
from geoseg.frame import Frame
from geoseg.reproject import horizontal, in_pixels
from geoseg.vectors import check_both_placed, read_layer

if TYPE_CHECKING:
    import geopandas as gpd

Ints = NDArray[np.int64]

OUTSIDE = "(outside)"

SLIVER_PX2 = 1e-6
"""Where edges cross, rounding leaves slivers; what is smaller is no ground."""

_OPTION, _WANTS = "--zones", "polygons that have a name"


@dataclass(frozen=True, slots=True, eq=False)
class Zones:
    """Zones that lie on a raster; the last is what they leave of it."""

    column: str
    """The column of their names."""
    names: tuple[str, ...]
    """(m + 1,) of each zone; the last is OUTSIDE."""
    shapes: Geometries
    """(m + 1,) (multi)polygons in pixel corner coordinates, inside the raster."""
    overlap_px2: float
    """How much ground lies in more than one."""

    def cut(self, polygons: Geometries) -> tuple[Geometries, Ints, Ints]:
        """Cut polygons at the borders of zones.

        Args:
            polygons: (n,) valid (multi)polygons in pixel corner coordinates, inside the raster.

        Returns:
            (k,) single polygons, (k,) which of the n each is a part of, and (k,) its zone.
        """
        zones = self.shapes[:-1]
        shapely.prepare(zones)
        parts, owner = shapely.get_parts(polygons, return_index=True)
        part, zone = shapely.STRtree(zones).query(parts, predicate="intersects")
        whole = shapely.covers(zones[zone], parts[part])
        pieces = parts[part]
        pieces[~whole] = shapely.intersection(parts[part[~whole]], zones[zone[~whole]])
        loose = np.setdiff1d(np.arange(len(parts)), part[whole])
        rest = parts[loose]
        near = np.flatnonzero(np.isin(loose, part))
        starts, stops = (np.searchsorted(part, loose[near], side) for side in ("left", "right"))
        for k, start, stop in zip(near.tolist(), starts, stops, strict=True):
            rest[k] = shapely.difference(rest[k], shapely.union_all(zones[zone[start:stop]]))
        outside = np.full(len(rest), len(zones))
        single, origin = shapely.get_parts(np.concatenate((pieces, rest)), return_index=True)
        kept = shapely.area(single) > SLIVER_PX2
        origin = origin[kept]
        owners, places = np.concatenate((part, loose)), np.concatenate((zone, outside))
        return single[kept], owner[owners[origin]], places[origin]


def open_zones(
    layer: str | Path | gpd.GeoDataFrame, column: str | None, frame: Frame, what: str
) -> Zones:
    """Read zones, and lay them over a raster.

    Args:
        layer: A file, `FILE|layername=NAME` where it has several layers, or a GeoDataFrame; in any
            CRS.
        column: The column of their names; `name`, or else the only column of text, where None.
        frame: The raster's.
        what: What lies on the raster, for messages.

    Raises:
        ConfigError: They cannot be read, have no names, or lie elsewhere.
    """
    found, source = read_layer(layer, _OPTION, _WANTS, "the layer of zones")
    column = _column(found, column, source)
    names = _names(found, column, source)
    crs = None if found.crs is None else horizontal(found.crs, source)
    check_both_placed(crs, source, frame.crs)
    parts, owner = shapely.get_parts(valid_polygons(found, source, _OPTION), return_index=True)
    placed, which = in_pixels(parts, crs, frame, source)
    placed = shapely.make_valid(placed, method="structure", keep_collapsed=False)
    whole = shapely.box(*_bounds(frame))
    inside = shapely.intersection(placed, whole)
    known, number = np.unique(names, return_inverse=True)
    zone = number[owner[which]]
    shapes = np.array([_union(inside[zone == k]) for k in range(len(known))], object)
    covered = shapely.union_all(shapes)
    if covered.area <= SLIVER_PX2:
        raise ConfigError(
            f"{source} does not overlap {what}: no zone lies on it; is the coordinate reference "
            "system of either wrong?"
        )
    rest = _union(np.array([shapely.difference(whole, covered)], object))
    overlap = float(shapely.area(shapes).sum() - covered.area)
    return Zones(column, (*known.tolist(), OUTSIDE), np.append(shapes, rest), overlap)


def _bounds(frame: Frame) -> tuple[int, int, int, int]:
    return 0, 0, frame.width, frame.height


def _union(shapes: Geometries) -> shapely.MultiPolygon:
    return shapely.multipolygons(polygonal(shapely.get_parts(shapely.union_all(shapes))))


def _column(found: gpd.GeoDataFrame, wanted: str | None, source: str) -> str:
    there = [str(c) for c in found.columns.drop(found.geometry.name)]
    has = f"its columns: {', '.join(there) or 'none'}"
    if wanted is not None:
        if wanted not in there:
            raise ConfigError(f"{source} has no column '{wanted}' ({has}); give --zone-column")
        return wanted
    texts = [c for c in there if found[c].dtype == object or str(found[c].dtype).startswith("str")]
    if "name" in there or len(texts) == 1:
        return "name" if "name" in there else texts[0]
    raise ConfigError(
        f"{source} does not tell which column names its zones ({has}); pass --zone-column NAME"
    )


def _names(found: gpd.GeoDataFrame, column: str, source: str) -> NDArray[np.str_]:
    lacking = int((found[column].isna() | (found[column].astype(str).str.strip() == "")).sum())
    if lacking:
        raise ConfigError(
            f"{source} has {lacking} zones without a {column}; fill it, or pass another "
            "--zone-column"
        )
    names: NDArray[np.str_] = found[column].astype(str).to_numpy(dtype=np.str_)
    if (names == OUTSIDE).any():
        raise ConfigError(f"{source} has a zone '{OUTSIDE}', which is what is in none; rename it")
    return names
