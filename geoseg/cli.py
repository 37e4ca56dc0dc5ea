"""The `geoseg` command: parse, call, draw the progress bar.

Human text goes to stderr, data to stdout. Exit codes: 0 complete, 1 incomplete (failed tiles; a
map made again that is another), 2 bad input or usage, 130 interrupted.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geoseg import interrupts
from geoseg.cli_accuracy import accuracy
from geoseg.cli_change import change
from geoseg.cli_evaluate import evaluate
from geoseg.cli_export import export
from geoseg.cli_models import app as models_app
from geoseg.cli_options import (
    Aoi,
    Bands,
    Batch,
    Cache,
    CacheSize,
    Events,
    Json,
    KeepGoing,
    LegendFile,
    Memory,
    MinArea,
    MinHole,
    Offline,
    Overlap,
    Overwrite,
    Prompt,
    Quiet,
    Rasters,
    Sensor,
    Simplify,
    Smooth,
    Tile,
    TrustInput,
    WatchStdin,
    Workers,
    asked,
)
from geoseg.cli_progress import event, say, telling
from geoseg.cli_qgis import app as qgis_app
from geoseg.cli_report import report
from geoseg.cli_rerun import rerun
from geoseg.cli_sample import sample
from geoseg.cli_series import series
from geoseg.cli_stats import stats
from geoseg.cli_status import status
from geoseg.errors import INCOMPLETE, ConfigError, GeosegError
from geoseg.offline import harden, load_vectors, seal

if TYPE_CHECKING:
    from geoseg.outcome import Run

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Polygons out of imagery with words.",
)

# The numbers of geoseg.config, which is not imported for --help; tests hold them together.
TILE, OVERLAP = 1024, 128


def _version(wanted: bool) -> None:  # noqa: FBT001  as typer calls it
    if wanted:
        from importlib.metadata import version

        print(version("geoseg"))  # noqa: T201
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version", is_eager=True, callback=_version),
    ] = False,
) -> None:
    """Polygons out of imagery with words."""


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
    aoi: Aoi = None,
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
    cache: Cache = None,
    cache_size: CacheSize = "4GB",
    offline: Offline = False,
    tile: Annotated[
        int | None,
        typer.Option(help="Side of a tile in pixels  [default: 1024, or what the backend wants]"),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(help="Pixels that tiles share  [default: 128, or what the backend needs]"),
    ] = None,
    simplify: Simplify = None,
    smooth: Smooth = False,
    min_area: MinArea = None,
    min_hole: MinHole = None,
    small: Annotated[
        str | None,
        typer.Option(
            help="Covers below --min-area: merge (into the neighbour with the longest shared "
            "border) or drop; objects are dropped  [default: merge]"
        ),
    ] = None,
    regularize: Annotated[
        str, typer.Option(help="Classes whose outlines get right angles: building")
    ] = "",
    columns: Annotated[
        str, typer.Option(help="Further columns: means, compactness, nearest, truncated, ndvi, ...")
    ] = "",
    workers: Workers = 1,
    batch: Batch = 1,
    memory: Memory = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Dask cluster that does the work: tcp://host:8786")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(help="Folder or fsspec URL for tiles that workers share: s3://bucket/runs"),
    ] = None,
    overwrite: Overwrite = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Do not continue an unfinished run")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try tiles again that failed; replaces the map")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the run folder of a complete run")
    ] = False,
    trust_input: TrustInput = False,
    keep_going: KeepGoing = False,
    as_json: Events = False,
    watch_stdin: WatchStdin = False,
    quiet: Quiet = False,
) -> None:
    """Turn a raster and words into polygons."""
    if watch_stdin:
        interrupts.follow_stdin()
    harden(*raster, boxes, trusted=trust_input)
    if boxes is not None:
        load_vectors()
    if offline:
        seal()
    from geoseg.config import ModelOptions
    from geoseg.run import segment as run_segment

    with telling(quiet=quiet, as_json=as_json) as progress:
        models = ModelOptions.build(
            device=device,
            precision=precision,
            gsd=gsd,
            one_class_per_pass=one_class_per_pass,
            compile=compiled,
            cache=cache,
            cache_size=cache_size,
            offline=offline,
        )
        run = run_segment(
            raster,
            asked(prompt, legend),
            out=out,
            backend=backend,
            models=models,
            boxes=boxes,
            aoi=aoi,
            mask_clouds=mask_clouds,
            tile=tile,
            overlap=overlap,
            threshold=threshold,
            bands=bands,
            sensor=sensor,
            composite=composite,
            simplify=simplify,
            smooth=smooth,
            min_area=min_area,
            min_hole=min_hole,
            small=small,
            regularize=regularize,
            columns=columns,
            workers=workers,
            batch=batch,
            memory=memory,
            scheduler=scheduler,
            store=store,
            overwrite=overwrite,
            fresh=fresh,
            retry_failed=retry_failed,
            keep_run_folder=keep,
            trust_input=trust_input,
            keep_going=keep_going,
            progress=interrupts.heeding(progress),
        )
    _report(run, as_json=as_json, quiet=quiet)


@app.command()
def plan(
    raster: Rasters,
    prompt: Prompt = None,
    legend: LegendFile = None,
    aoi: Aoi = None,
    bands: Bands = None,
    sensor: Sensor = None,
    tile: Tile = TILE,
    overlap: Overlap = OVERLAP,
    workers: Workers = 1,
    batch: Batch = 1,
    trust_input: TrustInput = False,
    keep_going: KeepGoing = False,
    as_json: Json = False,
) -> None:
    """Say what a run will do: tiles, memory, output size. Reads no pixels."""
    harden(*raster, trusted=trust_input)
    from dataclasses import asdict

    from geoseg.access import Access
    from geoseg.config import RunConfig
    from geoseg.estimate import plan as run_plan

    wanted = asked(prompt, legend)
    if wanted is None:
        raise ConfigError('say what to look for: --prompt "forest, water" or --legend FILE')
    config = RunConfig.build(
        legend=wanted, tile=tile, overlap=overlap, workers=workers, batch=batch
    )
    access = Access(trust_input=trust_input, keep_going=keep_going)
    found = run_plan(raster, wanted, config, bands=bands, sensor=sensor, access=access, aoi=aoi)
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
    harden()
    from geoseg.demo import LEGEND, run_demo

    if not os.path.isdir(folder):  # noqa: PTH112  too long a name is no folder, and no error
        raise ConfigError(f"folder {folder} does not exist; make it first or give another --folder")
    with telling(quiet=quiet, as_json=False) as progress:
        run = run_demo(folder, progress)
    _report(run, as_json=False, quiet=quiet)
    if not quiet:
        say(f"asked for: {', '.join(c.name for c in LEGEND.classes)}")
        say(f"look at {folder / 'demo.png'}; open {run.path} in QGIS")


app.command()(status)
app.command()(export)
app.command()(change)
app.command()(series)
app.command()(evaluate)
app.command()(rerun)
app.command()(stats)
app.command()(sample)
app.command()(accuracy)
app.command()(report)
app.add_typer(models_app, name="models")
app.add_typer(qgis_app, name="qgis")


def _report(run: Run, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        event(
            "result",
            path=str(run.path),
            features=run.count,
            tiles=run.tiles,
            complete=run.complete,
            failed=dict(run.failed),
            broken_links=run.broken_links,
            notes=dict(run.notes),
            sieved=dict(run.sieved),
            models=[dict(model) for model in run.models],
            seconds={k: round(v, 3) for k, v in run.seconds.items()},
        )
    elif not quiet:
        say(f"{run.count} polygons from {run.tiles} tiles in {run.path}")
        for line in _sieved(run.sieved):
            say(line)
        for model in run.models:
            say(f"weights of {model['source']}: {model['licence']}")
        if run.count == 0:
            say(
                "nothing found: no pixel reaches the threshold, none is valid (see --bands), or "
                "all is below --min-area"
            )
        # A note given twice for a tile is counted once: the line tells of tiles.
        said = Counter(note for notes in run.notes.values() for note in dict.fromkeys(notes))
        for note, count in said.items():
            say(f"{count} {'tile' if count == 1 else 'tiles'}: {note}")
    if not run.complete:
        name, reason = next(iter(run.failed.items()))
        say(
            f"error: {len(run.failed)} of {run.tiles} tiles failed and are missing from the map "
            f"(see failed_tiles); the first is {name}: {reason}. Run the same with "
            "--retry-failed to try them again"
        )
        raise typer.Exit(INCOMPLETE)


def _sieved(found: Mapping[str, int]) -> Iterator[str]:
    if "merged" in found:
        yield (
            f"{found['merged']} polygons below --min-area were merged into neighbours, "
            f"{found['dropped']} were dropped"
        )
    if "filled" in found:
        yield f"{found['filled']} holes below --min-hole were filled"


def main() -> None:
    """Run the command line; what a user can act on becomes one line and an exit code."""
    # Told of semaphores when workers or this process were killed: nothing to act on.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    for name in ("rasterio._env", "rasterio._err"):
        # Each small pause of GDAL on a bad network; geoseg.remote says it once.
        logging.getLogger(name).addFilter(lambda r: "Retrying again" not in r.getMessage())
    with interrupts.heeded():
        try:
            app()
        except GeosegError as error:
            if interrupts.came():
                raise
            say("error: " + " ".join(str(error).split()))
            sys.exit(error.exit_code)
        finally:
            if not interrupts.came():
                interrupts.ignore()


if __name__ == "__main__":
    main()
