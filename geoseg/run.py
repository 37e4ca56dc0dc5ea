"""In which order does it all happen? The only file that knows.

open -> grid -> fit -> detect every tile -> compare neighbours -> decide -> draw -> write
"""

from __future__ import annotations

import json
import logging
import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from geoseg.backends import Backend, Fittable
from geoseg.bands import shown_roles
from geoseg.config import ModelOptions, RunConfig
from geoseg.decide import SeamPlan, decide, empty_facts
from geoseg.detect import Job, Receipt, check_halo, detect, detect_each
from geoseg.errors import BackendError, ConfigError
from geoseg.executors import Executor, Processes, Serial
from geoseg.features import Features, batches, compare, draw, number_labels
from geoseg.geotiff import warn_of_alpha
from geoseg.grid import Grid
from geoseg.legend import Legend
from geoseg.mosaic import files
from geoseg.prepare import (
    Source,
    choose_backend,
    destination,
    open_source,
    settings,
    sized,
    with_words,
    words_asked,
)
from geoseg.raster import RasterReader
from geoseg.seams import Seam
from geoseg.store import Store
from geoseg.stretch import fit_stretch

if TYPE_CHECKING:
    import geopandas as gpd

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with the step, how many are done, and of how many."""

_CHUNK_TILES = 16


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run."""

    path: Path
    """The map."""
    count: int
    """Number of features."""
    tiles: int
    """Number of tiles."""
    failed: Mapping[str, str]
    """Reason for each tile that failed; empty if the map is complete."""
    broken_links: int
    """Links that were cut because they would have joined objects that one tile saw apart."""
    seconds: Mapping[str, float]
    """Wall time per step."""
    notes: Mapping[str, tuple[str, ...]]
    """What the backend said of tiles, by tile name; only tiles of which it said something."""
    models: tuple[Mapping[str, Any], ...]
    """Of each model: family, source, revision, sha256 and licence of its weights."""
    _keep: Any = field(default=None, repr=False)

    @property
    def complete(self) -> bool:
        """Whether every tile is in the map."""
        return not self.failed

    def features(self) -> gpd.GeoDataFrame:
        """Return the map: id, class, score, area_ha, perimeter_m, n_tiles, seam_iou, geometry."""
        import geopandas as gpd

        suffix = self.path.suffix.lower()
        if suffix == ".parquet":
            return gpd.read_parquet(self.path)
        if suffix == ".gpkg":
            return gpd.read_file(self.path, layer="features")
        return gpd.read_file(self.path)


