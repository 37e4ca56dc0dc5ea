"""In which order does it all happen? The only file that knows.

open -> grid -> fit -> detect every tile -> compare neighbours -> decide -> draw -> write
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import shapely

from geoseg import remote
from geoseg.access import Access
from geoseg.aoi import Within, find_area
from geoseg.attempts import detect_all
from geoseg.backends import Backend, Fittable
from geoseg.backends.compose import located
from geoseg.bands import shown_roles
from geoseg.columns import choose as choose_columns
from geoseg.config import Finish, ModelOptions, RunConfig, difference
from geoseg.decide import SeamPlan, decide, empty_facts
from geoseg.detect import Job, check_halo
from geoseg.errors import BackendError, ConfigError, RasterError
from geoseg.estimate import check_memory
from geoseg.executors import Executor, Processes, Serial, surely
from geoseg.features import (
    Drawn,
    Features,
    batches,
    compare,
    draw,
    draw_and_place,
    draw_squared,
    number_labels,
    squared,
)
from geoseg.features import place as place_on_ground
from geoseg.generalise import check_lengths, generalised
from geoseg.geotiff import warn_of_alpha
from geoseg.grid import Grid
from geoseg.holes import Inside
from geoseg.legend import Legend
from geoseg.memory import Budget
from geoseg.mosaic import files
from geoseg.nearest import with_nearest
from geoseg.neighbours import settle
from geoseg.offline import refuse_remote
from geoseg.outcome import Run
from geoseg.preflight import check_pixels
from geoseg.prepare import (
    Source,
    absolute,
    check_composite,
    choose_backend,
    destination,
    devices,
    listed,
    open_source,
    settings,
    sized,
    versions,
    with_words,
    words_asked,
)
from geoseg.progress import Progress, Watch, paced
from geoseg.raster import RasterReader, holding
from geoseg.recipe import recipe_text, words_of
from geoseg.runfolder import RunFolder
from geoseg.seams import Seam
from geoseg.sieve import check_sizes, sieve
from geoseg.store import Failure, Store
from geoseg.stretch import fit_stretch

if TYPE_CHECKING:
    import geopandas as gpd
    from shapely.geometry.base import BaseGeometry

    from geoseg.export.table import Target

_Part = TypeVar("_Part", Drawn, Features)

_REPORT_EVERY_S = 2.0
"""How often a run folder is told how far the run is."""


def segment(  # noqa: PLR0913  the one door: every option by name, none hidden in kwargs
    source: Source,
    legend: str | Legend | None = None,
    *,
    out: str | Path | None = None,
    backend: str | Backend = "spectral",
    models: ModelOptions | None = None,
    boxes: str | Path | gpd.GeoDataFrame | None = None,
    aoi: str | Path | gpd.GeoDataFrame | BaseGeometry | None = None,
    mask_clouds: str | Backend | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    threshold: float | None = None,
    bands: str | Mapping[str, int] | None = None,
    sensor: str | None = None,
    composite: str | None = None,
    simplify: str | None = None,
    smooth: bool = False,
    min_area: str | None = None,
    min_hole: str | None = None,
    small: str | None = None,
    regularize: str | Sequence[str] = (),
    columns: str | Sequence[str] = (),
    workers: int = 1,
    batch: int | None = None,
    memory: str | int | None = None,
    scheduler: str | None = None,
    store: str | None = None,
    overwrite: bool = False,
    fresh: bool = False,
    retry_failed: bool = False,
    keep_run_folder: bool = False,
    trust_input: bool = False,
    keep_going: bool = False,
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
        aoi: Area of interest: polygons of a vector layer in any CRS, or a shapely polygon in the
            raster's. Nothing else is read, and the map is cut to it.
        mask_clouds: A backend that knows cloud and shadow, as `"csmask"`: those belong to nothing.
        tile: Side of what the backend sees at once, in pixels (1024, or what the backend wants).
        overlap: Pixels that neighbouring tiles share (128, or what the backend needs).
        threshold: Least score of classes without their own, 0..1 (the backend's own; spectral 0.5).
        bands: 1-based band numbers by role, as `"red=4,green=3,blue=2,nir=8"`.
        sensor: Band order of a known product: rgb, naip, landsat8, sentinel2, planetscope.
        composite: Roles that models are shown as red, green and blue, as `"nir,red,green"`.
        simplify: Farthest that an outline may move, as `"2px"` or `"1.5m"`; shared borders stay
            shared.
        smooth: Round the corners of outlines, too, within what `simplify` allows (`"2px"`).
        min_area: Least area of a polygon, as `"500m2"`, `"0.5ha"` or `"20px"`.
        min_hole: Least area of a hole; smaller ones are filled.
        small: What becomes of covers below `min_area`: `"merge"` (they go to the neighbour with the
            longest shared border) or `"drop"`. Objects are always dropped.
        regularize: Names of objects' classes whose outlines get right angles, as `"building"`,
            where that fits the pixels and no other of the class is in the way.
        columns: Further columns: `"means"` (of every band), an index of spyndex as `"ndvi"`,
            `"compactness"`, `"nearest"` (metres to the nearest other polygon of the class),
            `"truncated"` (touches the raster's edge, nodata or a failed tile).
        workers: Number of processes; does not change the result.
        batch: Tiles given to the backend at once (1); does not change the result.
        memory: Most memory of this machine, as `"2GB"`; a run that needs more is refused or
            stopped between tiles.
        scheduler: Address of a Dask cluster that does the work, as `"tcp://host:8786"`.
        store: Folder or URL of fsspec under which tiles are kept (beside the output); workers on
            other machines must reach it.
        overwrite: Replace an output that is there.
        fresh: Throw away an unfinished run instead of continuing it.
        retry_failed: Try tiles again that failed in an earlier run, and replace its map.
        keep_run_folder: Keep `OUT.geoseg` when the map is complete.
        trust_input: Let a VRT read outside its folder and over the network, and MRF and WMS files
            be opened.
        keep_going: Map the rest of a damaged raster; tiles of the damaged part fail.
        progress: Called with (step, done, total).

    Returns:
        The finished run; `run.failed` names tiles that are missing from the map.

    Raises:
        GeosegError: Bad input, found before any tile is read; nothing is written.
    """
    from geoseg.export import check_output
    from geoseg.export.read import open_map
    from geoseg.export.table import Target

    offline = models is not None and models.offline
    if offline:
        refuse_remote(boxes=boxes, store=store, scheduler=scheduler)
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
        memory=memory,
        scheduler=scheduler,
        finish=Finish.build(
            simplify=simplify,
            smooth=smooth,
            min_area=min_area,
            min_hole=min_hole,
            small=small,
            regularize=listed("--regularize", regularize),
            columns=listed("--columns", columns),
        ),
    )
    access = Access(trust_input=trust_input, keep_going=keep_going, offline=offline)
    # Workers of a cluster have a working folder of their own.
    raster = open_source(absolute(source) if scheduler else source, bands, sensor, access)
    check_lengths(config.finish, raster.frame)
    further = choose_columns(config.finish.columns, raster)
    # Before the first pixel is read: what is changed from now on is noticed.
    identity = raster.identity()
    final, keeper = destination(out)
    place, finished, check_place = _free_place(
        final, store, raster, overwrite=overwrite, fresh=fresh, retry_failed=retry_failed
    )
    _check_raster(raster, config.finish, keep_going=keep_going)

    shown = raster if aoi is None else Within(raster, find_area(aoi, raster.frame))

    engine = choose_backend(backend, models or ModelOptions(), boxes, mask_clouds)
    config = with_words(config, engine, asked, threshold)
    engine = engine.fit(shown, config.filled()) if isinstance(engine, Fittable) else engine
    config = sized(config, engine, tile, overlap)
    check_memory(config, raster)
    job = replace(_prepare(shown, engine, config, place), columns=further.fit(shown))
    check_composite(composite, backend, engine)
    fingerprint = {
        **config.fingerprint(identity, job.backend.identity),
        "versions": versions(backend, mask_clouds),
        **({} if job.area is None else {"aoi": job.area.identity}),
    }
    if finished is not None and not overwrite:
        if difference(finished, fingerprint):
            check_output(final, overwrite=False, crs=raster.frame.crs)
        # Its run was killed when it cleaned up: nothing is left to do.
        count = open_map(final).count
        made_of = (raster, config.legend)
        tiles = len(job.store.tiles)
        return Run(final, count, tiles, {}, 0, {}, {}, models_of(engine), {}, made_of, keeper)
    with ExitStack() as stack:
        stack.enter_context(place.hold())
        # Another run may have ended since.
        check_place()
        # Before the store is opened: what a killed run left at work in a cluster ends first.
        executor = stack.enter_context(_executor(job, config, models, fingerprint["versions"]))
        job.store.open(fingerprint, fresh=fresh, retry_failed=retry_failed)
        budget = stack.enter_context(Budget(config.memory))
        watch = Watch(progress, paced(job.store.report, _REPORT_EVERY_S), check=budget.check)
        stitched = _map_of(job, executor, watch, identity)
        recipe = recipe_text(
            fingerprint,
            models_of(job.backend),
            raster.frame,
            words_of(
                source=source,
                legend=asked,
                backend=located(backend),
                models=models,
                boxes=boxes,
                aoi=aoi,
                mask_clouds=located(mask_clouds),
                tile=tile,
                overlap=overlap,
                threshold=threshold,
                bands=bands,
                sensor=sensor,
                composite=composite,
                **config.finish.words(),
            ),
        )
        target = Target(final, raster.frame.crs, config.legend, recipe, job.further)
        failed = job.store.failed()
        count, filled = _write(job, executor, watch, stitched, (target, failed, place))
        if not failed:
            job.store.complete(keep=keep_run_folder)
    return Run(
        final,
        count,
        len(job.store.tiles),
        {job.grid.name(i): str(failure) for i, failure in failed.items()},
        stitched.plan.broken,
        watch.seconds,
        stitched.notes,
        models_of(job.backend),
        {**stitched.small, **({} if config.finish.min_hole is None else {"filled": filled})},
        (raster, config.legend),
        keeper,
    )


