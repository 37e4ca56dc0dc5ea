"""On which pixels is a map held against its reference? What the map says of itself tells it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geoseg.analysis.classed import Classed
from geoseg.analysis.evaluation.layers import grid_over
from geoseg.analysis.evaluation.zones import Ground, Seams, survey
from geoseg.analysis.looked import area_if_known, failed_of, raster_of
from geoseg.aoi import find_area
from geoseg.area import Area, Geometries
from geoseg.grid import Grid
from geoseg.vectors import read_layer

if TYPE_CHECKING:
    import geopandas as gpd


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The pixels that count."""

    ground: Ground
    """They, and their zones."""
    cut: Area | None
    """To what the polygons of the map were cut when it was made."""
    failed_tiles: int
    """Tiles that are missing in the map."""
    zoned: bool
    """Whether it is known where tiles meet."""
    notes: tuple[str, ...]
    """What is to be known of it."""


def find_ground(
    layer: Classed, aoi: str | Path | gpd.GeoDataFrame | None, seam_px: float, folder: Path
) -> Found:
    """Find the pixels on which a map is judged.

    Args:
        layer: The map. One of geoseg knows its grid, tiles, area of interest, failed tiles and
            raster; another layer gets a grid over the area of interest, or its own extent.
        aoi: The area of interest; that of the map where None.
        seam_px: How far the zone of seams reaches to each side, in pixels.
        folder: Where a raster is written.

    Raises:
        ConfigError: The area of interest cannot be used.
    """
    path = folder / "left_out.tif"
    if layer.map is None or layer.map.recipe is None:
        return _of_layer(layer, aoi, seam_px, path)
    found, recipe = layer.map, layer.map.recipe
    cut, notes = area_if_known(found) if aoi is None else (None, [])
    if cut is not None:
        notes.append(f"judged within the area of interest of the map, {recipe.asked['aoi']}")
    area = cut if aoi is None else find_area(aoi, recipe.frame)
    failed = failed_of(found)
    grid = Grid(recipe.frame.window, recipe.facts["tile"], recipe.facts["overlap"])
    seams = Seams.of(grid, seam_px)
    raster, blind = raster_of(found)
    inside = None if area is None else area.polygons
    ground, lost = survey(path, recipe.frame, seams, area=inside, failed=failed, raster=raster)
    notes += blind
    if len(failed):
        notes.append(
            f"{len(failed)} of {len(grid)} tiles failed and are missing from the map: their {lost} "
            "pixels do not count"
        )
    return Found(ground, cut, len(failed), zoned=True, notes=tuple(notes))


def _of_layer(
    layer: Classed, aoi: str | Path | gpd.GeoDataFrame | None, seam_px: float, path: Path
) -> Found:
    drawn = None if aoi is None else read_layer(aoi, "--aoi", "polygons", "the area of interest")[0]
    frame = grid_over(layer, drawn)
    area = None if drawn is None else find_area(drawn, frame).polygons
    seams = Seams.of(None, seam_px)
    none: Geometries = np.empty(0, object)
    ground, _ = survey(path, frame, seams, area=area, failed=none, raster=None)
    where = "its own extent (pass --aoi for another)" if drawn is None else "the area of interest"
    note = (
        f"{layer.name} does not say how it was made: no seams are known, and it is judged within "
        f"{where}, covers on pixels of {frame.transform.a:.3g} units of its CRS"
    )
    return Found(ground, None, 0, zoned=False, notes=(note,))
