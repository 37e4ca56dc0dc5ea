"""What do Ctrl-C and SIGTERM do? The first ends the command in order, the second at once.

The end of stdin may stand for a SIGTERM: whoever started the command is gone. All are safe at
any instant: what is done is on the disk, and the next run finds its way.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

INTERRUPTED = 130
"""Exit code."""

GRACE_S = 20.0
"""How long a command, whose stdin ended, may need to end in order."""

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


def follow_stdin() -> None:
    """End the command when stdin ends, as it does when the program that holds it is killed."""
    threading.Thread(target=_await_end_of_stdin, daemon=True).start()


def _await_end_of_stdin() -> None:
    # Not `sys.stdin`: its lock, held here, would hinder the interpreter's own end.
    with suppress(OSError):
        while os.read(0, 4096):
            pass
    if hasattr(signal, "pthread_kill"):
        # What the main thread waits in ends only by a signal that it gets itself.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    else:
        _thread.interrupt_main(signal.SIGTERM)
    time.sleep(GRACE_S)
    # A model may think about a tile for many minutes, and nobody waits for it.
    os._exit(INTERRUPTED)


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
