"""What is in this tile? The only place where pixels meet a backend.

Three stages overlap in time, each in a thread of its own: reading, the backend, and keeping what
it found. The labels go to the store, and only receipts come back.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from geoseg.area import Area
from geoseg.backends import Backend
from geoseg.columns import Columns
from geoseg.config import Finish
from geoseg.errors import BackendError, DeviceLostError, WriteFailedError
from geoseg.flatten import flatten
from geoseg.grid import Grid, Tile
from geoseg.instances import Instances, Labels, Scope
from geoseg.legend import Legend
from geoseg.pixels import Pictured, Pixels
from geoseg.raster import RasterReader, Valid
from geoseg.store import Store
from geoseg.stretch import Stretch

log = logging.getLogger(__name__)

SPARE = 2
"""Tiles that wait before a stage beyond the batch that is next: pauses of one stage are not felt
in another."""

_EMPTY_PER_BATCH = 4
"""Tiles of nodata that a batch which is not full waits for, per tile of a full one."""

T = TypeVar("T")
Read = tuple[int, Pixels | Exception | None]
"""A tile's number and pixels; None where all is nodata, or why it cannot be read."""
Answer = tuple[int, Valid | None, Instances | Exception]
"""A tile's number, where its data is good, and what the backend found, or why nothing."""


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
    batch: int = 1
    """Most tiles given to the backend at once; does not change the result."""
    area: Area | None = None
    """What is asked for; everything where None."""
    finish: Finish = field(default_factory=Finish)
    """What is done to outlines."""
    columns: Columns = field(default_factory=Columns)
    """Further columns of the map."""

    @property
    def grid(self) -> Grid:
        """How the raster is cut."""
        return self.store.grid

    @property
    def further(self) -> tuple[tuple[str, str], ...]:
        """Name and Arrow type of each further column."""
        clipped = () if self.area is None else (("clipped", "bool"),)
        return (*clipped, *self.columns.kinds)

    @property
    def is_cover(self) -> list[bool]:
        """Per class, whether it is a cover."""
        return [c.kind == "cover" for c in self.legend.classes]

    def scope(self, index: int) -> Scope:
        """Return the windows of a tile."""
        tile, raster = self.grid[index], self.grid.raster
        trust = tile.read.trusted(self.backend.halo_px, raster)
        return Scope(tile.read, trust, tile.core, raster)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a tile."""

    index: int
    """Row-major number of the tile."""
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


def detect_each(job: Job, indices: Sequence[int]) -> Generator[Receipt, None, None]:
    """Yield a receipt after each tile, in order.

    The backend never waits for the other stages, unless they are slower than it is: then at most a
    batch and `SPARE` tiles wait between two stages.
    """
    reads = ahead(_reading(job, indices), job.batch + SPARE)
    answers = ahead(_asking(job, reads), job.batch + SPARE)
    yield from ahead(_keeping(job, answers), SPARE)


def ahead(items: Generator[T, None, None], count: int) -> Generator[T, None, None]:
    """Yield the items; a thread of its own makes up to `count` of them before they are taken."""
    thread = ThreadPoolExecutor(1)
    try:
        waiting = deque(thread.submit(list, islice(items, 1)) for _ in range(count))
        while waiting:
            made = waiting.popleft().result()
            if made:
                waiting.append(thread.submit(list, islice(items, 1)))
                # Nothing here holds on to a tile that has been taken.
                yield made.pop()
    finally:
        thread.shutdown(cancel_futures=True)
        items.close()


def _reading(job: Job, indices: Sequence[int]) -> Generator[Read, None, None]:
    for index in indices:
        try:
            yield index, _read(job, index)
        except Exception as error:  # noqa: BLE001  any failure becomes a recorded tile
            yield index, error


def _read(job: Job, index: int) -> Pixels | None:
    tile: Tile = job.grid[index]
    data, valid = job.raster.read(tile.read)
    if not valid.any():
        return None
    wanted = isinstance(job.backend, Pictured) and job.backend.wants_rgb
    picture = job.stretch.apply(data) if wanted else None
    trust = job.scope(index).trust
    return Pixels(tile.read, data, valid, job.stretch, trust, tile.core, picture)


def _asking(job: Job, reads: Iterator[Read]) -> Generator[Answer, None, None]:
    for batch in _batches(reads, job.batch):
        found = deque(_ask(job.backend, [r for _, r in batch if isinstance(r, Pixels)]))
        # Given away one by one: a tile must not wait in memory for the next batch.
        while batch:
            yield _answer(*batch.pop(0), found)


def _answer(
    index: int, read: Pixels | Exception | None, found: deque[Instances | Exception]
) -> Answer:
    if isinstance(read, Pixels):
        return index, read.valid, found.popleft()
    return index, None, read or Instances.empty()


def _batches(reads: Iterator[Read], size: int) -> Iterator[list[Read]]:
    """Gather tiles until `size` of them have something to show; others come along."""
    batch: list[Read] = []
    shown = 0
    for read in reads:
        batch.append(read)
        shown += isinstance(read[1], Pixels)
        if shown in (0, size) or len(batch) == _EMPTY_PER_BATCH * size:
            yield batch
            batch, shown = [], 0
    if batch:
        yield batch


def _ask(backend: Backend, tiles: list[Pixels]) -> Sequence[Instances | Exception]:
    """Return an answer per tile; where a batch fails its tiles are tried one by one."""
    try:
        return _answers(backend, tiles) if tiles else []
    except Exception as error:
        if _device_is_lost(error):
            raise DeviceLostError(
                f"the accelerator answers no more in this process ({_one_line(error)}); run the "
                "same again: what is done is kept"
            ) from error
        if len(tiles) == 1:
            return [error]
        log.info("a batch of %d tiles failed; trying them one by one", len(tiles), exc_info=error)
    return [answer for tile in tiles for answer in _ask(backend, [tile])]


def _device_is_lost(error: Exception) -> bool:
    """Tell an error after which CUDA refuses everything, in PyTorch's words."""
    text = str(error)
    return "CUDA error" in text and "out of memory" not in text


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".split("\n", 1)[0].rstrip(". ")


