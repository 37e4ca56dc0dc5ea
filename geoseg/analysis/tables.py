"""How does a table of results get into a file, so that it is whole or not there?"""

from __future__ import annotations

import io
import json
import math
import sqlite3
import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pyogrio

from geoseg.errors import OutputError
from geoseg.export.check import LostError
from geoseg.export.formats import EPOCH
from geoseg.export.place import check_place, check_unused
from geoseg.export.single import put, put_bytes
from geoseg.export.style import add_style
from geoseg.export.write import Place
from geoseg.prepare import destination
from geoseg.runfolder import alone

_DIGITS = "%.10g"
"""More than is known of an area; fewer than what differs from machine to machine."""


def check_table(
    out: Path,
    sources: Sequence[str] = (),
    *,
    option: str = "--out",
    overwrite: bool,
    kinds: tuple[str, ...] = (".csv", ".json"),
) -> None:
    """Refuse a place where a table could not be written, before any work.

    Args:
        out: The file.
        sources: What is read.
        option: Names the file, for messages.
        overwrite: Whether it may be replaced.
        kinds: Endings that it may have.

    Raises:
        OutputError: Says why, and what to change.
        ConfigError: Likewise, of its name.
    """
    destination(out, option)
    if out.suffix.lower() not in kinds:
        raise OutputError(
            f"{option} {out} has the ending '{out.suffix}'; what is written here takes "
            f"{', '.join(kinds)}"
        )
    check_place(out, overwrite=overwrite, sources=sources, option=option)
    check_unused(out)


def save(table: pd.DataFrame, out: Path, layer: str = "table") -> None:
    """Write a table as .csv or .json, without geometries, or as .gpkg.

    Args:
        table: The table; cells that are NaN are empty there.
        out: The file; one that is there is replaced.
        layer: What the layer of a .gpkg is called.

    Raises:
        WriteFailedError: It could not be written; what was there is still there.
        OutputError: The place is in use.
    """
    kind = out.suffix.lower()
    if kind == ".json":
        save_json(records(table), out)
        return
    with alone(out) as place:
        if kind == ".gpkg":
            put_layers(out, place, {layer: table})
        else:
            put_bytes(out, place, [as_csv(table).encode()])


def save_json(facts: Any, out: Path) -> None:
    """Write what is JSON-able; else as `save`."""
    with alone(out) as place:
        put_bytes(out, place, [(json.dumps(facts, indent=1, allow_nan=False) + "\n").encode()])


def as_csv(table: pd.DataFrame) -> str:
    """Return a table as CSV, without geometries."""
    text = io.StringIO()
    _plain(table).to_csv(text, index=False, float_format=_DIGITS, lineterminator="\n")
    return text.getvalue()


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Return lines whose cells stand below each other, those of the first columns to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if k < left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table, JSON-able, without geometries; None where a cell is empty."""
    plain = _plain(table).astype(object)
    found: list[dict[str, Any]] = plain.where(plain.notna(), None).to_dict("records")
    return found


def known(value: float) -> float | None:
    """Return a number, or None where it is none."""
    return value if math.isfinite(value) else None


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    if isinstance(table, gpd.GeoDataFrame):
        return pd.DataFrame(table.drop(columns=table.geometry.name))
    return table


def put_layers(
    out: Path,
    place: Place,
    layers: Mapping[str, pd.DataFrame],
    *,
    metadata: Mapping[str, str] | None = None,
    style: str = "",
) -> None:
    """Write layers, and tables without geometries, to a GeoPackage that is made anew.

    Args:
        out: The file.
        place: Where it grows.
        layers: By name.
        metadata: Of each of them.
        style: QML of the first layer; QGIS takes it.

    Raises:
        WriteFailedError: It could not be written.
    """

    def make(part: Path) -> None:
        # Equal results are equal files; each is flushed once, before it gets its name.
        pyogrio.set_gdal_config_options(
            {"OGR_CURRENT_DATE": EPOCH, "OGR_SQLITE_SYNCHRONOUS": "OFF"}
        )
        given: dict[str, Any] = {"dataset_options": {"VERSION": "1.3"}}
        kept = {} if metadata is None else {"layer_metadata": dict(metadata)}
        for name, table in layers.items():
            with warnings.catch_warnings():
                # A map without a CRS was announced when it was made.
                warnings.filterwarnings("ignore", "'crs' was not provided")
                pyogrio.write_dataframe(table, part, layer=name, driver="GPKG", **given, **kept)
            given = {"append": True}
        if style:
            with closing(sqlite3.connect(part)) as db, db:
                db.execute("PRAGMA synchronous = OFF")
                add_style(db, next(iter(layers)), style, EPOCH)

    put(out, place, make, lambda part, _: _check(part, layers))


def _check(part: Path, layers: Mapping[str, pd.DataFrame]) -> None:
    for name, table in layers.items():
        found = pyogrio.read_dataframe(part, layer=name)
        same = records(found) == records(table)
        if isinstance(table, gpd.GeoDataFrame):
            same = same and found.geometry.geom_equals(table.geometry.reset_index(drop=True)).all()
        if not same:
            raise LostError(f"what was written is not in layer '{name}' of the file")
