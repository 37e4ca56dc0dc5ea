"""The `geoseg` command: parse, call, draw the progress bar.

Human text goes to stderr, data to stdout. Exit codes: 0 complete, 1 incomplete (failed tiles),
2 bad input or usage, 130 interrupted.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoseg.cli_models import app as models_app
from geoseg.errors import ConfigError, GeosegError

if TYPE_CHECKING:
    from geoseg.legend import Legend
    from geoseg.run import Progress, Run

INCOMPLETE, INTERRUPTED = 1, 130

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Polygons out of imagery with words.",
)

Rasters = Annotated[
    list[str],
    typer.Argument(
        metavar="RASTER...",
        help="GeoTIFF, COG, VRT, JPEG 2000; path, URL or s3://. Several on one pixel grid, or a "
        "folder of them, are one mosaic: where they overlap, the first counts",
    ),
]
Prompt = Annotated[
    str | None,
    typer.Option("--prompt", help='Classes in words: "forest, water"', show_default=False),
]
LegendFile = Annotated[
    str | None,
    typer.Option(
        "--legend",
        help="Legend file (TOML), or deforestation, wetland, landuse",
        show_default=False,
    ),
]
Bands = Annotated[
    str | None,
    typer.Option("--bands", help="Band numbers by role: red=4,green=3,blue=2 (before --sensor)"),
]
Sensor = Annotated[
    str | None,
    typer.Option("--sensor", help="Band order: rgb, naip, landsat8, sentinel2, planetscope"),
]
Tile = Annotated[int, typer.Option("--tile", help="Side of a tile in pixels")]
Overlap = Annotated[int, typer.Option("--overlap", help="Pixels that neighbouring tiles share")]
Workers = Annotated[int, typer.Option("--workers", help="Processes")]
Batch = Annotated[int, typer.Option("--batch", help="Tiles given to the backend at once")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary")]

app.add_typer(models_app, name="models")

# The numbers of geoseg.config, which is not imported for --help; tests hold them together.
TILE, OVERLAP = 1024, 128


def _version(*, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("geoseg"))  # noqa: T201
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version", is_eager=True)
    ] = False,
) -> None:
    """Polygons out of imagery with words."""
    _version(wanted=version)


@app.command()
def segment(
    raster: Rasters,
    out: Annotated[Path, typer.Option("--out", help=".gpkg, .parquet, .fgb or .geojson")],
    prompt: Prompt = None,
    legend: LegendFile = None,
    backend: Annotated[
        str, typer.Option(help="As spectral, grounding-dino+sam2; see: geoseg backends")
    ] = "spectral",
    threshold: Annotated[
        float | None,
        typer.Option(help="Least score, for classes without their own  [default: the backend's]"),
    ] = None,
    bands: Bands = None,
    sensor: Sensor = None,
    composite: Annotated[
        str | None,
        typer.Option(help="Roles that models see as red, green, blue: nir,red,green"),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(help="Vector layer whose boxes and points a segmenter outlines"),
    ] = None,
    mask_clouds: Annotated[
        str | None,
        typer.Option(help="Backend that knows cloud and shadow: csmask"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cuda, cuda:1, mps, cpu")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16, fp16")] = "auto",
    gsd: Annotated[
        float | None, typer.Option(help="Ground size in metres of the pixels models are shown")
    ] = None,
    one_class_per_pass: Annotated[
        bool, typer.Option("--one-class-per-pass", help="Ask detectors for one class at a time")
    ] = False,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile image encoders (slow start)")
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Open no socket: weights must be here")
    ] = False,
    tile: Annotated[
        int | None,
        typer.Option(help="Side of a tile in pixels  [default: 1024, or what the backend wants]"),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(help="Pixels that tiles share  [default: 128, or what the backend needs]"),
    ] = None,
    workers: Workers = 1,
    batch: Batch = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Do not continue an unfinished run")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the run folder of a complete run")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn a raster and words into polygons."""
    from geoseg.config import ModelOptions
    from geoseg.run import segment as run_segment

    asked = _asked(prompt, legend)
    models = ModelOptions.build(
        device=device,
        precision=precision,
        gsd=gsd,
        one_class_per_pass=one_class_per_pass,
        compile=compiled,
        offline=offline,
    )
    with _progress(quiet=quiet) as progress:
        run = run_segment(
            raster,
            asked,
            out=out,
            backend=backend,
            models=models,
            boxes=boxes,
            mask_clouds=mask_clouds,
            tile=tile,
            overlap=overlap,
            threshold=threshold,
            bands=bands,
            sensor=sensor,
            composite=composite,
            workers=workers,
            batch=batch,
            overwrite=overwrite,
            fresh=fresh,
            keep_run_folder=keep,
            progress=progress,
        )
    _report(run, as_json=as_json, quiet=quiet)


