"""Who may change a GeoPackage now? One thread after the other, each change whole or not there.

GDAL has an SQLite of its own, and when it closes a file, POSIX drops all locks that the process has
on it: a connection would go on as if it still had them (https://www.sqlite.org/howtocorrupt.html,
2.2.1). So no lock is held between two turns. Of a file with a write-ahead log, as QGIS makes it
while it edits, a connection always holds one, or GDAL takes the log for forgotten and deletes it:
there it is closed after each turn. A connection that is not of this module knows nothing of that:
where a process has one on such a file, GDAL must not open it. It does when a map is opened
(`open_map`, and so `Editor`), and when it is read by `stats`, `report` or `export`; what an
`Editor` tells of a map that is open, its `features` too, comes by SQLite.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock

from geoseg.errors import MapError, OutputError
from geoseg.export.contents import touch
from geoseg.export.held import connect, refusal

_Stamp = tuple[int, ...]


class Turns:
    """A file that threads, and other programs, take turns to change."""

    def __init__(self, path: Path) -> None:
        """Open nothing yet."""
        self.path = path
        self._lock = RLock()
        self._file = _mark(path)
        self._seen: _Stamp = ()
        self._db: sqlite3.Connection | None = None
        self._depth, self._is_closed = 0, False

    def close(self) -> None:
        """Take no more turns."""
        with self._lock:
            self._is_closed = True
            self._let_go()

    @contextmanager
    def look(self) -> Iterator[sqlite3.Connection]:
        """Be alone with the file among threads; inside of another turn, go on with it.

        Raises:
            OutputError: It is being written, or was replaced by another.
            MapError: It is damaged, or was closed.
        """
        with self._lock:
            self._check_there()
            goes_well, self._depth = False, self._depth + 1
            try:
                if self._db is None:
                    self._db = connect(self.path)
                yield self._db
                goes_well = True
            except sqlite3.Error as error:
                raise refusal(self.path, error) from error
            finally:
                self._depth -= 1
                if self._depth == 0 and not (goes_well and self._is_quiet()):
                    self._let_go()

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """Make what is done inside whole and on the disk, or not done at all.

        Raises:
            GeosegError: As `look`.
        """
        with self._lock:
            is_mine = not self.is_changed()
            with self.look() as db:
                db.execute("BEGIN IMMEDIATE")
                try:
                    yield db
                    touch(db)
                    db.execute("COMMIT")
                except BaseException:
                    # Some errors end it by themselves.
                    with suppress(sqlite3.Error):
                        db.execute("ROLLBACK")
                    raise
            if is_mine:
                self._seen = _stamp(self.path)

    def is_changed(self) -> bool:
        """Tell whether others wrote to the file since `settle`."""
        with self._lock:
            self._check_there()
            return _stamp(self.path) != self._seen

    @contextmanager
    def settle(self) -> Iterator[None]:
        """Take what others wrote for known, if what is done inside goes well."""
        with self._lock:
            before, self._seen = self._seen, _stamp(self.path)
            try:
                yield
            except BaseException:
                self._seen = before
                raise

    def _is_quiet(self) -> bool:
        """Tell whether the connection holds no lock between two turns."""
        with suppress(sqlite3.Error):
            if self._db is not None:
                return bool(self._db.execute("PRAGMA journal_mode").fetchone()[0] == "delete")
        return False

    def _let_go(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _check_there(self) -> None:
        """Refuse a file that was replaced: changes would go to one that nobody sees any more."""
        if self._is_closed:
            raise MapError(f"{self.path} was closed; open it again")
        if _mark(self.path) != self._file:
            raise OutputError(
                f"{self.path} was replaced, moved or removed since it was opened; open it again"
            )


def _stamp(path: Path) -> _Stamp:
    """Return what changes when somebody writes a file, or the log beside it."""
    found: list[int] = []
    for file in (path, path.with_name(f"{path.name}-wal")):
        with suppress(OSError):
            told = file.stat()
            found += [told.st_size, told.st_mtime_ns]
    return tuple(found)


def _mark(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from one that was put in its place."""
    with suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None
