"""How is a finished map changed where it is? Row by row, each change whole or not there.

QGIS may have the same file open. Nothing is locked between two changes, and what others changed in
between stays: a change touches the columns that it names, and no others.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
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
        self._version, self._last = -1, 0
        # By id, the key of rows where both differ; as geoseg writes a map, they do not.
        self._keys: dict[int, int] = {}
        try:
            self._db = connect(path)
        except sqlite3.Error as error:
            raise refusal(path, error) from error
        try:
            self.frame: Frame = open_map(path).made_by().frame
            """Pixel grid of the map's raster; its CRS is that of the map."""
            self._layout = Layout.of(self._db)
            self.refresh()
        except BaseException as error:
            self.close()
            if isinstance(error, sqlite3.Error):
                raise refusal(path, error) from error
            raise

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    # ------------------------------------------------------------------------------- reading

    @property
    def legend(self) -> Legend:
        """The classes, as the file says now."""
        with self._reading():
            return recipe_in(self._db, str(self.path)).legend

    def refresh(self) -> bool:
        """Take notice of what others wrote; tells whether they did since the last time.

        Rows without an id, or with that of another, get their own, and are measured.

        Raises:
            OutputError: There are such rows, and they cannot be written; or the file was replaced.
        """
        with self._reading():
            version = self._db.execute("PRAGMA data_version").fetchone()[0]
            if version == self._version:
                return False
            self._columns = self._names()
            self._last = max(self._last, self._highest())
            strays = self._strays()
            if strays:
                with self._writing():
                    self._adopt(strays)
            self._version = version
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

    def table(self, *names: str) -> list[tuple[Any, ...]]:
        """Return some columns of all rows; Nones where the file lacks one."""
        with self._reading():
            query = f'SELECT {self._listed(names)} FROM "{LAYER}" WHERE id IS NOT NULL'  # noqa: S608
            return self._db.execute(query).fetchall()

    def geometry(self, number: int) -> shapely.MultiPolygon:
        """Return the outline of a polygon, in the CRS of the map; empty where it has none.

        Raises:
            MapError: There is none of this id, or its outline is damaged.
        """
        return self._values(number, (GEOMETRY,))[GEOMETRY] or shapely.MultiPolygon()

    def _values(self, number: int, names: Sequence[str]) -> dict[str, Any]:
        with self._reading():
            query = f'SELECT {self._listed((*names, "id"))} FROM "{LAYER}" WHERE '  # noqa: S608
            found = self._db.execute(query + self._where(number)).fetchone()
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
    def _reading(self) -> Iterator[None]:
        """Be alone among threads, and explain what goes wrong."""
        with self._lock:
            if _mark(self.path) != self._file:
                # Changes would go to the old one, which nobody sees any more.
                raise OutputError(
                    f"{self.path} was replaced, moved or removed since it was opened; open it again"
                )
            try:
                yield
            except sqlite3.Error as error:
                raise refusal(self.path, error) from error

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
        with self._reading():
            keys = dict(self._keys)
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield
                touch(self._db)
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                self._keys, self._columns = keys, self._names()
                raise

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
        if self._db.execute("PRAGMA data_version").fetchone()[0] != self._version:
            self._last = max(self._last, self._highest())
        self._last += 1
        return self._last

    def _highest(self) -> int:
        return self._db.execute(f'SELECT max(id) FROM "{LAYER}"').fetchone()[0] or 0  # noqa: S608

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


def _mark(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from one that was put in its place."""
    with suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None
