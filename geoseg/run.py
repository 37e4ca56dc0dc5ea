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
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from geoseg.backends import Backend, Fittable, load
from geoseg.bands import parse
from geoseg.config import RunConfig
from geoseg.decide import SeamPlan, decide, empty_facts
from geoseg.detect import SPARE, Job, Receipt, check_halo, detect, detect_each
from geoseg.errors import BackendError, ConfigError
from geoseg.executors import Executor, Processes, Serial
from geoseg.features import Features, batches, compare, draw, number_labels
from geoseg.geotiff import GeoTiff, open_raster, warn_of_alpha
from geoseg.grid import Grid
from geoseg.legend import Legend
from geoseg.raster import RasterReader
from geoseg.seams import Seam
from geoseg.store import Store
from geoseg.stretch import fit_stretch

if TYPE_CHECKING:
    import geopandas as gpd

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with the step, how many are done, and of how many."""

BASE_MEMORY_MB = 410
"""Memory of the main process without a tile and GDAL's cache: Python, a batch of features.
Measured with tiles of 512 to 4096 px, one to three classes, batches of 1 and 8."""

WORKER_MEMORY_MB = 230
"""Memory of a worker process without a tile. Measured."""

BYTES_PER_PX = 40
"""Working memory of the built-in backend and of flattening, per pixel of a tile. Measured."""

_CHUNK_TILES = 16


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
    # One batch is at the backend, another waits; a picture and validity are 4 bytes per pixel.
    read = min(2 * settings.batch + SPARE, len(grid))
    cache = raster.cache_bytes(grid[0].read.height) if isinstance(raster, GeoTiff) else 0
    held = (cache + tile_px * (BYTES_PER_PX + (sample_bytes + 4) * read)) / 2**20
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
    legend: str | Legend,
    *,
    out: str | Path | None = None,
    backend: str | Backend = "spectral",
    tile: int | None = None,
    overlap: int | None = None,
    threshold: float | None = None,
    bands: str | Mapping[str, int] | None = None,
    sensor: str | None = None,
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
        legend: Classes: `"forest, water"` or a Legend.
        out: `.gpkg`, `.parquet`, `.fgb` or `.geojson`; a temporary file where None.
        backend: Name of a backend, or an object that is one.
        tile: Side of what the backend sees at once, in pixels (1024).
        overlap: Pixels that neighbouring tiles share (128).
        threshold: Least score of classes without their own, 0..1 (0.5).
        bands: 1-based band numbers by role, as `"red=4,green=3,blue=2,nir=8"`.
        sensor: Band order of a known product: rgb, naip, landsat8, sentinel2, planetscope.
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

    given = {"tile": tile, "overlap": overlap, "threshold": threshold, "batch": batch}
    config = RunConfig.build(
        legend=_legend(legend),
        workers=workers,
        **{k: v for k, v in given.items() if v is not None},
    )
    engine = load(backend) if isinstance(backend, str) else _checked(backend)
    raster = _open(source, bands, sensor)
    if isinstance(raster, GeoTiff):
        warn_of_alpha(raster)
    final, keep = _destination(out)
    source_path = raster.path if isinstance(raster, GeoTiff) else ""
    check_output(final, overwrite=overwrite, crs=raster.frame.crs, source=source_path)

    job = _prepare(raster, engine, config, final)
    identity = job.backend.identity
    fingerprint = config.fingerprint(raster.identity(), identity)
    job.store.open(fingerprint, fresh=fresh)
    watch = _Watch(progress)
    with _executor(job, workers) as executor:
        _detect_all(job, executor, watch)
        seam_plan, counts, notes = _stitch(job, executor, watch)
        recipe = json.dumps({**fingerprint, "geoseg": version("geoseg")}, sort_keys=True)
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
        {job.grid.name(i): said for i, said in notes.items()},
        keep,
    )


def _legend(legend: str | Legend) -> Legend:
    return Legend.parse(legend) if isinstance(legend, str) else legend


def _settings(legend: str | Legend, config: RunConfig | None) -> RunConfig:
    if config is None:
        return RunConfig.build(legend=_legend(legend))
    return config.model_copy(update={"legend": _legend(legend)})


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
    """Fit what is fitted once per run."""
    grid = Grid(raster.frame.window, config.tile, config.overlap)
    legend = config.filled()
    fitted = engine.fit(raster, legend) if isinstance(engine, Fittable) else engine
    store = Store(final.with_name(final.name + ".geoseg"), grid)
    job = Job(raster, fitted, legend, fit_stretch(raster, raster.roles), store, config.batch)
    check_halo(job)
    if config.workers > 1:
        try:
            pickle.dumps(job)
        except Exception as error:
            raise BackendError(
                f"backend {type(fitted).__name__} or the raster cannot be sent to worker "
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
) -> tuple[SeamPlan, list[int], dict[int, tuple[str, ...]]]:
    facts = [empty_facts()]
    notes: dict[int, tuple[str, ...]] = {}
    seams: list[tuple[int, int, Seam]] = []
    total = len(job.grid)
    watch("stitch", 0, total)
    for index, (found, shared, said) in enumerate(executor.map(compare, range(total))):
        facts.append(found)
        seams.extend((index, other, seam) for other, seam in shared)
        if said:
            notes[index] = said
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
