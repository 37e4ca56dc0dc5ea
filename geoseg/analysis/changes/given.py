"""Which two dates are asked for? Two rasters, which are segmented alike, or two maps.

What cannot be compared is refused before anything is segmented.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shapely

from geoseg.access import is_local
from geoseg.analysis.changes.seen import common_ground
from geoseg.analysis.classed import CLASS_COLUMN, Classed, open_classed
from geoseg.backends.clouds import CLOUDS
from geoseg.backends.compose import located
from geoseg.errors import ConfigError, OutputError
from geoseg.export.place import FORMATS, check_output
from geoseg.export.read import Map, open_map
from geoseg.frame import Frame
from geoseg.mosaic import files
from geoseg.prepare import open_source
from geoseg.raster import RasterReader
from geoseg.recipe import IN_MEMORY, words_of
from geoseg.run import segment

if TYPE_CHECKING:
    import geopandas as gpd

    from geoseg.access import Access
    from geoseg.legend import Legend
    from geoseg.progress import Progress

log = logging.getLogger(__name__)

SIDES = ("before", "after")

CLOUDY = "_clouds"
"""What the name of a map of clouds ends in; it lies beside the map of the same date."""

_VECTORS = {*FORMATS, ".shp", ".json", ".gml", ".kml", ".sqlite", ".gdb", ".zip"}
"""Endings of layers; what ends otherwise is a raster."""


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two dates."""

    layers: tuple[Classed, Classed]
    """Their polygons: before, after."""
    grid: Frame
    """The pixels on which they are compared."""
    rasters: tuple[RasterReader | None, RasterReader | None]
    """Where they come from, as far as that was given; else their recipes may know."""
    asked: Mapping[str, Any]
    """What was given, JSON-able."""
    clouds: tuple[Classed | None, Classed | None] = (None, None)
    """Polygons of cloud and shadow, where they were looked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Segmenting:
    """How rasters become maps: what is asked of `geoseg.segment` for both."""

    legend: Legend | str | None = None
    """Classes."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of `geoseg.segment` that change the map; None where they are not given."""
    means: Mapping[str, Any] = field(default_factory=dict)
    """Arguments that do not: workers, memory."""
    folder: Path = Path()
    """Where maps are kept."""
    stem: str = "change"
    """What their names begin with."""
    overwrite: bool = False
    """Replace maps that are there."""
    suffix: str = ""
    """What their names end with."""

    def path(self, side: str) -> Path:
        """Return where the map of a date is kept."""
        return self.folder / f"{self.stem}_{side}{self.suffix}.gpkg"

    def of_clouds(self) -> Segmenting | None:
        """Return how cloud and shadow become maps of their own; None where they are not asked."""
        masker = self.options.get("mask_clouds")
        if masker is None:
            return None
        alike = ("models", "bands", "sensor", "aoi", "tile", "overlap")
        options = {"backend": masker, **{k: self.options.get(k) for k in alike}}
        return replace(self, legend=CLOUDS, options=options, suffix=CLOUDY)


def is_layer(source: object) -> bool:
    """Tell whether a date is a layer of polygons; else it is a raster."""
    if not isinstance(source, str | Path):
        return True
    text = str(source)
    return "|layername=" in text or (is_local(text) and Path(text).suffix.lower() in _VECTORS)


def check_two(before: object, after: object) -> bool:
    """Return whether two dates are layers.

    Raises:
        ConfigError: One is a layer and one a raster, or both are the same.
    """
    kinds = is_layer(before), is_layer(after)
    if kinds[0] != kinds[1]:
        names = [f"{s} is a {'map' if kind else 'raster'}"
                 for s, kind in zip((before, after), kinds, strict=True)]  # fmt: skip
        raise ConfigError(
            f"{' and '.join(names)}; give two rasters, or two maps (geoseg segment makes one of a "
            "raster)"
        )
    if isinstance(before, str | Path) and isinstance(after, str | Path):
        here = [Path(str(s)) for s in (before, after)]
        same = str(before) == str(after) or (
            all(p.exists() for p in here) and here[0].samefile(here[1])
        )
    else:
        same = before is after
    if same:
        raise ConfigError(f"{before} is given as both dates; give an earlier and a later one")
    return kinds[0]


def check_overlap(before: Frame, after: Frame, names: Sequence[str]) -> None:
    """Refuse dates that cannot be laid on each other.

    Raises:
        ConfigError: One has no CRS, or they share no ground.
    """
    for frame, name in zip((before, after), names, strict=True):
        if frame.crs is None:
            raise ConfigError(
                f"{name} has no coordinate reference system, without which there are no hectares; "
                "set it with gdal_edit -a_srs"
            )
    if common_ground(before, after).area == 0:
        raise ConfigError(
            f"{names[0]} and {names[1]} do not overlap; is the coordinate reference system of "
            "either wrong?"
        )


def of_rasters(
    before: str | Path,
    after: str | Path,
    how: Segmenting,
    access: Access,
    progress: Progress | None = None,
) -> Pair:
    """Segment two rasters with the same words; maps that are there, and are these, are taken.

    Raises:
        GeosegError: They cannot be compared, or not be segmented.
    """
    sources = (before, after)
    bands, sensor = how.options.get("bands"), how.options.get("sensor")
    rasters = [open_source(source, bands, sensor, access) for source in sources]
    check_overlap(rasters[0].frame, rasters[1].frame, [str(s) for s in sources])
    layers, clouds = segmented(sources, rasters, SIDES, how, access, progress)
    return Pair(
        (layers[0], layers[1]),
        rasters[1].frame,
        (rasters[0], rasters[1]),
        {**_words(after, how), "source": words_of(source=[before, after])["source"]},
        (clouds[0], clouds[1]),
    )