def _free_place(
    final: Path,
    store: str | None,
    raster: RasterReader,
    *,
    overwrite: bool,
    fresh: bool,
    retry_failed: bool,
) -> tuple[RunFolder, dict[str, Any] | None, Callable[[], None]]:
    """Return where a run works, once its map may be written.

    With it come the fingerprint of a run that was killed when its map was complete, or None, and
    the check of the output, to be made again when the place is held.
    """
    from geoseg.export import check_output

    place = RunFolder.beside(final, store)
    place.check_free()
    finished = place.finished(final)
    place.tidy()
    if retry_failed and (fresh or not place.continues()):
        raise ConfigError(f"--retry-failed: there is no unfinished run in {place.path}")
    sources = files(raster)

    def check() -> None:
        # A run that was killed between writing and cleaning up finds its own output.
        own = place.continues() and (retry_failed or (place.owns(final) and not fresh))
        own |= finished is not None
        check_output(
            final,
            overwrite=overwrite or own,
            crs=raster.frame.crs,
            sources=[s.path for s in sources],
        )

    check()
    return place, finished, check


def _check_raster(raster: RasterReader, finish: Finish, *, keep_going: bool) -> None:
    """Refuse what cannot be done, before anything is loaded."""
    check_sizes(finish, raster.frame)
    sources = files(raster)
    if sources:
        check_pixels(raster, keep_going=keep_going)
        warn_of_alpha(sources[0])


