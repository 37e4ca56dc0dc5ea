"""How does a map get into another format? Nothing is computed again."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from geoseg.access import is_local
from geoseg.errors import ConfigError, MapError
from geoseg.export.place import FORMATS, check_output, check_place
from geoseg.export.read import Map, open_map
from geoseg.export.table import Target
from geoseg.export.targets import CATALOGUE, LABELS, PROJECT, RASTER, target_of
from geoseg.export.write import write_layers
from geoseg.frame import Frame
from geoseg.geotiff import open_raster, taken
from geoseg.mosaic import files
from geoseg.origin import ANY_BAND, check_grid, open_origin, rasters
from geoseg.prepare import destination, open_source
from geoseg.reviewed import told_rejected
from geoseg.runfolder import RunFolder, alone

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
    only: str | None = None
    """`accepted` or `kept`: those polygons alone, as reviewers said."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A map in another format."""

    count: int
    """Number of features."""
    missing: int
    """Number of tiles that it lacks because they failed; a warning tells of them."""


def export(source: Path, to: Path, wishes: Wishes | None = None) -> Exported:
    """Write a map in another format.

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
    opened = open_map(source)
    if wishes.raster is not None:
        # Says before any warning that it is not there.
        rasters(opened, wishes.raster)
    found = opened.reviewed(wishes.only).edited()
    if kind in _HEED_REVIEWS:
        _tell_rejected(found)
    sources = [str(source), *_pictures(opened, wishes.raster)]
    if kind in FORMATS.values():
        check_output(to, overwrite=wishes.overwrite, crs=found.crs, sources=sources, option="--to")
    else:
        check_place(to, overwrite=wishes.overwrite, sources=sources, option="--to")
        found.made_by()
    failed = found.failed()
    with alone(to, "--to") as place:
        if kind in FORMATS.values():
            write_layers(_target(to, found), found.layer(), failed, place)
        else:
            _WRITERS[kind](to, found, wishes, place)
    if failed:
        shown = kind in (*FORMATS.values(), PROJECT)
        log.warning(
            "%d of the tiles of %s failed and are missing from %s, too%s",
            len(failed),
            source,
            to,
            " (see failed_tiles)" if shown else ", which looks as if nothing were there",
        )
    return Exported(found.count, len(failed))


def _pictures(found: Map, instead: str | None) -> list[str]:
    """Return the rasters of a map that are at hand: no output may take their place."""
    if found.recipe is None:
        return []
    try:
        return rasters(found, instead)
    except MapError:
        return []


def _cog(to: Path, found: Map, wishes: Wishes, place: RunFolder) -> None:
    from geoseg.export.cog import write_cog

    write_cog(to, found, _frame(found, wishes.raster), place)


def _coco(to: Path, found: Map, wishes: Wishes, place: RunFolder) -> None:
    from geoseg.export.coco import images_of, write_coco

    recipe = found.made_by()
    if wishes.raster is not None:
        check_grid(found, open_source(wishes.raster, ANY_BAND, None), wishes.raster)
    name = wishes.raster or next(iter(recipe.rasters), found.path.name)
    write_coco(to, found, images_of(recipe.frame, wishes.chips, Path(name).name), place)


def _qgz(to: Path, found: Map, wishes: Wishes, place: RunFolder) -> None:
    from geoseg.export.qgz import Shown, write_project
    from geoseg.stretch import fit_stretch

    raster, paths = open_origin(found, wishes.raster), rasters(found, wishes.raster)
    part = files(raster)[0]
    shown = Shown(tuple(paths), None)
    if part.palette is None:
        stretch = fit_stretch(raster, raster.roles)
        red, green, blue = (part.indexes[band] for band in stretch.bands)
        shown = Shown(tuple(paths), (red, green, blue), stretch.low, stretch.high)
    write_project(to, found, shown, place)


def _stac(to: Path, found: Map, wishes: Wishes, place: RunFolder) -> None:
    from geoseg.export.stac import moment, write_item

    paths = rasters(found, wishes.raster)
    if wishes.raster is not None:
        check_grid(found, open_source(paths, ANY_BAND, None), paths[0])
    tagged, changed_s = None, None
    if is_local(paths[0]):
        tagged, changed_s = taken(open_raster(paths[0], ANY_BAND)), Path(paths[0]).stat().st_mtime
    write_item(to, found, paths, moment(wishes.datetime, tagged, changed_s), place)


_HEED_REVIEWS = (*FORMATS.values(), RASTER, LABELS)
"""The others show the file itself."""

_WRITERS = {RASTER: _cog, LABELS: _coco, PROJECT: _qgz, CATALOGUE: _stac}


def _check_heeded(kind: str, wishes: Wishes) -> None:
    """Refuse what would do nothing."""
    for option, value, kinds in (
        ("--chips", wishes.chips, (LABELS,)),
        ("--datetime", wishes.datetime, (CATALOGUE,)),
        ("--raster", wishes.raster, (RASTER, LABELS, PROJECT, CATALOGUE)),
        ("--only", wishes.only, _HEED_REVIEWS),
    ):
        if value is not None and kind not in kinds:
            raise ConfigError(f"{option} is for {', '.join(kinds)}; leave it out")
    if wishes.chips is not None:
        # pyarrow and pycocotools are loaded when they are needed.
        from geoseg.export.coco import check_chips

        check_chips(wishes.chips)


def _tell_rejected(found: Map) -> None:
    rejected = found.rejected()
    if rejected:
        log.warning(told_rejected(rejected, found.count, str(found.path)))


def _target(to: Path, found: Map) -> Target:
    recipe = "{}" if found.recipe is None else found.recipe.text
    return Target(to, found.crs, found.legend, recipe)


def _frame(found: Map, raster: str | None) -> Frame:
    """Return the pixel grid of a map, or of another raster in its CRS."""
    made = found.made_by().frame
    if raster is None:
        return made
    frame = open_source(raster, ANY_BAND, None).frame
    if frame.crs != made.crs:
        raise MapError(
            f"{raster} is not in the CRS of {found.path}; give a raster on the grid of the map, or "
            "leave --raster out"
        )
    return frame
