"""How far is a run, and how fast?"""

from __future__ import annotations

import time
from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with the step, how many are done, and of how many."""


class Pace:
    """How fast a step goes: what was done before it began, by an earlier run, does not count."""

    def __init__(self, done: int) -> None:
        """Begin with what is already done."""
        self._began, self._first = time.monotonic(), done
        self._done = done

    def reach(self, done: int) -> None:
        """State how many are done."""
        self._done = done

    @property
    def seconds(self) -> float:
        """Wall time since it began."""
        return time.monotonic() - self._began

    @property
    def per_second(self) -> float | None:
        """Number done per second; None as long as there is nothing to judge by."""
        made = self._done - self._first
        return made / self.seconds if made > 0 and self.seconds > 0 else None

    def seconds_left(self, total: int) -> float | None:
        """Return how long the rest takes at this pace."""
        return None if self.per_second is None else (total - self._done) / self.per_second


def paced(tell: Callable[[str, int, int, Pace], None], every_s: float) -> Progress:
    """Return a Progress that tells at most every so often, when a step ends in any case."""
    paces: dict[str, Pace] = {}
    told = float("-inf")

    def progress(step: str, done: int, total: int) -> None:
        nonlocal told
        pace = paces.setdefault(step, Pace(done))
        pace.reach(done)
        now = time.monotonic()
        if now - told >= every_s or done == total:
            told = now
            tell(step, done, total, pace)

    return progress


class Watch:
    """Tells everyone of progress, and keeps the wall time of each step."""

    def __init__(self, *told: Progress | None, check: Callable[[], None]) -> None:
        """Watch a run.

        Args:
            told: Who wants to know.
            check: Called each time; may end the run.
        """
        self._told = [progress for progress in told if progress is not None]
        self._check = check
        self._paces: dict[str, Pace] = {}
        self.seconds: dict[str, float] = {}

    def __call__(self, step: str, done: int, total: int) -> None:
        """State how far a step is."""
        self.seconds[step] = self._paces.setdefault(step, Pace(done)).seconds
        for progress in self._told:
            progress(step, done, total)
        self._check()