@app.command()
def plan(
    raster: Rasters,
    prompt: Prompt = None,
    legend: LegendFile = None,
    bands: Bands = None,
    sensor: Sensor = None,
    tile: Tile = TILE,
    overlap: Overlap = OVERLAP,
    workers: Workers = 1,
    batch: Batch = 1,
    as_json: Json = False,
) -> None:
    """Say what a run will do: tiles, memory, output size. Reads no pixels."""
    from dataclasses import asdict

    from geoseg.config import RunConfig
    from geoseg.estimate import plan as run_plan

    asked = _asked(prompt, legend)
    if asked is None:
        raise ConfigError('say what to look for: --prompt "forest, water" or --legend FILE')
    config = RunConfig.build(legend=asked, tile=tile, overlap=overlap, workers=workers, batch=batch)
    found = run_plan(raster, asked, config, bands=bands, sensor=sensor)
    if as_json:
        print(json.dumps(asdict(found)))  # noqa: T201
        return
    print(  # noqa: T201
        f"raster   {found.width} x {found.height} pixels, {found.bands} bands\n"
        f"classes  {', '.join(found.classes)}\n"
        f"tiles    {found.tiles} of {found.tile_px} px, overlap {found.overlap_px} px "
        f"(reads {found.read_ratio:.2f} x the pixels)\n"
        f"memory   about {found.memory_mb} MB\n"
        f"disk     run folder {found.run_folder_mb[0]:g}..{found.run_folder_mb[1]:g} MB, "
        f"output {found.output_mb[0]:g}..{found.output_mb[1]:g} MB "
        "(few large .. many small polygons)"
    )


@app.command()
def backends(as_json: Json = False) -> None:
    """List backends: what is installed, what it knows, what an extra would add."""
    from dataclasses import asdict
    from importlib.util import find_spec

    from geoseg.backends import available, words

    rows = []
    order = ("backend", "detector", "segmenter")
    for info in sorted(available().values(), key=lambda info: order.index(info.role)):
        installed = all(find_spec(module) is not None for module in info.requires)
        rows.append({**asdict(info), "installed": installed, "words": list(words(info.name))})
    if as_json:
        print(json.dumps(rows))  # noqa: T201
        return
    for row in rows:
        state = "installed" if row["installed"] else f'pip install "geoseg[{row["extra"]}]"'
        print(f"{row['name']:20} {row['role']:10} {state}\n  {row['summary']}")  # noqa: T201
        if row["words"]:
            print(f"  words: {', '.join(row['words'])}")  # noqa: T201


@app.command()
def demo(
    folder: Annotated[
        Path, typer.Option("--folder", help="Where demo.gpkg and demo.png go")
    ] = Path(),
    quiet: Quiet = False,
) -> None:
    """Segment a sample tile; writes demo.gpkg, and demo.png to look at."""
    from geoseg.demo import LEGEND, run_demo

    if not folder.is_dir():
        raise ConfigError(f"folder {folder} does not exist; make it first or give another --folder")
    with _progress(quiet=quiet) as progress:
        run = run_demo(folder, progress)
    _report(run, as_json=False, quiet=quiet)
    if not quiet:
        _say(f"asked for: {', '.join(c.name for c in LEGEND.classes)}")
        _say(f"look at {folder / 'demo.png'}; open {run.path} in QGIS")


def _asked(prompt: str | None, legend: str | None) -> Legend | None:
    from geoseg.legend import Legend

    if prompt is not None and legend is not None:
        raise ConfigError("--prompt and --legend are both given; pass either one")
    if prompt is not None:
        return Legend.parse(prompt)
    return None if legend is None else Legend.load(legend)


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201


def _report(run: Run, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        print(  # noqa: T201
            json.dumps(
                {
                    "path": str(run.path),
                    "features": run.count,
                    "tiles": run.tiles,
                    "complete": run.complete,
                    "failed": dict(run.failed),
                    "broken_links": run.broken_links,
                    "notes": dict(run.notes),
                    "models": [dict(model) for model in run.models],
                    "seconds": {k: round(v, 3) for k, v in run.seconds.items()},
                }
            )
        )
    elif not quiet:
        _say(f"{run.count} polygons from {run.tiles} tiles in {run.path}")
        for model in run.models:
            _say(f"weights of {model['source']}: {model['licence']}")
        if run.count == 0:
            _say("nothing found: no pixel reaches the threshold, or none is valid (see --bands)")
        # A note given twice for a tile is counted once: the line tells of tiles.
        said = Counter(note for notes in run.notes.values() for note in dict.fromkeys(notes))
        for note, count in said.items():
            _say(f"{count} {'tile' if count == 1 else 'tiles'}: {note}")
    if not run.complete:
        name, reason = next(iter(run.failed.items()))
        _say(
            f"error: {len(run.failed)} of {run.tiles} tiles failed and are missing from the map "
            f"(see failed_tiles); the first is {name}: {reason}. Run again with --overwrite to "
            "try them again"
        )
        raise typer.Exit(INCOMPLETE)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Progress | None]:
    """Draw a bar on stderr if someone is looking."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description:8}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        tasks: dict[str, Any] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(step, total=total)
            bar.update(tasks[step], completed=done, total=total)

        yield show


class _InterruptedError(BaseException):
    """Ctrl-C or SIGTERM; no handler for errors may swallow it."""


_interrupts: list[int] = []
"""Signals that came. Libraries in C, that call back into Python, turn what is raised there into
errors of their own."""


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _interrupts.append(number)
    raise _InterruptedError


def main() -> None:
    """Run the command line; what a user can act on becomes one line and an exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    _interrupts.clear()
    try:
        app()
    except (GeosegError, _InterruptedError) as error:
        if isinstance(error, _InterruptedError) or _interrupts:
            _say("interrupted; what is done is kept: run the same command again to continue")
            sys.exit(INTERRUPTED)
        _say("error: " + " ".join(str(error).split()))
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
