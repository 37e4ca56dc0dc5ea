"""On which pixels is a map held against its reference? What the map says of itself tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely

from geoseg.access import is_network
from geoseg.analysis.classed import Classed
from geoseg.analysis.evaluation.layers import grid_over
from geoseg.analysis.evaluation.zones import Ground, Seams, survey
from geoseg.aoi import find_area
from geoseg.area import Area, Geometries
from geoseg.errors import GeosegError, MapError
from geoseg.export.read import Map
from geoseg.frame import Frame
from geoseg.grid import Grid
from geoseg.prepare import open_source
from geoseg.raster import RasterReader
from geoseg.recipe import Recipe
from geoseg.vectors import read_layer
from geoseg.whereabouts import find

if TYPE_CHECKING:
    import geopandas as gpd

_NO_DATA = "pixels where the raster has no data count against the map"


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
    notes: list[str] = []
    own = _own_area(found, recipe, notes) if aoi is None else None
    wanted = own if aoi is None else aoi
    area = None if wanted is None else find_area(wanted, recipe.frame)
    failed = found.failed()
    missing = shapely.transform(
        np.array([outline for *_, outline in failed], object), recipe.frame.to_pixels
    )
    grid = Grid(recipe.frame.window, recipe.facts["tile"], recipe.facts["overlap"])
    seams = Seams.of(grid, seam_px)
    raster = _raster(found, recipe, notes)
    inside = None if area is None else area.polygons
    ground, lost = survey(path, recipe.frame, seams, area=inside, failed=missing, raster=raster)
    if failed:
        notes.append(
            f"{len(failed)} of {len(grid)} tiles failed and are missing from the map: their {lost} "
            "pixels do not count"
        )
    cut = None if own is None else area
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


def _own_area(found: Map, recipe: Recipe, notes: list[str]) -> str | None:
    """Return the area of interest within which a map was made."""
    place = recipe.asked.get("aoi")
    if place is None:
        if "aoi" in recipe.asked["in_memory"]:
            notes.append(
                "the map was made in an area of interest that it does not know the file of: what "
                "lies outside counts as missed; pass it as --aoi"
            )
        return None
    file, bar, layer = place.partition("|")
    try:
        # A file may not open the network.
        here = None if is_network(file) else find(file, found.path, "--aoi")
    except MapError:
        here = None
    if here is None:
        notes.append(
            f"the map was made within {place}, which is not there any more: what lies outside "
            "counts as missed; pass --aoi"
        )
        return None
    notes.append(f"judged within the area of interest of the map, {here}")
    return f"{here}{bar}{layer}"


def _raster(found: Map, recipe: Recipe, notes: list[str]) -> RasterReader | None:
    """Return the raster of a map, if it is here and has its grid."""
    asked = recipe.asked
    paths: Sequence[str] = recipe.rasters
    if not paths or any(is_network(path) for path in paths):
        where = "was in memory" if not paths else "is on the network"
        notes.append(f"the raster of the map {where}: {_NO_DATA}")
        return None
    try:
        here = [find(path, found.path, "--aoi") for path in paths]
        raster = open_source(here, asked.get("bands"), asked.get("sensor"))
    except GeosegError:
        notes.append(f"the raster of the map, {paths[0]}, cannot be read: {_NO_DATA}")
        return None
    if not _same(raster.frame, recipe.frame):
        notes.append(f"{paths[0]} is not on the grid of the map any more: {_NO_DATA}")
        return None
    return raster


def _same(one: Frame, other: Frame) -> bool:
    return (one.width, one.height, one.transform) == (other.width, other.height, other.transform)
