"""What do Ctrl-C and SIGTERM do? The first ends the command in order, the second at once.

Both are safe at any instant: what is done is on the disk, and the next run finds its way.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
"""Exit code."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAID = "interrupted; what is done is kept: run the same command again to continue"

_came: list[int] = []
"""Signals that came. Libraries in C, that call back into Python, turn what is raised there into
errors of their own."""


class Interrupted(BaseException):
    """A signal came; no handler for errors may swallow it."""


@contextmanager
def heeded() -> Iterator[None]:
    """Turn a signal into one line and an exit code, whatever libraries make of it."""
    _came.clear()
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    try:
        yield
    except BaseException:
        if not _came:
            raise
        ignore()
        print(SAID, file=sys.stderr)  # noqa: T201
        sys.exit(INTERRUPTED)


def ignore() -> None:
    """Let a command that is about to end do so with its own exit code."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def heeding(progress: Callable[[str, int, int], None] | None) -> Callable[[str, int, int], None]:
    """Return a progress that ends the run, should a library have swallowed what was raised."""

    def tell(step: str, done: int, total: int) -> None:
        if _came:
            raise Interrupted
        if progress is not None:
            progress(step, done, total)

    return tell


def came() -> bool:
    """Return whether a signal came."""
    return bool(_came)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _came.append(number)
    if len(_came) > 1:
        # Python's own buffer may be in use by what the signal interrupted.
        os.write(2, f"{SAID}\n".encode())
        os._exit(INTERRUPTED)
    raise Interrupted
