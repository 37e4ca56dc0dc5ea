"""`geoseg series`: how often is there water, and what became of each pond?"""

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
    Json,
    KeepGoing,
    LegendFile,
    Memory,
    Overwrite,
    Prompt,
    Quiet,
    Sensor,
    ThresholdOfRasters,
    TrustInput,
    Workers,
    asked,
)
from geoseg.cli_progress import say, telling
from geoseg.offline import harden, load_vectors

if TYPE_CHECKING:
    from geoseg.analysis.hydroperiod.whole import Series


def series(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="DATE...",
            help="Rasters of several dates, or maps of them (see segment), in the order of time",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", help="Occurrence: .tif; classes go beside it, to NAME_class.tif"),
    ],
    table: Annotated[
        Path | None, typer.Option("--table", help="A row per pond and date: .csv or .json")
    ] = None,
    ponds: Annotated[
        Path | None,
        typer.Option("--ponds", help="Extents of ponds: .gpkg, .parquet, .fgb or .geojson"),
    ] = None,
    dates: Annotated[
        str | None,
        typer.Option(
            "--dates",
            help="2009-08-18,2012: one per input  [default: by TIFFTAG_DATETIME, or file names]",
        ),
    ] = None,
    water: Annotated[
        str | None, typer.Option("--class", help="The class that is water, where there are several")
    ] = None,
    permanent: Annotated[
        float, typer.Option("--permanent", help="Least part of its dates that permanent water is")
    ] = 0.9,
    seasonal: Annotated[
        float, typer.Option("--seasonal", help="Likewise of seasonal water; less is ephemeral")
    ] = 0.25,
    min_observed: Annotated[
        float,
        typer.Option("--min-observed", help="Least part of a pond to be seen to tell its area"),
    ] = 0.9,
    grid: Annotated[
        str | None,
        typer.Option("--grid", help="Raster or map whose pixels are counted  [default: the last]"),
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
        typer.Option(
            "--maps",
            help="Folder for the maps of rasters, which are taken again  [default: that of --out]",
        ),
    ] = None,
    column: Column = "class",
    aoi: Aoi = None,
    tile: Annotated[
        int | None, typer.Option(help="For rasters: side of a tile in pixels, as segment")
    ] = None,
    min_area: Annotated[
        str | None,
        typer.Option(help="For rasters: least area of a polygon: 0.5ha, 20px", metavar="AREA"),
    ] = None,
    workers: Workers = 1,
    memory: Memory = None,
    overwrite: Overwrite = False,
    trust_input: TrustInput = False,
    keep_going: KeepGoing = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Count water over many dates: occurrence, permanent and seasonal water, and each pond."""
    harden(*sources, grid, trusted=trust_input)
    load_vectors()
    from geoseg.analysis.hydroperiod.whole import series as count

    with telling(quiet=quiet, as_json=False) as progress:
        found = count(
            sources,
            asked(prompt, legend),
            out=out,
            table=table,
            ponds=ponds,
            dates=dates,
            water=water,
            permanent=permanent,
            seasonal=seasonal,
            min_observed=min_observed,
            grid=grid,
            column=column,
            maps=maps,
            backend=backend,
            mask_clouds=mask_clouds,
            threshold=threshold,
            bands=bands,
            sensor=sensor,
            composite=composite,
            tile=tile,
            min_area=min_area,
            aoi=aoi,
            workers=workers,
            memory=memory,
            overwrite=overwrite,
            trust_input=trust_input,
            keep_going=keep_going,
            progress=interrupts.heeding(progress),
        )
    if as_json:
        print(json.dumps(_facts(found)))  # noqa: T201
    elif not quiet:
        _tell(found)
    if not found.complete:
        say(
            f"error: {len(found.failed)} tiles are missing in maps and count as not observed (see "
            f"failed_tiles); the first is {found.failed[0]}"
        )
        raise typer.Exit(1)


def _tell(found: Series) -> None:
    for note in found.notes:
        say(f"note: {note}")
    say(f"grid: {found.grid.width} x {found.grid.height} pixels")
    for date, ha, gap in zip(found.dates, found.water_ha, found.gap, strict=True):
        say(f"  {date}: {ha:.2f} ha of {found.water}, {gap:.1%} not observed")
    t = found.thresholds
    say(f"by occurrence (permanent >= {t.permanent:g}, seasonal >= {t.seasonal:g}):")
    for name, ha in found.class_ha.items():
        say(f"  {name}: {ha:.2f} ha")
    say(f"{found.ponds} ponds; occurrence in {found.path}, classes in {found.classes_path}")


def _facts(found: Series) -> dict[str, Any]:
    grid = found.grid
    return {
        "path": str(found.path),
        "classes_path": str(found.classes_path),
        "grid": {
            "width": grid.width,
            "height": grid.height,
            "transform": list(grid.transform)[:6],
            "crs": grid.crs,
        },
        "water": found.water,
        "dates": [
            {"date": date, "water_ha": ha, "not_observed_percent": gap * 100}
            for date, ha, gap in zip(found.dates, found.water_ha, found.gap, strict=True)
        ],
        "class_ha": dict(found.class_ha),
        "permanent": found.thresholds.permanent,
        "seasonal": found.thresholds.seasonal,
        "min_observed": found.min_observed,
        "ponds": found.ponds,
        "notes": list(found.notes),
        "complete": found.complete,
        "failed": list(found.failed),
    }
