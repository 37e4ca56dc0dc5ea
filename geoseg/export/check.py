"""Does a file hold what was given to the library that wrote it?

Writers may return as if all were well when they failed: on a full disk GDAL closes a GeoPackage of
0 features, or one without the triggers that keep its counts right. So the file is closed, flushed,
dropped from memory and read from the disk by a reader that did not write it, where there is one.
Every row is compared, by a sum of hashes. That is as sure as writing to memory and then copying the
bytes, for nothing that is on the disk goes unread, and a map of a million polygons does not have to
fit in memory.
"""

from __future__ import annotations

import json
import sqlite3
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import shapely

from geoseg.export.blob import wkb_of
from geoseg.export.formats import geo_schema, write_layer
from geoseg.export.style import STYLES
from geoseg.export.tally import Given, Rounded, Tally

BATCH_ROWS = 4096
CHUNK_CHARS = 2**20

Row = tuple[Any, ...]
_T = TypeVar("_T")

_CHANGED = "not all of {} features are in the file as they were written"


class LostError(Exception):
    """A file does not hold what was written to it; says what is amiss."""


def check(path: Path, kind: str, given: Sequence[Given], crs: str | None, recipe: str) -> None:
    """Compare a closed file with what its layers were given.

    Args:
        path: The file.
        kind: Its format, one of FORMATS.
        given: What was written, layer by layer; formats but GPKG have one.
        crs: As it was given to `write_layer`.
        recipe: Likewise.

    Raises:
        LostError: It holds something else, or cannot be read.
    """
    try:
        # What GDAL mutters of a damaged file is told in one line.
        with warnings.catch_warnings(action="ignore"):
            _check(path, kind, given, crs, recipe)
    except LostError:
        raise
    except Exception as error:
        # Whatever a reader stumbles over is damage.
        raise LostError(f"what was written cannot be read back: {error}") from error


def _check(path: Path, kind: str, given: Sequence[Given], crs: str | None, recipe: str) -> None:
    if kind == "GPKG":
        _check_gpkg(path, given, crs, recipe)
    elif kind == "GeoJSON":
        _check_geojson(path, given[0], crs, recipe)
    elif kind == "FlatGeobuf":
        _check_flatgeobuf(path, given[0], crs, recipe)
    else:
        _check_parquet(path, given[0], crs, recipe)


def _compare(rows: Iterable[Row], given: Given) -> None:
    found = Tally()
    found.add(rows)
    _same_count(found, given.rows)
    if found != given.rows:
        raise LostError(_CHANGED.format(given.rows.count))


def _same_count(found: Tally, given: Tally) -> None:
    if found.count != given.count:
        raise LostError(f"only {found.count} of {given.count} features arrived in the file")


def _check_parquet(path: Path, given: Given, crs: str | None, recipe: str) -> None:
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        wanted, stored = geo_schema(given.source, crs, recipe), file.metadata.metadata
        # Arrow keeps them twice; other readers look at the second place only.
        same = all(stored.get(key) == value for key, value in wanted.metadata.items())
        if not same or not file.schema_arrow.equals(wanted, check_metadata=True):
            raise LostError("columns or CRS are not in the file as they were written")
        _compare(chain.from_iterable(map(rows_of, file.iter_batches(BATCH_ROWS))), given)


def rows_of(batch: pa.RecordBatch) -> Iterator[Row]:
    """Return the rows of a batch as plain Python values."""
    return zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _check_flatgeobuf(path: Path, given: Given, crs: str | None, recipe: str) -> None:
    """Read what lies within the extent: by a hair's breadth less, or GDAL passes by the index."""
    low, high = given.bounds[:2], given.bounds[2:]
    hair = np.concatenate([np.nextafter(low, np.inf), np.nextafter(high, -np.inf)])
    bbox = tuple(hair.tolist()) if given.rows.count else None
    empty = _empty("FlatGeobuf", given, crs, recipe)
    source = pyogrio.open_arrow(path, bbox=bbox, use_pyarrow=True, batch_size=BATCH_ROWS)
    with pyogrio.open_arrow(BytesIO(empty)) as (wanted, _), source as (found, batches):
        if found["crs"] != wanted["crs"] or list(found["fields"]) != list(wanted["fields"]):
            raise LostError("columns or CRS are not in the file as they were written")
        _compare(chain.from_iterable(map(rows_of, batches)), given)


def _check_geojson(path: Path, given: Given, crs: str | None, recipe: str) -> None:
    frame = _empty("GeoJSON", given, crs, recipe).decode().partition("]")
    head, tail = frame[0].rstrip(), "".join(frame[1:])
    found = Rounded()
    for features in _batched(_read_geojson(path, head, tail)):
        rows = (tuple(feature["properties"].values()) for _, feature in features)
        found.add(rows, shapely.from_geojson([text for text, _ in features]))
    _same_count(found.rows, given.rows)
    if not found.agrees(given.rounded):
        raise LostError(_CHANGED.format(given.rows.count))


def _batched(items: Iterable[_T]) -> Iterator[list[_T]]:
    source = iter(items)
    while batch := list(islice(source, BATCH_ROWS)):
        yield batch


