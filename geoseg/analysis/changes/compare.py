"""In which order is change found? The only file of it that knows.

two dates -> burnt on one grid -> matrix -> polygons -> objects -> written
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.access import Access
from geoseg.analysis.changes.aligned import Aligned, Date, align, common_classes
from geoseg.analysis.changes.drawing import Wish, draw, failed_of, features_of, recipe_of
from geoseg.analysis.changes.given import (
    Pair,
    Segmenting,
    check_two,
    of_layers,
    of_rasters,
    told,
)
from geoseg.analysis.changes.matrix import Matrix, transition_matrix
from geoseg.analysis.changes.objects import LAYER as OBJECTS
from geoseg.analysis.changes.objects import (
    TOLERANCE,
    Objects,
    compare_objects,
    object_layer,
)
from geoseg.analysis.changes.polygons import (
    legend_of,
)
from geoseg.analysis.changes.seen import beyond_ha, seen_of
from geoseg.analysis.changes.shift import Shift, measure_shift
from geoseg.analysis.classed import CLASS_COLUMN
from geoseg.aoi import find_area
from geoseg.backends import Backend
from geoseg.config import Finish, ModelOptions
from geoseg.errors import ConfigError, GeosegError
from geoseg.export.place import check_output
from geoseg.export.table import LAYER, Target
from geoseg.export.write import write_layers
from geoseg.prepare import destination, listed, words_asked
from geoseg.runfolder import RunFolder, alone

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

    from geoseg.legend import Legend
    from geoseg.progress import Progress

_WORK = "dates"
"""Folder in the run folder where the dates lie as rasters while they are compared."""

BAD_INPUT = GeosegError.exit_code

_COLUMNS = ("compactness", "nearest", "truncated")
"""Further columns that polygons of change may have: the others are of a raster's light."""


@dataclass(frozen=True, eq=False)
class Change:
    """What changed between two dates."""

    path: Path
    """The map of change."""
    count: int
    """Number of its polygons."""
    matrix: pd.DataFrame
    """Hectares by class before (index) and after (columns), with totals: counted in pixels, before
    any least area of polygons."""
    not_compared_ha: float
    """Hectares that one date or both have not seen."""
    objects: Mapping[str, int]
    """Objects by what became of them; empty where no class is counted."""
    objects_not_compared: tuple[int, int]
    """Objects before and after that the other date has not seen, or too small for the grid."""
    shift: Shift | None
    """How far the later raster lies off the earlier one; None where one cannot be opened."""
    notes: tuple[str, ...]
    """What is taken for granted, and what to be careful of, a line each."""
    failed: tuple[str, ...]
    """Tiles of either date that are missing, and so are not compared."""
    _keep: Any = field(default=None, repr=False)

    @property
    def complete(self) -> bool:
        """Whether no tile is missing at either date."""
        return not self.failed

    def features(self) -> gpd.GeoDataFrame:
        """Return the polygons of change: the columns of a map, `before` and `after`."""
        return _read(self.path, LAYER)

    def object_features(self) -> gpd.GeoDataFrame:
        """Return what became of each object: status, ids and hectares before and after, IoU.

        Raises:
            ConfigError: The output is no GeoPackage, or no class is counted.
        """
        if self.path.suffix.lower() != ".gpkg" or not self.objects:
            raise ConfigError(
                f"{self.path} holds no objects: a .gpkg does, where a class of kind object occurs"
            )
        return _read(self.path, OBJECTS)


def _read(path: Path, layer: str) -> gpd.GeoDataFrame:
    import geopandas as gpd

    if path.suffix.lower() == ".parquet":
        return gpd.read_parquet(path)
    return gpd.read_file(path, **({"layer": layer} if path.suffix.lower() == ".gpkg" else {}))