def segmented(
    sources: Sequence[str | Path],
    rasters: Sequence[RasterReader],
    sides: Sequence[str],
    how: Segmenting,
    access: Access,
    progress: Progress | None = None,
) -> tuple[list[Classed], list[Classed] | list[None]]:
    """Segment rasters with the same words; maps that are there, and are these, are taken.

    Args:
        sources: What each raster is called.
        rasters: The same, open.
        sides: What the map of each is called.
        how: Words and options.
        access: What rasters may reach for.
        progress: Is told of each.

    Returns:
        Their maps, and those of their clouds; None for each where clouds are not asked for.

    Raises:
        GeosegError: One cannot be segmented, or its map not be written.
    """
    hows = [how, *([] if (masking := how.of_clouds()) is None else [masking])]
    # What is there is looked at before anything is made.
    known = [
        [_found(s, r, side, one) for s, r, side in zip(sources, rasters, sides, strict=True)]
        for one in hows
    ]
    for one, found in zip(hows, known, strict=True):
        for source, side, there in zip(sources, sides, found, strict=True):
            _make(source, side, one, there, access, progress)
    made = [[open_classed(one.path(side), side.upper()) for side in sides] for one in hows]
    return made[0], made[1] if masking else [None] * len(sides)


def _make(
    source: str | Path,
    side: str,
    how: Segmenting,
    found: Map | None,
    access: Access,
    progress: Progress | None,
) -> None:
    """Segment a raster, unless its whole map is there."""
    if found is not None and not found.failed():
        log.warning("%s is the map of %s already: taken as it is", how.path(side), source)
        return
    segment(
        source,
        how.legend,
        out=how.path(side),
        overwrite=how.overwrite or found is not None,
        trust_input=access.trust_input,
        keep_going=access.keep_going,
        progress=told(progress, f"{side}{how.suffix}"),
        **how.options,
        **how.means,
    )


def _words(source: str | Path, how: Segmenting) -> dict[str, Any]:
    """Return what is asked of `geoseg.segment`, as recipes say it."""
    options = {**how.options, "backend": located(how.options["backend"])}
    return words_of(source=source, legend=how.legend, **options)


def _found(source: str | Path, raster: RasterReader, side: str, how: Segmenting) -> Map | None:
    """Return the map of a raster that is there, made in the same words.

    Raises:
        OutputError: Another file is, and may not be replaced.
    """
    path = how.path(side)
    check_output(
        path, overwrite=True, crs=raster.frame.crs, sources=[s.path for s in files(raster)]
    )
    if not path.exists():
        return None
    found = open_map(path)
    recipe = found.recipe
    words = _words(source, how)
    same = recipe is not None and recipe.raster == json.loads(json.dumps(dict(raster.identity())))
    # Of an object in memory nobody knows if it is the same.
    if recipe is not None and same and recipe.asked == words and not words[IN_MEMORY]:
        return found
    if how.overwrite:
        return None
    raise OutputError(
        f"{path} is already there, and is no map of {source} in these words; pass --overwrite to "
        "replace it, or --maps another folder"
    )


def told(progress: Progress | None, what: str) -> Progress | None:
    """Return progress that says what is worked on: `before detect`."""
    if progress is None:
        return None
    return lambda step, done, total: progress(f"{what} {step}", done, total)


def of_layers(
    before: str | Path | gpd.GeoDataFrame,
    after: str | Path | gpd.GeoDataFrame,
    rasters: tuple[str | None, str | None] = (None, None),
    *,
    column: str = CLASS_COLUMN,
    access: Access | None = None,
) -> Pair:
    """Open two maps of geoseg, or other layers with classes, of which one has a grid.

    Args:
        before: The earlier one.
        after: The later one: they are compared on its grid, if it has one.
        rasters: Where they come from, where they do not say so or it has moved.
        column: Of the classes.
        access: What rasters may reach for.

    Raises:
        GeosegError: They cannot be read or compared.
    """
    layers = [
        open_classed(layer, side.upper(), column=column)
        for layer, side in zip((before, after), SIDES, strict=True)
    ]
    readers = [
        None if raster is None else open_source(raster, None, None, access) for raster in rasters
    ]
    frames = [
        layer.frame or (None if reader is None else reader.frame)
        for layer, reader in zip(layers, readers, strict=True)
    ]
    grid = frames[1] or frames[0]
    if grid is None:
        raise ConfigError(
            f"neither {layers[0].name} nor {layers[1].name} has a pixel grid; give a map that "
            "geoseg wrote (.gpkg, .parquet), or the raster of one with --after-raster"
        )
    check_overlap(frames[0] or grid, grid, [layer.name for layer in layers])
    for layer in layers:
        if layer.crs is None:
            raise ConfigError(
                f"{layer.name} has no coordinate reference system; set it with ogr2ogr -a_srs"
            )
        if layer.frame is None and not _lies_on(layer, grid):
            raise ConfigError(
                f"{layer.name} does not lie on the grid of the other date; is the coordinate "
                "reference system of either wrong?"
            )
    names = [s for s in (before, after) if isinstance(s, str | Path)]
    asked = words_of(source=names) if len(names) == len(SIDES) else {IN_MEMORY: ["source"]}
    return Pair((layers[0], layers[1]), grid, (readers[0], readers[1]), asked)


def _lies_on(layer: Classed, grid: Frame) -> bool:
    """Tell whether any polygon of a layer reaches into a grid."""
    whole = shapely.box(0, 0, grid.width, grid.height)
    return any(
        bool(shapely.intersects(shapes, whole).any()) for _, shapes, _ in layer.in_pixels(grid)
    )