def _read_geojson(path: Path, head: str, tail: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return text and value of each feature of a collection; head and tail are what frames them."""
    decoder = json.JSONDecoder()
    with path.open(encoding="utf-8", newline="") as file:
        text, place = file.read(CHUNK_CHARS), len(head)
        if not text.startswith(head):
            raise LostError("the beginning of the file is missing")
        while True:
            place = _skip(text, place, ", \r\n")
            if text[place : place + 1] == "]":
                break
            try:
                feature, end = decoder.raw_decode(text, place)
            except json.JSONDecodeError:
                # Perhaps only the end of what was read so far; more each time, for giant shapes.
                more = file.read(max(CHUNK_CHARS, len(text)))
                if not more:
                    raise
                text, place = text[place:] + more, 0
                continue
            yield text[place:end], feature
            place = end
        if text[place:] + file.read() != tail:
            raise LostError("the end of the file is missing")


def _skip(text: str, place: int, blanks: str) -> int:
    while text[place : place + 1] and text[place] in blanks:
        place += 1
    return place


def _check_gpkg(path: Path, given: Sequence[Given], crs: str | None, recipe: str) -> None:
    # "immutable": a journal beside it would mean that GDAL did not finish, not that we shall.
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as db:
        verdict = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if verdict != "ok":
            raise LostError(f"the GeoPackage is damaged: {verdict}")
        for layer in given:
            _check_gpkg_layer(db, layer)
        wanted = set().union(*(_reference(layer, crs, recipe) for layer in given))
        wrong = sorted({str(entry[:3]) for entry in _skeleton(db) ^ wanted})
        if wrong:
            raise LostError(f"the GeoPackage lacks parts, or has others: {', '.join(wrong[:3])}")


def _check_gpkg_layer(db: sqlite3.Connection, given: Given) -> None:
    name, fields = given.source.name, given.source.fields.names
    has_shape = bool(given.source.shape)
    columns = ", ".join(f'"{c}"' for c in (fields[:-1] if has_shape else fields))
    what = f"{columns}, geom" if has_shape else columns
    rows = db.execute(f'SELECT {what} FROM "{name}"')  # noqa: S608  names are fixed
    _compare(((*row[:-1], wkb_of(row[-1])) if has_shape else row for row in rows), given)
    total = given.rows.count
    counted = db.execute(
        "SELECT feature_count FROM gpkg_ogr_contents WHERE table_name = ?", (name,)
    ).fetchone()
    if counted != (total,):
        raise LostError(f"the GeoPackage says that layer {name} has {counted} features")
    if has_shape:
        _check_places(db, name, given)


def _check_places(db: sqlite3.Connection, name: str, given: Given) -> None:
    """Look whether the index and the extent of a layer are those of its features."""
    total = given.rows.count
    # The index's own table: it can be read without SQLite's rtree module.
    indexed = db.execute(
        f'SELECT count(*) FROM "rtree_{name}_geom_rowid" r JOIN "{name}" f ON f.fid = r.rowid'  # noqa: S608
    ).fetchone()
    if indexed != (total,):
        raise LostError(f"the spatial index of layer {name} has {indexed[0]} of {total} features")
    if db.execute("SELECT sqlite_compileoption_used('ENABLE_RTREE')").fetchone()[0]:
        verdict = db.execute("SELECT rtreecheck(?)", (f"rtree_{name}_geom",)).fetchone()[0]
        if verdict != "ok":
            raise LostError(f"the spatial index of layer {name} is damaged: {verdict}")
    extent = db.execute(
        "SELECT min_x, min_y, max_x, max_y FROM gpkg_contents WHERE table_name = ?", (name,)
    ).fetchone()
    if total and not np.allclose(np.array(extent, float), given.bounds, rtol=1e-12, atol=0):
        raise LostError(f"the extent of layer {name} is not that of its features")


_STYLE_COLUMNS = (
    "f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, styleQML, "
    "styleSLD, useAsDefault, description, owner, ui, update_time"
)

_SKELETON = (
    "SELECT type, name, tbl_name, sql FROM sqlite_master",
    "SELECT table_name, data_type, identifier, last_change, srs_id FROM gpkg_contents",
    "SELECT * FROM gpkg_geometry_columns",
    "SELECT * FROM gpkg_spatial_ref_sys",
    "SELECT * FROM gpkg_extensions",
    "SELECT * FROM gpkg_metadata",
    "SELECT * FROM gpkg_metadata_reference",
    f"SELECT {_STYLE_COLUMNS} FROM {STYLES}",  # noqa: S608  names are fixed
    "SELECT * FROM pragma_application_id, pragma_user_version",
)


def _skeleton(db: sqlite3.Connection) -> set[Row]:
    """Return all of a GeoPackage that does not depend on its features: tables, triggers, CRS."""
    there = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    found: set[Row] = set()
    for query in _SKELETON:
        table = query.rpartition(" ")[2]
        if table in there or not table.startswith(("gpkg_", STYLES)):
            found |= {(query, *row) for row in db.execute(query)}
    return found


def _reference(given: Given, crs: str | None, recipe: str) -> set[Row]:
    """Return the skeleton that a layer should have."""
    with closing(sqlite3.connect(":memory:")) as db:
        db.deserialize(_empty("GPKG", given, crs, recipe))
        return _skeleton(db)


def _empty(kind: str, given: Given, crs: str | None, recipe: str) -> bytes:
    """Return a file of the same layer without rows, made in memory, where no disk fails."""
    made = BytesIO()
    write_layer(made, kind, replace(given.source, batches=()), crs, recipe)
    return made.getvalue()
