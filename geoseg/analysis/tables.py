"""How does a table of results get into a file, so that it is whole or not there?"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from geoseg.export.write import Place
from geoseg.prepare import destination
from geoseg.runfolder import RunFolder

_DIGITS = "%.10g"
"""More than is known of an area; fewer than what differs from machine to machine."""


def check_table(out: Path, sources: Sequence[str], *, overwrite: bool, shapes: bool) -> None:
    """Refuse a place where a table could not be written, before any work.

    Args:
        out: The file.
        sources: What is read.
        overwrite: Whether it may be replaced.
        shapes: Whether the table has geometries, which a .gpkg needs.

    Raises:
        OutputError: Says why, and what to change.
    """
    destination(out, "--out")
    if out.suffix.lower() not in (".csv", ".json", ".gpkg"):
        raise OutputError(
            f"output '{out}' has the ending '{out.suffix}'; --out takes .csv, .json"
            + (", .gpkg" if shapes else "")
        )
    if out.suffix.lower() == ".gpkg" and not shapes:
        raise OutputError(f"output '{out}': this table has no shapes; --out takes .csv, .json")
    check_place(out, overwrite=overwrite, sources=sources)
    check_unused(out)


def save(table: pd.DataFrame, out: Path, layer: str) -> None:
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
    with growing(out) as place:
        if kind == ".gpkg":
            put_layers(out, place, {layer: table})
        else:
            text = as_csv(table) if kind == ".csv" else json.dumps(records(table), indent=1) + "\n"
            put_bytes(out, place, [text.encode()])


def as_csv(table: pd.DataFrame) -> str:
    """Return a table as CSV, without geometries."""
    text = io.StringIO()
    _plain(table).to_csv(text, index=False, float_format=_DIGITS, lineterminator="\n")
    return text.getvalue()


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table, JSON-able, without geometries; None where a cell is empty."""
    plain = _plain(table).astype(object)
    found: list[dict[str, Any]] = plain.where(plain.notna(), None).to_dict("records")
    return found


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    if isinstance(table, gpd.GeoDataFrame):
        return pd.DataFrame(table.drop(columns=table.geometry.name))
    return table


@contextmanager
def growing(out: Path) -> Iterator[RunFolder]:
    """Yield where a file grows, and be the only one who writes it."""
    place = RunFolder.beside(out)
    place.check_free()
    place.tidy()
    if place.continues():
        raise OutputError(
            f"{place.path} is an unfinished run of {out.name}; finish or remove it, or give "
            "another --out"
        )
    with place.hold():
        yield place


def put_layers(
    out: Path,
    place: Place,
    layers: Mapping[str, pd.DataFrame],
    *,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write layers, and tables without geometries, to a GeoPackage that is made anew.

    Args:
        out: The file.
        place: Where it grows.
        layers: By name.
        metadata: Of the first layer.

    Raises:
        WriteFailedError: It could not be written.
    """

    def make(part: Path) -> None:
        # Equal results are equal files; each is flushed once, before it gets its name.
        pyogrio.set_gdal_config_options(
            {"OGR_CURRENT_DATE": EPOCH, "OGR_SQLITE_SYNCHRONOUS": "OFF"}
        )
        given: dict[str, Any] = {"dataset_options": {"VERSION": "1.3"}}
        if metadata is not None:
            given["layer_metadata"] = dict(metadata)
        for name, table in layers.items():
            pyogrio.write_dataframe(table, part, layer=name, driver="GPKG", **given)
            given = {"append": True}

    put(out, place, make, lambda part, _: _check(part, layers))


def _check(part: Path, layers: Mapping[str, pd.DataFrame]) -> None:
    for name, table in layers.items():
        found = pyogrio.read_dataframe(part, layer=name)
        same = records(found) == records(table)
        if isinstance(table, gpd.GeoDataFrame):
            same = same and found.geometry.geom_equals(table.geometry.reset_index(drop=True)).all()
        if not same:
            raise LostError(f"what was written is not in layer '{name}' of the file")
