"""How is a finished map changed where it is? Row by row, each change whole or not there.

QGIS may have the same file open. Nothing is locked between two changes, and what others changed in
between stays: a change touches the columns that it names, and no others.
"""

from __future__ import annotations

import math
import sqlite3
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import shapely
from pydantic import ValidationError

from geoseg import reviewed
from geoseg.errors import ConfigError, MapError
from geoseg.export.blob import encode, multipolygon
from geoseg.export.by_hand import whole
from geoseg.export.contents import Layout, columns_of, extend, put_legend, quoted, recipe_in
from geoseg.export.held import check_editable
from geoseg.export.read import Map, open_map
from geoseg.export.strays import adopt, strays
from geoseg.export.table import LAYER
from geoseg.export.turns import Turns
from geoseg.frame import Frame
from geoseg.legend import LandClass, Legend

if TYPE_CHECKING:
    import geopandas as gpd

GEOMETRY = "geometry"
"""What the outline is called among the columns, whatever the file calls it."""

_VERSIONS, _NO_LOG = slice(18, 20), b"\x01\x01"
"""Where the header of an SQLite file says that it has a write-ahead log, and that it has none
(https://www.sqlite.org/fileformat.html, 1.3.3)."""


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
        self._turns = Turns(path)
        self._last = 0
        # By id, the key of rows where both differ; as geoseg writes a map, they do not.
        self._keys: dict[int, int] = {}
        try:
            with self._turns.look():
                # What was broken off is taken back, and no other program is writing.
                pass
            self.opened: Map = open_map(path)
            """The map as it was when it was opened."""
            self.frame: Frame = self.opened.made_by().frame
            """Pixel grid of the map's raster; its CRS is that of the map."""
            with self._turns.look() as db:
                self._layout = Layout.of(db)
            self.refresh()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Let go of the file, and take no more changes."""
        self._turns.close()

    # ------------------------------------------------------------------------------- reading

    @property
    def legend(self) -> Legend:
        """The classes, as the file says now."""
        with self._turns.look() as db:
            return recipe_in(db, str(self.path)).legend

    def refresh(self) -> bool:
        """Take notice of what others wrote; tells whether they did since the last time.

        Rows without an id, or with that of another, get their own, and are measured.

        Raises:
            OutputError: There are such rows, and they cannot be written; or the file was replaced.
        """
        if not self._turns.is_changed():
            return False
        with self._turns.settle(), self._turns.look() as db:
            if strays(db, self._layout):
                with self._turns.change():
                    # Another reviewer may have been faster.
                    for key in strays(db, self._layout):
                        number = self._take_id(db)
                        adopt(db, self._layout, key, number, self.frame)
                        self._keys[number] = key
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
        with self._turns.look() as db:
            query = f'SELECT {self._listed(db, names)} FROM "{LAYER}" WHERE id IS NOT NULL'  # noqa: S608
            return db.execute(query).fetchall()

    def features(self) -> gpd.GeoDataFrame:
        """Return all rows and columns, as `geopandas.read_file` does, in the CRS of the map.

        It reads a copy in memory: the file itself would lose the locks of this process (see
        turns.py).
        """
        import geopandas as gpd

        with self._turns.look() as db:
            copy = bytearray(db.serialize())
        # A copy holds what was in the log, and has none beside it.
        copy[_VERSIONS] = _NO_LOG
        with warnings.catch_warnings():
            # It has no ending.
            warnings.filterwarnings("ignore", ".*non conformant file extension", RuntimeWarning)
            return gpd.read_file(BytesIO(copy), layer=LAYER)

    def geometry(self, number: int) -> shapely.MultiPolygon:
        """Return the outline of a polygon, in the CRS of the map; empty where it has none.

        Raises:
            MapError: There is none of this id, or its outline is damaged.
        """
        return self._values(number, (GEOMETRY,))[GEOMETRY] or shapely.MultiPolygon()

    def _values(self, number: int, names: Sequence[str]) -> dict[str, Any]:
        with self._turns.look() as db:
            query = f'SELECT {self._listed(db, (*names, "id"))} FROM "{LAYER}" WHERE '  # noqa: S608
            found = db.execute(query + self._where(db, number)).fetchone()
        values = dict(zip(names, found, strict=False))
        if values.get(GEOMETRY) is not None:
            values[GEOMETRY] = self._outline(number, values[GEOMETRY])
        return values

    def _outline(self, number: int, blob: bytes) -> shapely.MultiPolygon:
        try:
            return multipolygon(blob)
        except ValueError as error:
            raise MapError(f"the outline of feature {number} of {self.path} is damaged") from error

    def _listed(self, db: sqlite3.Connection, names: Sequence[str]) -> str:
        there = columns_of(db)
        known = [self._layout.geometry if name == GEOMETRY else name for name in names]
        return ", ".join(quoted(name) if name in there else "NULL" for name in known)

    def _where(self, db: sqlite3.Connection, number: int) -> str:
        """Return the condition that finds a row: by its key, for ids have no index.

        Raises:
            MapError: There is no such row.
        """
        key = quoted(self._layout.key)
        condition = f"{key} = {self._keys.get(number, number):d} AND id = {number:d}"
        if db.execute(f'SELECT 1 FROM "{LAYER}" WHERE {condition}').fetchone():  # noqa: S608
            return condition
        found = db.execute(
            f'SELECT {key} FROM "{LAYER}" WHERE id = {number:d}'  # noqa: S608
        ).fetchone()
        if found is None:
            raise MapError(
                f"{self.path} has no feature {number}: another program may have deleted it"
            )
        self._keys[number] = found[0]
        return f"{key} = {found[0]:d}"

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
        with self._turns.change() as db:
            self._provide(db, new)
            there = self._values(number, list(left or {}))
            if any(not _same(there[name], value) for name, value in (left or {}).items()):
                raise MapError(
                    f"feature {number} of {self.path} was changed by another program since; look "
                    "at it again"
                )
            old = self._values(number, list(new))
            stored = self._stored(new)
            assigned = ", ".join(f"{quoted(name)} = ?" for name in stored)
            db.execute(
                f'UPDATE "{LAYER}" SET {assigned} WHERE {self._where(db, number)}',  # noqa: S608
                list(stored.values()),
            )
            if GEOMETRY in new:
                extend(db, self._layout, old[GEOMETRY], new[GEOMETRY])
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
        with self._turns.change() as db:
            self._provide(db, new)
            number = self._take_id(db)
            stored = {**self._stored(new), "id": number}
            names, marks = ", ".join(map(quoted, stored)), ", ".join("?" * len(stored))
            made = db.execute(
                f'INSERT INTO "{LAYER}" ({names}) VALUES ({marks})',  # noqa: S608
                list(stored.values()),
            )
            self._keys[number] = int(made.lastrowid or 0)
            extend(db, self._layout, None, new[GEOMETRY])
        return number

    def remove(self, number: int) -> None:
        """Remove a polygon.

        Raises:
            MapError: There is none of this id.
            OutputError: It cannot be written now.
        """
        with self._turns.change() as db:
            old = self._values(number, (GEOMETRY,))[GEOMETRY]
            # If it is the last, its id is not free now.
            self._last = max(self._last, number)
            db.execute(f'DELETE FROM "{LAYER}" WHERE {self._where(db, number)}')  # noqa: S608
            extend(db, self._layout, old, None)

    def ensure_class(self, land_class: LandClass) -> None:
        """Add a class to the legend of the map, and to its colours in QGIS, if it is not there.

        A style that somebody made in QGIS stays as it is.

        Raises:
            ConfigError: The legend has one that differs by capitals only.
            OutputError: It cannot be written now.
        """
        name = land_class.name
        known = [c.name for c in self.legend.classes]
        if name in known:
            return
        twin = next((k for k in known if k.casefold() == name.casefold()), None)
        if twin is not None:
            raise ConfigError(
                f"no class '{name}' in {self.path}: there is a class '{twin}' already, which "
                f"differs by capitals only; write it so"
            )
        with self._turns.change() as db:
            old = self.legend
            try:
                new = Legend(classes=(*old.classes, land_class), exclusive=old.exclusive)
            except ValidationError as error:
                said = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise ConfigError(f"no class '{name}' in {self.path}: {said}") from error
            put_legend(db, str(self.path), new)

    def _provide(self, db: sqlite3.Connection, columns: Mapping[str, Any]) -> None:
        """Make the columns of reviews when one is needed for the first time.

        Raises:
            MapError: Another column is not there, or is not to be changed.
        """
        there = columns_of(db)
        lacking = [n for n in columns if n not in there and n != GEOMETRY]
        strange = [n for n in lacking if n not in reviewed.COLUMNS]
        strange += [n for n in ("id", self._layout.key, self._layout.geometry) if n in columns]
        if strange:
            raise MapError(f"{self.path} has no column '{strange[0]}' that could be changed")
        if lacking:
            for name in [n for n in reviewed.COLUMNS if n not in there]:
                db.execute(f'ALTER TABLE "{LAYER}" ADD COLUMN "{name}" TEXT')

    def _stored(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Return columns as the file calls and keeps them."""
        stored = {name: value for name, value in columns.items() if name != GEOMETRY}
        if GEOMETRY in columns:
            shape = columns[GEOMETRY]
            blob = None if shape is None else encode(shape, self._layout.srs_id)
            stored[self._layout.geometry] = blob
        return stored

    def _take_id(self, db: sqlite3.Connection) -> int:
        """Return an id that is not used, and not used again, whatever becomes of it."""
        highest = db.execute(f'SELECT max(id) FROM "{LAYER}"').fetchone()[0]  # noqa: S608
        self._last = max(self._last, highest or 0) + 1
        return self._last


def _plain(value: Any) -> Any:
    """Return a value as SQLite keeps it: what is not finite is nothing."""
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, shapely.Geometry) and isinstance(other, shapely.Geometry):
        return bool(shapely.to_wkb(one) == shapely.to_wkb(other))
    return bool(one == other)
