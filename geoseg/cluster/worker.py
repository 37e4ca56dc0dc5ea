"""What does a worker process of a Dask cluster hold, and how does it work on an item?"""

from __future__ import annotations

import asyncio
import os
import pickle
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar, cast

import distributed
from distributed.diagnostics.plugin import WorkerPlugin
from distributed.versions import get_package_info

from geoseg.config import difference
from geoseg.detect import Job
from geoseg.errors import ConfigError, DeviceLostError
from geoseg.executors import DEVICE_LOST
from geoseg.store import read_record

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Unfit:
    """In place of a result: the worker cannot do this job."""

    reason: str


def versions(packages: Iterable[str]) -> dict[str, str | None]:
    """Return the versions that are installed here."""
    found = get_package_info(packages)
    return {name: found[name] for name in packages}


def differs(ours: Mapping[str, str | None], theirs: Mapping[str, str | None]) -> str | None:
    """Say where another place has other packages."""
    for name, version in ours.items():
        if theirs.get(name) != version:
            other = theirs.get(name)
            found = f"no {name}" if other is None else f"{name} {other}"
            return f"{found}, here is {version}; install the same there"
    return None


async def forget(name: str, dask_worker: distributed.Worker) -> None:
    """Take a job back; runs in a worker."""
    if name in dask_worker.plugins:
        await dask_worker.plugin_remove(name)


class Holder(WorkerPlugin):
    """Holds a job in a worker process; one item at a time works on it."""

    def __init__(self, job: Job, name: str, versions: Mapping[str, str | None]) -> None:
        self.name = name
        self.content = pickle.dumps(job)
        self.versions = versions
        self.facts = job.raster.identity()

    async def setup(self, worker: distributed.Worker) -> None:
        """Take the job, in a worker that has just been told of it or has just started.

        Raises:
            ConfigError: This worker cannot do it.
        """
        self.lock = threading.Lock()
        self.worker = worker.address
        self.job: Job | None = None
        self.unfit: str | None = "it has not finished to load the job"
        self.is_checked = False
        # The worker must go on to answer the scheduler.
        self.unfit = await asyncio.to_thread(self._load)
        if self.unfit is not None:
            raise ConfigError(self.unfit)

    async def teardown(self, worker: distributed.Worker) -> None:  # noqa: ARG002  Dask's signature
        """Let go of the job when the item in hand is done: nothing is written after the run."""
        await asyncio.to_thread(self.lock.acquire)
        self.job, self.unfit = None, "its run has ended"
        self.lock.release()

    def _load(self) -> str | None:
        other = differs(self.versions, versions(self.versions))
        if other is not None:
            return f"worker {self.worker} has {other}"
        try:
            self.job = pickle.loads(self.content)  # noqa: S301  the user's own client made it
            seen = self.job.raster.identity()
        except Exception as error:  # noqa: BLE001  whatever a backend raises
            return f"worker {self.worker} cannot load the job ({type(error).__name__}: {error})"
        self.content = b""
        changes = difference(self.facts, seen)
        if changes:
            return f"worker {self.worker} sees another raster ({'; '.join(changes)})"
        return None

    def check(self, job: Job) -> None:
        """See whether tiles of this worker get to the store of the run."""
        if not self.is_checked and read_record(job.store.folder) is None:
            self.unfit = (
                f"worker {self.worker} does not see the run folder {job.store.folder.name}; give "
                "--store a folder or URL that all workers share"
            )
        self.is_checked = True


def apply(name: str, function: Callable[[Job, T], R], item: T) -> R | Unfit:
    """Return `function(job, item)`; runs in a worker."""
    worker = distributed.get_worker()
    holder = cast("Holder", worker.plugins[name])
    with holder.lock:
        if holder.job is not None:
            holder.check(holder.job)
        if holder.unfit is not None or holder.job is None:
            return Unfit(str(holder.unfit))
        try:
            return function(holder.job, item)
        except DeviceLostError:
            if worker.address.startswith("inproc://"):
                raise
            # Only a new process gets a working device again.
            os._exit(DEVICE_LOST)
