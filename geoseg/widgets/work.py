"""How does a widget stay alive while something takes long? It is done in a thread, in order."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from geoseg.errors import GeosegError

log = logging.getLogger(__name__)

_LINGER_S = 60.0
"""A thread without work stays as long: it holds files open, that are likely needed again."""


class Work:
    """Does what it is asked, one after the other."""

    def __init__(self, failed: Callable[[str], None], changed: Callable[[], None]) -> None:
        """Begin without work.

        Args:
            failed: Called, in the thread, with what went wrong, in one line.
            changed: Called whenever there is more or less to do. What it raises is logged.
        """
        self._failed, self._changed = failed, changed
        self._acts: deque[tuple[float, Callable[[], None]]] = deque()
        self._turn = threading.Condition()
        self._thread: threading.Thread | None = None
        self._busy = self._owes = False

    def do(self, act: Callable[[], None]) -> None:
        """Do something when all that was asked before is done."""
        self._ask(act, 0.0, instead=False)

    def do_last(self, act: Callable[[], None], after_s: float) -> None:
        """Do something instead of all that waits, unless something else is asked meanwhile."""
        self._ask(act, after_s, instead=True)

    @property
    def waiting(self) -> int:
        """How much waits; what is under way does not."""
        return len(self._acts)

    @property
    def is_busy(self) -> bool:
        """Whether something is under way or waits."""
        return self._busy or bool(self._acts)

    def wait(self, timeout_s: float) -> bool:
        """Wait until all is done and `changed` was told so; False if it takes longer."""
        with self._turn:
            return self._turn.wait_for(lambda: not (self.is_busy or self._owes), timeout_s)

    def _ask(self, act: Callable[[], None], after_s: float, *, instead: bool) -> None:
        with self._turn:
            if instead:
                self._acts.clear()
            self._acts.append((time.monotonic() + after_s, act))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
            self._turn.notify_all()
        _logged(self._changed)

    def _next(self) -> Callable[[], None] | None:
        with self._turn:
            while True:
                if not self._acts:
                    if not self._turn.wait_for(lambda: self._acts, _LINGER_S):
                        self._thread = None
                        return None
                    continue
                due, act = self._acts[0]
                if due <= time.monotonic():
                    self._busy = self._owes = True
                    self._acts.popleft()
                    return act
                self._turn.wait(due - time.monotonic())

    def _run(self) -> None:
        # A widget that was closed refuses to be told: that must not end the thread.
        while (act := self._next()) is not None:
            _logged(self._changed)
            try:
                act()
            except GeosegError as error:
                _logged(partial(self._failed, str(error)))
            except Exception as error:
                # The edge of a thread: what is not told here is told nobody.
                log.exception("a widget failed")
                _logged(partial(self._failed, f"unexpected {type(error).__name__}: {error}"))
            with self._turn:
                self._busy = False
            _logged(self._changed)
            with self._turn:
                self._owes = False
                self._turn.notify_all()


def _logged(tell: Callable[[], None]) -> None:
    try:
        tell()
    except Exception:
        log.exception("a widget could not be told")
