"""`geoseg sample`: points at which somebody must look to know how right a map is."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from geoseg.cli_export import MapFile
from geoseg.cli_options import Column, Only, Overwrite, Quiet
from geoseg.cli_progress import say
from geoseg.errors import ConfigError
from geoseg.offline import harden, load_vectors

MapRaster = Annotated[
    str | None,
    typer.Option("--raster", help="The map's raster, where it has moved, or the map has none"),
]


def sample(
    source: MapFile,
    out: Annotated[Path, typer.Option("--out", help=".gpkg; fill its column 'reference' in QGIS")],
    n: Annotated[int | None, typer.Option("--n", help="Points in all  [default: 300]")] = None,
    target_se: Annotated[
        float | None,
        typer.Option(
            "--target-se",
            help="Instead of --n: standard error of overall accuracy that is wanted, as 0.01",
        ),
    ] = None,
    expected: Annotated[
        str | None,
        typer.Option(
            "--expected", help="User's accuracies expected: 0.85, or forest=0.9,0.8 (the others)"
        ),
    ] = None,
    allocation: Annotated[
        str, typer.Option("--allocation", help="proportional (to area), equal, neyman")
    ] = "proportional",
    min_per_class: Annotated[
        int | None,
        typer.Option(
            "--min-per-class",
            help="Least points in a class  [default: 50, or half an equal part if that is less]",
        ),
    ] = None,
    strata: Annotated[
        str, typer.Option("--strata", help="class, or a layer of polygons with a column 'class'")
    ] = "class",
    seed: Annotated[int, typer.Option("--seed", help="The same draws the same points")] = 0,
    raster: MapRaster = None,
    column: Column = "class",
    only: Only = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Draw a stratified random sample of a map, to be looked at."""
    harden(source, raster, strata)
    load_vectors()
    from geoseg.analysis.classed import missing
    from geoseg.analysis.design import Plan
    from geoseg.analysis.design import sample as draw
    from geoseg.analysis.form import save_sample
    from geoseg.analysis.tables import check_table

    check_table(out, [str(source), strata], overwrite=overwrite, kinds=(".gpkg",))
    plan = Plan(n, allocation, target_se, _accuracies(expected), min_per_class, seed)
    found = draw(source, plan, strata=strata, raster=raster, column=column, only=only)
    save_sample(found, out)
    if not quiet:
        for row in found.design.strata.itertuples():
            area = "" if row.area_ha != row.area_ha else f"{row.area_ha:14.1f} ha"
            say(f"{row.stratum:24}{area} {100 * row.share:6.2f} %{row.points:6} points")
        next_ = ("accuracy", str(source), str(out), *(() if only is None else ("--only", only)))
        say(
            f"{len(found.points)} points in {out}: fill 'reference' by what is there, not by the "
            f"map; then geoseg {shlex.join(next_)}"
        )
    lost = missing(source)
    if lost:
        say(f"error: {lost} tiles failed and are missing from {source}: they count as unmapped")
        raise typer.Exit(1)


def _accuracies(text: str | None) -> dict[str, float] | None:
    """Return accuracies by stratum; `""` for those that are not named."""
    if text is None:
        return None
    pairs = [part.rpartition("=") for part in text.split(",") if part.strip()]
    try:
        return {name.strip(): float(value) for name, _, value in pairs}
    except ValueError as error:
        raise ConfigError(
            f"--expected '{text}' is no list of accuracies, as 0.85 or forest=0.9,water=0.8"
        ) from error
