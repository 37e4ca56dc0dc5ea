"""Who does the work, if a Dask cluster does?

The user's own cluster, by the address of its scheduler. Each worker process holds the job once
(and its model) and works on one item at a time; tiles go to a store that all of them reach.

An item is given to one worker by name. Dask would give an item whose worker died to the next, and
so on until it has killed four; here it is `Lost` with the first, as in `Processes`.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from geoseg.detect import Job
from geoseg.errors import ConfigError, MissingDependencyError, TileFailedError
from geoseg.executors import AHEAD, Lost

try:
    import distributed
    from distributed.client import ClosedClientError
    from distributed.scheduler import KilledWorker
except ImportError as error:
    raise MissingDependencyError(
        f'--scheduler needs Dask: pip install "geoseg[dask]" ({error})'
    ) from error

from geoseg.cluster.connection import connect_to, quiet
from geoseg.cluster.worker import Holder, Unfit, apply, differs, forget, versions

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

REBIRTH_S = 30
"""How long to wait for a worker when all have died; a nanny starts a new one in a few seconds."""

_LOOK_S = 1.0
"""How often to look who is there."""

_FETCH_S = 2.0
"""After how long to see whether a result still can come; then twice as long."""

OWN = "geoseg-"
"""Begins the name under which workers hold a job; the client that gave it follows."""


@dataclass(slots=True)
class _Given(Generic[T]):
    """An item in the hands of a worker."""

    function: Callable[[Job, T], Any]
    item: T
    worker: str
    future: distributed.Future[Any]


class Cluster:
    """Works on the processes of a Dask cluster."""

    def __init__(self, job: Job, address: str, packages: Iterable[str] = ("geoseg",)) -> None:
        """Prepare; nothing is asked of the cluster yet.

        Args:
            job: What they work on.
            address: Of the scheduler, as `tcp://host:8786`.
            packages: Those that have a part in the result; workers need the same versions.
        """
        self._job, self._address, self._packages = job, address, tuple(packages)
        self._given: deque[_Given[Any]] = deque()
        self._unfit: dict[str, str] = {}
        self._running: frozenset[str] = frozenset()
        self._known: frozenset[str] = frozenset()
        self._looked = -_LOOK_S
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Connect, and give each worker the job, those that come later too.

        Raises:
            ConfigError: No scheduler answers there, it has no workers, or they cannot do the job.
        """
        with ExitStack() as stack:
            stack.enter_context(quiet())
            self._client = stack.enter_context(connect_to(self._address))
            self._check_packages()
            self._clear_orphans()
            stack.callback(self._take_back)
            self._hand_out()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the job back from the workers, when they have done what they have in hand."""
        self._stack.__exit__(kind, error, trace)

    def _check_packages(self) -> None:
        found: Any = self._client.get_versions(packages=self._packages)
        ours = versions(self._packages)
        # The scheduler unpickles what it passes on, but computes nothing.
        told: dict[str, tuple[Any, tuple[str, ...]]] = {
            "its scheduler": (found["scheduler"], ("geoseg",))
        }
        told |= {f"worker {k}": (v, self._packages) for k, v in found["workers"].items()}
        for who, (facts, names) in told.items():
            other = differs({k: ours[k] for k in names}, facts["packages"])
            if other:
                raise ConfigError(f"--scheduler {self._address}: {who} has {other}")

    def _clear_orphans(self) -> None:
        """Take back jobs of clients that were killed."""
        for name in self._client.run_on_scheduler(_orphans):
            self._withdraw(name)

    def _hand_out(self) -> None:
        holder = Holder(self._job, f"{OWN}{self._client.id}", versions(self._packages))
        try:
            self._client.register_plugin(holder)
        except Exception as error:
            known = isinstance(error, ConfigError)
            reason = str(error) if known else f"its workers cannot take the job: {error!r}"
            raise ConfigError(f"--scheduler {self._address}: {reason}") from error

    def _take_back(self) -> None:
        if self._client.status == "running":
            self._withdraw(f"{OWN}{self._client.id}")

    def _withdraw(self, name: str) -> None:
        """Take a job from the workers, when they have done what they have in hand of it."""
        try:
            try:
                self._client.unregister_worker_plugin(name)
            except Exception:  # noqa: BLE001  a worker died or never had it; others were not asked
                self._client.run(forget, name, on_error="ignore")
        except Exception as error:  # noqa: BLE001  no reason for a run to fail
            log.warning(
                "workers of %s may keep a job in memory until they restart (%r)",
                self._address,
                error,
            )

    def map(self, function: Callable[[Job, T], R], items: Iterable[T]) -> Iterator[R | Lost[T]]:
        """Yield `function(job, item)` for each item, in order.

        Raises:
            TileFailedError: The scheduler is gone, or all workers are.
            ConfigError: No worker can do this job.
        """
        try:
            for item in items:
                while len(self._given) >= AHEAD * len(self._fit()):
                    yield self._result(self._given.popleft())
                self._given.append(self._give(function, item))
            while self._given:
                yield self._result(self._given.popleft())
        finally:
            for given in self._given:
                given.future.release()
            self._given.clear()

    def alone(self, function: Callable[[Job, T], R], item: T) -> R | Lost[T]:
        """Return `function(job, item)`, when all workers have done what they have in hand."""
        for given in self._given:
            self._settle(given)
        self._looked = -_LOOK_S
        found: R | Lost[T] = self._result(self._give(function, item))
        return found

    def _give(self, function: Callable[[Job, T], R], item: T) -> _Given[T]:
        workers = self._fit()
        in_hand = dict.fromkeys(workers, 0)
        for given in self._given:
            if given.worker in in_hand and not given.future.done():
                in_hand[given.worker] += 1
        worker = min(workers, key=lambda w: (in_hand[w], w))
        with self._scheduler():
            future = self._client.submit(
                apply, f"{OWN}{self._client.id}", function, item, workers=[worker], pure=False
            )
        return _Given(function, item, worker, future)

    def _result(self, given: _Given[T]) -> Any:
        patience = _FETCH_S
        while self._settle(given):
            if given.future.status == "error":
                return _raise_or_lost(given)
            with suppress(TimeoutError), self._scheduler():
                found = given.future.result(timeout=patience)
                if not isinstance(found, Unfit):
                    return found
                self._leave_out(given.worker, found.reason)
                self._move(given)
                continue
            # A large result takes its time; or the worker has died before it handed it over.
            patience *= 2
            self._look()
            if given.worker not in self._known:
                break
        return Lost(given.item)

    def _settle(self, given: _Given[Any]) -> bool:
        """Wait for an item; return False if its worker is gone, without a result."""
        while not given.future.done():
            with suppress(TimeoutError), self._scheduler():
                given.future.exception(timeout=_LOOK_S)
                return True
            self._look()
            if given.worker not in self._known:
                return False
            if given.worker not in self._running and not self._is_begun(given):
                self._move(given)
        return True

    def _is_begun(self, given: _Given[Any]) -> bool:
        """Tell whether a worker that takes nothing more had taken an item."""
        with self._scheduler():
            keys = self._client.processing([given.worker]).get(given.worker, ())
        return given.future.key in keys

    def _move(self, given: _Given[T]) -> None:
        """Give an item that is not done to another worker."""
        if given.future.done() and given.worker not in self._unfit:
            return
        given.future.release()
        again = self._give(given.function, given.item)
        given.worker, given.future = again.worker, again.future

    def _leave_out(self, worker: str, reason: str) -> None:
        self._unfit[worker] = reason
        if self._running - self._unfit.keys():
            log.warning("%s; it is left out", reason)

    def _fit(self) -> list[str]:
        """Return the workers that take items; wait for one if there is none.

        Raises:
            TileFailedError: None comes.
            ConfigError: None of them can do this job.
        """
        patience = time.monotonic() + REBIRTH_S
        while True:
            self._look()
            fit = sorted(self._running - self._unfit.keys())
            if fit:
                return fit
            if self._known and self._known <= self._unfit.keys():
                reason = next(iter(self._unfit.values()))
                raise ConfigError(f"--scheduler {self._address}: no worker can be used: {reason}")
            if time.monotonic() > patience:
                raise TileFailedError(
                    f"no workers left at the Dask scheduler {self._address}: all have died, were "
                    "stopped or are out of memory; start workers and run the same again, it "
                    "continues where it was"
                )
            time.sleep(_LOOK_S / 4)
            self._looked = -_LOOK_S

    def _look(self) -> None:
        """See who is there, if that is not known of just now."""
        if time.monotonic() - self._looked < _LOOK_S:
            return
        with self._scheduler():
            workers = self._client.scheduler_info(n_workers=-1)["workers"]
        self._known = frozenset(workers)
        self._running = frozenset(k for k, v in workers.items() if v["status"] == "running")
        self._looked = time.monotonic()

    @contextmanager
    def _scheduler(self) -> Iterator[None]:
        """Say in one line that the scheduler is gone."""
        try:
            yield
        except TimeoutError:
            raise
        except (distributed.CancelledError, ClosedClientError, OSError, RuntimeError) as error:
            raise TileFailedError(
                f"the Dask scheduler at {self._address} is gone ({type(error).__name__}); run the "
                "same again, it continues where it was"
            ) from error


def _raise_or_lost(given: _Given[T]) -> Lost[T]:
    error = given.future.exception()
    if isinstance(error, KilledWorker):
        # A new worker at the same address had been given the item.
        return Lost(given.item)
    raise error


def _orphans(dask_scheduler: distributed.Scheduler) -> list[str]:
    """Return the names of jobs whose client is gone; runs in the scheduler."""
    return [
        name
        for name in dask_scheduler.worker_plugins
        if name.startswith(OWN) and name.removeprefix(OWN) not in dask_scheduler.clients
    ]
