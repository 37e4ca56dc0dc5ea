"""Who does the work? One `map` over tiles or features: in this process, in several, on a cluster.

All of them apply the same top-level functions. A worker may die; what it had in hand is then
`Lost`, and nothing else is.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from geoseg.detect import Job
from geoseg.errors import DeviceLostError, TileFailedError
from geoseg.offline import harden_worker

T = TypeVar("T")
R = TypeVar("R")

TRIES = 3
"""How often an item is given to a worker that dies; all but the first time, nothing else runs."""

THREADS_OF = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Environment variables by which numeric libraries are told how many threads to use."""

_THREADS = 2
"""Threads of a serial run: geodesics, PROJ and NumPy's sorts let go of the interpreter."""

AHEAD = 2
"""Items per worker that are given out: one is worked on, one waits."""

DEVICE_LOST = 71
"""Exit code of a worker whose accelerator answers no more."""

_ORPHANED = 72


@dataclass(frozen=True, slots=True)
class Lost(Generic[T]):
    """In place of a result: the worker that had the item died."""

    item: T
    """What it was given."""


class Executor(Protocol):
    """Anything that applies a top-level function to a job and many items, results in order."""

    def map(self, function: Callable[[Job, T], R], items: Iterable[T]) -> Iterator[R | Lost[T]]:
        """Yield `function(job, item)` for each item, in order."""
        ...

    def alone(self, function: Callable[[Job, T], R], item: T) -> R | Lost[T]:
        """Return `function(job, item)`; nothing else runs meanwhile."""
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


def surely(
    executor: Executor, function: Callable[[Job, T], R], items: Iterable[T]
) -> Generator[R, None, None]:
    """Yield `function(job, item)` for each item, in order, also where workers die.

    Raises:
        TileFailedError: Every worker dies of one item.
    """
    for result in executor.map(function, items):
        found = result
        for _ in range(TRIES - 1):
            if isinstance(found, Lost):
                check_workers(executor)
                found = executor.alone(function, found.item)
        if isinstance(found, Lost):
            raise TileFailedError(
                f"worker processes die of one part of the map ({function.__name__}): out of "
                "memory? run the same again with --workers 1, it continues where it was"
            )
        yield found


def check_workers(executor: Executor) -> None:
    """Make sure that a worker can work at all.

    Raises:
        TileFailedError: It dies of nothing.
    """
    if isinstance(executor.alone(_nothing, None), Lost):
        raise TileFailedError(
            "worker processes die when they start: out of memory (use --workers 1), or a script "
            'without `if __name__ == "__main__":` around geoseg.segment; then run the same again, '
            "it continues where it was"
        )


def _nothing(_job: Job, _item: None) -> None:
    """Do nothing."""


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
        waiting: deque[Future[R]] = deque()
        with ThreadPoolExecutor(_THREADS) as threads:
            # Few items ahead: memory must not depend on the raster.
            for item in items:
                waiting.append(threads.submit(function, self._job, item))
                if len(waiting) > _THREADS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def alone(self, function: Callable[[Job, T], R], item: T) -> R:
        """Return `function(job, item)`."""
        return function(self._job, item)


class Processes:
    """Works in several processes, spawned: a fork would inherit GDAL's locks and could hang."""

    def __init__(self, job: Job, workers: int, devices: Sequence[str] = ()) -> None:
        """Prepare workers, which start with their first item.

        Args:
            job: What they work on.
            workers: How many.
            devices: CUDA devices that are dealt out to them, one each; none: all see all.
        """
        cores = max(1, (os.cpu_count() or 1) // workers)
        content = pickle.dumps(job)
        self._workers = [
            _Worker(content, cores, devices[k % len(devices)] if devices else None)
            for k in range(workers)
        ]

    def __enter__(self) -> Self:
        """Return itself; processes start with the first item."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for the workers; after an error, end them."""
        for worker in self._workers:
            worker.stop(at_once=kind is not None)

    def map(self, function: Callable[[Job, T], R], items: Iterable[T]) -> Iterator[R | Lost[T]]:
        """Yield `function(job, item)` for each item, in order."""
        waiting: deque[tuple[T, Future[R]]] = deque()

        def next_in_order() -> R | Lost[T]:
            item, future = waiting.popleft()
            return _result(item, future)

        for item in items:
            while len(waiting) >= AHEAD * len(self._workers):
                yield next_in_order()
            worker = min(self._workers, key=lambda w: w.in_hand)
            waiting.append((item, worker.submit(function, item)))
        while waiting:
            yield next_in_order()

    def alone(self, function: Callable[[Job, T], R], item: T) -> R | Lost[T]:
        """Return `function(job, item)`, when all workers have done what they have in hand."""
        for worker in self._workers:
            worker.finish()
        return _result(item, self._workers[0].submit(function, item))


def _result(item: T, future: Future[R]) -> R | Lost[T]:
    try:
        return future.result()
    except BrokenProcessPool:
        return Lost(item)


class _Worker:
    """One process, replaced when it dies. A pool of several would die as a whole."""

    def __init__(self, job: bytes, cores: int, device: str | None) -> None:
        self._facts = (job, cores, device)
        self._futures: set[Future[Any]] = set()
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(1, context, _remember, self._facts)

    @property
    def in_hand(self) -> int:
        """How many items it has not finished."""
        self._futures = {future for future in self._futures if not future.done()}
        return len(self._futures)

    def submit(self, function: Callable[[Job, T], R], item: T) -> Future[R]:
        """Give it an item."""
        with _no_interrupts():
            try:
                future = self._pool.submit(_apply, function, item)
            except BrokenProcessPool:
                self._pool.shutdown(wait=False)
                self._pool = self._start()
                future = self._pool.submit(_apply, function, item)
        self._futures.add(future)
        return future

    def finish(self) -> None:
        """Wait until it has nothing in hand."""
        wait(self._futures)

    def stop(self, *, at_once: bool) -> None:
        """End it; at once, or when it has done what it has in hand."""
        if at_once:
            # That may be many tiles; those that are done are kept. Python 3.14: `kill_workers`.
            for process in list((self._pool._processes or {}).values()):  # noqa: SLF001
                process.kill()
        self._pool.shutdown(wait=True, cancel_futures=at_once)


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Let a process that starts here never see Ctrl-C, which reaches the whole process group.

    The main process decides what it means; it gets its signal when this ends.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_job: Job | TileFailedError = TileFailedError("a worker was started without a job")


def _remember(job: bytes, cores: int, device: str | None) -> None:
    global _job  # noqa: PLW0603  a worker serves one run
    harden_worker()
    # Before libraries of the job are imported: workers that each take every core wait for others.
    for name in THREADS_OF:
        os.environ.setdefault(name, str(cores))
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _job = pickle.loads(job)  # noqa: S301  our own parent made it
    except Exception as error:  # noqa: BLE001  told by the main process, once
        _job = TileFailedError(
            f"worker processes cannot load the backend or the raster ({type(error).__name__}: "
            f"{error}): put its class into a module that they can import, or use --workers 1"
        )


def _end_with_parent() -> None:
    """End a worker whose main process was killed: nobody else would."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(_ORPHANED)


def _apply(function: Callable[[Job, T], R], item: T) -> R:
    if isinstance(_job, TileFailedError):
        raise _job
    try:
        return function(_job, item)
    except DeviceLostError:
        # Only a new process gets a working device again.
        os._exit(DEVICE_LOST)
