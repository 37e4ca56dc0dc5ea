"""Who does the work? One `map` over tiles or features, in this process or in several."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Protocol, Self, TypeVar

from geoseg.detect import Job
from geoseg.errors import TileFailedError

T = TypeVar("T")
R = TypeVar("R")


THREADS_OF = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Environment variables by which numeric libraries are told how many threads to use."""

_THREADS = 2
"""Threads of a serial run: geodesics, PROJ and NumPy's sorts let go of the interpreter."""


class Executor(Protocol):
    """Anything that applies a top-level function to a job and many items, results in order."""

    def map(self, function: Callable[[Job, T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield `function(job, item)` for each item, in order."""
        ...

    def __enter__(self) -> Self:
        """Start the workers."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the workers."""
        ...


class Serial:
    """Works in this process; while one result is used, the next ones are made."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def __enter__(self) -> Self:
        """Return itself: there is nothing to start."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: there is nothing to stop."""

    def map(self, function: Callable[[Job, T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield `function(job, item)` for each item, in order."""
        with ThreadPoolExecutor(_THREADS) as threads:
            yield from _in_order(
                items, lambda item: threads.submit(function, self._job, item), _THREADS
            )


class Processes:
    """Works in several processes, spawned: a fork would inherit GDAL's locks and could hang."""

    def __init__(self, job: Job, workers: int) -> None:
        self._workers = workers
        share = max(1, (os.cpu_count() or 1) // workers)
        self._pool = ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn"), _remember, (pickle.dumps(job), share)
        )

    def __enter__(self) -> Self:
        """Return itself; processes start with the first item."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for the workers; after an error, only for what they have in hand."""
        self._pool.shutdown(wait=True, cancel_futures=kind is not None)

    def map(self, function: Callable[[Job, T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield `function(job, item)` for each item, in order.

        Raises:
            TileFailedError: A worker process died.
        """
        try:
            yield from _in_order(
                items, lambda item: self._pool.submit(_apply, function, item), 2 * self._workers
            )
        except BrokenProcessPool as error:
            raise TileFailedError(
                "a worker process died: out of memory (lower --tile or --workers), or a script "
                'without `if __name__ == "__main__":` around geoseg.segment; run the same again, '
                "it continues where it was"
            ) from error


def _in_order(items: Iterable[T], submit: Callable[[T], Future[R]], ahead: int) -> Iterator[R]:
    """Yield results in order, with few items ahead: memory must not depend on the raster."""
    waiting: deque[Future[R]] = deque()
    for item in items:
        waiting.append(submit(item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


_job: Job | None = None


def _remember(job: bytes, cores: int) -> None:
    global _job  # noqa: PLW0603  a worker serves one run
    # Before libraries of the job are imported: workers that each take every core wait for others.
    for name in THREADS_OF:
        os.environ.setdefault(name, str(cores))
    # Ctrl-C reaches the whole process group; the main process decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _job = pickle.loads(job)  # noqa: S301  our own parent made it


def _apply(function: Callable[[Job, T], R], item: T) -> R:
    if _job is None:
        raise RuntimeError("worker was started without a job")
    return function(_job, item)
