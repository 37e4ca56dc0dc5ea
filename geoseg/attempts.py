"""Which tiles are tried, and how often?

Every tile that is not done, in order; then those that failed, once more. A tile whose worker died
is tried alone: it may have been another's fault, or memory that two of them needed at once. If its
worker dies each time, the tile is quarantined: it fails like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from geoseg.detect import Job, Receipt, detect, detect_each
from geoseg.errors import OutputError, ReadFailedError
from geoseg.executors import TRIES, Executor, Lost, Serial, check_workers
from geoseg.store import TRIES as FAILURES

_CHUNK_TILES = 16
"""Most tiles that a worker is given at once."""

GONE = 16
"""Tiles in a row that fail before the server of a raster is taken for gone."""

_KILLED = (
    "its worker process died each of {n} times, the last ones alone: out of memory (lower --tile) "
    "or a crash in the backend"
)


def detect_all(job: Job, executor: Executor, tell: Callable[[int, int], None]) -> None:
    """Detect in every tile that is not done.

    Args:
        job: What to do.
        executor: Who does it.
        tell: Called with the number of tiles that are settled, and of all.

    Raises:
        OutputError: Workers keep tiles in another place.
        TileFailedError: No worker can work at all.
        DeviceLostError: The accelerator answers no more.
        ReadFailedError: The server of a raster on a network is gone.
    """
    total = len(job.store.tiles)
    before, in_a_row = None, 0
    while to_do := job.store.to_do():
        known = to_do, job.store.failed()
        if known == before:
            # A round does tiles or counts their failures; this one left no trace.
            raise OutputError(
                f"tiles were made but are not in {job.store.folder.name}: do all workers see that "
                "folder? give --store a place that they share"
            )
        before = known
        settled = total - len(to_do)
        tell(settled, total)
        for receipts in _receipts(job, executor, to_do):
            settled += sum(receipt.error is None for receipt in receipts)
            tell(settled, total)
            for receipt in receipts:
                in_a_row = 0 if receipt.error is None else in_a_row + 1
                if in_a_row >= GONE and getattr(job.raster, "networked", False):
                    raise ReadFailedError(
                        f"{GONE} tiles in a row failed, and the raster is on a network "
                        f"({receipt.error}); what is done is kept: run the same again when its "
                        "server answers"
                    )
    tell(total, total)


def _receipts(job: Job, executor: Executor, to_do: list[int]) -> Iterator[Sequence[Receipt]]:
    if isinstance(executor, Serial):
        # One stream, so that reading ahead never pauses.
        yield from ([receipt] for receipt in detect_each(job, to_do))
        return
    size = max(job.batch, 1, min(_CHUNK_TILES, len(to_do) // 16))
    chunks = [tuple(to_do[i : i + size]) for i in range(0, len(to_do), size)]
    for found in executor.map(detect, chunks):
        yield _one_by_one(job, executor, found.item) if isinstance(found, Lost) else found


def _one_by_one(job: Job, executor: Executor, lost: Sequence[int]) -> list[Receipt]:
    """Detect in tiles whose worker died, as far as it had not done them."""
    check_workers(executor)
    done = job.store.done()
    return [Receipt(i, None) if i in done else _alone(job, executor, i) for i in lost]


def _alone(job: Job, executor: Executor, index: int) -> Receipt:
    for _ in range(TRIES - 1):
        found = executor.alone(detect, (index,))
        if not isinstance(found, Lost):
            return found[0]
    reason = _KILLED.format(n=TRIES)
    job.store.fail(index, reason, attempts=max(TRIES, FAILURES))
    return Receipt(index, reason)
