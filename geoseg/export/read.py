"""What is in a map that geoseg wrote? Its features batch by batch, and what made them."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pyproj
import shapely
from pydantic import ValidationError
from pyogrio.errors import DataLayerError, DataSourceError

from geoseg.errors import MapError
from geoseg.export.held import mend
from geoseg.export.place import FORMATS, failed_path, is_locked
from geoseg.export.style import class_style
from geoseg.export.table import COLUMNS, FAILED_LAYER, LAYER, Failed, Layer, Target, schema
from geoseg.legend import LandClass, Legend
from geoseg.recipe import Recipe
from geoseg.reviewed import REVIEW, check_only, check_reviewed, keeps
from geoseg.vectors import plainly

log = logging.getLogger(__name__)

BATCH_ROWS = 4096

_CLASSES_SHOWN = 5
"""Classes that a message lists."""

_EXTRA = (pa.types.is_integer, pa.types.is_floating, pa.types.is_string, pa.types.is_boolean)
"""Types of columns that others may have added."""

_TROUBLE = (DataSourceError, DataLayerError, pa.ArrowException, OSError, RuntimeError)


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """A map of geoseg, open for reading."""

    path: Path
    """The file."""
    kind: str
    """Its format, one of FORMATS."""
    crs: str | None
    """WKT of its CRS, or None."""
    fields: pa.Schema
    """Its columns; the last is the geometry as WKB."""
    count: int
    """Number of features."""
    legend: Legend
    """Its classes; of formats without a recipe, those that occur."""
    recipe: Recipe | None
    """What made it; FlatGeobuf and GeoJSON cannot hold it."""
    only: str | None = None
    """Which of its polygons are read, of `reviewed.ONLY`; all where None."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield its rows, in the order of the file, which is that of `id` but for FlatGeobuf.

        Raises:
            MapError: It cannot be read to its end.
        """
        try:
            for batch in _read(self.path, self.kind, self.fields):
                heeded = self._heeded(batch)
                self._check_rows(heeded)
                if heeded.num_rows or not batch.num_rows:
                    yield heeded
        except _TROUBLE as error:
            raise _unreadable(self.path, error) from error

    def _check_rows(self, batch: pa.RecordBatch) -> None:
        for name in ("class", "geometry"):
            column = batch.column(name)
            if column.null_count:
                row = column.is_null().to_pylist().index(True)
                number = batch.column("id")[row].as_py()
                raise MapError(
                    f"feature {number} of {self.path} has no {name}, as an edit may have left it; "
                    "mend or delete it there"
                )

    def columns(self, *names: str) -> Iterator[tuple[Any, ...]]:
        """Yield some columns of its rows as Python values; geometries are not read.

        Raises:
            MapError: It cannot be read to its end.
        """
        try:
            needed = names if self.only is None else {*names, REVIEW}
            for batch in map(self._heeded, _open(self.path, self.kind, [*needed])):
                yield from zip(*(batch.column(name).to_pylist() for name in names), strict=True)
        except _TROUBLE as error:
            raise _unreadable(self.path, error) from error

    def _heeded(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return those of its rows that are read."""
        if self.only is None:
            return batch
        states = batch.column(REVIEW).to_pylist()
        return batch.filter(pa.array([keeps(state, self.only) for state in states], pa.bool_()))

    def reviewed(self, only: str | None) -> Map:
        """Return it with those polygons alone that `--only` lets through.

        Raises:
            ConfigError: `only` is not known.
            MapError: Nobody has reviewed it, or has accepted anything.
        """
        check_only(only)
        if only is None:
            return self
        count = self._states()
        check_reviewed(str(self.path), count, only)
        left = sum(number for state, number in count.items() if keeps(state, only))
        return replace(self, count=left, only=only)

    def rejected(self) -> int:
        """Return how many of the polygons that are read were rejected by a reviewer."""
        return 0 if self.only is not None else self._states()["rejected"]

    def _states(self) -> Counter[str | None]:
        """Count what reviewers said; nothing where there is no column of it."""
        if REVIEW not in self.fields.names:
            return Counter()
        return Counter(state for (state,) in replace(self, only=None).columns(REVIEW))

    def edited(self) -> Map:
        """Return it with a legend of all classes that occur: an edit may have added some, last.

        Raises:
            MapError: A feature has no class, or one that no legend can have.
        """
        count = Counter(name for (name,) in self.columns("class"))
        if None in count:
            # Says of which feature.
            deque(self.batches(), maxlen=0)
        new = sorted(count.keys() - {c.name for c in self.legend.classes})
        if not new:
            return self
        listed = ", ".join(f"'{name}' ({count[name]})" for name in new[:_CLASSES_SHOWN])
        has = f"{self.path} has classes that its legend lacks, as an edit may have added: {listed}"
        try:
            legend = _with(self.legend, new)
        except ValueError as error:
            said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise MapError(f"{has}; {said.removeprefix('Value error, ')}: mend it there") from error
        log.warning("%s; they go last in the legend", has)
        return replace(self, legend=legend)

    def layer(self) -> Layer:
        """Return its features as a layer to write."""
        return Layer(LAYER, "MultiPolygon", self.fields, self.batches(), class_style(self.legend))

    def made_by(self) -> Recipe:
        """Return its recipe.

        Raises:
            MapError: It has none.
        """
        if self.recipe is None:
            raise MapError(
                f"{self.path} says nothing of how it was made, as {self.path.suffix} cannot; give "
                "the .gpkg or .parquet of the run"
            )
        return self.recipe

    def failed(self) -> Failed:
        """Return the tiles that are missing in it.

        Raises:
            MapError: They cannot be read.
        """
        path, layer = failed_path(self.path), None
        if self.kind == "GPKG":
            path, layer = self.path, FAILED_LAYER
            if layer not in pyogrio.list_layers(path)[:, 0]:
                return []
        if not path.exists():
            return []
        try:
            table = _table(path, self.kind, layer)
        except _TROUBLE as error:
            raise _unreadable(path, error) from error
        names, reasons, outlines = (table.column(c).to_pylist() for c in (0, 1, 2))
        return list(zip(names, reasons, shapely.from_wkb(outlines).tolist(), strict=True))


