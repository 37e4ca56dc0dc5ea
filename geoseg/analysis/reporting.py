"""How do the numbers of a map get to those who decide? In one HTML page, to send and to print."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import shapely

from geoseg.analysis.assess import Assessment, assessed
from geoseg.analysis.classed import open_classed, tell_rejected
from geoseg.analysis.landscape import measured
from geoseg.analysis.looked import failed_of
from geoseg.analysis.page.accuracy import accuracy_section, interval
from geoseg.analysis.page.areas import areas, by_zone
from geoseg.analysis.page.change import Transitions, change_section, read_change
from geoseg.analysis.page.document import Node, element, name, page
from geoseg.analysis.page.figures import column, count, percent
from geoseg.analysis.page.ground import Ground, ground
from geoseg.analysis.page.opening import Key, alarm, keys, map_figure, title_of
from geoseg.analysis.page.picture import check_drawing, picture_of
from geoseg.analysis.page.recipe import recipe_section, short, when_changed
from geoseg.analysis.page.sources import AREA, CHANGE, DESIGN, SAMPLE, sources
from geoseg.errors import GeosegError, MapError, OutputError, RasterError
from geoseg.export.place import check_place
from geoseg.export.read import Map, open_map
from geoseg.export.single import put_bytes
from geoseg.geotiff import taken
from geoseg.mosaic import files
from geoseg.origin import open_origin
from geoseg.overview import overview
from geoseg.prepare import destination
from geoseg.raster import RasterReader
from geoseg.runfolder import alone

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

_ENDINGS = (".html", ".htm")

_NAMED, _NAMED_CHARS = 8, 160
"""Classes that are named in a sentence; of more, or of longer ones, their number is told."""


_COUNT = {
    "accepted": "a reviewer accepted or put right",
    "kept": "no reviewer rejected",
}
"""Which polygons count, by what was asked for."""


@dataclass(frozen=True, slots=True)
class Report:
    """A page that was written."""

    path: Path
    """The file."""
    missing: tuple[str, ...]
    """What the numbers lack, a line each; the page says so, too. Nothing, if all is complete."""


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    """What the page tells beside the map."""

    title: str
    by_class: pd.DataFrame
    by_zone: pd.DataFrame | None
    assessment: Assessment | None
    change: Transitions | None
    picture: bool


def report(  # noqa: PLR0913
    map: str | Path,  # noqa: A002
    out: str | Path,
    *,
    points: str | Path | gpd.GeoDataFrame | None = None,
    change: str | Path | None = None,
    zones: str | Path | gpd.GeoDataFrame | None = None,
    title: str | None = None,
    raster: str | None = None,
    picture: bool = True,
    overwrite: bool = False,
    only: str | None = None,
) -> Report:
    """Write the numbers of a map as one HTML page that fetches nothing, for screen and paper.

    The same inputs give the same bytes.

    Args:
        map: A .gpkg or .parquet that geoseg wrote.
        out: The page, .html.
        points: What `geoseg sample` wrote, filled, or other points with a column `reference`:
            accuracy and estimated areas are told.
        change: The .gpkg of `geoseg change`, of which the map is one date: gains and losses are
            told.
        zones: Polygons with names, in any CRS: areas are told of each.
        title: Of the page; the name of the map, with spaces for underscores, where None.
        raster: The raster of the map, where it is not at its place any more.
        picture: Draw the map over its raster, which needs both the raster and matplotlib.
        overwrite: Replace a page that is there.
        only: `accepted` or `kept`: what a reviewer accepted or put right, or all but what was
            rejected, alone counts and is drawn.

    Raises:
        MapError: It is no map, nobody has reviewed it, does not say what made it, or its raster is
            not there; the change is none, or of another map.
        ConfigError: The points or zones cannot be used.
        OutputError: The page cannot be written.
        MissingDependencyError: Matplotlib is not installed.
    """
    target = _target(out, [map, points, change, zones], overwrite=overwrite)
    found = open_map(Path(map)).reviewed(only)
    found.made_by()
    if picture:
        check_drawing()
    source = _source(found, raster, needed=picture)
    layer = open_classed(found.path, "MAP", only=only)
    tell_rejected(layer)
    told = _Told(
        title or found.path.stem.replace("_", " "),
        measured(layer),
        None if zones is None else measured(layer, zones),
        None if points is None else assessed(layer, points, raster=raster),
        None if change is None else read_change(Path(change), found),
        picture,
    )
    body = list(_body(found, source, told))
    with alone(target) as place:
        put_bytes(target, place, [page(told.title, body)])
    return Report(target, tuple(_missing(found, told)))


def _missing(found: Map, told: _Told) -> Iterator[str]:
    """Yield what the numbers lack."""
    failed = len(found.failed())
    if failed:
        yield f"{failed} tiles failed and are missing from {found.path}"
    if told.change is not None and told.change.failed:
        yield f"{told.change.failed} tiles of the two dates are missing from the change"
    if told.assessment is not None and told.assessment.empty:
        yield f"{told.assessment.empty} points have no reference"


def _target(out: str | Path, read: list[object], *, overwrite: bool) -> Path:
    """Return where the page goes.

    Raises:
        OutputError: It cannot be written there.
    """
    target, _ = destination(out, "--out")
    if target.suffix.lower() not in _ENDINGS:
        raise OutputError(
            f"output '{target}' has the ending '{target.suffix}'; a report takes .html"
        )
    named = [str(source).partition("|layername=")[0] for source in read
             if isinstance(source, str | os.PathLike)]  # fmt: skip
    check_place(target, overwrite=overwrite, sources=named)
    return target


def _source(found: Map, raster: str | None, *, needed: bool) -> RasterReader | None:
    """Return the raster of a map; None where it is not at hand, and nobody needs it."""
    try:
        return open_origin(found, raster)
    except (MapError, RasterError) as error:
        if raster is None and not needed:
            return None
        if raster is None and isinstance(error, MapError):
            raise MapError(f"{error}, or --no-picture to do without") from error
        raise


def _body(found: Map, source: RasterReader | None, told: _Told) -> Iterator[ET.Element]:
    """Yield what the page shows, from top to bottom."""
    recipe, by_class = found.made_by(), told.by_class
    failed = found.failed()
    seen = None if source is None else overview(source)
    looked = ground(found, seen)
    yield title_of(told.title, _lead(found, source))
    if failed:
        yield alarm(failed, _lost(found))
    yield keys(_keys(found, told, looked))
    if told.picture and seen is not None:
        present = by_class["class"][by_class["count"] > 0].tolist()
        yield map_figure(picture_of(found, seen), present, _raster_name(found))
    yield areas(by_class, recipe.legend, looked)
    used = [AREA]
    colours = {c.name: c.colour for c in recipe.legend.classes}
    if told.assessment is not None:
        used += [SAMPLE, DESIGN]
        yield accuracy_section(told.assessment, colours)
    if told.by_zone is not None:
        yield by_zone(told.by_zone, recipe.legend)
    if told.change is not None:
        used.append(CHANGE)
        yield change_section(told.change, colours)
    yield recipe_section(recipe, found.path.name)
    yield sources(used)


def _lead(found: Map, source: RasterReader | None) -> list[Node]:
    """Return what the map is and when, in a sentence."""
    recipe = found.made_by()
    names = [c.name for c in recipe.legend.classes]
    version = recipe.facts.get("versions", {}).get("geoseg", "")
    raster = name(_raster_name(found))
    made: list[Node] = [f", made by geoseg {version} of ", raster, *_when(found, source), ".",
                        *_heeded(found)]  # fmt: skip
    if len(names) > _NAMED or sum(map(len, names)) > _NAMED_CHARS:
        return [f"A map of {count(len(names))} classes", *made]
    listed: list[Node] = ["A map of "]
    for k, word in enumerate(names):
        listed += [_between(k, len(names)), name(word)]
    return [*listed, *made]


def _heeded(found: Map) -> list[Node]:
    """Return what of a reviewed map counts."""
    if found.only is not None:
        return [f" Of its polygons, those alone count that {_COUNT[found.only]}."]
    rejected = found.rejected()
    if not rejected:
        return []
    return [
        f" {count(rejected)} of its polygons were rejected in a review, and count nevertheless."
    ]


def _between(k: int, n: int) -> str:
    """Return what stands before the k-th of n words that are listed."""
    if k == 0:
        return ""
    return " and " if k == n - 1 else ", "


def _when(found: Map, source: RasterReader | None) -> list[Node]:
    """Return when the picture was taken, as far as its file tells."""
    said = None if source is None else _taken(source)
    if said is not None:
        return [", dated ", element("time", said)]
    raster = found.made_by().raster
    parts = [v for k, v in sorted(raster.items()) if k.startswith("source.")] or [raster]
    changed = [day for part in parts if (day := when_changed(part)) is not None]
    if not changed:
        return []
    return [", whose file was last changed on ", element("time", max(changed)[:10])]


def _taken(source: RasterReader) -> str | None:
    try:
        return taken(files(source)[0])
    except GeosegError:
        return None


def _raster_name(found: Map) -> str:
    paths = found.made_by().rasters
    if not paths:
        return "a raster in memory"
    more = f" and {count(len(paths) - 1)} more" if len(paths) > 1 else ""
    return short(paths[0]) + more


def _keys(found: Map, told: _Told, looked: Ground) -> list[Key]:
    """Return the first numbers: how much ground, what most of it is, in what detail."""
    frame, by_class = found.made_by().frame, told.by_class
    numbers = []
    ha = float(by_class["landscape_ha"].iloc[0]) * looked.part
    if math.isfinite(ha):
        numbers.append(Key(column([ha])[0], "ha", (looked.what,)))
    if (by_class["count"] > 0).any() and looked.part > 0:
        first = by_class.loc[by_class["share_pct"].idxmax()]
        part = percent(float(first["share_pct"]) / 100 / looked.part)
        numbers.append(Key(part, "%", (name(str(first["class"])), ", the largest class")))
    if told.assessment is not None:
        right = interval(told.assessment.overall, told.assessment.overall_ci95)
        numbers.append(Key(right, "%", ("of the ground is right on the map",)))
    numbers.append(Key(count(found.count), "", ("polygons",)))
    if frame.gsd_m is not None:
        numbers.append(Key(f"{frame.gsd_m:.3g}", "m", ("side of a pixel",)))
    return numbers


def _lost(found: Map) -> str:
    """Return how much ground failed tiles are."""
    frame = found.made_by().frame
    whole = shapely.union_all(failed_of(found))
    part = percent(whole.area / (frame.width * frame.height))
    ha = float(frame.measure(np.array([whole], object))[0][0]) / 1e4
    size = f"{column([ha])[0]} ha, " if math.isfinite(ha) else ""
    return f"{size}{part} % of the raster"
