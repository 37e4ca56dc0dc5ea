"""The `geoseg status` command."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geoseg.cli_progress import duration

if TYPE_CHECKING:
    from geoseg.status import Share, Status

_REASONS_SHOWN = 5


def status(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="OUT.geoseg, or OUT itself")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Say how far a run is, and what is in a finished map: polygons and hectares per class."""
    from geoseg.status import status as ask

    found = ask(path)
    print(json.dumps(asdict(found)) if as_json else _in_words(found))  # noqa: T201


def _in_ha(share: Share) -> str:
    area = "area unknown" if share.area_ha is None else f"{share.area_ha:.4f} ha"
    return f"{share.features} {'polygon' if share.features == 1 else 'polygons'}, {area}"


def _in_words(found: Status) -> str:
    lines = [f"state    {found.state}" + (f" ({found.owner})" if found.owner else "")]
    if found.tiles is not None:
        counts = f"{len(found.failed)} failed, {found.missing} missing"
        lines.append(f"tiles    {found.done} of {found.tiles} done, {counts}")
    elif found.classes:
        lines.append(f"tiles    {len(found.failed)} failed")
    lines += [f"class    {name}: {_in_ha(share)}" for name, share in found.classes.items()]
    if found.per_second is not None and found.seconds_left is not None:
        lines.append(
            f"step     {found.step}, {found.per_second:.2g} per second, about "
            f"{duration(found.seconds_left)} left"
        )
    reasons = Counter(found.failed.values()).most_common()
    for reason, count in reasons[:_REASONS_SHOWN]:
        first = next(name for name, why in found.failed.items() if why == reason)
        lines.append(f"failed   {count} {'tile' if count == 1 else 'tiles'} ({first}): {reason}")
    if len(reasons) > _REASONS_SHOWN:
        lines.append(f"         and {len(reasons) - _REASONS_SHOWN} other reasons (--json has all)")
    if found.state == "interrupted":
        lines.append("         run the same command again to continue")
    elif found.failed and found.state != "running" and found.tiles is not None:
        lines.append("         run the same command with --retry-failed to try them again")
    return "\n".join(lines)
