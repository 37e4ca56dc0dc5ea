"""`geoseg rerun`: a map once more, by what it says of itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from geoseg import interrupts
from geoseg.cli_export import MapFile
from geoseg.cli_options import (
    Batch,
    Events,
    KeepGoing,
    Memory,
    Offline,
    Overwrite,
    Quiet,
    TrustInput,
    Workers,
)
from geoseg.cli_progress import event, telling
from geoseg.errors import INCOMPLETE
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
    workers: Workers = 1,
    batch: Batch = 1,
    memory: Memory = None,
    offline: Offline = False,
    overwrite: Overwrite = False,
    trust_input: TrustInput = False,
    keep_going: KeepGoing = False,
    as_json: Events = False,
    quiet: Quiet = False,
) -> None:
    """Make a map again, from the same raster with the same settings, and compare the two.

    Exit code 1 where polygons are not the same, or tiles are missing.
    """
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
    if not run.complete or made.same == "nothing":
        raise typer.Exit(INCOMPLETE)
