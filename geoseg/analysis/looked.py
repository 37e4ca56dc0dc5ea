"""Which ground did a map look at? Its recipe names its raster and its area of interest.

What is not at hand any more, or not as it was, is told in a line that says how it then counts.
"""

from __future__ import annotations

import numpy as np
import shapely

from geoseg.access import is_network
from geoseg.aoi import find_area
from geoseg.area import Area, Geometries
from geoseg.errors import GeosegError, MapError
from geoseg.export.read import Map
from geoseg.origin import ANY_BAND, open_origin
from geoseg.raster import RasterReader
from geoseg.whereabouts import find


def raster_of(found: Map, knob: str = "") -> tuple[RasterReader | None, list[str]]:
    """Open the raster of a map, to see where it has data.

    Args:
        found: The map.
        knob: What tells where the raster is, for messages.

    Returns:
        The raster; None, and a line on that, where it is not at hand.
    """
    try:
        return open_origin(found, bands=ANY_BAND), []
    except GeosegError as error:
        lost = f"where {found.path} has no data is not known ({_why(error)})"
        return None, [f"{lost}: such ground counts as unmapped{knob and f'; pass {knob}'}"]


def area_of(found: Map) -> Area | None:
    """Return the area of interest of a map, in its pixels; None where it was not cut to one.

    Raises:
        MapError: It was in memory, is not there any more, is on the network or another by now.
        ConfigError: It cannot be read.
    """
    recipe = found.made_by()
    if "aoi" not in recipe.facts:
        return None
    place = recipe.asked.get("aoi")
    if place is None:
        raise MapError(f"{found.path} was cut to an area in memory; make it with --aoi FILE")
    if is_network(place):
        raise MapError(
            f"{found.path} was cut to {place}, and a file may not open the network; make it with "
            "--aoi FILE"
        )
    path, mark, layer = place.partition("|layername=")
    here = find(path, found.path, "that file back to its place") + mark + layer
    area = find_area(here, recipe.frame)
    if area.identity != recipe.facts["aoi"]:
        raise MapError(f"{here} is not what {found.path} was cut to any more; put that back")
    return area


def area_if_known(found: Map) -> tuple[Area | None, list[str]]:
    """Return `area_of` a map; None, and a line on that, where it is not at hand."""
    try:
        return area_of(found), []
    except GeosegError as error:
        lost = f"the area of interest of {found.path} is not known ({_why(error)})"
        return None, [f"{lost}: what lies outside of it counts as unmapped; pass --aoi"]


def failed_of(found: Map) -> Geometries:
    """Return (n,) polygons in pixels of a map: tiles that failed."""
    outlines = np.array([outline for *_, outline in found.failed()], object)
    placed: Geometries = shapely.transform(outlines, found.made_by().frame.to_pixels)
    return placed


def _why(error: GeosegError) -> str:
    """Return what is wrong, without the option that another command has for it."""
    return str(error).partition("; ")[0]
