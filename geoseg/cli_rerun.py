"""`geoseg rerun`: a map once more, by what it says of itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from geoseg import interrupts
from geoseg.cli_export import MapFile
from geoseg.cli_progress import event, telling
from geoseg.offline import harden, load_vectors, seal

_SAME = {
    "bytes": "byte for byte the same as {}",
    "polygons": "the same polygons as in {}",
    "nothing": "not the same as {}",
}


def rerun(
    source: MapFile,
    raster: Annotated[
        list[str] | None,
        typer.Option(help="The raster, where it has moved, or another one (may be repeated)"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The new map  [default: NAME_rerun beside MAP]")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", help="Processes")] = 1,
    batch: Annotated[int, typer.Option("--batch", help="Tiles given to the backend at once")] = 1,
    memory: Annotated[
        str | None, typer.Option(help="Most memory the run may take: 2GB", metavar="SIZE")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Open no socket")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output")] = False,
    trust_input: Annotated[
        bool, typer.Option("--trust-input", help="Let a VRT read outside its folder")
    ] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Map the rest of a damaged raster; exit code 1")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines on stdout; last the result")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary")] = False,
) -> None:
    """Make a map again, from the same raster with the same settings, and compare the two."""
    harden(source, *(raster or ()), trusted=trust_input)
    load_vectors()
    if offline:
        seal()
    from geoseg.rerun import Means
    from geoseg.rerun import rerun as again

    with telling(quiet=quiet, as_json=as_json) as progress:
        means = Means(workers, batch, memory, trust_input, keep_going, offline)
        made = again(
            source,
            out,
            raster=raster,
            means=means,
            overwrite=overwrite,
            progress=interrupts.heeding(progress),
        )
    run = made.run
    if as_json:
        event(
            "result",
            path=str(run.path),
            features=run.count,
            tiles=run.tiles,
            complete=run.complete,
            failed=dict(run.failed),
            same=made.same,
        )
    elif not quiet:
        told = _SAME[made.same].format(source)
        print(f"{run.count} polygons in {run.path}: {told}", file=sys.stderr)  # noqa: T201
    if not run.complete:
        print(  # noqa: T201
            f"error: {len(run.failed)} of {run.tiles} tiles failed and are missing from the map "
            "(see failed_tiles)",
            file=sys.stderr,
        )
        raise typer.Exit(1)