def models_of(backend: Backend) -> tuple[Mapping[str, Any], ...]:
    """Return what a backend says of its weights; nothing where it has none."""
    return tuple(getattr(backend, "facts", tuple)())


def _prepare(shown: RasterReader, engine: Backend, config: RunConfig, place: RunFolder) -> Job:
    """Gather all that a worker needs to know."""
    grid = Grid(shown.frame.window, config.tile, config.overlap)
    stretch = fit_stretch(shown, shown_roles(shown.roles, config.composite))
    area = shown.area if isinstance(shown, Within) else None
    raster = shown.raster if isinstance(shown, Within) else shown
    inside = None if area is None else area.tiles(grid)
    store = Store(place.folder, grid, holding(raster, grid, inside))
    job = Job(raster, engine, config.filled(), stretch, store, config.batch, area, config.finish)
    check_halo(job)
    store.check_ours()
    if config.workers > 1 or config.scheduler:
        try:
            pickle.dumps(job)
        except Exception as error:
            raise BackendError(
                f"backend {type(engine).__name__} or the raster cannot be sent to worker "
                f"processes ({error}); use --workers 1"
            ) from error
    return job


def _executor(
    job: Job, config: RunConfig, models: ModelOptions | None, versions: Mapping[str, str]
) -> Executor:
    if config.scheduler is not None:
        from geoseg.cluster import Cluster

        return Cluster(job, config.scheduler, versions.keys() - {"gdal"})
    return Serial(job) if config.workers == 1 else Processes(job, config.workers, devices(models))


@dataclass(frozen=True, slots=True, eq=False)
class _Stitched:
    """What is drawn, when every tile is settled."""

    plan: SeamPlan
    inside: Inside | None
    """What keeps holes open."""
    counts: list[int]
    """Labels per tile."""
    notes: dict[str, tuple[str, ...]]
    small: Mapping[str, int]
    """How many features below the least area were merged or dropped."""


