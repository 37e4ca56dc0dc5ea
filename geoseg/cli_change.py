"""`geoseg change`: what changed between two dates."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoseg import interrupts
from geoseg.cli_options import (
    Aoi,
    Bands,
    Events,
    KeepGoing,
    LegendFile,
    Memory,
    Overwrite,
    Prompt,
    Quiet,
    Sensor,
    TrustInput,
    WatchStdin,
    Workers,
)
from geoseg.cli_progress import event, telling
from geoseg.errors import ConfigError
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
    backend: Annotated[
        str | None, typer.Option(help="For rasters, as segment  [default: spectral]")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="For rasters: least score, as segment")
    ] = None,
    bands: Bands = None,
    sensor: Sensor = None,
    composite: Annotated[
        str | None, typer.Option(help="For rasters: roles that models see, as segment")
    ] = None,
    mask_clouds: Annotated[
        str | None, typer.Option(help="For rasters: backend that knows cloud and shadow: csmask")
    ] = None,
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
    column: Annotated[
        str, typer.Option("--column", help="Column of the classes in layers of others")
    ] = "class",
    aoi: Aoi = None,
    unchanged: Annotated[
        bool, typer.Option("--unchanged", help="Draw what stayed the same class, too")
    ] = False,
    tolerance: Annotated[
        float,
        typer.Option("--tolerance", help="Part of its area by which an object may change"),
    ] = 0.1,
    min_area: Annotated[
        str | None, typer.Option(help="Least area of a polygon: 0.5ha, 20px", metavar="AREA")
    ] = None,
    min_hole: Annotated[
        str | None, typer.Option(help="Least area of a hole; smaller are filled", metavar="AREA")
    ] = None,
    small: Annotated[
        str | None,
        typer.Option(
            help="Polygons below --min-area: merge (into the change with the longest shared "
            "border) or drop  [default: merge]"
        ),
    ] = None,
    simplify: Annotated[
        str | None, typer.Option(help="Farthest an outline may move: 2px, 1.5m", metavar="LENGTH")
    ] = None,
    smooth: Annotated[
        bool, typer.Option("--smooth", help="Round the corners of outlines, within --simplify")
    ] = False,
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
    from geoseg.analysis.changes.written import check_table, write_table

    with telling(quiet=quiet, as_json=as_json) as progress:
        if matrix is not None:
            check_table(matrix, "--matrix", overwrite=overwrite)
        found = compare(
            before,
            after,
            _asked(prompt, legend),
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
            write_table(found.matrix, matrix)
    if as_json:
        event("result", **_facts(found))
    elif not quiet:
        _tell(found)
    if not found.complete:
        _say(
            f"error: {len(found.failed)} tiles are missing in a map and were not compared (see "
            f"failed_tiles); the first is {found.failed[0]}"
        )
        raise typer.Exit(1)


def _asked(prompt: str | None, legend: str | None) -> Any:
    from geoseg.legend import Legend

    if prompt is not None and legend is not None:
        raise ConfigError("--prompt and --legend are both given; pass either one")
    if prompt is not None:
        return Legend.parse(prompt)
    return None if legend is None else Legend.load(legend)


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201


def _tell(found: Change) -> None:
    for note in found.notes:
        _say(f"note: {note}")
    if found.shift is not None:
        _say(str(found.shift))
    _say("hectares, before (rows) and after (columns), before any least area:")
    for line in _aligned(found.matrix):
        _say(f"  {line}")
    _say(f"not compared: {found.not_compared_ha:.2f} ha")
    if found.objects:
        counted = ", ".join(f"{n} {name}" for name, n in found.objects.items())
        _say(f"objects: {counted}")
    _say(f"{found.count} polygons of change in {found.path}")


def _aligned(matrix: pd.DataFrame) -> list[str]:
    """Return the lines of a table whose columns stand below each other."""
    head = ["", *map(str, matrix.columns)]
    rows = [[str(name), *(f"{v:.2f}" for v in row)]
            for name, row in zip(matrix.index, matrix.to_numpy(), strict=True)]  # fmt: skip
    widths = [max(len(row[k]) for row in (head, *rows)) for k in range(len(head))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:],
                                                                        strict=True))])
        for row in (head, *rows)
    ]  # fmt: skip


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
    from geoseg.analysis.changes.aligned import UNMAPPED
    from geoseg.analysis.changes.matrix import TOTAL

    classes = [name for name in matrix.index if name not in (UNMAPPED, TOTAL)]
    others = {name: matrix.index.difference([name, TOTAL]) for name in classes}
    lost = {name: float(matrix.loc[name, rest].sum()) for name, rest in others.items()}
    gained = {name: float(matrix.loc[rest, name].sum()) for name, rest in others.items()}
    return lost, gained