def open_map(path: Path) -> Map:
    """Open a map.

    Args:
        path: A file that geoseg wrote: .gpkg, .parquet, .fgb or .geojson.

    Raises:
        MapError: It is missing, no map of geoseg, or in use by another program.
    """
    kind = FORMATS.get(path.suffix.lower())
    # Too long a name is no file, and no error.
    if not os.path.isfile(path):  # noqa: PTH113
        what = f"{path} is a folder" if os.path.isdir(path) else f"no such file: {path}"  # noqa: PTH112
        raise MapError(f"{what}; give a map that geoseg wrote")
    if kind is None:
        raise MapError(f"{path} is no map of geoseg: those end in {', '.join(FORMATS)}")
    if kind == "GPKG":
        mend(path)
    try:
        if kind == "Parquet":
            with pq.ParquetFile(path) as file:
                found, count = file.schema_arrow, file.metadata.num_rows
            text, crs = _of_parquet(found)
        else:
            found, count, text, crs = _of_gdal(path, kind)
    except _TROUBLE as error:
        raise _unreadable(path, error) from error
    recipe = None
    if text is not None and kind in ("GPKG", "Parquet"):
        recipe = Recipe.parse(text, str(path))
        _check_crs(path, crs, recipe.frame.crs)
        crs = recipe.frame.crs
    elif kind in ("GPKG", "Parquet"):
        raise MapError(f"{path} is no map of geoseg: it does not say how it was made")
    fields = _fields(path, found)
    legend = _occurring(path, kind) if recipe is None else recipe.legend
    return Map(path, kind, crs, fields, count, legend, recipe)


def _of_parquet(found: pa.Schema) -> tuple[str | None, str | None]:
    """Return recipe and CRS."""
    stored = found.metadata or {}
    geo = json.loads(stored.get(b"geo", b"{}"))
    crs = geo.get("columns", {}).get("geometry", {}).get("crs")
    wkt = None if crs is None else pyproj.CRS.from_json_dict(crs).to_wkt()
    text = stored.get(b"geoseg")
    return (None if text is None else text.decode("utf-8", "replace")), wkt


def _of_gdal(path: Path, kind: str) -> tuple[pa.Schema, int, str | None, str | None]:
    """Return columns, number of rows, recipe and CRS."""
    layer = LAYER if kind == "GPKG" else None
    info = pyogrio.read_info(path, layer=layer, force_feature_count=True)
    with pyogrio.open_arrow(path, layer=layer, use_pyarrow=True) as (_, reader):
        found = reader.schema
    named = info["crs"]
    crs = None if named is None else pyproj.CRS.from_user_input(named)
    # GeoPackage has a name for no CRS.
    wkt = None if crs is None or crs.name.startswith("Undefined") else crs.to_wkt()
    text = (info["layer_metadata"] or {}).get("geoseg")
    return found, info["features"], text, wkt


def _check_crs(path: Path, found: str | None, made: str | None) -> None:
    """Refuse a map that was reprojected since: its recipe tells of another place."""
    if not _same_crs(found, made):
        raise MapError(
            f"{path} is not in the CRS in which it was made; export the map as geoseg wrote it"
        )


