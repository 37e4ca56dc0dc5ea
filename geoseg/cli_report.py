"""`geoseg report`: a map's numbers as one HTML page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from geoseg.cli_export import MapFile
from geoseg.cli_options import Only, Overwrite, Quiet
from geoseg.offline import harden, load_vectors


def report(
    source: MapFile,
    out: Annotated[Path, typer.Option("--out", help="The page: .html")],
    points: Annotated[
        str | None,
        typer.Option(
            "--points",
            help="What geoseg sample wrote, filled, or points with a reference: accuracy, and "
            "areas with 95 % intervals",
            metavar="POINTS",
        ),
    ] = None,
    change: Annotated[
        Path | None,
        typer.Option(
            "--change",
            help="What geoseg change wrote of this map and another: gains and losses",
            metavar="CHANGE.gpkg",
        ),
    ] = None,
    zones: Annotated[
        str | None,
        typer.Option(
            "--zones", help="Polygons with names: areas are told of each", metavar="LAYER"
        ),
    ] = None,
    title: Annotated[
        str | None, typer.Option("--title", help="Of the page  [default: the map's name]")
    ] = None,
    raster: Annotated[
        str | None, typer.Option("--raster", help="The map's raster, where it has moved")
    ] = None,
    picture: Annotated[
        bool, typer.Option("--picture/--no-picture", help="Draw the map over its raster")
    ] = True,
    only: Only = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Write a page for readers of a map's numbers: picture, areas, recipe. It fetches nothing."""
    harden(source, raster, points, change, zones)
    load_vectors()
    from geoseg.analysis.reporting import report as write

    made = write(
        source,
        out,
        points=points,
        change=change,
        zones=zones,
        title=title,
        raster=raster,
        picture=picture,
        overwrite=overwrite,
        only=only,
    )
    if not quiet:
        print(f"report in {made.path}", file=sys.stderr)  # noqa: T201
    for line in made.missing:
        print(f"error: {line}; the report says so", file=sys.stderr)  # noqa: T201
    if made.missing:
        raise typer.Exit(1)
