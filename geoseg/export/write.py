"""How is a file written so that it is whole or not there?

The file grows in the run folder, is checked, flushed to disk and renamed. A run that is killed
leaves it there, where the next one removes it.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pyproj
import shapely

from geoseg.errors import OutputError
from geoseg.export.table import (
    FAILED_LAYER,
    LAYER,
    Target,
    failed_path,
    format_of,
    record_batches,
    schema,
)
from geoseg.folder import flush_names

if TYPE_CHECKING:
    from geoseg.features import Features

EPOCH = "1970-01-01T00:00:00.000Z"
"""GeoPackage stores a time of change; a fixed one keeps equal maps equal, byte for byte."""

Failed = list[tuple[str, str, shapely.Polygon]]
"""Name, reason and outline (in the CRS of the map) of each tile that failed."""


class Place(Protocol):
    """Where a map grows."""

    @property
    def scratch(self) -> Path:
        """Folder on the file system of the output; it does not stay."""
        ...

    def announce(self, growing: Path, output: Path) -> None:
        """Hear that a file is about to get the name of the output."""
        ...


def write(target: Target, found: Iterable[Features], failed: Failed, place: Place) -> int:
    """Write a map; returns the number of features.

    Args:
        target: Where it goes.
        found: Features in order of their number.
        failed: Tiles to show as missing: layer `failed_tiles` of a GeoPackage, for the other
            formats a second file `NAME_failed_tiles`.
        place: Where files grow; is told before the map gets its name.

    Raises:
        OutputError: It could not be written completely; nothing is left at the final path.
    """
    scratch = place.scratch
    growing = scratch / f"map{target.path.suffix}"
    counter = _Counter()
    kind = format_of(target.path)
    batches = counter.count(record_batches(found, target))
    try:
        _remove(scratch)
        scratch.mkdir(parents=True)
        if kind == "Parquet":
            _write_parquet(growing, batches, target)
        else:
            _write_gdal(growing, batches, target, kind)
        written = _count(growing, kind)
        if written != counter.total:
            raise OutputError(
                f"{target.path} was not written completely ({written} of {counter.total} "
                "features); is the disk full?"
            )
        # A map that lacks tiles must never be seen without the file that tells which.
        if failed:
            _write_failed(growing, target, failed, kind)
        place.announce(growing, target.path)
        _publish(growing, target.path)
        if not failed and kind != "GPKG":
            failed_path(target.path).unlink(missing_ok=True)
    except (OSError, pa.ArrowException, pyogrio.errors.DataSourceError, RuntimeError) as error:
        raise OutputError(f"cannot write {target.path}: {error}") from error
    finally:
        _remove(scratch)
    return counter.total


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


class _Counter:
    """Counts what passes through a stream."""

    def __init__(self) -> None:
        self.total = 0

    def count(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            self.total += batch.num_rows
            yield batch


def _write_gdal(path: Path, batches: Iterator[pa.RecordBatch], target: Target, kind: str) -> None:
    crs = target.crs
    if kind == "GeoJSON":
        batches, crs = _to_lonlat(batches, target.crs or ""), "OGC:CRS84"
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": EPOCH, "OGR_SQLITE_SYNCHRONOUS": "OFF"})
    options: dict[str, Any] = {}
    if kind == "GPKG":
        # QGIS before 3.38 warns about the 1.4 that GDAL writes now.
        options = {
            "dataset_options": {"VERSION": "1.3"},
            "layer_metadata": {"geoseg": target.recipe},
        }
    if kind == "GeoJSON":
        options = {"layer_options": {"RFC7946": "YES"}}
    with warnings.catch_warnings():
        # A raster without a CRS was announced when it was opened.
        warnings.filterwarnings("ignore", "'crs' was not provided")
        pyogrio.write_arrow(
            pa.RecordBatchReader.from_batches(schema(), batches),
            path,
            layer=LAYER,
            driver=kind,
            geometry_name="geometry",
            geometry_type="MultiPolygon",
            crs=crs,
            **options,
        )


def _to_lonlat(batches: Iterator[pa.RecordBatch], crs: str) -> Iterator[pa.RecordBatch]:
    to_lonlat = pyproj.Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    place = schema().get_field_index("geometry")
    for batch in batches:
        geometries = shapely.from_wkb(batch.column(place).to_numpy(zero_copy_only=False))
        moved = shapely.transform(
            geometries, lambda xy: np.column_stack(to_lonlat.transform(xy[:, 0], xy[:, 1]))
        )
        moved = shapely.orient_polygons(moved, exterior_cw=False)
        yield batch.set_column(place, "geometry", pa.array(shapely.to_wkb(moved), pa.binary()))


def _write_parquet(path: Path, batches: Iterator[pa.RecordBatch], target: Target) -> None:
    """Write GeoParquet 1.1 (https://geoparquet.org/releases/v1.1.0): WKB and its metadata."""
    crs = None if target.crs is None else pyproj.CRS.from_wkt(target.crs).to_json_dict()
    geo = {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {
            "geometry": {
                "encoding": "WKB",
                "geometry_types": ["MultiPolygon"],
                "crs": crs,
                "orientation": "counterclockwise",
            }
        },
    }
    fields = schema().with_metadata({"geo": json.dumps(geo), "geoseg": target.recipe})
    with pq.ParquetWriter(path, fields, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch.cast(fields))


def _count(path: Path, kind: str) -> int:
    if kind == "Parquet":
        return int(pq.read_metadata(path).num_rows)
    layer = LAYER if kind == "GPKG" else None
    return int(pyogrio.read_info(path, layer=layer, force_feature_count=True)["features"])


def _write_failed(growing: Path, target: Target, failed: Failed, kind: str) -> None:
    import geopandas as gpd

    names, reasons, tiles = zip(*failed, strict=True)
    frame = gpd.GeoDataFrame(
        {"tile": names, "reason": reasons}, geometry=list(tiles), crs=target.crs
    )
    if kind == "GPKG":
        frame.to_file(growing, layer=FAILED_LAYER, driver=kind, mode="a")
        return
    other = growing.with_stem(FAILED_LAYER)
    if kind == "Parquet":
        frame.to_parquet(other)
    elif kind == "GeoJSON" and target.crs is not None:
        frame.to_crs("OGC:CRS84").to_file(other, driver=kind)
    else:
        frame.to_file(other, driver=kind)
    _publish(other, failed_path(target.path))


def _publish(growing: Path, final: Path) -> None:
    """Make sure that the bytes are on disk, then give the file its name."""
    with growing.open("rb+") as file:
        os.fsync(file.fileno())
    growing.replace(final)
    flush_names(final.parent)
