"""How much of each class is where, and in what patches?

Measures are those of McGarigal & Marks (1995, FRAGSTATS, USDA General Technical Report PNW-351), of
outlines instead of cells: area and perimeter are geodesic, a patch is what hangs together by more
than a corner. A landscape is a zone, or the raster where there are none.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from geoseg.analysis.classed import CLASS_COLUMN, Classed, grid_of, open_classed, tell_rejected
from geoseg.analysis.zones import SLIVER_PX2, Zones, open_zones
from geoseg.area import Geometries
from geoseg.errors import ConfigError
from geoseg.frame import Floats, Frame

if TYPE_CHECKING:
    import geopandas as gpd

log = logging.getLogger(__name__)

Ints = NDArray[np.int64]

M2_PER_HA = 10_000.0

CLASS, ZONE = "class", "zone"
_BY = (CLASS, ZONE, f"{CLASS},{ZONE}")


def stats(
    layer: str | Path | gpd.GeoDataFrame,
    zones: str | Path | gpd.GeoDataFrame | None = None,
    *,
    by: str | None = None,
    zone_column: str | None = None,
    column: str = CLASS_COLUMN,
    only: str | None = None,
) -> pd.DataFrame:
    """Measure a map: by class, by zone, or both.

    Args:
        layer: A map of geoseg, or another layer of polygons with classes.
        zones: Polygons with names, in any CRS; polygons of the map are cut at their borders.
        by: `class`, `zone`, or `class,zone`; with zones the last where None, else the first.
        zone_column: The column of the zones' names; `name`, or else the only one of text.
        column: The column of the classes, where the map is not of geoseg.
        only: `accepted` or `kept`: what a reviewer accepted or put right, or all but what was
            rejected, alone counts.

    Returns:
        A row per class, zone (ground in none is the zone `(outside)`), or both, empty ones
        included. `count`: polygons with ground there; `area_ha`: of them, geodesic; `share_pct`: of
        the landscape; `patches`; `mean_patch_ha`; `largest_patch_pct`: largest patch index, LPI;
        `perimeter_m`: of patches, where they were cut included; `edge_density_m_ha`: that, per
        hectare of the landscape, ED; `landscape_ha`: the zone inside the raster, or the raster
        (bounding box, of a layer that does not say of what raster it is). NaN where there is
        nothing to tell, or no CRS. With zones a GeoDataFrame: their outlines, in the map's CRS.

    Raises:
        ConfigError: A layer cannot be used; zones have no names, or do not overlap the map.
        MapError: The map is damaged or in use, or nobody has reviewed it.
    """
    found = open_classed(layer, "MAP", column=column, only=only)
    tell_rejected(found)
    return measured(found, zones, by=by, zone_column=zone_column)


def measured(
    found: Classed,
    zones: str | Path | gpd.GeoDataFrame | None = None,
    *,
    by: str | None = None,
    zone_column: str | None = None,
) -> pd.DataFrame:
    """Return what `stats` does, of a layer that is open."""
    by = by or (CLASS if zones is None else _BY[2])
    if ",".join(sorted(by.replace(" ", "").split(","))) not in _BY:
        raise ConfigError(f"--by '{by}' is none of: {'; '.join(_BY)}")
    wanted = [key for key in (CLASS, ZONE) if key in by]
    if (ZONE in wanted) != (zones is not None):
        need = "needs --zones LAYER" if zones is None else "does not look at --zones; leave one out"
        raise ConfigError(f"--by {by} {need}")
    frame = grid_of(found)
    laid = None if zones is None else open_zones(zones, zone_column, frame, found.name)
    if laid is None:
        _tell_cut(found)
    else:
        _tell_overlap(laid, frame)
    cells = _count(found, frame, laid)
    if CLASS not in wanted:
        return _table(frame, laid, None, cells.pooled())
    return _table(frame, laid, [c.name for c in found.classes], cells)


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """What was found, as arrays (zone, class)."""

    count: Floats
    area: Floats
    perimeter: Floats
    patches: Floats
    largest: Floats

    @classmethod
    def none(cls, zones: int, classes: int) -> _Cells:
        return cls(*np.zeros((5, zones, classes)))

    def add(self, zone: Ints, kind: Ints, owner: Ints, measured: tuple[Floats, Floats]) -> None:
        """Add (k,) patches, each of a zone, a class, and a polygon."""
        area, perimeter = measured
        np.add.at(self.area, (zone, kind), area)
        np.add.at(self.perimeter, (zone, kind), perimeter)
        np.add.at(self.patches, (zone, kind), 1)
        np.maximum.at(self.largest, (zone, kind), area)
        _, first = np.unique(np.column_stack((zone, owner)), axis=0, return_index=True)
        np.add.at(self.count, (zone[first], kind[first]), 1)

    def pooled(self) -> _Cells:
        """Return them with all classes as one."""
        sums = (self.count, self.area, self.perimeter, self.patches)
        count, area, perimeter, patches = (values.sum(axis=1, keepdims=True) for values in sums)
        return _Cells(count, area, perimeter, patches, self.largest.max(axis=1, keepdims=True))


def _count(found: Classed, frame: Frame, zones: Zones | None) -> _Cells:
    cells = _Cells.none(1 if zones is None else len(zones.names), len(found.classes))
    for batch in found.batches():
        shapes = shapely.transform(batch.shape, frame.to_pixels)
        if zones is None:
            pieces, owner = shapely.get_parts(shapes, return_index=True)
            zone = np.zeros(len(pieces), np.int64)
        else:
            pieces, owner, zone = zones.cut(shapes)
        cells.add(zone, batch.cls[owner], owner, _measured(frame, pieces))
    return cells


def _measured(frame: Frame, shapes: Geometries) -> tuple[Floats, Floats]:
    """Return areas and perimeters: in m2 and m; without a CRS in pixels, for shares only."""
    if frame.crs is None:
        return shapely.area(shapes), np.full(len(shapes), np.nan)
    return frame.measure(shapes)


def _table(
    frame: Frame, zones: Zones | None, classes: list[str] | None, cells: _Cells
) -> pd.DataFrame:
    whole = np.array([shapely.box(0, 0, frame.width, frame.height)], object)
    shapes = whole if zones is None else zones.shapes
    count, area, perimeter, patches, largest = (
        getattr(cells, name).ravel() for name in _Cells.__slots__
    )
    kinds = cells.count.shape[1]
    landscape = np.repeat(_measured(frame, shapes)[0], kinds)
    unit = np.nan if frame.crs is None else 1 / M2_PER_HA
    keys: dict[str, list[str]] = {}
    if classes is not None:
        keys[CLASS] = [name for _ in shapes for name in classes]
    if zones is not None:
        keys[ZONE] = [name for name in zones.names for _ in range(kinds)]
    with np.errstate(invalid="ignore", divide="ignore"):
        table = pd.DataFrame(
            {
                **keys,
                "count": count.astype(np.int64),
                "area_ha": area * unit,
                "share_pct": 100 * area / landscape,
                "patches": patches.astype(np.int64),
                "mean_patch_ha": area / patches * unit,
                "largest_patch_pct": 100 * largest / landscape,
                "perimeter_m": perimeter,
                "edge_density_m_ha": perimeter / (landscape * unit),
                "landscape_ha": landscape * unit,
            }
        )
    if zones is None:
        return table
    import geopandas as gpd

    outlines = np.repeat(shapely.transform(shapes, frame.to_crs), kinds)
    return gpd.GeoDataFrame(table, geometry=outlines, crs=frame.crs)


def _tell_cut(found: Classed) -> None:
    """Tell that shares are of more than a map could have polygons on."""
    asked = {} if found.map is None else found.map.made_by().asked
    if "aoi" in asked or "aoi" in asked.get("in_memory", ()):
        log.warning(
            "%s was cut to an area of interest, and shares are of its whole raster; --zones with "
            "that area tells those of the area",
            found.name,
        )


def _tell_overlap(zones: Zones, frame: Frame) -> None:
    if zones.overlap_px2 > SLIVER_PX2 * len(zones.names):
        part = 100 * zones.overlap_px2 / (frame.width * frame.height)
        log.warning(
            "zones overlap (by %.3g %% of the raster): their sums are more than the map's", part
        )
