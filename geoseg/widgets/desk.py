"""What does a widget do, and what does it say of it? Acts in order, and one line."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable

from geoseg.widgets.toolkit import ipywidgets
from geoseg.widgets.work import Work

_GOOD, _BAD, _BUSY = "#1b5e20", "#b00020", "#8a5a00"


class Desk:
    """Does what is asked in a thread, one thing after the other, and says how that goes."""

    def __init__(self) -> None:
        self.line = ipywidgets.HTML()
        """What is said."""
        self._telling = threading.RLock()
        self._work = Work(self.fail, self._tell)
        self._said, self._step, self._is_bad = "", "", False
        self._tell()

    def do(self, act: Callable[[], str]) -> None:
        """Do something when all that was asked before is done; it returns what there is to say."""

        def done() -> None:
            self._is_bad = False
            self._said = ""
            self._said = act()

        self._work.do(done)

    def wait(self, timeout_s: float) -> bool:
        """Wait until all is done; False if it takes longer."""
        return self._work.wait(timeout_s)

    def progress(self, step: str, done: int, total: int) -> None:
        """Say how far a step is that takes long; a `geoseg.progress.Progress`."""
        self._step = "encoding a tile" if step == "encode" and done < total else ""
        self._tell()

    def fail(self, text: str) -> None:
        """Say what went wrong, until something else is done."""
        self._said, self._is_bad = text, True
        self._tell()

    def _tell(self) -> None:
        # Whoever tells last tells how it is: asker and worker do, at once.
        with self._telling:
            if self._work.is_busy:
                waits = self._work.waiting
                queue = f", {waits} more wait{'s' * (waits == 1)}" if waits else ""
                self._show(f"{self._step or 'working'} \N{HORIZONTAL ELLIPSIS}{queue}", _BUSY)
            else:
                self._step = ""
                self._show(self._said or "ready", _BAD if self._is_bad else _GOOD)

    def _show(self, text: str, colour: str) -> None:
        self.line.value = line(text, colour)


def line(text: str, colour: str = "#616161") -> str:
    """Return one line of plain text as HTML."""
    words = html.escape(" ".join(text.split()))
    return f'<div style="color:{colour};line-height:1.4">{words}</div>'
