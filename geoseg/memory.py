"""How much memory does a run take, its workers included?"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Self

import psutil

from geoseg.errors import MemoryBudgetError

_EVERY_S = 0.2


class Budget:
    """Watches the memory of this process and its children; a context manager.

    The resident set sizes are added up, so that pages which processes share count more than once:
    the figure is never too low.
    """

    def __init__(self, limit: int | None) -> None:
        """Watch, if there is a limit in bytes."""
        self._limit = limit
        self._peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        """Start watching."""
        if self._limit is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop watching."""
        self._over.set()
        if self._limit is not None:
            self._thread.join()

    def check(self) -> None:
        """Stop the run if it took more than it may.

        Raises:
            MemoryBudgetError: It did; says what to turn.
        """
        if self._limit is not None and self._peak > self._limit:
            raise MemoryBudgetError(
                f"the run took {self._peak / 1e6:.0f} MB of the {self._limit / 1e6:.0f} MB that "
                "--memory allows, and was stopped between tiles; run the same again with a higher "
                "--memory or fewer --workers, or begin --fresh with a lower --tile or --batch 1"
            )

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._over.wait(_EVERY_S):
            self._peak = max(self._peak, resident_bytes(me))


def resident_bytes(process: psutil.Process) -> int:
    """Return the resident set sizes of a process and all that it started, added up."""
    total = 0
    for each in (process, *process.children(recursive=True)):
        # A child may end while it is asked.
        with suppress(psutil.NoSuchProcess):
            total += int(each.memory_info().rss)
    return total
