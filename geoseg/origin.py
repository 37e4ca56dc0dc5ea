"""Which raster was a map made of? It is where it was, or beside the map."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

from geoseg.access import is_network
from geoseg.config import difference
from geoseg.errors import ConfigError, MapError, RasterError
from geoseg.export.read import Map
from geoseg.prepare import open_source
from geoseg.raster import RasterReader
from geoseg.recipe import OF_THE_PLACE, without
from geoseg.whereabouts import find

log = logging.getLogger(__name__)

ANY_BAND = {"red": 1}
"""Bands of a raster of which only the place is asked for; a role keeps quiet the warning that there
are none."""


def rasters(found: Map, instead: str | None = None) -> list[str]:
    """Return where the raster of a map is, or its parts.

    Args:
        found: The map.
        instead: Where the user says it is, or one that is to be taken for it.

    Raises:
        MapError: It is not there, was in memory, or the map does not say what made it.
    """
    if instead is not None:
        return [find(instead, found.path, "another --raster")]
    known = found.made_by().rasters
    if not known:
        raise MapError(f"{found.path} was made of a raster in memory; pass --raster FILE")
    return [find(path, found.path, "--raster FILE") for path in known]


def open_origin(
    found: Map, instead: str | None = None, *, bands: Mapping[str, int] | None = None
) -> RasterReader:
    """Open the raster of a map.

    Args:
        found: The map.
        instead: As `rasters`.
        bands: Its bands; those that it was read with where None.

    Raises:
        MapError: As `rasters`; or a file that may come from anyone would open the network.
        RasterError: It is no raster any more, or not on the pixel grid of the map.
    """
    paths = rasters(found, instead)
    if instead is None and any(is_network(path) for path in paths):
        raise MapError(
            f"{found.path} was made of {paths[0]}, and a file may not open the network; pass "
            "--raster with the URL to do so"
        )
    asked = found.made_by().asked
    roles, sensor = (asked.get("bands"), asked.get("sensor")) if bands is None else (bands, None)
    try:
        raster = open_source(paths, roles, sensor)
    except (ConfigError, RasterError):
        # Of a raster of another place, that is what is wrong, and not its bands.
        check_grid(found, open_source(paths, ANY_BAND, None), paths[0])
        raise
    check_grid(found, raster, paths[0])
    if instead is not None and found.made_by().rasters:
        tell_other(found, raster)
    return raster


def check_grid(found: Map, raster: RasterReader, name: str) -> None:
    """Refuse a raster that is not the one of a map.

    Raises:
        MapError: It is on another pixel grid.
    """
    frame, made = raster.frame, found.made_by().frame
    if (frame.width, frame.height, frame.transform, frame.crs) != (
        made.width, made.height, made.transform, made.crs
    ):  # fmt: skip
        raise MapError(
            f"{name} is not on the pixel grid of {found.path} ({frame.width} x {frame.height} "
            f"pixels, the map's raster had {made.width} x {made.height}, or another place or CRS); "
            "give the raster that it was made of"
        )


def tell_other(found: Map, raster: RasterReader) -> None:
    """Warn if a raster on the pixel grid of a map has other pixels than that of the map."""
    chosen = OF_THE_PLACE | {"bands", "roles"}
    known = without(json.loads(json.dumps(raster.identity())), chosen)
    made = without(found.made_by().raster, chosen)
    # What a map of changes was made of is no picture.
    changes = difference(made, known) if made.keys() == known.keys() else []
    if changes:
        log.warning(
            "the raster is not the one that %s was made of, or has changed since (%s)",
            found.path,
            "; ".join(changes),
        )
