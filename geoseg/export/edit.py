"""How is a finished map changed where it is? Row by row, each change whole or not there.

QGIS may have the same file open. Nothing is locked between two changes, and what others changed in
between stays: a change touches the columns that it names, and no others.

The file is opened anew for each change. GDAL has an SQLite of its own, and when it closes a file,
POSIX drops all locks of the process on it: a connection that is kept would go on as if it held them
(https://www.sqlite.org/howtocorrupt.html, 2.2.1), and in a file with a write-ahead log it would
write to a log that GDAL has deleted.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any, Self

import numpy as np
import shapely
from pydantic import ValidationError

from geoseg import reviewed
from geoseg.errors import ConfigError, MapError, OutputError
from geoseg.export.blob import decode, encode
from geoseg.export.by_hand import measures, whole
from geoseg.export.contents import Layout, extend, put_legend, quoted, recipe_in, touch
from geoseg.export.held import check_editable, connect, refusal
from geoseg.export.place import check_output
from geoseg.export.read import open_map
from geoseg.export.table import LAYER, Target
from geoseg.export.write import write
from geoseg.frame import Frame
from geoseg.legend import LandClass, Legend
from geoseg.recipe import BY_HAND, recipe_text, words_of
from geoseg.runfolder import alone

_Stamp = tuple[int, ...]

GEOMETRY = "geometry"
"""What the outline is called among the columns, whatever the file calls it."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a map says of a polygon, without its outline."""

    id: int
    """Unique in the map."""
    cls: str | None
    """Name of its class; None where an edit left none."""
    score: float | None
    """0..1; None of what somebody drew."""
    area_ha: float | None
    """Area on the ellipsoid in hectares."""
    perimeter_m: float | None
    """Length of all rings in metres."""
    review: str | None
    """One of reviewed.STATES, or None."""
    reviewed_by: str | None
    """Who said so."""
    reviewed_at: str | None
    """When, UTC, ISO 8601."""


_ROW = ("id", "class", "score", "area_ha", "perimeter_m", *reviewed.COLUMNS)


