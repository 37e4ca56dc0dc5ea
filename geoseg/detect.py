"""What is in this tile? The only place where pixels meet a backend.

Reading, the backend, and keeping what it found overlap in time; the labels go to the store, and
only receipts come back.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice

from geoseg.backends import Backend
from geoseg.errors import BackendError
from geoseg.flatten import flatten
from geoseg.grid import Grid, Tile
from geoseg.instances import Instances, Scope
from geoseg.legend import Legend
from geoseg.pixels import Pixels
from geoseg.raster import RasterReader
from geoseg.store import Store
from geoseg.stretch import Stretch
from geoseg.window import Window

log = logging.getLogger(__name__)

READ_AHEAD = 2
"""Tiles read beyond the one the backend works on."""

KEEP_BEHIND = 1
"""Answers that may wait to be flattened and stored."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """All that a worker needs to know; picklable."""

    raster: RasterReader
    """Where pixels come from."""
    backend: Backend
    """Fitted to this run."""
    legend: Legend
    """What to look for; every class has its threshold."""
    stretch: Stretch
    """The run's stretch."""
    store: Store
    """Where labels go."""

    @property
    def grid(self) -> Grid:
        """How the raster is cut."""
        return self.store.grid

    @property
    def is_cover(self) -> list[bool]:
        """Per class, whether it is a cover."""
        return [c.kind == "cover" for c in self.legend.classes]

    def scope(self, index: int) -> Scope:
        """Return the windows of a tile."""
        tile, raster = self.grid[index], self.grid.raster
        context = self.backend.halo_px
        read = tile.read
        # At the raster's edge there is nothing to look at, in any tiling: all is trusted there.
        trust = Window(
            read.x0 + context * (read.x0 > raster.x0),
            read.y0 + context * (read.y0 > raster.y0),
            read.x1 - context * (read.x1 < raster.x1),
            read.y1 - context * (read.y1 < raster.y1),
        )
        return Scope(read, trust, tile.core, raster)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a tile."""

    index: int
    """Row-major number of the tile."""
    labels: int
    """Number of labels found."""
    error: str | None
    """Why it failed, or None."""


def least_halo(backend: Backend, *, all_covers: bool) -> int:
    """Return the least halo in pixels with which tiles agree."""
    # Objects are recognised by pixels that two tiles trust: one beyond the core at least.
    return backend.halo_px + (not all_covers)


def check_halo(job: Job) -> None:
    """Refuse an overlap too small to give the same answer in every tile.

    Raises:
        BackendError: Names the overlap that would do.
    """
    backend, grid = job.backend, job.grid
    need = least_halo(backend, all_covers=all(job.is_cover))
    if len(grid) > 1 and grid.halo_px < need:
        what = f"backend '{backend.identity.split()[0]}' looks {backend.halo_px} px around a pixel"
        if not all(job.is_cover):
            what += " and objects are recognised by pixels that two tiles see"
        raise BackendError(
            f"overlap {grid.overlap_px} px is too small: {what}; pass --overlap {2 * need} or more"
        )


def detect(job: Job, indices: Sequence[int]) -> list[Receipt]:
    """Segment tiles and store their labels; a failure costs its tile only."""
    return list(detect_each(job, indices))


def detect_each(job: Job, indices: Sequence[int]) -> Iterator[Receipt]:
    """Yield a receipt after each tile.

    While the backend works on a tile, one thread reads those to come and another flattens and
    stores those that went before.
    """
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as keeper:
        waiting = iter(indices)
        ahead = deque((i, reader.submit(_read, job, i)) for i in islice(waiting, READ_AHEAD))
        behind: deque[tuple[int, Future[int]]] = deque()
        while ahead:
            index, reading = ahead.popleft()
            ahead.extend((i, reader.submit(_read, job, i)) for i in islice(waiting, 1))
            try:
                pixels = reading.result()
                answer = _ask(job, pixels)
            except Exception as error:  # noqa: BLE001  any failure becomes a recorded tile
                yield _fail(job, index, error)
                continue
            behind.append((index, keeper.submit(_keep, job, index, pixels, answer)))
            if len(behind) > KEEP_BEHIND:
                yield _receipt(job, *behind.popleft())
        while behind:
            yield _receipt(job, *behind.popleft())


def _receipt(job: Job, index: int, keeping: Future[int]) -> Receipt:
    try:
        return Receipt(index, keeping.result(), None)
    except Exception as error:  # noqa: BLE001  likewise, for answers that cannot be kept
        return _fail(job, index, error)


def _fail(job: Job, index: int, error: Exception) -> Receipt:
    reason = f"{type(error).__name__}: {error}".rstrip(". ")
    log.info("tile %s failed: %s", job.grid.name(index), reason, exc_info=error)
    job.store.fail(index, reason)
    return Receipt(index, 0, reason)


def _read(job: Job, index: int) -> Pixels:
    tile: Tile = job.grid[index]
    data, valid = job.raster.read(tile.read)
    return Pixels(tile.read, data, valid, job.stretch, tile.core, job.scope(index).trust)


def _ask(job: Job, pixels: Pixels) -> Instances:
    if not pixels.valid.any():
        return Instances.empty()
    answers = job.backend.segment([pixels])
    if not isinstance(answers, list):
        raise BackendError(f"backend gave {type(answers).__name__}; a list of Instances is asked")
    if len(answers) != 1:
        raise BackendError(f"backend gave {len(answers)} answers for 1 tile")
    return answers[0]


def _keep(job: Job, index: int, pixels: Pixels, answer: Instances) -> int:
    labels = flatten(answer, job.legend, pixels.valid, job.scope(index))
    job.store.put(index, replace(labels, notes=answer.notes))
    return len(labels.facts)