def _same_crs(found: str | None, made: str | None) -> bool:
    if found is None or made is None:
        return found is made
    one, other = pyproj.CRS.from_wkt(found), pyproj.CRS.from_wkt(made)
    # Formats may keep the number only, and say the rest in other words.
    known = one.to_authority()
    numbered = known is not None and known == other.to_authority()
    return bool(numbered or one.equals(other, ignore_axis_order=True))


def _fields(path: Path, found: pa.Schema) -> pa.Schema:
    """Return columns as geoseg writes them, then those that others added, then the geometry."""
    lacking = [name for name in COLUMNS if name not in found.names]
    if lacking:
        raise MapError(f"{path} is no map of geoseg: it lacks the column {', '.join(lacking)}")
    nowhere = Target(path, None, Legend.parse("any"), "")
    *ours, geometry = schema(nowhere)
    known = {field.name for field in ours}
    extra = [f for f in found if f.name not in known and not _is_geometry(f)]
    odd = next((f for f in extra if not any(is_type(f.type) for is_type in _EXTRA)), None)
    if odd is not None:
        raise MapError(
            f"{path} has a column '{odd.name}' of type {odd.type}, which not every format can "
            "hold; remove it, or make it text"
        )
    return pa.schema([*ours, *(pa.field(f.name, f.type) for f in extra), geometry])


def _is_geometry(field: pa.Field) -> bool:
    kind = getattr(field.type, "storage_type", field.type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _open(path: Path, kind: str, names: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    """Yield rows as they are stored: of some columns, or all and the geometry."""
    columns = None if names is None else list(names)
    if kind == "Parquet":
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield from file.iter_batches(BATCH_ROWS, columns=columns)
        return
    source = pyogrio.open_arrow(
        path,
        layer=LAYER if kind == "GPKG" else None,
        columns=columns,
        read_geometry=columns is None,
        batch_size=BATCH_ROWS,
        use_pyarrow=True,
    )
    with source as (_, reader):
        yield from (batch for batch in reader if batch.num_rows)


def _read(path: Path, kind: str, fields: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in _open(path, kind, None):
        yield _cast(batch, fields)


def _cast(batch: pa.RecordBatch, fields: pa.Schema) -> pa.RecordBatch:
    shapes = next(k for k, field in enumerate(batch.schema) if _is_geometry(field))
    columns = [batch.column(name) for name in fields.names[:-1]] + [batch.column(shapes)]
    plain = [getattr(column, "storage", column) for column in columns]
    cast = [column.cast(field.type) for column, field in zip(plain, fields, strict=True)]
    return pa.RecordBatch.from_arrays(cast, schema=fields)


def _table(path: Path, kind: str, layer: str | None) -> pa.Table:
    """Return name, reason and WKB of each failed tile; they are few."""
    if kind == "Parquet":
        return pq.read_table(path, columns=["tile", "reason", "geometry"])
    columns: list[Any] = ["tile", "reason"]
    _, table = pyogrio.read_arrow(path, layer=layer, columns=columns)
    shapes = next(k for k, field in enumerate(table.schema) if _is_geometry(field))
    kept = [table.column("tile"), table.column("reason"), table.column(shapes)]
    return pa.table(dict(zip(("tile", "reason", "geometry"), kept, strict=True)))


def _with(legend: Legend, names: Sequence[str]) -> Legend:
    """Return a legend with further classes.

    Raises:
        ValueError: Says which name cannot be.
    """
    more = tuple(LandClass(name=name) for name in names)
    for name, added in zip(names, more, strict=True):
        if added.name != name:
            raise ValueError(f"class '{name}' has odd spaces or accents, for '{added.name}'")
    return Legend(classes=(*legend.classes, *more), exclusive=legend.exclusive)


def _occurring(path: Path, kind: str) -> Legend:
    names: set[str] = set()
    for batch in _open(path, kind, ["class"]):
        names.update(batch.column("class").unique().to_pylist())
    # A feature without a class is told when rows are read.
    known = sorted(names - {None}) or ["any"]
    try:
        return Legend(classes=tuple(LandClass(name=name) for name in known))
    except ValueError as error:
        raise MapError(f"{path} is no map of geoseg: its classes are {known[:5]}") from error


def _unreadable(path: Path, error: BaseException) -> MapError:
    said = " ".join(str(error).split()) or type(error).__name__
    if "locked" in said or (path.suffix.lower() == ".gpkg" and is_locked(path)):
        return MapError(
            f"{path} is being written by another program (QGIS?); end its editing there, and run "
            "the same command again"
        )
    if "could not be opened" in said or "not found" in said:
        return MapError(f"{path} is no map of geoseg: it has no layer '{LAYER}'")
    return MapError(f"{path} is no map of geoseg, or is damaged: {plainly(path, error)}")
