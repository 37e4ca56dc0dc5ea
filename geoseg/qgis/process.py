"""How is a command run, heard and ended?

It says what it does as lines of JSON on stdout. It ends in order, between two tiles, when it gets
SIGTERM or when its stdin ends: the second happens by itself when QGIS is killed.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO

from .command import CommandError
from .events import Event, parse

_CONTRACT = ("--json", "--watch-stdin")
_POLL_S = 0.1
_GRACE_S = 25.0
"""How long a command may need to end in order; then it is killed, which costs the tile at hand."""

_PIPES_S = 2.0
_KEPT_LINES = 20


class CancelledError(Exception):
    """The user does not want it any more."""


def run_command(
    executable: str,
    arguments: Sequence[str],
    environ: Mapping[str, str],
    *,
    tell: Callable[[Event], None],
    cancelled: Callable[[], bool],
) -> Event:
    """Run a command until it ends; no process outlives this call.

    Args:
        executable: Path of `geoseg`.
        arguments: The subcommand and what follows it.
        environ: The environment of the child.
        tell: Called with each event but errors, and with lines on stderr as events of kind "said".
        cancelled: Asked ten times per second.

    Returns:
        The result; the map may be incomplete.

    Raises:
        CancelledError: It was cancelled.
        CommandError: It gave no result.
    """
    name, *rest = arguments
    child = _Child([executable, name, *_CONTRACT, *rest], environ)
    heard: dict[str, Event] = {}
    stderr: deque[str] = deque(maxlen=_KEPT_LINES)
    try:
        while not child.ended():
            if cancelled():
                raise CancelledError
            for line, is_data in child.lines():
                event = parse(line) if is_data else {"event": "said", "message": line}
                if event is None:
                    continue
                heard[event["event"]] = event
                if not is_data:
                    stderr.append(line)
                if event["event"] != "error":
                    tell(event)
    finally:
        child.stop()
    if "result" in heard:
        return heard["result"]
    raise CommandError(_why(executable, child.code, heard, stderr))


def _why(
    executable: str, code: int | None, heard: Mapping[str, Event], stderr: Sequence[str]
) -> str:
    """Say, in one line, why there is no result."""
    if "error" in heard:
        return str(heard["error"].get("message"))
    said = [line for line in stderr if line.strip()]
    last = said[-1].strip() if said else "nothing"
    if any(f"No such option: {option}" in last for option in _CONTRACT):
        return f"{executable} is older than this plugin; upgrade it (pip install --upgrade geoseg)"
    for start in ("Error: ", "error: "):
        if last.startswith(start):
            return last.removeprefix(start)
    if "hello" in heard:
        return (
            f"{executable} ended with exit code {code} and without a result; it said last: {last}"
        )
    return (
        f"{executable} does not work as the command geoseg (exit code {code}, it said: {last}); "
        "try it in a terminal"
    )


class _Child:
    """A process whose lines are gathered by threads."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        # A session of its own: Ctrl-C is for QGIS, which ends its child in order.
        windows = {"creationflags": getattr(subprocess, "CREATE_NO_WINDOW", 0)}
        try:
            self._process = subprocess.Popen(  # noqa: S603  a list, no shell
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(environ),
                **(windows if os.name == "nt" else {"start_new_session": True}),
            )
        except OSError as error:
            raise CommandError(f"{command[0]} cannot be started: {error}") from error
        self._lines: queue.Queue[tuple[str, bool]] = queue.Queue()
        pipes = ((self._process.stdout, True), (self._process.stderr, False))
        self._readers = [
            threading.Thread(
                target=self._read, args=(pipe,), kwargs={"is_data": is_data}, daemon=True
            )
            for pipe, is_data in pipes
        ]
        for reader in self._readers:
            reader.start()

    @property
    def code(self) -> int | None:
        """Exit code; None while it runs."""
        return self._process.poll()

    def _read(self, pipe: IO[bytes], *, is_data: bool) -> None:
        with pipe:
            for line in pipe:
                text = line.decode("utf-8", "replace").rstrip()
                # Of a progress bar that overwrites itself, what is seen last.
                self._lines.put((text.rpartition("\r")[2], is_data))

    def ended(self) -> bool:
        """Return whether it ended and everything it said was given out."""
        if self.code is None:
            return False
        # A grandchild may still hold the pipes.
        until = time.monotonic() + _PIPES_S
        for reader in self._readers:
            reader.join(max(0.0, until - time.monotonic()))
        return self._lines.empty()

    def lines(self) -> list[tuple[str, bool]]:
        """Wait a moment; return lines that came, and whether each is of stdout."""
        found = []
        with suppress(queue.Empty):
            found.append(self._lines.get(timeout=_POLL_S))
            while True:
                found.append(self._lines.get_nowait())
        return found

    def stop(self) -> None:
        """End it, if it runs: in order, or by force when that takes too long."""
        if self.code is None and os.name != "nt":
            self._process.send_signal(signal.SIGTERM)
        elif self.code is None:
            # There is no such signal; the end of stdin means the same.
            self._close_stdin()
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close_stdin()

    def _close_stdin(self) -> None:
        with suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
