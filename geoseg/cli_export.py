"""`geoseg export`: a finished map in another format."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from geoseg.cli_options import Only
from geoseg.errors import INCOMPLETE, ConfigError
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
            help="A file: .gpkg, .parquet, .fgb, .geojson, .tif (COG), coco.json, .qgz (QGIS), "
            "stac.json; or coco, yolo: pictures and masks to train with, in the folder --out",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the pictures and masks")
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="What a .json of another name is: coco, stac")
    ] = None,
    raster: Annotated[
        str | None, typer.Option("--raster", help="The map's raster, where it has moved")
    ] = None,
    chips: Annotated[
        int | None,
        typer.Option("--chips", help="COCO images of so many pixels a side  [with --out: 1024]"),
    ] = None,
    val: Annotated[
        float | None,
        typer.Option("--val", help="With --out: share of the pictures for validation  [0.2]"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="With --out: which pictures those are  [0]")
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
    if str(to) in ("coco", "yolo"):
        _refuse({"--format": form, "--datetime": when}, f"is not for --to {to}; leave it out")
        chosen = {"chips": chips, "only": only, "val": val, "seed": seed}
        given = {name: value for name, value in chosen.items() if value is not None}
        said, complete = _build(source, str(to), out, raster=raster, overwrite=overwrite, **given)
    else:
        from geoseg.export.targets import target_of

        target_of(to, form)
        unused = {"--out": out, "--val": val, "--seed": seed}
        _refuse(unused, "is for --to coco and --to yolo; leave it out")
        from geoseg.convert import Wishes
        from geoseg.convert import export as convert

        made = convert(source, to, Wishes(form, raster, chips, when, overwrite, only))
        said, complete = f"{made.count} polygons in {to}", not made.missing
    if not quiet:
        print(said, file=sys.stderr)  # noqa: T201
    if not complete:
        raise typer.Exit(INCOMPLETE)


def _build(source: Path, form: str, out: Path | None, **chosen: Any) -> tuple[str, bool]:
    """Write a data set; returns what to say of it, and whether nothing is missing."""
    from geoseg.dataset import Choices, build

    if out is None:
        raise ConfigError(
            f"--to {form} is a folder of pictures and masks: say which with --out FOLDER, or give "
            "a file, as --to coco.json"
        )
    made = build(source, form, out, Choices(**chosen))
    return str(made), made.complete


def _refuse(options: dict[str, Any], why: str) -> None:
    """Refuse what would do nothing."""
    for option, value in options.items():
        if value is not None:
            raise ConfigError(f"{option} {why}")
