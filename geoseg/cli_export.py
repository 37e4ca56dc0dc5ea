"""`geoseg export`: a finished map in another format."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from geoseg.cli_options import Only
from geoseg.errors import INCOMPLETE
from geoseg.offline import harden, load_vectors

MapFile = Annotated[
    Path,
    typer.Argument(
        metavar="MAP", help="A map that geoseg wrote: .gpkg or .parquet (.fgb, .geojson)"
    ),
]


def export(
    source: MapFile,
    to: Annotated[
        Path,
        typer.Option(
            "--to",
            help=".gpkg, .parquet, .fgb, .geojson, .tif (COG), coco.json, .qgz (QGIS), stac.json",
        ),
    ],
    form: Annotated[
        str | None, typer.Option("--format", help="What a .json of another name is: coco, stac")
    ] = None,
    raster: Annotated[
        str | None, typer.Option("--raster", help="The map's raster, where it has moved")
    ] = None,
    chips: Annotated[
        int | None, typer.Option("--chips", help="COCO images of so many pixels a side")
    ] = None,
    when: Annotated[
        str | None,
        typer.Option(
            "--datetime",
            help="STAC: when the picture was taken, 2026-05-01T10:00:00Z, or 'file' for the "
            "raster's time of change  [default: the raster's TIFFTAG_DATETIME]",
        ),
    ] = None,
    only: Only = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No summary")] = False,
) -> None:
    """Write a map in another format; exit code 1 where the map lacks tiles."""
    harden(source, raster)
    load_vectors()
    from geoseg.convert import Wishes
    from geoseg.convert import export as convert

    wishes = Wishes(form, raster, chips, when, overwrite, only)
    made = convert(source, to, wishes)
    if not quiet:
        print(f"{made.count} polygons in {to}", file=sys.stderr)  # noqa: T201
    if made.missing:
        raise typer.Exit(INCOMPLETE)
