"""May a map be written where it is asked for, and where do its failed tiles go?"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from hashlib import blake2b
from pathlib import Path

from geoseg.errors import OutputError
from geoseg.export.table import FAILED_LAYER
from geoseg.export.trouble import KEPT

FORMATS = {
    ".gpkg": "GPKG",
    ".parquet": "Parquet",
    ".fgb": "FlatGeobuf",
    ".geojson": "GeoJSON",
}
"""Formats by file name ending."""

NAME_BYTES = 255
"""Longest file name on the file systems in use."""

_COMPANIONS = ("-wal", "-shm", "-journal")
"""What SQLite puts beside a database that is in use."""


_WAL_AT = 18
"""Where a database says how it is written: 2 with a write-ahead log."""


def format_of(path: str | Path) -> str:
    """Return the format that a file name asks for.

    Raises:
        OutputError: Its ending is not one of FORMATS.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise OutputError(
            f"output '{path}' has the ending '{suffix}', which is no known format; "
            f"--out takes {', '.join(FORMATS)}"
        )
    return FORMATS[suffix]


def failed_path(path: Path) -> Path:
    """Return where failed tiles go if the format has one layer only.

    A name that would be too long is cut, and told apart by a mark made of all of it.
    """
    tail = f"_{FAILED_LAYER}{path.suffix}"
    name = os.fsencode(path.stem)
    if len(name + os.fsencode(tail)) > NAME_BYTES:
        tail = f"_{blake2b(name, digest_size=4).hexdigest()}{tail}"
        # A character is not cut in two: the bytes that are left of it go.
        name = name[: NAME_BYTES - len(tail)].decode("utf-8", "ignore").encode()
    return path.with_name(os.fsdecode(name) + tail)


def check_output(
    path: Path,
    *,
    overwrite: bool,
    crs: str | None,
    sources: Sequence[str] = (),
    option: str = "--out",
) -> None:
    """Refuse an output that could not be written in the end, before any work.

    Raises:
        OutputError: Says why, and what to change.
    """
    kind = format_of(path)
    check_place(path, overwrite=overwrite, sources=sources, option=option)
    side = failed_path(path)
    if kind != "GPKG" and side.exists() and not overwrite:
        raise OutputError(f"{side} is already there; pass --overwrite to replace it")
    if kind == "GeoJSON" and crs is None:
        raise OutputError(
            "GeoJSON is always longitude and latitude, and the raster has no CRS; "
            "use .gpkg, .parquet or .fgb"
        )
    check_unused(path)


def check_place(
    path: Path, *, overwrite: bool, sources: Sequence[str] = (), option: str = "--out"
) -> None:
    """Refuse a place where no file could be written, whatever its format.

    Args:
        path: The file to be.
        overwrite: Whether one that is there may be replaced.
        sources: What is read, which is never replaced.
        option: Names the place, for messages.

    Raises:
        OutputError: Says why, and what to change.
    """
    length = len(os.fsencode(path.name))
    if length > NAME_BYTES:
        raise OutputError(
            f"output name of {length} bytes is too long: '{path.name[:40]}…'; "
            f"file systems take {NAME_BYTES}"
        )
    if path.is_dir():
        raise OutputError(f"output {path} is a folder; give a file name in it")
    if path.exists() and any(Path(s).exists() and path.samefile(s) for s in sources):
        raise OutputError(f"output {path} is the input; give another {option}")
    if path.exists() and not path.is_file():
        raise OutputError(f"output {path} is not a regular file; give another {option}")
    if path.exists() and not overwrite:
        raise OutputError(f"output {path} is already there; pass --overwrite to replace it")
    if not path.parent.is_dir():
        raise OutputError(f"output folder {path.parent} does not exist; make it first")
    check_folder(path)


def check_unused(path: Path) -> None:
    """Refuse to put a GeoPackage where SQLite keeps files of another one.

    SQLite would apply the journal or write-ahead log of the old file to the new one and destroy it
    (https://www.sqlite.org/howtocorrupt.html, 2.4: renaming a file that is in use).

    Raises:
        OutputError: Names the file that is in the way.
    """
    for tail in _COMPANIONS if path.suffix.lower() == ".gpkg" else ():
        other = path.with_name(path.name + tail)
        if os.path.lexists(other):
            raise OutputError(
                f"{path} is open in another program (QGIS?), for {other.name} is beside it; close "
                "it there, or delete that file if none has it open, and run the same command "
                f"again ({KEPT})"
            )
    if path.suffix.lower() == ".gpkg" and is_locked(path):
        raise OutputError(
            f"{path} is being written by another program (QGIS?); end its editing there and run "
            f"the same command again ({KEPT})"
        )


def is_locked(path: Path) -> bool:
    """Ask SQLite if a database is locked: GDAL says of it only that it cannot be opened.

    One with a write-ahead log is not asked: that would leave files beside it.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_WAL_AT + 1)
        if not head.startswith(b"SQLite format 3") or head[-1:] == b"\2":
            return False
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=0)) as db:
            db.execute("SELECT 1 FROM sqlite_master").fetchone()
    except OSError:
        return False
    except sqlite3.Error as error:
        return "locked" in str(error)
    return False


def check_folder(path: Path) -> None:
    """Refuse a file in whose folder nothing can be written.

    Raises:
        OutputError: Says why.
    """
    try:
        # Nameless where the system can: a run that is killed here leaves nothing.
        with tempfile.TemporaryFile(prefix=".geoseg-", dir=path.parent) as file:
            file.write(b"?")
    except OSError as error:
        raise OutputError(
            f"output folder {path.parent} is not writable: {error.strerror}"
        ) from error
