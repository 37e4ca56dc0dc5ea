"""How does a map get into another format? Nothing is computed again."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from geoseg.access import is_local, is_network
from geoseg.errors import ConfigError, MapError
from geoseg.export.place import FORMATS, check_output, check_place
from geoseg.export.read import Map, open_map
from geoseg.export.table import Target
from geoseg.export.targets import CATALOGUE, LABELS, PROJECT, RASTER, target_of
from geoseg.export.write import write_layers
from geoseg.frame import Frame
from geoseg.geotiff import open_raster, taken
from geoseg.mosaic import files
from geoseg.prepare import destination, open_source
from geoseg.runfolder import RunFolder, alone
from geoseg.whereabouts import find

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What may be said of an export; None where it is not."""

    format: str | None = None
    """What a `.json` is to be: `coco` or `stac`."""
    raster: str | None = None
    """The raster of the map, where it is not at its place any more."""
    chips: int | None = None
    """Side in pixels of the images of COCO; the whole raster is one where None."""
    datetime: str | None = None
    """When the picture was taken, ISO 8601, or `file`: the raster's time of change."""
    overwrite: bool = False
    """Replace an output that is there."""


def export(source: Path, to: Path, wishes: Wishes | None = None) -> int:
    """Write a map in another format; returns its number of features.

    Args:
        source: A map that geoseg wrote.
        to: The output; its name says the format.
        wishes: What else is to be said.

    Raises:
        GeosegError: The map cannot be read, or the output not be written; nothing is.
    """
    wishes = wishes or Wishes()
    destination(to, "--to")
    kind = target_of(to, wishes.format)
    _check_heeded(kind, wishes)
    found = open_map(source)
    if kind in FORMATS.values():
        check_output(
            to, overwrite=wishes.overwrite, crs=found.crs, sources=[str(source)], option="--to"
        )
        with alone(to, "--to") as place:
            return write_layers(_target(to, found), found.layer(), found.failed(), place)
    check_place(to, overwrite=wishes.overwrite, sources=[str(source)], option="--to")
    found.made_by()
    missing = len(found.failed())
    if missing:
        # The other formats have a layer for them.
        log.warning(
            "%d tiles failed and are missing from %s: %s looks as if nothing were there",
            missing,
            source,
            to,
        )
    with alone(to, "--to") as place:
        _WRITERS[kind](to, found, wishes, place)
    return found.count


def _cog(to: Path, found: Map, wishes: Wishes, place: RunFolder) -> None:
    from geoseg.export.cog import write_cog

    write_cog(to, found, _frame(found, wishes.raster), place)


def _coco(to: Path, found: Map, wishes: Wishes, place: RunFolder) -> None:
    from geoseg.export.coco import images_of, write_coco

    recipe = found.made_by()
    if wishes.raster is not None:
        _check_grid(found, open_source(wishes.raster, None, None).frame, wishes.raster)
    name = wishes.raster or next(iter(recipe.rasters), found.path.name)
    write_coco(to, found, images_of(recipe.frame, wishes.chips, Path(name).name), place)


def _qgz(to: Path, found: Map, wishes: Wishes, place: RunFolder) -> None:
    from geoseg.export.qgz import Shown, write_project
    from geoseg.stretch import fit_stretch

    paths = _rasters(found, wishes.raster)
    if wishes.raster is None and any(is_network(path) for path in paths):
        raise MapError(
            f"{found.path} was made of {paths[0]}, and a file may not open the network; pass "
            "--raster with the URL to do so"
        )
    asked = found.made_by().asked
    raster = open_source(paths, asked.get("bands"), asked.get("sensor"))
    _check_grid(found, raster.frame, paths[0])
    part = files(raster)[0]
    shown = Shown(tuple(paths), None)
    if part.palette is None:
        stretch = fit_stretch(raster, raster.roles)
        red, green, blue = (part.indexes[band] for band in stretch.bands)
        shown = Shown(tuple(paths), (red, green, blue), stretch.low, stretch.high)
    write_project(to, found, shown, place)


def _stac(to: Path, found: Map, wishes: Wishes, place: RunFolder) -> None:
    from geoseg.export.stac import moment, write_item

    paths = _rasters(found, wishes.raster)
    if wishes.raster is not None:
        _check_grid(found, open_source(paths, None, None).frame, paths[0])
    tagged, changed_s = None, None
    if is_local(paths[0]):
        tagged, changed_s = taken(open_raster(paths[0])), Path(paths[0]).stat().st_mtime
    write_item(to, found, paths, moment(wishes.datetime, tagged, changed_s), place)


_WRITERS = {RASTER: _cog, LABELS: _coco, PROJECT: _qgz, CATALOGUE: _stac}


def _rasters(found: Map, instead: str | None) -> list[str]:
    """Return where the raster of a map is, or its parts."""
    if instead is not None:
        return [find(instead, found.path, "another --raster")]
    known = found.made_by().rasters
    if not known:
        raise MapError(f"{found.path} was made of a raster in memory; pass --raster FILE")
    return [find(path, found.path, "--raster FILE") for path in known]


def _check_grid(found: Map, frame: Frame, raster: str) -> None:
    """Refuse a raster that is not the one of the map."""
    made = found.made_by().frame
    if (frame.width, frame.height, frame.transform, frame.crs) != (
        made.width, made.height, made.transform, made.crs
    ):  # fmt: skip
        raise MapError(
            f"{raster} is not on the pixel grid of {found.path} ({frame.width} x {frame.height} "
            f"pixels, the map's raster had {made.width} x {made.height}, or another place or CRS); "
            "give the raster that it was made of"
        )


def _check_heeded(kind: str, wishes: Wishes) -> None:
    """Refuse what would do nothing."""
    for option, value, kinds in (
        ("--chips", wishes.chips, (LABELS,)),
        ("--datetime", wishes.datetime, (CATALOGUE,)),
        ("--raster", wishes.raster, (RASTER, LABELS, PROJECT, CATALOGUE)),
    ):
        if value is not None and kind not in kinds:
            raise ConfigError(f"{option} is for {', '.join(kinds)}; leave it out")


def _target(to: Path, found: Map) -> Target:
    recipe = "{}" if found.recipe is None else found.recipe.text
    return Target(to, found.crs, found.legend, recipe)


def _frame(found: Map, raster: str | None) -> Frame:
    """Return the pixel grid of a map, or of another raster in its CRS."""
    made = found.made_by().frame
    if raster is None:
        return made
    frame = open_source(raster, None, None).frame
    if frame.crs != made.crs:
        raise MapError(
            f"{raster} is not in the CRS of {found.path}; give a raster on the grid of the map, or "
            "leave --raster out"
        )
    return frame
