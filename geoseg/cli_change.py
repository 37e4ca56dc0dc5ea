"""`geoseg change`: what changed between two dates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoseg import interrupts
from geoseg.cli_options import (
    Aoi,
    BackendOfRasters,
    Bands,
    CloudsOfRasters,
    Column,
    CompositeOfRasters,
    Events,
    KeepGoing,
    LegendFile,
    Memory,
    MinArea,
    MinHole,
    Overwrite,
    Prompt,
    Quiet,
    Sensor,
    Simplify,
    Smooth,
    ThresholdOfRasters,
    TrustInput,
    WatchStdin,
    Workers,
    asked,
)
from geoseg.cli_progress import event, say, telling
from geoseg.offline import harden, load_vectors

if TYPE_CHECKING:
    import pandas as pd

    from geoseg.analysis.changes.compare import Change


def change(
    before: Annotated[
        str,
        typer.Argument(metavar="BEFORE", help="The earlier date: a raster, or a map (see segment)"),
    ],
    after: Annotated[
        str,
        typer.Argument(metavar="AFTER", help="The later date, likewise; its pixels are the grid"),
    ],
    out: Annotated[
        Path, typer.Option("--out", help="Polygons of change: .gpkg, .parquet, .fgb or .geojson")
    ],
    matrix: Annotated[
        Path | None,
        typer.Option("--matrix", help="Hectares from each class to each other: .csv or .json"),
    ] = None,
    prompt: Prompt = None,
    legend: LegendFile = None,
    backend: BackendOfRasters = None,
    threshold: ThresholdOfRasters = None,
    bands: Bands = None,
    sensor: Sensor = None,
    composite: CompositeOfRasters = None,
    mask_clouds: CloudsOfRasters = None,
    maps: Annotated[
        Path | None,
        typer.Option("--maps", help="Folder for the maps of two rasters  [default: that of --out]"),
    ] = None,
    before_raster: Annotated[
        str | None,
        typer.Option("--before-raster", help="Raster of the map BEFORE, if it does not say"),
    ] = None,
    after_raster: Annotated[
        str | None, typer.Option("--after-raster", help="Raster of the map AFTER, if it does not")
    ] = None,
    column: Column = "class",
    aoi: Aoi = None,
    unchanged: Annotated[
        bool, typer.Option("--unchanged", help="Draw what stayed the same class, too")
    ] = False,
    tolerance: Annotated[
        float,
        typer.Option("--tolerance", help="Part of its area by which an object may change"),
    ] = 0.1,
    min_area: MinArea = None,
    min_hole: MinHole = None,
    small: Annotated[
        str | None,
        typer.Option(
            help="Polygons below --min-area: merge (into the change with the longest shared "
            "border) or drop  [default: merge]"
        ),
    ] = None,
    simplify: Simplify = None,
    smooth: Smooth = False,
    columns: Annotated[
        str, typer.Option(help="Further columns: compactness, nearest, truncated")
    ] = "",
    tile: Annotated[
        int | None, typer.Option(help="Side of a tile in pixels  [default: 1024]")
    ] = None,
    workers: Workers = 1,
    memory: Memory = None,
    overwrite: Overwrite = False,
    trust_input: TrustInput = False,
    keep_going: KeepGoing = False,
    as_json: Events = False,
    watch_stdin: WatchStdin = False,
    quiet: Quiet = False,
) -> None:
    """Compare two dates: polygons, hectares from class to class, and what became of objects."""
    if watch_stdin:
        interrupts.follow_stdin()
    harden(before, after, before_raster, after_raster, trusted=trust_input)
    load_vectors()
    from geoseg.analysis.changes.compare import change as compare
    from geoseg.analysis.tables import check_table, save

    with telling(quiet=quiet, as_json=as_json) as progress:
        if matrix is not None:
            check_table(matrix, option="--matrix", overwrite=overwrite)
        found = compare(
            before,
            after,
            asked(prompt, legend),
            out=out,
            unchanged=unchanged,
            tolerance=tolerance,
            before_raster=before_raster,
            after_raster=after_raster,
            column=column,
            maps=maps,
            backend=backend,
            mask_clouds=mask_clouds,
            threshold=threshold,
            bands=bands,
            sensor=sensor,
            composite=composite,
            tile=tile,
            aoi=aoi,
            simplify=simplify,
            smooth=smooth,
            min_area=min_area,
            min_hole=min_hole,
            small=small,
            columns=columns,
            workers=workers,
            memory=memory,
            overwrite=overwrite,
            trust_input=trust_input,
            keep_going=keep_going,
            progress=interrupts.heeding(progress),
        )
        if matrix is not None:
            save(found.matrix.reset_index(), matrix)
    if as_json:
        event("result", **_facts(found))
    elif not quiet:
        _tell(found)
    if not found.complete:
        say(
            f"error: {len(found.failed)} tiles are missing in a map and were not compared (see "
            f"failed_tiles); the first is {found.failed[0]}"
        )
        raise typer.Exit(1)


def _tell(found: Change) -> None:
    from geoseg.analysis.tables import aligned

    for note in found.notes:
        say(f"note: {note}")
    if found.shift is not None:
        say(str(found.shift))
    say("hectares, before (rows) and after (columns), before any least area:")
    head = ["", *map(str, found.matrix.columns)]
    rows = [[str(name), *(f"{v:.2f}" for v in ha)] for name, *ha in found.matrix.itertuples()]
    for line in aligned([head, *rows]):
        say(f"  {line}")
    say(f"not compared: {found.not_compared_ha:.2f} ha")
    if found.objects:
        counted = ", ".join(f"{n} {name}" for name, n in found.objects.items())
        say(f"objects: {counted}")
    say(f"{found.count} polygons of change in {found.path}")


def _facts(found: Change) -> dict[str, Any]:
    shift = found.shift
    lost, gained = _balance(found.matrix)
    return {
        "path": str(found.path),
        "features": found.count,
        "matrix_ha": json.loads(found.matrix.to_json(orient="index", double_precision=15)),
        "lost_ha": lost,
        "gained_ha": gained,
        "not_compared_ha": found.not_compared_ha,
        "objects": dict(found.objects),
        "objects_not_compared": list(found.objects_not_compared),
        "coregistration": None
        if shift is None
        else {
            "dx_px": shift.dx_px if shift.known else None,
            "dy_px": shift.dy_px if shift.known else None,
            "metres": shift.metres if shift.known else None,
            "windows": shift.windows,
            "agree": shift.agree,
            "band": shift.band,
            "words": str(shift),
        },
        "notes": list(found.notes),
        "complete": found.complete,
        "failed": list(found.failed),
    }


def _balance(matrix: pd.DataFrame) -> tuple[dict[str, float], dict[str, float]]:
    """Return hectares that each class lost, and gained: to and from others, and unmapped ground."""
    from geoseg.analysis.changes.matrix import TOTAL
    from geoseg.analysis.classed import UNMAPPED

    classes = [name for name in matrix.index if name not in (UNMAPPED, TOTAL)]
    others = {name: matrix.index.difference([name, TOTAL]) for name in classes}
    lost = {name: float(matrix.loc[name, rest].sum()) for name, rest in others.items()}
    gained = {name: float(matrix.loc[rest, name].sum()) for name, rest in others.items()}
    return lost, gained
