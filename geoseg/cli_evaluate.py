"""`geoseg evaluate`: how good is a map?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from geoseg import interrupts
from geoseg.cli_options import Json, Only, Overwrite, Quiet, WatchStdin
from geoseg.cli_progress import say
from geoseg.errors import ConfigError
from geoseg.offline import harden, load_vectors

INCOMPLETE = 1


def evaluate(
    map_: Annotated[
        str,
        typer.Argument(
            metavar="MAP", help="A map that geoseg wrote, or any layer of polygons with classes"
        ),
    ],
    reference: Annotated[
        str,
        typer.Argument(
            metavar="REFERENCE", help="Polygons that are right, in any CRS; FILE|layername=NAME"
        ),
    ],
    class_column: Annotated[
        str, typer.Option("--class-column", help="Column of REFERENCE with the class")
    ] = "class",
    class_: Annotated[
        str | None,
        typer.Option("--class", help="Class of all polygons of REFERENCE, if it has no column"),
    ] = None,
    match: Annotated[
        str | None,
        typer.Option(help='Where names differ: "REFERENCE CLASS=MAP CLASS, house=building"'),
    ] = None,
    aoi: Annotated[
        str | None,
        typer.Option(
            "--aoi",
            help="Polygons within which REFERENCE is complete  [default: the raster of the map, "
            "or its area of interest]",
        ),
    ] = None,
    iou: Annotated[
        float, typer.Option(help="Least IoU of polygons that match (precision, recall, F1)")
    ] = 0.5,
    boundary: Annotated[
        str,
        typer.Option(help="How far boundaries of covers may be apart: 2px, 5m", metavar="LENGTH"),
    ] = "2px",
    seam: Annotated[
        float, typer.Option(help="Pixels to each side of a seam that are told apart")
    ] = 64,
    out: Annotated[
        Path | None, typer.Option("--out", help="Table: .csv, .json  [default: CSV on stdout]")
    ] = None,
    only: Only = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    watch_stdin: WatchStdin = False,
    quiet: Quiet = False,
) -> None:
    """Say how good a map is, held against polygons that are right."""
    if watch_stdin:
        interrupts.follow_stdin()
    harden(map_, reference, aoi)
    load_vectors()
    from geoseg.analysis import evaluate as judge
    from geoseg.analysis.tables import as_csv, check_table, save, save_json

    if out is not None:
        read = [place.partition("|")[0] for place in (map_, reference, aoi) if place is not None]
        check_table(out, read, overwrite=overwrite)
    found = judge(
        map_,
        reference,
        column=class_column,
        class_name=class_,
        match=_matches(match),
        aoi=aoi,
        iou=iou,
        boundary=boundary,
        seam_px=seam,
        only=only,
    )
    if out is not None and out.suffix.lower() == ".json":
        save_json(found.nested(), out)
    elif out is not None:
        save(found.table, out)
    if as_json:
        # One object, and the event that the plugin of QGIS waits for.
        print(json.dumps({"event": "result", **found.nested()}))  # noqa: T201
    elif out is None:
        print(as_csv(found.table), end="")  # noqa: T201
    if not quiet:
        say(found.words())
        for note in found.notes:
            say(f"note: {note}")
    if not found.complete:
        say(
            f"error: {found.failed_tiles} tiles of the map failed and do not count: the figures "
            "are of the rest"
        )
        raise typer.Exit(INCOMPLETE)


def _matches(text: str | None) -> dict[str, str]:
    found = {}
    for entry in filter(None, (part.strip() for part in (text or "").split(","))):
        reference, equals, mapped = (part.strip() for part in entry.partition("="))
        if not (reference and equals and mapped):
            raise ConfigError(
                f"--match {entry!r} is no pair; write it as REFERENCE CLASS=MAP CLASS"
            )
        found[reference] = mapped
    return found
