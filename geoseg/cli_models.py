"""`geoseg models`: which weights are known, and how they get here."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from geoseg.offline import seal

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout")]

app = typer.Typer(no_args_is_help=True, help="Weights: list, show, fetch.")


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """List known weights: what runs them, licence, and whether they are in the cache."""
    from geoseg.backends.cache import known

    rows = known()
    if as_json:
        print(json.dumps(rows))  # noqa: T201
        return
    for row in rows:
        state = f"cached, {row['size_mb']} MB" if row["cached"] else "not cached"
        gated = ", gated" if row["gated"] else ""
        print(f"{row['name']:24} {row['repo']}  ({row['licence'].split(':')[0]}{gated}; {state})")  # noqa: T201


@app.command("show")
def show_model(
    name: Annotated[str, typer.Argument(help="A name of `geoseg models list`, or OWNER/NAME")],
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask the hub")] = False,
    as_json: Json = False,
) -> None:
    """Say what is known of weights: identifier, revision, licence, size, cached or not."""
    if offline:
        seal()
    from geoseg.backends.cache import describe

    facts = describe(name, offline=offline)
    if as_json:
        print(json.dumps(facts))  # noqa: T201
        return
    if facts["revision"] is None and not offline:
        print(  # noqa: T201
            "the hub cannot be reached: revision and size are not known", file=sys.stderr
        )
    for key, value in facts.items():
        shown = {True: "yes", False: "no", None: "not known"}.get(value, value)
        print(f"{key:10} {shown}")  # noqa: T201


@app.command("fetch")
def fetch_model(
    name: Annotated[str, typer.Argument(help="A name of `geoseg models list`, or OWNER/NAME@REV")],
    to: Annotated[
        Path | None, typer.Option(help="A folder of your own instead of the cache")
    ] = None,
) -> None:
    """Download weights; prints the folder that a backend takes after its colon."""
    from geoseg.backends.cache import download

    print(download(name, to))  # noqa: T201
