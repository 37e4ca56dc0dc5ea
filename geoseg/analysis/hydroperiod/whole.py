"""In which order is a series counted? The only file of it that knows.

dates -> burnt on one grid -> pixels counted and polygons linked -> ponds measured -> written
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.access import Access
from geoseg.analysis.changes.given import Segmenting
from geoseg.analysis.changes.objects import ids_at
from geoseg.analysis.classed import CLASS_COLUMN
from geoseg.analysis.hydroperiod.counted import FARTHEST_D, SOURCE, Thresholds
from geoseg.analysis.hydroperiod.events import find_events
from geoseg.analysis.hydroperiod.given import Given, check_several, grid_of, of_layers, of_rasters
from geoseg.analysis.hydroperiod.lineages import Lineages, link, watch
from geoseg.analysis.hydroperiod.outlines import write_ponds
from geoseg.analysis.hydroperiod.rasters import Growing, check_rasters, class_path
from geoseg.analysis.hydroperiod.stack import Stack, choose_class, stack
from geoseg.analysis.hydroperiod.table import Told, write_told
from geoseg.analysis.hydroperiod.tally import Tally
from geoseg.analysis.tables import check_table
from geoseg.aoi import find_area
from geoseg.errors import ConfigError
from geoseg.export.burn import lean
from geoseg.export.place import check_output
from geoseg.prepare import destination, words_asked
from geoseg.runfolder import RunFolder, alone

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

    from geoseg.config import ModelOptions
    from geoseg.frame import Frame
    from geoseg.legend import Legend
    from geoseg.progress import Progress

_STEM = "series"
"""What names of maps in a folder of their own begin with."""

_WORK = "dates"
"""Folder in the run folder where the dates lie as rasters while they are counted."""

MIN_OBSERVED = 0.9
"""Least part of a pond that must be seen at a date to tell its area."""


@dataclass(frozen=True, eq=False)
class Series:
    """Water over several dates."""

    path: Path
    """The raster of occurrence: float32; bands occurrence, observed, wet, and hydroperiod (days
    per year) where dates tell it; NaN where nobody looked."""
    classes_path: Path
    """The raster of classes: uint8; places in CLASSES, 255 where nobody looked."""
    dates: tuple[str, ...]
    """`2009-08-18`, or `2009`."""
    grid: Frame
    """Pixels of both rasters."""
    water: str
    """The class that is counted."""
    thresholds: Thresholds
    """Of the classes."""
    min_observed: float
    """Least part of a pond that must be seen."""
    class_ha: Mapping[str, float]
    """Hectares by class, and `not observed`."""
    water_ha: tuple[float, ...]
    """Hectares of water at each date, as far as they were seen."""
    gap: tuple[float, ...]
    """Part of the grid, or of the area of interest, that each date has not seen, 0..1."""
    ponds: int
    """Number of ponds."""
    notes: tuple[str, ...]
    """What is taken for granted, and what to be careful of, a line each."""
    failed: tuple[str, ...]
    """Tiles of all dates that are missing, and count as not observed."""
    _told: Told = field(repr=False)
    _keep: Any = field(default=None, repr=False)

    @property
    def complete(self) -> bool:
        """Whether no tile is missing at any date."""
        return not self.failed

    def table(self) -> pd.DataFrame:
        """Return a row per pond and date.

        Columns: pond, date, area_ha (NaN where less than min_observed of the pond's extent was
        seen), n_parts, parts (ids of polygons in the map of the date, `3+7`), observed (part of
        the extent, 0..1), event (see `events.py`), links (`3>7 4>7`: ids before and after), and
        truncated (its water reaches the edge of the grid, or ground that was not seen).
        """
        import pandas as pd

        return pd.concat(self._told.tables(), ignore_index=True)


def series(  # noqa: PLR0913  every option by name, as `geoseg.segment`
    sources: Sequence[str | Path | gpd.GeoDataFrame],
    legend: str | Legend | None = None,
    *,
    out: str | Path | None = None,
    table: str | Path | None = None,
    ponds: str | Path | None = None,
    dates: str | Sequence[str] | None = None,
    water: str | None = None,
    permanent: float = 0.9,
    seasonal: float = 0.25,
    min_observed: float = MIN_OBSERVED,
    grid: str | Path | None = None,
    column: str = CLASS_COLUMN,
    maps: str | Path | None = None,
    backend: str | None = None,
    models: ModelOptions | None = None,
    mask_clouds: str | None = None,
    threshold: float | None = None,
    bands: str | Mapping[str, int] | None = None,
    sensor: str | None = None,
    composite: str | None = None,
    overlap: int | None = None,
    tile: int | None = None,
    min_area: str | None = None,
    aoi: str | Path | gpd.GeoDataFrame | None = None,
    workers: int = 1,
    memory: str | int | None = None,
    overwrite: bool = False,
    trust_input: bool = False,
    keep_going: bool = False,
    progress: Progress | None = None,
) -> Series:
    """Count at how many of several dates there is water, and follow each pond.

    A date counts for a pixel where it has seen it: not in nodata, failed tiles, clouds that were
    masked, or outside of what its map was made for. What was not seen is never taken for dry.

    Args:
        sources: In the order of time: rasters, which are segmented alike, or maps.
        legend: What to look for in rasters: `"water"` or a Legend.
        out: `.tif`; classes go beside it, to `NAME_class.tif`. A temporary file where None.
        table: `.csv` or `.json`: a row per pond and date; see `Series.table`.
        ponds: `.gpkg`, `.parquet`, `.fgb` or `.geojson`: the extent of each pond.
        dates: `"2009-08-18,2012"`: one per source; by TIFFTAG_DATETIME or file names where None.
        water: The class that is water, where there are several.
        permanent: Least occurrence of permanent water.
        seasonal: Least occurrence of seasonal water; what is wet less often is ephemeral.
        min_observed: Least part of a pond that must be seen at a date to tell its area.
        grid: A raster, or a map of geoseg, whose pixels are counted; the last source where None.
        column: Of the classes, in layers that are no maps of geoseg.
        maps: Folder for the maps of rasters, `series_DATE.gpkg`, which are taken again, also when
            dates are added; beside the output, as `NAME_DATE.gpkg`, where None.
        backend: As `geoseg.segment`, for rasters (spectral).
        models: Likewise.
        mask_clouds: Likewise; where clouds were goes to maps `..._DATE_clouds.gpkg`.
        threshold: Likewise.
        bands: Likewise, the same for all.
        sensor: Likewise.
        composite: Likewise.
        overlap: Likewise.
        tile: Likewise.
        min_area: Likewise, of the polygons of each date.
        aoi: Area of interest: nothing else is counted.
        workers: Number of processes; does not change the result.
        memory: Most memory, as `"2GB"`.
        overwrite: Replace outputs that are there.
        trust_input: As `geoseg.segment`.
        keep_going: Likewise.
        progress: Called with (step, done, total).

    Raises:
        GeosegError: Bad input, found before anything is segmented.
    """
    thresholds = Thresholds(permanent, seasonal)
    if not 0 < min_observed <= 1:
        raise ConfigError(f"--min-observed {min_observed:g} is outside 0..1; 0.9 is 90 per cent")
    layers = check_several(sources)
    final, keeper = destination(out)
    final = final if out is not None else final.with_name("hydroperiod.tif")
    inputs = [str(s) for s in sources if isinstance(s, str | Path)]
    wish = _Wish(
        final,
        None if table is None else Path(table),
        None if ponds is None else Path(ponds),
        water,
        thresholds,
        min_observed,
        aoi,
    )
    wish.check(inputs, overwrite=overwrite)
    access = Access(trust_input=trust_input, keep_going=keep_going)
    frame = None if grid is None else grid_of(grid, access)
    options = {
        "backend": backend,
        "models": models,
        "mask_clouds": mask_clouds,
        "threshold": threshold,
        "bands": bands,
        "sensor": sensor,
        "composite": composite,
        "overlap": overlap,
        "min_area": min_area,
    }
    if layers:
        _check_heeded({"prompt": legend, "maps": maps, "tile": tile, **options})
        given = of_layers(sources, dates, frame, column)
    else:
        words = words_asked(legend, backend or "spectral", None)
        if words is not None:
            choose_class([c.name for c in words.classes], water)
        how = Segmenting(
            words,
            {**options, "backend": backend or "spectral", "aoi": aoi, "tile": tile},
            {"workers": workers, "memory": memory},
            Path(maps) if maps is not None else final.parent,
            # A folder of maps serves several outputs.
            final.stem if maps is None else _STEM,
            overwrite,
        )
        given = of_rasters(inputs, how, dates, frame, access, progress)
    with alone(final) as place, lean():
        return _count(given, wish, place, progress, keeper)


def _check_heeded(given: Mapping[str, Any]) -> None:
    """Refuse what would do nothing."""
    name = next((name for name, value in given.items() if value is not None), None)
    if name is not None:
        raise ConfigError(
            f"--{name.replace('_', '-')} is for rasters, and maps are counted as they are; leave "
            "it out"
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Wish:
    final: Path
    table: Path | None
    ponds: Path | None
    water: str | None
    thresholds: Thresholds
    min_observed: float
    aoi: Any

    def check(self, inputs: Sequence[str], *, overwrite: bool) -> None:
        """Refuse outputs that could not be written in the end, before any work."""
        check_rasters(self.final, inputs, overwrite=overwrite)
        if self.table is not None:
            check_table(self.table, option="--table", overwrite=overwrite)
        if self.ponds is not None:
            check_output(self.ponds, overwrite=overwrite, crs="", sources=inputs, option="--ponds")


@contextmanager
def _work(place: RunFolder) -> Iterator[Path]:
    """Yield a folder for rasters that are soon made again: it never stays."""
    work = place.path / _WORK
    work.mkdir(exist_ok=True)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _count(
    given: Given, wish: _Wish, place: RunFolder, progress: Progress | None, keeper: Any
) -> Series:
    area = None if wish.aoi is None else find_area(wish.aoi, given.grid)
    texts = tuple(t.text for t in given.taken)
    with _work(place) as work:
        found = stack(given.dates, wish.water, given.grid, work, area)
        days = tuple(t.day for t in given.taken)
        with Growing(work, given.grid, days, wish.thresholds) as growing:
            tally = Tally(found, growing, progress)
            lineages = link(found, tally.hear)
            facts = _facts(given, wish, found)
            growing.describe(facts)
        told = _tell(found, lineages, wish, given, texts)
        if wish.ponds is not None:
            write_ponds(wish.ponds, found, told, wish.thresholds, facts)
        if wish.table is not None:
            write_told(told, wish.table)
        growing.put(wish.final, place)
    notes = list(given.notes)
    if "hydroperiod" not in growing.bands:
        notes.append(
            f"no days per year: dates would have to be known to the day, span a year, and lie no "
            f"more than {FARTHEST_D} days apart"
        )
    return Series(
        wish.final,
        class_path(wish.final),
        texts,
        given.grid,
        found.aligned.names[found.number],
        wish.thresholds,
        wish.min_observed,
        tally.class_ha,
        tuple((tally.water_m2 / 1e4).tolist()),
        tally.gap,
        lineages.count,
        tuple(notes),
        given.failed,
        told,
        keeper,
    )


def _facts(given: Given, wish: _Wish, found: Stack) -> dict[str, str]:
    """Return what the rasters say of themselves."""
    return {
        "dates": ",".join(t.text for t in given.taken),
        "water": found.aligned.names[found.number],
        "permanent": f"occurrence >= {wish.thresholds.permanent:g}",
        "seasonal": f"occurrence >= {wish.thresholds.seasonal:g}",
        "ephemeral": "occurrence > 0",
        "occurrence": SOURCE,
    }


def _tell(
    found: Stack, lineages: Lineages, wish: _Wish, given: Given, texts: tuple[str, ...]
) -> Told:
    watched = watch(found, lineages)
    known = watched.seen >= wish.min_observed
    ids = [ids_at(d.layer, np.arange(d.layer.count) + 1) for d in given.dates]
    return Told(
        texts,
        np.concatenate([[0], *ids]),
        found.offset,
        lineages,
        watched,
        known,
        find_events(found, lineages, watched, known),
    )
