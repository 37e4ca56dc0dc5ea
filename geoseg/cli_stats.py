"""`geoseg stats`: areas and patches of a map, by class and zone."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from geoseg.cli_export import MapFile
from geoseg.cli_options import Column, Json, Only, Overwrite, Quiet
from geoseg.offline import harden, load_vectors


def stats(
    source: MapFile,
    zones: Annotated[
        str | None,
        typer.Option(
            "--zones",
            help="Polygons with names; what lies in none is the zone '(outside)'",
            metavar="LAYER",
        ),
    ] = None,
    zone_column: Annotated[
        str | None,
        typer.Option(
            "--zone-column", help="Column of their names  [default: name, or the only one of text]"
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by", help="class; zone; class,zone  [default: class, with zones class,zone]"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help=".csv, .json, with zones .gpkg  [default: CSV on stdout]"),
    ] = None,
    column: Column = "class",
    only: Only = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure areas and patches of a map, by class and zone; shares are of the whole raster."""
    harden(source, zones)
    load_vectors()
    from geoseg.analysis.classed import missing
    from geoseg.analysis.landscape import ZONE
    from geoseg.analysis.landscape import stats as measure
    from geoseg.analysis.tables import as_csv, check_table, records, save

    if out is not None:
        read = [str(source), *([] if zones is None else [zones])]
        shapes = zones is not None and (by is None or ZONE in by)
        kinds = (".csv", ".json", *((".gpkg",) if shapes else ()))
        check_table(out, read, overwrite=overwrite, kinds=kinds)
    table = measure(source, zones, by=by, zone_column=zone_column, column=column, only=only)
    if out is not None:
        save(table, out, "areas")
    if as_json:
        print(json.dumps({"rows": records(table)}))  # noqa: T201
    elif out is None:
        print(as_csv(table), end="")  # noqa: T201
    lost = missing(source)
    if not quiet:
        where = "" if out is None else f" in {out}"
        print(f"{len(table)} rows{where}", file=sys.stderr)  # noqa: T201
    if lost:
        print(  # noqa: T201
            f"error: {lost} tiles failed and are missing from {source}: areas lack what they hold",
            file=sys.stderr,
        )
        raise typer.Exit(1)
