"""Which dates are given? Rasters, which are segmented alike, or maps; and on which grid.

What cannot be compared is refused before anything is segmented.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.analysis.changes.aligned import Date
from geoseg.analysis.changes.given import (
    CLOUDY,
    Segmenting,
    check_overlap,
    check_two,
    is_layer,
    segmented,
)
from geoseg.analysis.changes.seen import beyond_ha, seen_of
from geoseg.analysis.classed import CLASS_COLUMN, Classed, open_classed
from geoseg.analysis.hydroperiod.dates import Taken, asked_dates, check_order, date_of
from geoseg.errors import ConfigError
from geoseg.export.read import open_map
from geoseg.mosaic import files
from geoseg.prepare import open_source
from geoseg.recipe import IN_MEMORY

if TYPE_CHECKING:
    import geopandas as gpd

    from geoseg.access import Access
    from geoseg.frame import Frame
    from geoseg.progress import Progress

_LEAST_HA = 0.005
"""Least hectares that are worth a word."""


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """Dates, in the order of time."""

    dates: tuple[Date, ...]
    """Polygons, and the ground that was looked at."""
    taken: tuple[Taken, ...]
    """When."""
    grid: Frame
    """The pixels on which they are counted."""
    notes: tuple[str, ...]
    """What is taken for granted, a line each."""
    failed: tuple[str, ...]
    """Tiles that are missing in maps."""


def check_several(sources: Sequence[str | Path | gpd.GeoDataFrame]) -> bool:
    """Return whether dates are layers of polygons; else they are rasters.

    Raises:
        ConfigError: There is one only, some are layers and some rasters, or one is given twice.
    """
    if len(sources) < 2:
        raise ConfigError(
            f"{len(sources)} input is no series; give two dates or more, in the order of time"
        )
    kinds = [check_two(one, other) for one, other in combinations(sources, 2)]
    return kinds[0]


def grid_of(path: str | Path, access: Access) -> Frame:
    """Return the pixels of a raster, or those that a map of geoseg was made on.

    Raises:
        GeosegError: It cannot be opened.
    """
    if is_layer(path):
        return open_map(Path(path)).made_by().frame
    # Of its bands nothing is asked: they need not say what they are.
    return open_source(path, {"red": 1}, None, access).frame


def of_rasters(
    sources: Sequence[str | Path],
    how: Segmenting,
    dates: str | Sequence[str] | None,
    grid: Frame | None,
    access: Access,
    progress: Progress | None = None,
) -> Given:
    """Segment rasters with the same words; maps that are there, and are these, are taken.

    Args:
        sources: In the order of time.
        how: What is asked of `geoseg.segment`.
        dates: When they were taken; found out where None.
        grid: The pixels to count on; those of the last raster where None.
        access: What rasters may reach for.
        progress: Is told of each.

    Raises:
        GeosegError: They are no series, or cannot be segmented.
    """
    names = [str(s) for s in sources]
    options = how.options
    rasters = [open_source(s, options.get("bands"), options.get("sensor"), access) for s in sources]
    grid = grid or rasters[-1].frame
    for raster, name in zip(rasters, names, strict=True):
        check_overlap(raster.frame, grid, [name, "the grid"])
    taken = (
        asked_dates(dates, len(sources))
        if dates is not None
        else tuple(date_of(n, files(r)) for n, r in zip(names, rasters, strict=True))
    )
    check_order(taken, names)
    sides = [t.text for t in taken]
    layers, clouds = segmented(sources, rasters, sides, how, access, progress)
    known = [
        Date(layer, seen_of(layer, grid, raster, cloud))
        for layer, cloud, raster in zip(layers, clouds, rasters, strict=True)
    ]
    return _given(known, taken, grid)


def of_layers(
    layers: Sequence[str | Path | gpd.GeoDataFrame],
    dates: str | Sequence[str] | None,
    grid: Frame | None,
    column: str = CLASS_COLUMN,
) -> Given:
    """Open maps of geoseg, or other layers with classes, of which one has a grid.

    Args:
        layers: In the order of time.
        dates: When they were taken; found out where None.
        grid: The pixels to count on; those of the last map where None.
        column: Of the classes.

    Raises:
        GeosegError: They are no series, or cannot be read.
    """
    maps = [open_classed(layer, "geoseg series", column=column) for layer in layers]
    frames = [m.frame for m in maps]
    grid = grid or next((f for f in reversed(frames) if f is not None), None)
    if grid is None:
        raise ConfigError(
            f"{maps[-1].name} has no pixel grid, nor have the others; name a raster with --grid"
        )
    for layer, frame in zip(maps, frames, strict=True):
        if layer.crs is None:
            raise ConfigError(
                f"{layer.name} has no coordinate reference system; set it with ogr2ogr -a_srs"
            )
        check_overlap(frame or grid, grid, [layer.name, "the grid"])
    clouds = [_clouds_beside(layer) for layer in maps]
    known = [
        Date(layer, seen_of(layer, grid, clouds=cloud))
        for layer, cloud in zip(maps, clouds, strict=True)
    ]
    taken = (
        asked_dates(dates, len(maps))
        if dates is not None
        else tuple(
            date_of(d.layer.name, () if d.seen.raster is None else files(d.seen.raster))
            for d in known
        )
    )
    check_order(taken, [m.name for m in maps])
    return _given(known, taken, grid)


def _given(dates: Sequence[Date], taken: tuple[Taken, ...], grid: Frame) -> Given:
    notes = [note for date in dates for note in date.seen.notes]
    found = sorted({t.found for t in taken})
    notes.append(f"dates by {' and '.join(found)}: {', '.join(t.text for t in taken)}")
    other = [t.text for t, d in zip(taken, dates, strict=True)
             if d.layer.frame is not None and d.layer.frame != grid]  # fmt: skip
    if other:
        notes.append(
            f"on other grids than that of the result ({grid.width} x {grid.height} pixels): "
            f"{', '.join(other)}; each pixel takes what is at its centre"
        )
    beyond = [(beyond_ha(d.layer.frame, grid), t.text) for d, t in zip(dates, taken, strict=True)
              if d.layer.frame is not None]  # fmt: skip
    most, when = max(beyond, default=(0.0, ""))
    if most >= _LEAST_HA:
        notes.append(f"outside of the grid, and not counted: up to {most:.2f} ha ({when})")
    notes += [note for t in taken if (note := t.doubt) is not None]
    maps = [m for d in dates for m in (d.layer.map, d.seen.clouds and d.seen.clouds.map) if m]
    failed = [f"{m.path} {name}" for m in maps for name, *_ in m.failed()]
    return Given(tuple(dates), taken, grid, tuple(notes), tuple(failed))


def _clouds_beside(layer: Classed) -> Classed | None:
    """Return the map of clouds that lies beside a map that was made without them.

    Raises:
        ConfigError: It is not there: clouds would count as dry.
    """
    recipe = None if layer.map is None else layer.map.recipe
    if recipe is None or "mask_clouds" not in {*recipe.asked, *recipe.asked[IN_MEMORY]}:
        return None
    path = Path(layer.name)
    beside = path.with_name(f"{path.stem}{CLOUDY}{path.suffix}")
    if not beside.exists():
        raise ConfigError(
            f"{layer.name} was made with --mask-clouds, and {beside.name}, which says where clouds "
            "were, is not beside it: they would count as dry; give the rasters instead"
        )
    return open_classed(beside, "geoseg series")