def change(  # noqa: PLR0913  every option by name, as `geoseg.segment`
    before: str | Path | gpd.GeoDataFrame,
    after: str | Path | gpd.GeoDataFrame,
    legend: str | Legend | None = None,
    *,
    out: str | Path | None = None,
    unchanged: bool = False,
    tolerance: float = TOLERANCE,
    before_raster: str | None = None,
    after_raster: str | None = None,
    column: str = CLASS_COLUMN,
    maps: str | Path | None = None,
    backend: str | Backend | None = None,
    models: ModelOptions | None = None,
    mask_clouds: str | Backend | None = None,
    threshold: float | None = None,
    bands: str | Mapping[str, int] | None = None,
    sensor: str | None = None,
    composite: str | None = None,
    overlap: int | None = None,
    tile: int | None = None,
    aoi: str | Path | gpd.GeoDataFrame | None = None,
    simplify: str | None = None,
    smooth: bool = False,
    min_area: str | None = None,
    min_hole: str | None = None,
    small: str | None = None,
    columns: str | Sequence[str] = (),
    workers: int = 1,
    memory: str | int | None = None,
    overwrite: bool = False,
    trust_input: bool = False,
    keep_going: bool = False,
    progress: Progress | None = None,
) -> Change:
    """Find what changed between two dates.

    Both are laid on the pixel grid of the later one. A pixel counts where both dates have seen it:
    not in nodata, failed tiles, or outside of what either was asked for.

    Args:
        before: The earlier date: a raster, or a layer of polygons with classes.
        after: The later one, of the same kind.
        legend: What to look for in rasters: `"forest, water"` or a Legend.
        out: `.gpkg` (with layers `objects` and `transitions`), `.parquet`, `.fgb` or `.geojson`; a
            temporary file where None.
        unchanged: Draw what stayed the same class, too.
        tolerance: Part of an object's area by which it may change and be the same.
        before_raster: The raster of a layer that does not name it, or that has moved.
        after_raster: Likewise.
        column: Of the classes, in layers that are no maps of geoseg.
        maps: Folder for the maps of rasters, `NAME_before.gpkg` and `NAME_after.gpkg`; beside the
            output where None.
        backend: As `geoseg.segment`, for rasters (spectral).
        models: Likewise.
        mask_clouds: Likewise; ground that is hidden at either date is not compared.
        threshold: Likewise.
        bands: Likewise, the same for both.
        sensor: Likewise.
        composite: Likewise.
        overlap: Likewise.
        tile: Side of a tile in pixels.
        aoi: Area of interest: nothing else is compared.
        simplify: Of the polygons of change, as `geoseg.segment`.
        smooth: Likewise.
        min_area: Likewise; the matrix is of all pixels nevertheless.
        min_hole: Likewise.
        small: Likewise.
        columns: Likewise: compactness, nearest, truncated.
        workers: Number of processes; does not change the result.
        memory: Most memory, as `"2GB"`.
        overwrite: Replace outputs that are there.
        trust_input: As `geoseg.segment`.
        keep_going: Likewise.
        progress: Called with (step, done, total).

    Raises:
        GeosegError: Bad input, found before anything is segmented.
    """
    layers = check_two(before, after)
    final, keeper = destination(out)
    if out is None:
        # Only there objects have a place.
        final = final.with_suffix(".gpkg")
    options = {
        "backend": backend,
        "models": models,
        "mask_clouds": mask_clouds,
        "threshold": threshold,
        "bands": bands,
        "sensor": sensor,
        "composite": composite,
        "overlap": overlap,
    }
    _check(
        layers=layers,
        of_rasters={"legend (or --prompt)": legend, "maps": maps, **options},
        of_layers={"before_raster": before_raster, "after_raster": after_raster},
    )
    finish = Finish.build(
        simplify=simplify,
        smooth=smooth,
        min_area=min_area,
        min_hole=min_hole,
        small=small,
        columns=listed("--columns", columns),
    )
    _check_numbers(tolerance, finish)
    inputs = [str(s).partition("|")[0] for s in (before, after) if isinstance(s, str | Path)]
    # That there is a CRS is asked when the dates are open.
    check_output(final, overwrite=overwrite, crs="", sources=inputs)
    access = Access(trust_input=trust_input, keep_going=keep_going)
    means = {"workers": workers, "memory": memory}
    if layers:
        pair = of_layers(before, after, (before_raster, after_raster), column=column, access=access)
    else:
        how = Segmenting(
            words_asked(legend, backend or "spectral", None),
            {**options, "backend": backend or "spectral", "aoi": aoi, "tile": tile},
            means,
            Path(maps) if maps is not None else final.parent,
            final.stem,
            overwrite,
        )
        pair = of_rasters(str(before), str(after), how, access, progress)
    drawing = {"tile": tile, "aoi": aoi, **finish.words(), **means}
    wish = Wish(final, unchanged, tolerance, drawing)
    with alone(final) as place:
        return _compare(pair, wish, place, progress, keeper)


