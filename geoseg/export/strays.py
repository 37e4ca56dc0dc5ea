"""Which rows did another program add, and what do they lack? An id of their own, and measures."""

from __future__ import annotations

import sqlite3
from contextlib import suppress

import shapely

from geoseg.export.blob import multipolygon
from geoseg.export.by_hand import measures
from geoseg.export.contents import Layout, quoted
from geoseg.export.table import LAYER
from geoseg.frame import Frame


def strays(db: sqlite3.Connection, layout: Layout) -> list[int]:
    """Return the keys of rows without an id, or with that of a row before them."""
    key = quoted(layout.key)
    found = db.execute(
        f"SELECT k FROM (SELECT {key} AS k, id, "  # noqa: S608
        f'row_number() OVER (PARTITION BY id ORDER BY {key}) AS n FROM "{LAYER}") '
        "WHERE id IS NULL OR n > 1 ORDER BY k"
    )
    return [k for (k,) in found]


def adopt(db: sqlite3.Connection, layout: Layout, key: int, number: int, frame: Frame) -> None:
    """Give a row an id, and measure it: a copy has the measures of what it was copied from."""
    name, geometry = quoted(layout.key), quoted(layout.geometry)
    blob = db.execute(
        f'SELECT {geometry} FROM "{LAYER}" WHERE {name} = {key:d}'  # noqa: S608
    ).fetchone()[0]
    shape: shapely.MultiPolygon | None = None
    with suppress(ValueError):
        shape = None if blob is None else multipolygon(blob)
    new = {"id": number, **measures(shape, frame)}
    assigned = ", ".join(f"{column} = ?" for column in new)
    db.execute(
        f'UPDATE "{LAYER}" SET {assigned} WHERE {name} = {key:d}',  # noqa: S608
        list(new.values()),
    )
