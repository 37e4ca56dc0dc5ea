"""How is a layer written in each format? By GDAL or Arrow, to a file that nobody reads yet."""

from __future__ import annotations

import json
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pyproj
import shapely

from geoseg.errors import OutputError
from geoseg.export.style import add_style
from geoseg.export.table import LAYER, Layer

EPOCH = "1970-01-01T00:00:00.000Z"
"""GeoPackage stores a time of change; a fixed one keeps equal maps equal, byte for byte."""

CRS84 = "OGC:CRS84"


def write_layer(
    path: Path | BytesIO, kind: str, layer: Layer, crs: str | None, recipe: str
) -> None:
    """Write a layer; to a GeoPackage that is there, it is added.

    Args:
        path: The file to make.
        kind: The format, one of FORMATS.
        layer: What to write, in the CRS that `in_crs_of` gives.
        crs: WKT of that CRS, or None.
        recipe: Stored beside the features where the format can.
    """
    if kind == "Parquet":
        _write_parquet(path, layer, crs, recipe)
    else:
        _write_gdal(path, kind, layer, crs, recipe)
    if kind == "GPKG" and layer.style:
        _write_style(path, layer)


def _write_gdal(
    path: Path | BytesIO, kind: str, layer: Layer, crs: str | None, recipe: str
) -> None:
    # Each file is flushed once, before it gets its name.
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": EPOCH, "OGR_SQLITE_SYNCHRONOUS": "OFF"})
    added = isinstance(path, Path) and path.exists()
    options: dict[str, Any] = {}
    if kind == "GPKG" and not added:
        # QGIS before 3.38 warns about the 1.4 that GDAL writes now.
        options["dataset_options"] = {"VERSION": "1.3"}
    if kind == "GPKG" and layer.name == LAYER:
        options["layer_metadata"] = {"geoseg": recipe}
    if kind == "GeoJSON":
        options["layer_options"] = {"RFC7946": "YES"}
    with warnings.catch_warnings():
        # A raster without a CRS was announced when it was opened.
        warnings.filterwarnings("ignore", "'crs' was not provided")
        pyogrio.write_arrow(
            pa.RecordBatchReader.from_batches(layer.fields, iter(layer.batches)),
            path,
            layer=layer.name,
            driver=kind,
            geometry_name="geometry" if layer.shape else None,
            geometry_type=layer.shape or None,
            crs=crs if layer.shape else None,
            append=added,
            **options,
        )


def _write_style(path: Path | BytesIO, layer: Layer) -> None:
    if isinstance(path, Path):
        with closing(sqlite3.connect(path)) as db, db:
            # Each file is flushed once, before it gets its name.
            db.execute("PRAGMA synchronous = OFF")
            add_style(db, layer.name, layer.style, EPOCH)
        return
    with closing(sqlite3.connect(":memory:")) as db:
        db.deserialize(path.getvalue())
        with db:
            add_style(db, layer.name, layer.style, EPOCH)
        path.seek(0)
        path.write(db.serialize())


def _write_parquet(path: Path | BytesIO, layer: Layer, crs: str | None, recipe: str) -> None:
    fields = geo_schema(layer, crs, recipe)
    with pq.ParquetWriter(path, fields, compression="zstd", write_page_checksum=True) as writer:
        for batch in layer.batches:
            writer.write_batch(batch.cast(fields))


def geo_schema(layer: Layer, crs: str | None, recipe: str) -> pa.Schema:
    """Return columns as GeoParquet 1.1 (https://geoparquet.org/releases/v1.1.0) wants them."""
    geo = {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {
            "geometry": {
                "encoding": "WKB",
                "geometry_types": [layer.shape],
                "crs": None if crs is None else pyproj.CRS.from_wkt(crs).to_json_dict(),
                "orientation": "counterclockwise",
            }
        },
    }
    return layer.fields.with_metadata({"geo": json.dumps(geo), "geoseg": recipe})


def in_crs_of(kind: str, layer: Layer, crs: str | None) -> tuple[Layer, str | None]:
    """Return a layer in the CRS that a format wants, and that CRS: GeoJSON is always CRS84."""
    if kind != "GeoJSON" or crs is None:
        return layer, crs
    return replace(layer, batches=_to_lonlat(layer, crs)), CRS84


def _to_lonlat(layer: Layer, crs: str) -> Iterator[pa.RecordBatch]:
    to_lonlat = pyproj.Transformer.from_crs(crs, CRS84, always_xy=True)
    place = layer.fields.get_field_index("geometry")
    for batch in layer.batches:
        geometries = shapely.from_wkb(batch.column(place).to_numpy(zero_copy_only=False))
        moved = shapely.transform(
            geometries, lambda xy: np.column_stack(to_lonlat.transform(xy[:, 0], xy[:, 1]))
        )
        if not np.isfinite(shapely.get_coordinates(moved)).all():
            raise OutputError(
                "part of the map has no longitude and latitude, which GeoJSON is written in; "
                "use .gpkg, .parquet or .fgb"
            )
        moved = shapely.orient_polygons(moved, exterior_cw=False)
        yield batch.set_column(place, "geometry", pa.array(shapely.to_wkb(moved), pa.binary()))
