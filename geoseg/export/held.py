"""May a GeoPackage be changed where it is, though other programs may have it open?

SQLite keeps a journal beside the file while it is changed: a change that was broken off is taken
back by whoever opens the file next to write it.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from geoseg.errors import GeosegError, MapError, OutputError
from geoseg.export.blob import teach
from geoseg.export.place import FORMATS, check_folder
from geoseg.export.trouble import explain

PATIENCE_S = 2.0
"""How long another program may take that writes the same file."""


def connect(path: Path, patience_s: float = PATIENCE_S) -> sqlite3.Connection:
    """Open a GeoPackage to change it; what was broken off in it is taken back.

    Returns:
        A connection for any thread, one at a time. Each statement is a transaction, unless `BEGIN`
        says otherwise; one that has returned is on the disk.

    Raises:
        sqlite3.Error: It is none, or is being written.
    """
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=patience_s,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        # Also what tells that a journal is done with must be on the disk.
        db.execute("PRAGMA synchronous = EXTRA")
        # Some builds let triggers call only what they know.
        db.execute("PRAGMA trusted_schema = ON")
        teach(db)
        db.execute("SELECT 1 FROM sqlite_master").fetchone()
    except BaseException:
        db.close()
        raise
    return db


def mend(path: Path) -> None:
    """Take back a change that was broken off, where one was: who only reads cannot."""
    if os.path.lexists(f"{path}-journal"):
        with suppress(sqlite3.Error), closing(connect(path, 0)):
            pass


def check_editable(path: Path) -> None:
    """Refuse a file in which nothing can be changed.

    Raises:
        MapError: It is no GeoPackage, or is not there.
        OutputError: It, or its folder, is read-only.
    """
    kind = path.suffix.lower()
    # Too long a name is no file, and no error.
    if not os.path.isfile(path):  # noqa: PTH113
        raise MapError(f"no such file: {path}; give a map that geoseg wrote")
    if kind in FORMATS and kind != ".gpkg":
        raise MapError(
            f"{path} cannot be changed in its place, as a GeoPackage can: make one with geoseg "
            f"export {path} --to {path.with_suffix('.gpkg').name}, and take that"
        )
    try:
        with path.open("r+b"):
            pass
    except OSError as error:
        raise OutputError(
            f"{path} cannot be changed: {error.strerror}; make it writable, or work on a copy"
        ) from error
    # SQLite keeps its journal beside it.
    check_folder(path.absolute())


def refusal(path: Path, error: sqlite3.Error) -> GeosegError:
    """Return an error that says in one line why a file was not changed, and the knob to turn."""
    said = " ".join(str(error).split())
    if "locked" in said:
        return OutputError(
            f"{path} is being written by another program (QGIS?); end its editing there, and do "
            "this once more: nothing is lost"
        )
    if "readonly" in said or "unable to open" in said:
        return OutputError(
            f"{path} cannot be changed: it, or its folder, is read-only or gone; make both "
            "writable, and do this once more: nothing is lost"
        )
    if isinstance(error, sqlite3.DatabaseError) and ("malformed" in said or "not a data" in said):
        return MapError(f"{path} is no map of geoseg, or is damaged: {said}")
    return explain(path, error)
