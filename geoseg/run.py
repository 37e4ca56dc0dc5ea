"""In which order does it all happen? The only file that knows.

open -> grid -> fit -> detect every tile -> compare neighbours -> decide -> draw -> write
"""

from __future__ import annotations

import json
import logging
import pickle
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import shapely

from geoseg.backends import Backend, Fittable
from geoseg.backends.compose import cloudless, load, needs_words
from geoseg.bands import parse, shown_roles
from geoseg.config import (
    DEFAULT_OVERLAP_PX,
    DEFAULT_THRESHOLD,
    DEFAULT_TILE_PX,
    ModelOptions,
    RunConfig,
)
from geoseg.decide import SeamPlan, decide, empty_facts
from geoseg.detect import SPARE, Job, Receipt, check_halo, detect, detect_each, least_halo
from geoseg.errors import BackendError, ConfigError
from geoseg.executors import Executor, Processes, Serial
from geoseg.features import Features, batches, compare, draw, number_labels
from geoseg.geotiff import GeoTiff, open_raster, warn_of_alpha
from geoseg.grid import Grid
from geoseg.legend import LandClass, Legend
from geoseg.raster import RasterReader
from geoseg.seams import Seam
from geoseg.store import Store
from geoseg.stretch import fit_stretch

if TYPE_CHECKING:
    import geopandas as gpd

log = logging.getLogger(__name__)

T = TypeVar("T")

Progress = Callable[[str, int, int], None]
"""Called with the step, how many are done, and of how many."""

BASE_MEMORY_MB = 360
"""Memory of the main process without a tile: Python, GDAL, block cache, a batch of features.
Measured with tiles of 512 to 4096 px and one to three classes."""

WORKER_MEMORY_MB = 230
"""Memory of a worker process without a tile. Measured."""

BYTES_PER_PX = 40
"""Working memory of the built-in backend and of flattening, per pixel of a tile. Measured."""

_CHUNK_TILES = 16

_SAY_WHAT = (
    'say what to look for: --prompt "forest, water" or --legend FILE (without words go '
    "everything:SEGMENTER, and a segmenter with --boxes)"
)

_ANYTHING = Legend(classes=(LandClass(name="anything"),))
"""Stands in for the legend of a backend that brings its own, until that is loaded."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do, known without reading a pixel."""

    width: int
    """Columns of the raster."""
    height: int
    """Rows of the raster."""
    bands: int
    """Bands that are read."""
    tiles: int
    """Number of tiles."""
    tile_px: int
    """Side of the largest read."""
    overlap_px: int
    """Pixels that neighbouring tiles share."""
    read_ratio: float
    """Pixels read over pixels of the raster: what the overlap costs."""
    memory_mb: int
    """Estimate of the peak memory of all processes, without model weights."""
    run_folder_mb: tuple[float, float]
    """Estimate of the run folder's size: a few large regions .. a noisy map."""
    output_mb: tuple[float, float]
    """Estimate of the output's size: a few large regions .. a noisy map."""
    classes: tuple[str, ...]
    """Names of the classes, in order."""


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


def plan(
    source: str | Path | RasterReader,
    legend: str | Legend,
    config: RunConfig | None = None,
    *,
    bands: str | Mapping[str, int] | None = None,
    sensor: str | None = None,
) -> Plan:
    """Say what a run will do, without reading a pixel.

    Args:
        source: A raster file, URL, or an open reader.
        legend: Classes: `"forest, water"` or a Legend.
        config: Tile, overlap, workers; its legend is replaced by `legend`.
        bands: As `segment`.
        sensor: As `segment`.
    """
    settings = _settings(legend, config)
    raster = _open(source, bands, sensor)
    grid = Grid(raster.frame.window, settings.tile, settings.overlap)
    shape = raster.frame.window
    rows, cols = grid.shape
    heights = sum(grid[r * cols].read.height for r in range(rows))
    widths = sum(grid[c].read.width for c in range(cols))
    sample_bytes = sum(np.dtype(b.dtype).itemsize for b in raster.bands)
    tile_px = min(settings.tile, shape.width) * min(settings.tile, shape.height)
    read = min(2 * settings.batch + SPARE, len(grid))
    held = tile_px * (BYTES_PER_PX + sample_bytes * read) / 2**20
    workers = settings.workers
    apart = workers * (WORKER_MEMORY_MB + held) if workers > 1 else held
    megapixels = shape.area / 1e6
    return Plan(
        shape.width,
        shape.height,
        len(raster.bands),
        len(grid),
        settings.tile,
        settings.overlap,
        round(heights * widths / shape.area, 3),
        round(BASE_MEMORY_MB + apart),
        # Measured per megapixel: blobs of thousands of pixels, and a speckled index map.
        (round(0.01 * megapixels, 2), round(0.9 * megapixels, 2)),
        (round(0.01 * megapixels, 2), round(2.5 * megapixels, 2)),
        tuple(c.name for c in settings.legend.classes),
    )


