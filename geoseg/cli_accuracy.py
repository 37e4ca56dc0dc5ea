"""`geoseg accuracy`: how right a map is, from points that somebody looked at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoseg.cli_export import MapFile
from geoseg.cli_options import Column, Json, Only, Overwrite, Quiet
from geoseg.cli_progress import say
from geoseg.cli_sample import MapRaster
from geoseg.offline import harden, load_vectors

if TYPE_CHECKING:
    from geoseg.analysis.assess import Assessment


def accuracy(
    source: MapFile,
    points: Annotated[
        str,
        typer.Argument(
            metavar="POINTS", help="What geoseg sample wrote, filled; or points with a reference"
        ),
    ],
    reference_column: Annotated[
        str, typer.Option("--reference-column", help="Column that tells what is there")
    ] = "reference",
    raster: MapRaster = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help=".csv (classes) or .json (everything)  [default: CSV on stdout]"
        ),
    ] = None,
    column: Column = "class",
    only: Only = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Estimate accuracy and areas, with 95 % intervals, from points that were looked at."""
    harden(source, points, raster)
    load_vectors()
    from geoseg.analysis.assess import accuracy as assess
    from geoseg.analysis.classed import missing
    from geoseg.analysis.tables import as_csv, check_table, save, save_json

    if out is not None:
        check_table(out, [str(source), points], overwrite=overwrite)
    found = assess(
        source,
        points,
        reference_column=reference_column,
        raster=raster,
        column=column,
        only=only,
    )
    if out is not None and out.suffix.lower() == ".json":
        save_json(_facts(found), out)
    elif out is not None:
        save(found.classes, out, "classes")
    if as_json:
        print(json.dumps(_facts(found)))  # noqa: T201
    elif out is None:
        print(as_csv(found.classes), end="", flush=True)  # noqa: T201
    if not quiet:
        say(f"{found.points} points, {found.design}")
        say("points by class of the map (rows) and reference (columns):")
        say(found.counts.to_string())
        say(f"overall accuracy {found.overall:.3f} ± {found.overall_ci95:.3f} (95 %)")
    for note in found.notes:
        say(note)
    lost = missing(source)
    if lost:
        say(f"error: {lost} tiles failed and are missing from {source}")
    if lost or found.empty:
        raise typer.Exit(1)


def _facts(found: Assessment) -> dict[str, Any]:
    """Return everything, JSON-able."""
    from geoseg.analysis.tables import known, records

    return {
        "overall": known(found.overall),
        "overall_ci95": known(found.overall_ci95),
        "points": found.points,
        "empty": found.empty,
        "design": found.design,
        "classes": records(found.classes),
        "counts": found.counts.to_dict("index"),
        "matrix": found.matrix.to_dict("index"),
        "notes": list(found.notes),
    }
