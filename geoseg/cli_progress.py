"""Who is told how far a run is? Someone at a terminal, a cron mail, or a script."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from geoseg import interrupts
from geoseg.errors import GeosegError

if TYPE_CHECKING:
    from geoseg.progress import Progress

LINES_EVERY_S = 60.0
"""A log that is mailed has a line per minute at most, and none of a run that is shorter."""

EVENTS_EVERY_S = 0.5


@contextmanager
def telling(*, quiet: bool, as_json: bool) -> Iterator[Progress | None]:
    """Yield what is to be called with progress, in the way that suits who listens."""
    if as_json:
        with _events() as tell:
            yield tell
    elif quiet:
        yield None
    elif sys.stderr.isatty():
        with _bar() as tell:
            yield tell
    else:
        yield _lines()


def say(text: str) -> None:
    """Print a line for people, on stderr."""
    print(text, file=sys.stderr)  # noqa: T201


def event(kind: str, **facts: Any) -> None:
    """Print a line of JSON on stdout."""
    print(json.dumps({"event": kind, **facts}), flush=True)  # noqa: T201


@contextmanager
def _events() -> Iterator[Progress]:
    """Print events: hello; progress, and what is logged; an error before it is raised."""
    from importlib.metadata import version

    from geoseg.progress import paced

    event("hello", version=version("geoseg"))
    handler = _LogEvents(logging.WARNING)
    logger = logging.getLogger("geoseg")
    logger.addHandler(handler)
    try:
        yield paced(
            lambda step, done, total, pace: event(
                "progress",
                step=step,
                done=done,
                total=total,
                per_second=pace.per_second,
                seconds_left=pace.seconds_left(total),
            ),
            EVENTS_EVERY_S,
        )
    except BaseException as error:
        if interrupts.came():
            # Whatever a library made of it.
            event(
                "error",
                code="Interrupted",
                message=interrupts.SAID,
                exit_code=interrupts.INTERRUPTED,
            )
            raise
        if not isinstance(error, GeosegError):
            raise
        code = type(error).__name__.removesuffix("Error")
        event("error", code=code, message=str(error), exit_code=error.exit_code)
        raise
    finally:
        logger.removeHandler(handler)


class _LogEvents(logging.Handler):
    """Turns log records into events."""

    def emit(self, record: logging.LogRecord) -> None:
        event("log", level=record.levelname.lower(), message=record.getMessage())


def _lines() -> Progress:
    from geoseg.progress import paced

    began = time.monotonic()

    def tell(step: str, done: int, total: int, pace: Any) -> None:
        if time.monotonic() - began < LINES_EVERY_S:
            return
        when = time.strftime("%Y-%m-%d %H:%M:%S")
        line = f"{when} {step}: {done} of {total}{in_words(pace, total)}"
        print(line, file=sys.stderr, flush=True)  # noqa: T201

    return paced(tell, LINES_EVERY_S)


def in_words(pace: Any, total: int) -> str:
    """Return how fast a step goes and how long it will take, or nothing if that is not known."""
    if pace.per_second is None:
        return ""
    return f", {pace.per_second:.2g} per second, {duration(pace.seconds_left(total))} left"


def duration(seconds: float) -> str:
    """Return a time as people say it: `40 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 120:
        return f"{minutes} min"
    if hours < 48:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"


@contextmanager
def _bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from geoseg.progress import paced

    columns = (
        TextColumn("{task.description:8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[str, Any] = {}

        def show(step: str, done: int, total: int, pace: Any) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(step, total=total, pace="")
            words = "" if done == total else in_words(pace, total).removeprefix(", ")
            bar.update(tasks[step], completed=done, total=total, pace=words)

        yield paced(show, 0.1)