def segment(  # noqa: PLR0913  the one door: every option by name, none hidden in kwargs
    source: Source,
    legend: str | Legend | None = None,
    *,
    out: str | Path | None = None,
    backend: str | Backend = "spectral",
    models: ModelOptions | None = None,
    boxes: str | Path | gpd.GeoDataFrame | None = None,
    mask_clouds: str | Backend | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    threshold: float | None = None,
    bands: str | Mapping[str, int] | None = None,
    sensor: str | None = None,
    composite: str | None = None,
    workers: int = 1,
    batch: int | None = None,
    overwrite: bool = False,
    fresh: bool = False,
    keep_run_folder: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Turn a raster and words into polygons.

    Args:
        source: A raster file or URL; several on one pixel grid, or a folder of them, which are read
            as one mosaic (of two that are valid in a pixel the first counts); or an open reader.
        legend: Classes: `"forest, water"` or a Legend; None for backends that need no words.
        out: `.gpkg`, `.parquet`, `.fgb` or `.geojson`; a temporary file where None.
        backend: Name of a backend, as `"grounding-dino+sam2"`, or an object that is one.
        models: How models are loaded and run: device, precision, ground size, offline.
        boxes: A vector layer whose boxes and points a segmenter (`backend="sam2"`) outlines.
        mask_clouds: A backend that knows cloud and shadow, as `"csmask"`: those belong to nothing.
        tile: Side of what the backend sees at once, in pixels (1024, or what the backend wants).
        overlap: Pixels that neighbouring tiles share (128, or what the backend needs).
        threshold: Least score of classes without their own, 0..1 (the backend's own; spectral 0.5).
        bands: 1-based band numbers by role, as `"red=4,green=3,blue=2,nir=8"`.
        sensor: Band order of a known product: rgb, naip, landsat8, sentinel2, planetscope.
        composite: Roles that models are shown as red, green and blue, as `"nir,red,green"`.
        workers: Number of processes; does not change the result.
        batch: Tiles given to the backend at once (1); does not change the result.
        overwrite: Replace an output that is there.
        fresh: Throw away an unfinished run instead of continuing it.
        keep_run_folder: Keep `OUT.geoseg` when the map is complete.
        progress: Called with (step, done, total).

    Returns:
        The finished run; `run.failed` names tiles that are missing from the map.

    Raises:
        GeosegError: Bad input, found before any tile is read; nothing is written.
    """
    from geoseg.export import check_output
    from geoseg.export.table import Target

    # What is cheap to find wrong comes first: loading a backend may download its weights.
    asked = words_asked(legend, backend, boxes)
    config = settings(
        asked,
        tile=tile,
        overlap=overlap,
        threshold=threshold,
        workers=workers,
        batch=batch,
        composite=composite,
    )
    raster = open_source(source, bands, sensor)
    sources = files(raster)
    if sources:
        warn_of_alpha(sources[0])
    final, keep = destination(out)
    paths = [source.path for source in sources]
    check_output(final, overwrite=overwrite, crs=raster.frame.crs, sources=paths)

    engine = choose_backend(backend, models or ModelOptions(), boxes, mask_clouds)
    config = with_words(config, engine, asked, threshold)
    engine = engine.fit(raster, config.filled()) if isinstance(engine, Fittable) else engine
    config = sized(config, engine, tile, overlap)
    job = _prepare(raster, engine, config, final)
    if (
        composite is not None
        and isinstance(backend, str)
        and not getattr(engine, "wants_rgb", False)
    ):
        raise ConfigError(
            f"backend '{backend}' looks at bands, not at a picture: leave --composite out"
        )
    fingerprint = config.fingerprint(raster.identity(), job.backend.identity)
    job.store.open(fingerprint, fresh=fresh)
    watch = _Watch(progress)
    with _executor(job, workers) as executor:
        _detect_all(job, executor, watch)
        seam_plan, counts, notes = _stitch(job, executor, watch)
        made = {**fingerprint, "geoseg": version("geoseg"), "models": models_of(job.backend)}
        recipe = json.dumps(made, sort_keys=True)
        target = Target(final, raster.frame.crs, config.legend, recipe)
        failed = job.store.failed()
        count = _write(job, executor, watch, (seam_plan, counts), (target, failed))
    if not failed and not keep_run_folder:
        job.store.remove()
    return Run(
        final,
        count,
        len(job.grid),
        {job.grid.name(i): reason for i, reason in failed.items()},
        seam_plan.broken,
        watch.seconds,
        notes,
        models_of(job.backend),
        keep,
    )


def models_of(backend: Backend) -> tuple[Mapping[str, Any], ...]:
    """Return what a backend says of its weights; nothing where it has none."""
    return tuple(getattr(backend, "facts", tuple)())


def _prepare(raster: RasterReader, engine: Backend, config: RunConfig, final: Path) -> Job:
    """Gather all that a worker needs to know."""
    grid = Grid(raster.frame.window, config.tile, config.overlap)
    stretch = fit_stretch(raster, shown_roles(raster.roles, config.composite))
    store = Store(final.with_name(final.name + ".geoseg"), grid)
    job = Job(raster, engine, config.filled(), stretch, store, config.batch)
    check_halo(job)
    if config.workers > 1:
        try:
            pickle.dumps(job)
        except Exception as error:
            raise BackendError(
                f"backend {type(engine).__name__} or the raster cannot be sent to worker "
                f"processes ({error}); use --workers 1"
            ) from error
    return job


def _executor(job: Job, workers: int) -> Executor:
    return Serial(job) if workers == 1 else Processes(job, workers)


class _Watch:
    """Reports progress and keeps the wall time of each step."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._began = 0.0
        self.seconds: dict[str, float] = {}

    def __call__(self, step: str, done: int, total: int) -> None:
        now = time.monotonic()
        if step not in self.seconds:
            self._began = now
        self.seconds[step] = now - self._began
        if self._progress is not None:
            self._progress(step, done, total)


def _detect_all(job: Job, executor: Executor, watch: _Watch) -> None:
    todo = job.store.missing()
    total = len(job.grid)
    done = total - len(todo)
    watch("detect", done, total)
    for receipts in _receipts(job, executor, todo):
        done += len(receipts)
        watch("detect", done, total)


def _receipts(job: Job, executor: Executor, todo: list[int]) -> Iterator[list[Receipt]]:
    if isinstance(executor, Serial):
        # One stream, so that reading ahead never pauses.
        return ([receipt] for receipt in detect_each(job, todo))
    size = max(job.batch, 1, min(_CHUNK_TILES, len(todo) // 16))
    return executor.map(detect, [todo[i : i + size] for i in range(0, len(todo), size)])


def _stitch(
    job: Job, executor: Executor, watch: _Watch
) -> tuple[SeamPlan, list[int], dict[str, tuple[str, ...]]]:
    facts = [empty_facts()]
    seams: list[tuple[int, int, Seam]] = []
    notes: dict[str, tuple[str, ...]] = {}
    total = len(job.grid)
    watch("stitch", 0, total)
    for index, found in enumerate(executor.map(compare, range(total))):
        facts.append(found.facts)
        seams.extend((index, other, seam) for other, seam in found.seams)
        if found.notes:
            notes[job.grid.name(index)] = found.notes
        watch("stitch", index + 1, total)
    counts = [len(f) for f in facts[1:]]
    pairs, voices = number_labels(counts, seams)
    tile_of = np.repeat(np.arange(total), counts)
    scopes = [job.scope(i).trust for i in range(total)]
    trust = np.array([(w.x0, w.y0, w.x1, w.y1) for w in scopes], np.int64)
    seam_plan = decide(np.concatenate(facts), tile_of, pairs, voices, (trust, job.is_cover))
    watch("stitch", total, total)
    return seam_plan, counts, notes


def _write(
    job: Job,
    executor: Executor,
    watch: _Watch,
    stitched: tuple[SeamPlan, list[int]],
    goal: tuple[Any, Mapping[int, str]],
) -> int:
    from geoseg.export import write

    target, failed = goal
    total = len(stitched[0].features)
    watch("write", 0, total)

    def drawn() -> Iterator[Features]:
        done = 0
        for found in executor.map(draw, batches(*stitched)):
            yield found
            done += len(found.number)
            watch("write", min(done, total), total)

    holes = [(job.grid.name(i), reason, _outline(job, i)) for i, reason in failed.items()]
    count = write(target, drawn(), holes)
    watch("write", total, total)
    return count


def _outline(job: Job, index: int) -> shapely.Polygon:
    core = job.grid[index].core
    corners = np.array(
        [(core.x0, core.y0), (core.x0, core.y1), (core.x1, core.y1), (core.x1, core.y0)]
    )
    return shapely.Polygon(job.raster.frame.to_crs(corners))