def _map_of(job: Job, executor: Executor, watch: Watch, identity: Mapping[str, Any]) -> _Stitched:
    detect_all(job, executor, lambda done, total: watch("detect", done, total))
    remote.tell()
    changes = difference(identity, job.raster.identity())
    if changes:
        raise RasterError(
            f"the raster was changed while it was read ({'; '.join(changes)}): its tiles are of "
            "two states; run again with --fresh when it changes no more"
        )
    return _stitch(job, executor, watch)


def _stitch(job: Job, executor: Executor, watch: Watch) -> _Stitched:
    facts = [empty_facts()]
    counts = [0] * len(job.grid)
    seams: list[tuple[int, int, Seam]] = []
    notes: dict[str, tuple[str, ...]] = {}
    tiles = job.store.tiles
    total = len(tiles)
    watch("stitch", 0, total)
    compared = surely(executor, compare, tiles)
    for step, (index, found) in enumerate(zip(tiles, compared, strict=True), 1):
        facts.append(found.facts)
        counts[index] = len(found.facts)
        seams.extend((index, other, seam) for other, seam in found.seams)
        if found.notes:
            notes[job.grid.name(index)] = found.notes
        watch("stitch", step, total)
    pairs, voices = number_labels(counts, seams)
    tile_of = np.repeat(np.arange(len(counts)), counts)
    scopes = [job.scope(i).trust for i in range(len(counts))]
    trust = np.array([(w.x0, w.y0, w.x1, w.y1) for w in scopes], np.int64)
    seam_plan = decide(np.concatenate(facts), tile_of, pairs, voices, (trust, job.is_cover))
    watch("stitch", total, total)
    sieved = sieve(job, executor, partial(watch, "sieve"), seam_plan, counts)
    return _Stitched(sieved.plan, sieved.inside, counts, notes, sieved.small)


def _write(
    job: Job,
    executor: Executor,
    watch: Watch,
    stitched: _Stitched,
    goal: tuple[Target, Mapping[int, Failure], RunFolder],
) -> tuple[int, int]:
    """Write the map; return its number of features, and of holes that were filled."""
    from geoseg.export import write

    target, failed, place = goal
    total = len(stitched.plan.features)
    filled = 0

    def counted() -> Iterator[Features]:
        nonlocal filled
        for part in measured():
            filled += part.filled
            yield part

    def measured() -> Iterator[Features]:
        if "nearest" not in job.columns.asked:
            return placed()
        return with_nearest(
            placed(),
            job.raster.frame,
            place.scratch / "nearest",
            lambda done, of: watch("nearest", done, of),
        )

    def placed() -> Iterator[Features]:
        parts = batches(stitched.plan, stitched.counts, stitched.inside)
        finish, total = job.finish, len(stitched.plan.features)
        if not finish.reshapes and not finish.regularize:
            return surely(executor, draw_and_place, parts)
        # Each stage that waits on the disk has taken all of one before it gives the first.
        if finish.reshapes:
            outlines = generalised(
                job,
                _told(watch, "draw", total, surely(executor, draw, parts)),
                place.scratch,
                lambda done, of: watch("generalise", done, of),
            )
            if finish.regularize:
                outlines = surely(executor, squared, outlines)
        else:
            outlines = surely(executor, draw_squared, parts)
        if finish.regularize:
            outlines = settle(
                outlines, place.scratch / "angles", lambda done: watch("regularize", done, total)
            )
        return surely(executor, place_on_ground, outlines)

    holes = [(job.grid.name(i), str(failure), _outline(job, i)) for i, failure in failed.items()]
    count = write(target, _told(watch, "write", total, counted()), holes, place)
    watch("write", total, total)
    return count, filled


def _told(watch: Watch, step: str, total: int, found: Iterable[_Part]) -> Iterator[_Part]:
    """Yield parts of the map; their features count as done when the next part is wanted."""
    done = 0
    for part in found:
        if done == 0:
            watch(step, 0, total)
        yield part
        done += len(part.number)
        watch(step, min(done, total), total)


def _outline(job: Job, index: int) -> shapely.Polygon:
    core = job.grid[index].core
    corners = np.array(
        [(core.x0, core.y0), (core.x0, core.y1), (core.x1, core.y1), (core.x1, core.y0)]
    )
    return shapely.Polygon(job.raster.frame.to_crs(corners))
