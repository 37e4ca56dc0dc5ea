"""What does a GeoPackage say of its features beside themselves, when they are changed?

Their extent, when they were changed last, the recipe with the legend, and the style. The spatial
index and the number of features are kept right by triggers.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from xml.etree import ElementTree as ET

import shapely

from geoseg.errors import MapError
from geoseg.export.style import STYLES, class_style
from geoseg.export.table import LAYER
from geoseg.legend import Legend
from geoseg.recipe import Recipe

_NOW = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"

_SIDES = (("min", "minx", "ST_MinX"), ("min", "miny", "ST_MinY"),
          ("max", "maxx", "ST_MaxX"), ("max", "maxy", "ST_MaxY"))  # fmt: skip

_HAIR = 1e-12
"""Part of a coordinate by which an extent may be off: GDAL writes it with 16 digits."""

_ENTRY = ".//MDI[@key='geoseg']"
"""Where in the metadata of the layer GDAL keeps the recipe."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What is called what in the layer of features."""

    key: str
    """Column of the primary key."""
    geometry: str
    """Column of the outlines."""
    srs_id: int
    """Number of the CRS in the file."""

    @classmethod
    def of(cls, db: sqlite3.Connection) -> Layout:
        """Ask a GeoPackage."""
        key = db.execute("SELECT name FROM pragma_table_info(?) WHERE pk = 1", (LAYER,))
        geometry = db.execute(
            "SELECT column_name, srs_id FROM gpkg_geometry_columns WHERE table_name = ?", (LAYER,)
        )
        return cls(key.fetchone()[0], *geometry.fetchone())


def quoted(name: str) -> str:
    """Return a name as it stands in SQL."""
    return '"' + name.replace('"', '""') + '"'


def touch(db: sqlite3.Connection) -> None:
    """Note that the layer was changed."""
    db.execute(
        f"UPDATE gpkg_contents SET last_change = {_NOW} WHERE table_name = ?",  # noqa: S608
        (LAYER,),
    )


def extend(
    db: sqlite3.Connection,
    layout: Layout,
    old: shapely.Geometry | None,
    new: shapely.Geometry | None,
) -> None:
    """Keep the extent that of all features, where one became another, is gone or is new."""
    extent = db.execute(
        "SELECT min_x, min_y, max_x, max_y FROM gpkg_contents WHERE table_name = ?", (LAYER,)
    ).fetchone()
    known, there = None not in extent, new is not None and not new.is_empty
    if old is not None and not old.is_empty and not (known and _is_inside(old, extent)):
        # Only what lies at the edge can make it smaller.
        extent = _extent(db, layout)
    elif new is not None and there:
        low, high = new.bounds[:2], new.bounds[2:]
        if known:
            low, high = map(min, low, extent[:2]), map(max, high, extent[2:])
        extent = (*low, *high)
    db.execute(
        "UPDATE gpkg_contents SET min_x = ?, min_y = ?, max_x = ?, max_y = ? WHERE table_name = ?",
        (*extent, LAYER),
    )


def _is_inside(shape: shapely.Geometry, extent: tuple[float, float, float, float]) -> bool:
    hair = _HAIR * max(map(abs, extent))
    low = all(one > edge + hair for one, edge in zip(shape.bounds[:2], extent[:2], strict=True))
    high = all(one < edge - hair for one, edge in zip(shape.bounds[2:], extent[2:], strict=True))
    return low and high


def _extent(db: sqlite3.Connection, layout: Layout) -> tuple[float | None, ...]:
    """Return the extent of all features; Nones where there is none."""
    index = f"rtree_{LAYER}_{layout.geometry}"
    indexed = db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (index,)).fetchone()
    found = []
    for pick, side, function in _SIDES:
        query = f'SELECT {pick}({function}({quoted(layout.geometry)})) FROM "{LAYER}"'  # noqa: S608
        if indexed:
            # The index has it in single precision: those that may be outermost are few.
            query += (
                f" WHERE {quoted(layout.key)} IN (SELECT id FROM {quoted(index)} "  # noqa: S608
                f"WHERE {side} = (SELECT {pick}({side}) FROM {quoted(index)}))"
            )
        found.append(db.execute(query).fetchone()[0])
    return tuple(found)


def recipe_in(db: sqlite3.Connection, where: str) -> Recipe:
    """Return the recipe of a map.

    Raises:
        MapError: It has none.
    """
    return Recipe.parse(_entry(db, where)[2], where)


def put_legend(db: sqlite3.Connection, where: str, new: Legend) -> None:
    """Give a map another legend, and the style of it; one that was made in QGIS stays.

    Raises:
        MapError: It has no recipe that could hold it.
    """
    number, root, text = _entry(db, where)
    old = Recipe.parse(text, where)
    facts = {**old.facts, "legend": new.model_dump(mode="json")}
    for entry in root.iterfind(_ENTRY):
        entry.text = json.dumps(facts, sort_keys=True)
    db.execute(
        "UPDATE gpkg_metadata SET metadata = ? WHERE id = ?",
        (ET.tostring(root, encoding="unicode"), number),
    )
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (STYLES,)).fetchone():
        db.execute(
            f'UPDATE "{STYLES}" SET styleQML = ?, update_time = {_NOW} '  # noqa: S608
            "WHERE f_table_name = ? AND styleQML = ?",
            (class_style(new), LAYER, class_style(old.legend)),
        )


def _entry(db: sqlite3.Connection, where: str) -> tuple[int, ET.Element, str]:
    """Return the key of the metadata that hold the recipe, they themselves, and it."""
    for number, text in db.execute(
        "SELECT m.id, m.metadata FROM gpkg_metadata m JOIN gpkg_metadata_reference r "
        "ON m.id = r.md_file_id WHERE r.table_name = ?",
        (LAYER,),
    ):
        with suppress(ET.ParseError):
            root = ET.fromstring(text)  # noqa: S314  GDAL read it as well when it was opened
            entry = root.find(_ENTRY)
            if entry is not None and entry.text:
                return number, root, entry.text
    raise MapError(f"{where} does not say any more how it was made")