def _check(*, layers: bool, of_rasters: Mapping[str, Any], of_layers: Mapping[str, Any]) -> None:
    """Refuse what would do nothing."""
    unheeded = of_rasters if layers else of_layers
    given = next((name for name, value in unheeded.items() if value is not None), None)
    if given is not None:
        said = "two maps are compared as they are" if layers else "rasters are given themselves"
        kind = "rasters" if layers else "maps"
        raise ConfigError(f"--{given.replace('_', '-')} is for {kind}, and {said}; leave it out")


def _check_numbers(tolerance: float, finish: Finish) -> None:
    if not 0 <= tolerance < 1:
        raise ConfigError(f"--tolerance {tolerance:g} is outside 0..1; 0.1 is ten per cent")
    odd = next((name for name in finish.columns if name.lower() not in _COLUMNS), None)
    if odd is not None:
        raise ConfigError(
            f"--columns: '{odd}' is of a raster's light, which change has not; one of: "
            f"{', '.join(_COLUMNS)}"
        )


def _compare(
    pair: Pair, wish: Wish, place: RunFolder, progress: Progress | None, keeper: Any
) -> Change:
    classes = common_classes(pair.layers)
    aoi = wish.drawing["aoi"]
    area = None if aoi is None else find_area(aoi, pair.grid)
    dates = [
        Date(layer, seen_of(layer, pair.grid, raster, clouds))
        for layer, raster, clouds in zip(pair.layers, pair.rasters, pair.clouds, strict=True)
    ]
    with _work(place) as work:
        aligned = align(dates, classes, pair.grid, work, area)
        matrix = transition_matrix(aligned)
        wanted = matrix.occurring(unchanged=wish.unchanged)
        drawn = draw(aligned, wanted, wish, work, told(progress, "change"))
        objects = compare_objects(aligned, pair.layers, work, wish.tolerance)
        failed = failed_of(pair, drawn)
        target = Target(
            wish.final, pair.grid.crs, legend_of(aligned, wanted), recipe_of(drawn, pair, wish)
        )
        more = [matrix.layer()]
        if any(c.kind == "object" for c in classes):
            more.insert(0, object_layer(objects, pair.layers, classes, pair.grid))
        count = write_layers(target, features_of(drawn, aligned, wanted), failed, place, more)
    shift = _shift(dates)
    return Change(
        wish.final,
        count,
        matrix.table(),
        matrix.not_compared_ha,
        objects.counts(),
        objects.not_compared,
        shift,
        _notes(pair, dates, shift, (aligned, matrix, objects)),
        tuple(name for name, *_ in failed),
        keeper,
    )


@contextmanager
def _work(place: RunFolder) -> Iterator[Path]:
    """Yield a folder that stays if the run is stopped, so that the next one goes on."""
    work = place.path / _WORK
    work.mkdir(exist_ok=True)
    try:
        yield work
    except GeosegError as error:
        if error.exit_code == BAD_INPUT:
            shutil.rmtree(work)
        raise
    shutil.rmtree(work)


def _shift(dates: Sequence[Date]) -> Shift | None:
    before, after = (date.seen.raster for date in dates)
    return None if before is None or after is None else measure_shift(before, after)


def _notes(
    pair: Pair,
    dates: Sequence[Date],
    shift: Shift | None,
    found: tuple[Aligned, Matrix, Objects],
) -> tuple[str, ...]:
    aligned, matrix, objects = found
    notes = [note for date in dates for note in date.seen.notes]
    frames = [layer.frame for layer in pair.layers]
    if frames[0] is not None and frames[0] != pair.grid:
        notes.append(
            f"{pair.layers[0].name} is on another grid: it was resampled on the later grid "
            f"({pair.grid.width} x {pair.grid.height} pixels)"
        )
        left = beyond_ha(frames[0], pair.grid)
        if left > 0:
            notes.append(
                f"{left:.2f} ha of {pair.layers[0].name} lie outside of the later grid: they are "
                "not compared, and not in the matrix"
            )
    if frames[1] is None and frames[0] == pair.grid:
        notes.append(f"{pair.layers[1].name} has no grid: compared on that of the earlier date")
    if shift is not None and (warning := shift.warning()):
        notes.append(warning)
    if matrix.is_doubtful and all(c.kind == "cover" for c in aligned.classes):
        notes.append(
            "most of the change is to or from ground of no class, which may be doubt and no "
            "change: look for more classes, or lower --threshold"
        )
    if sum(objects.not_compared):
        notes.append(
            f"{objects.not_compared[0]} objects before and {objects.not_compared[1]} after are not "
            "compared: the other date has not seen them, or they hold the centre of no pixel"
        )
    return tuple(notes)