def segment(  # noqa: PLR0913  the one door: every option by name, none hidden in kwargs
    source: str | Path | RasterReader,
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
        source: A raster file, URL, or an open reader.
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
    asked = Legend.parse(legend) if isinstance(legend, str) else legend
    if asked is None and isinstance(backend, str) and needs_words(backend, boxes):
        raise ConfigError(_SAY_WHAT)
    given = {
        "tile": tile,
        "overlap": overlap,
        "threshold": threshold,
        "workers": workers,
        "batch": batch,
        "composite": composite,
    }
    config = RunConfig.build(
        legend=asked or _ANYTHING, **{k: v for k, v in given.items() if v is not None}
    )
    raster = _open(source, bands, sensor)
    if isinstance(raster, GeoTiff):
        warn_of_alpha(raster)
    final, keep = _destination(out)
    source_path = raster.path if isinstance(raster, GeoTiff) else ""
    check_output(final, overwrite=overwrite, crs=raster.frame.crs, source=source_path)

    models = models or ModelOptions()
    engine = load(backend, models, boxes) if isinstance(backend, str) else _checked(backend)
    if boxes is not None and not isinstance(backend, str):
        raise ConfigError("boxes are for a segmenter by name, as backend='sam2'")
    if mask_clouds is not None:
        engine = cloudless(engine, mask_clouds, models)
    config = config.model_copy(
        update={
            "legend": asked or _own_words(engine),
            "threshold": _usual(engine, "usual_threshold", DEFAULT_THRESHOLD, threshold),
        }
    )
    engine = engine.fit(raster, config.filled()) if isinstance(engine, Fittable) else engine
    config = _sized(config, engine, tile, overlap)
    job = _prepare(raster, engine, config, final)
    fingerprint = config.fingerprint(raster.identity(), job.backend.identity)
    job.store.open(fingerprint, fresh=fresh)
    watch = _Watch(progress)
    with _executor(job, workers) as executor:
        _detect_all(job, executor, watch)
        seam_plan, counts, notes = _stitch(job, executor, watch)
        recipe = json.dumps({**fingerprint, **_provenance(job.backend)}, sort_keys=True)
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
        keep,
    )


def _own_words(engine: Backend) -> Legend:
    found: Legend | None = getattr(engine, "words", lambda: None)()
    if found is None:
        raise ConfigError(_SAY_WHAT)
    return found


def _usual(engine: Backend, name: str, default: T, given: T | None) -> T:
    """Return what was given, or what the backend finds usual, or the default."""
    usual: T = getattr(engine, name, default)
    return usual if given is None else given


def _sized(config: RunConfig, engine: Backend, tile: int | None, overlap: int | None) -> RunConfig:
    """Return settings with the tile and overlap that the fitted backend wants or needs."""
    wanted = _usual(engine, "usual_tile_px", DEFAULT_TILE_PX, tile)
    covers = all(c.kind == "cover" for c in config.legend.classes)
    need = 2 * least_halo(engine, all_covers=covers)
    shared = max(DEFAULT_OVERLAP_PX, need) if overlap is None else overlap
    if overlap is None and tile is None:
        # A large read pays little for its edges.
        wanted = max(wanted, 2 * shared)
    return RunConfig.build(**{**dict(config), "tile": wanted, "overlap": shared})


def _provenance(backend: Backend) -> dict[str, Any]:
    """Return what the output says beyond the fingerprint: versions, and models with licences."""
    facts: list[dict[str, Any]] = getattr(backend, "facts", list)()
    return {"geoseg": version("geoseg"), **({"models": facts} if facts else {})}


def _settings(legend: str | Legend, config: RunConfig | None) -> RunConfig:
    asked = Legend.parse(legend) if isinstance(legend, str) else legend
    if config is None:
        return RunConfig.build(legend=asked)
    return config.model_copy(update={"legend": asked})


def _checked(backend: object) -> Backend:
    if isinstance(backend, type):
        raise BackendError(f"backend {backend.__name__} is a class; pass an object: ...()")
    if isinstance(backend, Backend):
        if not isinstance(backend.halo_px, int) or backend.halo_px < 0:
            raise BackendError(f"backend has halo_px {backend.halo_px!r}; a whole number >= 0")
        return backend
    lacking = [n for n in ("identity", "halo_px", "segment") if not hasattr(backend, n)]
    raise BackendError(
        f"{type(backend).__name__} is no backend: it lacks {', '.join(lacking)} "
        "(see geoseg.backends.Backend)"
    )


def _open(
    source: str | Path | RasterReader,
    bands: str | Mapping[str, int] | None,
    sensor: str | None,
) -> RasterReader:
    if not isinstance(source, str | Path):
        if bands is not None or sensor is not None:
            raise ConfigError("bands and sensor are of a file; an open reader has roles of its own")
        return source
    return open_raster(source, parse(bands) if isinstance(bands, str) else bands, sensor)


def _destination(out: str | Path | None) -> tuple[Path, Any]:
    """Return the final path, and what keeps a temporary folder alive."""
    if out is not None:
        if not str(out).strip():
            raise ConfigError("--out is empty; give a file name, as map.gpkg")
        return Path(out), None
    folder = tempfile.mkdtemp(prefix="geoseg-")
    keeper = _Keeper()
    weakref.finalize(keeper, shutil.rmtree, folder, ignore_errors=True)
    return Path(folder) / "map.parquet", keeper


class _Keeper:
    """A temporary folder lives as long as this object."""


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
    size = max(1, min(_CHUNK_TILES, len(todo) // 16))
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
