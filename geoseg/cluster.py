"""Who does the work, if a Dask cluster does?

The user's own cluster, by the address of its scheduler. Each worker process holds the job once
(and its model) and works on one item at a time; tiles go to a store that all of them reach.
"""

from __future__ import annotations

import os
import pickle
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from typing import Any, Self, TypeVar, cast

from geoseg.detect import Job
from geoseg.errors import ConfigError, DeviceLostError, MissingDependencyError, TileFailedError
from geoseg.executors import AHEAD, DEVICE_LOST, Lost

try:
    import distributed
    from distributed.comm.core import CommClosedError
    from distributed.diagnostics.plugin import WorkerPlugin
except ImportError as error:
    raise MissingDependencyError(
        f'--scheduler needs Dask: pip install "geoseg[dask]" ({error})'
    ) from error

T = TypeVar("T")
R = TypeVar("R")

CONNECT_S = 20
"""How long to wait for the scheduler, and then for a first worker."""


class Cluster:
    """Works on the processes of a Dask cluster."""

    def __init__(self, job: Job, address: str) -> None:
        """Connect, and give each worker the job, those that come later too.

        Args:
            job: What they work on.
            address: Of the scheduler, as `tcp://host:8786`.

        Raises:
            ConfigError: No scheduler answers there, it has no workers, or they lack geoseg.
        """
        self._address = address
        self._waiting: deque[tuple[Any, distributed.Future[Any]]] = deque()
        try:
            self._client = distributed.Client(
                address, timeout=CONNECT_S, set_as_default=False, direct_to_workers=False
            )
            self._client.wait_for_workers(1, timeout=CONNECT_S)
        except (OSError, TimeoutError) as error:
            raise ConfigError(
                f"--scheduler {address}: no Dask scheduler with a worker answers there within "
                f"{CONNECT_S} s ({error})"
            ) from error
        self._plugin = _Holder(pickle.dumps(job), version("geoseg"))
        try:
            self._client.register_plugin(self._plugin)
        except Exception as error:
            self._client.close()
            raise ConfigError(
                f"--scheduler {address}: its workers cannot take the job "
                f"({type(error).__name__}: {error}); they need geoseg {version('geoseg')} and the "
                "same packages as here"
            ) from error

    def __enter__(self) -> Self:
        """Return itself; the workers are there."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the job back from the workers, and let them be."""
        for _item, future in self._waiting:
            future.cancel()
        try:
            self._client.unregister_worker_plugin(self._plugin.name)
        finally:
            self._client.close()

    def map(self, function: Callable[[Job, T], R], items: Iterable[T]) -> Iterator[R | Lost[T]]:
        """Yield `function(job, item)` for each item, in order.

        Raises:
            TileFailedError: The scheduler is gone.
        """
        for item in items:
            while len(self._waiting) >= AHEAD * max(1, len(self._client.ncores())):
                yield self._result(*self._waiting.popleft())
            self._waiting.append((item, self._submit(function, item)))
        while self._waiting:
            yield self._result(*self._waiting.popleft())

    def alone(self, function: Callable[[Job, T], R], item: T) -> R | Lost[T]:
        """Return `function(job, item)`, when the workers have done what they have in hand."""
        if self._waiting:
            with self._client.as_current():
                distributed.wait([future for _, future in self._waiting])
        found: R | Lost[T] = self._result(item, self._submit(function, item))
        return found

    def _submit(self, function: Callable[[Job, T], R], item: T) -> distributed.Future[Any]:
        return self._client.submit(_apply, self._plugin.name, function, item, pure=False)

    def _result(self, item: T, future: distributed.Future[Any]) -> Any:
        try:
            return future.result()
        except distributed.scheduler.KilledWorker:
            return Lost(item)
        except (distributed.CancelledError, CommClosedError, OSError) as error:
            raise TileFailedError(
                f"the Dask scheduler at {self._address} is gone ({type(error).__name__}); run the "
                "same again, it continues where it was"
            ) from error


class _Holder(WorkerPlugin):
    """Holds a job in a worker process; one item at a time works on it."""

    def __init__(self, job: bytes, geoseg: str) -> None:
        self.name = f"geoseg-{uuid.uuid4().hex}"
        self.content, self.geoseg = job, geoseg

    def setup(self, worker: distributed.Worker) -> None:  # noqa: ARG002  Dask's signature
        """Take the job, in a worker that has just been told of it or has just started."""
        if version("geoseg") != self.geoseg:
            raise RuntimeError(f"this worker has geoseg {version('geoseg')}, not {self.geoseg}")
        self.lock = threading.Lock()
        self.job: Job = pickle.loads(self.content)  # noqa: S301  the user's own client made it


def _apply(name: str, function: Callable[[Job, T], R], item: T) -> R:
    holder = cast("_Holder", distributed.get_worker().plugins[name])
    with holder.lock:
        try:
            return function(holder.job, item)
        except DeviceLostError:
            # Only a new process gets a working device again; the scheduler gives the item to one.
            os._exit(DEVICE_LOST)
