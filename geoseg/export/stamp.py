"""Was a map written to since it was last looked at? Its stamp tells, without reading it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

Stamp = tuple[int, ...]


def stamp(path: Path) -> Stamp:
    """Return what changes when somebody writes a file or the log beside it, or replaces it."""
    found: list[int] = []
    for file in (path, path.with_name(f"{path.name}-wal")):
        with suppress(OSError):
            told = file.stat()
            # Who only reads a file with a write-ahead log makes an empty one.
            if file == path or told.st_size:
                found += [told.st_ino, told.st_size, told.st_mtime_ns]
    return tuple(found)