def _answers(backend: Backend, tiles: list[Pixels]) -> list[Instances]:
    answers = backend.segment(tiles)
    if not isinstance(answers, list):
        raise BackendError(f"backend gave {type(answers).__name__}; a list of Instances is asked")
    if len(answers) != len(tiles):
        what = "1 tile" if len(tiles) == 1 else f"{len(tiles)} tiles"
        raise BackendError(f"backend gave {len(answers)} answers for {what}")
    return answers


def _keeping(job: Job, answers: Iterator[Answer]) -> Generator[Receipt, None, None]:
    for index, valid, answer in answers:
        if isinstance(answer, Exception):
            yield _fail(job, index, answer)
            continue
        try:
            _keep(job, index, valid, answer)
            yield Receipt(index, None)
        except WriteFailedError:
            # A full disk is no fault of the tile, and would be the same for all of them.
            raise
        except Exception as error:  # noqa: BLE001  likewise, for answers that cannot be kept
            yield _fail(job, index, error)


def _keep(job: Job, index: int, valid: Valid | None, answer: Instances) -> None:
    labels = Labels.empty()
    if valid is not None:
        scope = job.scope(index)
        inside = None if job.area is None else job.area.mask(scope.read)
        labels = flatten(answer, job.legend, valid, scope, inside)
    job.store.put(index, labels)


def _fail(job: Job, index: int, error: Exception) -> Receipt:
    reason = f"{type(error).__name__}: {error}".rstrip(". ")
    log.info("tile %s failed: %s", job.grid.name(index), reason, exc_info=error)
    job.store.fail(index, reason)
    return Receipt(index, reason)