class Editor:
    """A map of geoseg in a GeoPackage, open to be changed; a context manager.

    A change is on the disk when its method returns. One that raises has changed nothing, and can be
    asked for again. May be used from any thread.
    """

    _db: sqlite3.Connection

    def __init__(self, path: Path) -> None:
        """Open a map; rows that somebody added in QGIS get ids.

        Raises:
            MapError: It is no GeoPackage that geoseg wrote.
            OutputError: It cannot be changed: read-only, or being written by another program.
        """
        check_editable(path)
        self.path = path
        self._lock = RLock()
        self._file = _mark(path)
        self._seen: _Stamp = ()
        self._last = 0
        # By id, the key of rows where both differ; as geoseg writes a map, they do not.
        self._keys: dict[int, int] = {}
        self._depth, self._columns = 0, list[str]()
        self._is_closed = False
        with self._open():
            # What was broken off is taken back, and no other program is writing.
            pass
        self.frame: Frame = open_map(path).made_by().frame
        """Pixel grid of the map's raster; its CRS is that of the map."""
        with self._open() as db:
            self._layout = Layout.of(db)
        self.refresh()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Take no more changes."""
        self._is_closed = True

    # ------------------------------------------------------------------------------- reading

    @property
    def legend(self) -> Legend:
        """The classes, as the file says now."""
        with self._open() as db:
            return recipe_in(db, str(self.path)).legend

    def refresh(self) -> bool:
        """Take notice of what others wrote; tells whether they did since the last time.

        Rows without an id, or with that of another, get their own, and are measured.

        Raises:
            OutputError: There are such rows, and they cannot be written; or the file was replaced.
        """
        with self._lock:
            self._check_there()
            stamp = _stamp(self.path)
            if stamp == self._seen:
                return False
            with self._open():
                strays = self._strays()
            self._seen = stamp
            if strays:
                with self._writing():
                    # Another reviewer may have been faster.
                    self._adopt(self._strays())
            return True

    def rows(self) -> list[Row]:
        """Return all rows, in the order of the file."""
        return [Row(*values) for values in self.table(*_ROW)]

    def row(self, number: int) -> Row:
        """Return a row by its id.

        Raises:
            MapError: There is none.
        """
        return Row(*self._values(number, _ROW).values())

    def look(self, number: int) -> tuple[Row, shapely.MultiPolygon]:
        """Return a row and its outline, as `row` and `geometry` do."""
        values = self._values(number, (*_ROW, GEOMETRY))
        outline = values.pop(GEOMETRY)
        return Row(*values.values()), outline or shapely.MultiPolygon()

    def table(self, *names: str) -> list[tuple[Any, ...]]:
        """Return some columns of all rows; Nones where the file lacks one."""
        with self._open() as db:
            query = f'SELECT {self._listed(names)} FROM "{LAYER}" WHERE id IS NOT NULL'  # noqa: S608
            return db.execute(query).fetchall()

    def geometry(self, number: int) -> shapely.MultiPolygon:
        """Return the outline of a polygon, in the CRS of the map; empty where it has none.

        Raises:
            MapError: There is none of this id, or its outline is damaged.
        """
        return self._values(number, (GEOMETRY,))[GEOMETRY] or shapely.MultiPolygon()

    def _values(self, number: int, names: Sequence[str]) -> dict[str, Any]:
        with self._open() as db:
            query = f'SELECT {self._listed((*names, "id"))} FROM "{LAYER}" WHERE '  # noqa: S608
            found = db.execute(query + self._where(number)).fetchone()
        values = dict(zip(names, found, strict=False))
        if values.get(GEOMETRY) is not None:
            values[GEOMETRY] = self._outline(number, values[GEOMETRY])
        return values

    def _outline(self, number: int, blob: bytes) -> shapely.MultiPolygon:
        try:
            return shapely.multipolygons(shapely.get_parts(decode(blob)))
        except (ValueError, TypeError, shapely.errors.ShapelyError) as error:
            raise MapError(f"the outline of feature {number} of {self.path} is damaged") from error

    def _names(self) -> list[str]:
        found = self._db.execute("SELECT name FROM pragma_table_info(?)", (LAYER,))
        return [name for (name,) in found]

    def _listed(self, names: Sequence[str]) -> str:
        known = [self._layout.geometry if name == GEOMETRY else name for name in names]
        return ", ".join(quoted(n) if n in self._columns else "NULL" for n in known)

    def _where(self, number: int) -> str:
        """Return the condition that finds a row: by its key, for ids have no index.

        Raises:
            MapError: There is no such row.
        """
        key = quoted(self._layout.key)
        condition = f"{key} = {self._keys.get(number, number):d} AND id = {number:d}"
        if self._db.execute(f'SELECT 1 FROM "{LAYER}" WHERE {condition}').fetchone():  # noqa: S608
            return condition
        found = self._db.execute(
            f'SELECT {key} FROM "{LAYER}" WHERE id = {number:d}'  # noqa: S608
        ).fetchone()
        if found is None:
            raise MapError(
                f"{self.path} has no feature {number}: another program may have deleted it"
            )
        self._keys[number] = found[0]
        return f"{key} = {found[0]:d}"

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Open the file, alone among threads, and explain what goes wrong."""
        with self._lock:
            if self._depth:
                yield self._db
                return
            self._check_there()
            try:
                with closing(connect(self.path)) as self._db:
                    self._depth = 1
                    self._columns = self._names()
                    yield self._db
            except sqlite3.Error as error:
                raise refusal(self.path, error) from error
            finally:
                self._depth = 0

    def _check_there(self) -> None:
        """Refuse a file that was replaced: it is not what was looked at."""
        if self._is_closed:
            raise MapError(f"{self.path} was closed; open it again")
        if _mark(self.path) != self._file:
            raise OutputError(
                f"{self.path} was replaced, moved or removed since it was opened; open it again"
            )

    # ------------------------------------------------------------------------------- writing

    def change(self, number: int, **columns: Any) -> None:
        """Change columns of a row.

        Args:
            number: Its id.
            columns: New values by name; `geometry` is a (multi)polygon in the CRS of the map.

        Raises:
            MapError: There is no such row or column.
            ConfigError: The polygon encloses no ground, or is invalid.
            OutputError: It cannot be written now.
        """
        drawn = {GEOMETRY: whole(columns[GEOMETRY])} if GEOMETRY in columns else {}
        self.exchange(number, {**columns, **drawn})

    def exchange(
        self, number: int, columns: Mapping[str, Any], left: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Change columns of a row, if others are as they were left.

        Args:
            number: Its id.
            columns: As `change`, but an outline is stored as it is, or taken away where None.
            left: What some of its columns must be; None: whatever they are.

        Returns:
            What these columns were, and what they are now.

        Raises:
            MapError: As `change`; or the row is not as it was left.
            OutputError: As `change`.
        """
        new = {name: _plain(value) for name, value in columns.items()}
        with self._writing():
            self._provide(new)
            there = self._values(number, list(left or {}))
            if any(not _same(there[name], value) for name, value in (left or {}).items()):
                raise MapError(
                    f"feature {number} of {self.path} was changed by another program since; look "
                    "at it again"
                )
            old = self._values(number, list(new))
            stored = self._stored(new)
            assigned = ", ".join(f"{quoted(name)} = ?" for name in stored)
            self._db.execute(
                f'UPDATE "{LAYER}" SET {assigned} WHERE {self._where(number)}',  # noqa: S608
                list(stored.values()),
            )
            if GEOMETRY in new:
                extend(self._db, self._layout, old[GEOMETRY], new[GEOMETRY])
        return old, new

    def add(self, columns: Mapping[str, Any], geometry: shapely.Geometry) -> int:
        """Add a polygon.

        Args:
            columns: Its values by column; `class` is one of the legend.
            geometry: (Multi)polygon in the CRS of the map.

        Returns:
            Its id, which no other had before.

        Raises:
            MapError: There is no such column.
            ConfigError: The polygon encloses no ground, or is invalid.
            OutputError: It cannot be written now.
        """
        new = {name: _plain(value) for name, value in columns.items()}
        new[GEOMETRY] = whole(geometry)
        with self._writing():
            self._provide(new)
            number = self._take_id()
            stored = {**self._stored(new), "id": number}
            names, marks = ", ".join(map(quoted, stored)), ", ".join("?" * len(stored))
            made = self._db.execute(
                f'INSERT INTO "{LAYER}" ({names}) VALUES ({marks})',  # noqa: S608
                list(stored.values()),
            )
            self._keys[number] = int(made.lastrowid or 0)
            extend(self._db, self._layout, None, new[GEOMETRY])
        return number

    def remove(self, number: int) -> None:
        """Remove a polygon.

        Raises:
            MapError: There is none of this id.
            OutputError: It cannot be written now.
        """
        with self._writing():
            old = self._values(number, (GEOMETRY,))[GEOMETRY]
            # If it is the last, its id is not free now.
            self._last = max(self._last, number)
            self._db.execute(f'DELETE FROM "{LAYER}" WHERE {self._where(number)}')  # noqa: S608
            extend(self._db, self._layout, old, None)

    def ensure_class(self, land_class: LandClass) -> None:
        """Add a class to the legend of the map, and to its colours in QGIS, if it is not there.

        A style that somebody made in QGIS stays as it is.

        Raises:
            ConfigError: The legend has one that differs by capitals only.
            OutputError: It cannot be written now.
        """
        if land_class.name in {c.name for c in self.legend.classes}:
            return
        with self._writing():
            old = self.legend
            try:
                new = Legend(classes=(*old.classes, land_class), exclusive=old.exclusive)
            except ValidationError as error:
                said = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise ConfigError(f"no class '{land_class.name}' in {self.path}: {said}") from error
            put_legend(self._db, str(self.path), new)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Make what is done inside whole and on the disk, or not done at all."""
        with self._lock:
            only_mine = _stamp(self.path) == self._seen
            with self._open() as db:
                keys = dict(self._keys)
                try:
                    db.execute("BEGIN IMMEDIATE")
                    yield
                    touch(db)
                    db.execute("COMMIT")
                except BaseException:
                    self._keys = keys
                    # Closing would do as much, but wait for it less surely.
                    with suppress(sqlite3.Error):
                        db.execute("ROLLBACK")
                    raise
            if only_mine:
                self._seen = _stamp(self.path)

    def _provide(self, columns: Mapping[str, Any]) -> None:
        """Make the columns of reviews when one is needed for the first time.

        Raises:
            MapError: Another column is not there, or is not to be changed.
        """
        lacking = [n for n in columns if n not in self._columns and n != GEOMETRY]
        strange = [n for n in lacking if n not in reviewed.COLUMNS]
        strange += [n for n in ("id", self._layout.key, self._layout.geometry) if n in columns]
        if strange:
            raise MapError(f"{self.path} has no column '{strange[0]}' that could be changed")
        if lacking:
            # Another reviewer may have been faster.
            for name in [n for n in reviewed.COLUMNS if n not in self._names()]:
                self._db.execute(f'ALTER TABLE "{LAYER}" ADD COLUMN "{name}" TEXT')
            self._columns = self._names()

    def _stored(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Return columns as the file calls and keeps them."""
        stored = {name: value for name, value in columns.items() if name != GEOMETRY}
        if GEOMETRY in columns:
            shape = columns[GEOMETRY]
            blob = None if shape is None else encode(shape, self._layout.srs_id)
            stored[self._layout.geometry] = blob
        return stored

    def _take_id(self) -> int:
        """Return an id that is not used, and not used again, whatever becomes of it."""
        highest = self._db.execute(f'SELECT max(id) FROM "{LAYER}"').fetchone()[0]  # noqa: S608
        self._last = max(self._last, highest or 0) + 1
        return self._last

    # ---------------------------------------------------------------------- what others added

    def _strays(self) -> list[int]:
        """Return the keys of rows without an id, or with that of a row before them."""
        key = quoted(self._layout.key)
        found = self._db.execute(
            f"SELECT k FROM (SELECT {key} AS k, id, "  # noqa: S608
            f'row_number() OVER (PARTITION BY id ORDER BY {key}) AS n FROM "{LAYER}") '
            "WHERE id IS NULL OR n > 1 ORDER BY k"
        )
        return [k for (k,) in found]

    def _adopt(self, strays: Sequence[int]) -> None:
        """Give rows their own ids, and measure them: a copy has the measures of another."""
        key, geometry = quoted(self._layout.key), quoted(self._layout.geometry)
        for k in strays:
            number = self._take_id()
            blob = self._db.execute(
                f'SELECT {geometry} FROM "{LAYER}" WHERE {key} = {k:d}'  # noqa: S608
            ).fetchone()[0]
            shape = None if blob is None else self._outline(number, blob)
            new = {"id": number, **measures(shape, self.frame)}
            assigned = ", ".join(f"{name} = ?" for name in new)
            self._db.execute(
                f'UPDATE "{LAYER}" SET {assigned} WHERE {key} = {k:d}',  # noqa: S608
                list(new.values()),
            )
            self._keys[number] = k


def create(
    path: Path,
    frame: Frame,
    legend: Legend,
    *,
    facts: Mapping[str, Any],
    models: Sequence[Mapping[str, Any]] = (),
    words: Mapping[str, Any] | None = None,
) -> None:
    """Make a map without polygons, which an `Editor` then adds.

    Args:
        path: The file, .gpkg.
        frame: The raster's.
        legend: Its first classes.
        facts: What `RunConfig.fingerprint` gives: backend, tile, overlap, the raster's identity.
        models: Of each model: source, revision, digest and licence of its weights.
        words: What was asked for, as arguments of `recipe.words_of`.

    Raises:
        OutputError: It cannot be written there, or is there already.
    """
    if path.suffix.lower() != ".gpkg":
        raise OutputError(f"output '{path}' is no .gpkg, in which alone polygons can be drawn")
    check_output(path, overwrite=False, crs=frame.crs)
    made = {**facts, "legend": legend.model_dump(mode="json"), BY_HAND: True}
    recipe = recipe_text(made, models, frame, words_of(**(words or {})))
    extra = tuple((name, "string") for name in reviewed.COLUMNS)
    with alone(path) as place:
        write(Target(path, frame.crs, legend, recipe, extra), (), [], place)


def _plain(value: Any) -> Any:
    """Return a value as SQLite keeps it: what is not finite is nothing."""
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, shapely.Geometry) and isinstance(other, shapely.Geometry):
        return bool(shapely.to_wkb(one) == shapely.to_wkb(other))
    return bool(one == other)


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
