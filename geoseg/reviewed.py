"""What did a reviewer say of a polygon, and which polygons count then?

The words stand in columns of the map's own layer, so that QGIS and every reader sees them.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from datetime import UTC, datetime

from geoseg.errors import ConfigError, MapError

REVIEW = "review"

COLUMNS = (REVIEW, "reviewed_by", "reviewed_at")
"""What was said, of STATES or nothing yet; who said it; when, UTC, as `2026-11-27T15:00:00Z`."""

STATES = ("accepted", "rejected", "edited")
"""`edited` is accepted, after its outline or class was put right."""

ONLY = ("accepted", "kept")
"""What `--only` takes: what somebody accepted or put right; or all but what was rejected."""


def said(state: str, by: str) -> dict[str, str]:
    """Return the columns of what somebody says now."""
    return dict(zip(COLUMNS, (state, by, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"), strict=True))


def me() -> str:
    """Return the name of who is logged in; in a container that knows none, the user's number."""
    try:
        # A name from the environment may be no text.
        return getpass.getuser().encode("utf-8", "replace").decode()
    except (KeyError, OSError):
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"


def keeps(state: str | None, only: str | None) -> bool:
    """Tell whether a polygon counts.

    Args:
        state: What was said of it; None where nothing was.
        only: One of ONLY; None lets all count.
    """
    if only is None:
        return True
    return state in ("accepted", "edited") if only == "accepted" else state != "rejected"


def check_only(only: str | None) -> None:
    """Refuse what `--only` does not know.

    Raises:
        ConfigError: It is none of ONLY.
    """
    if only is not None and only not in ONLY:
        raise ConfigError(f"--only '{only}' is none of: {', '.join(ONLY)}")


def check_reviewed(source: str, count: Mapping[str | None, int], only: str) -> None:
    """Refuse a map that nobody has looked at.

    Args:
        source: What to call it.
        count: How many polygons by what was said of them.
        only: One of ONLY.

    Raises:
        MapError: Nothing is said of any polygon; or none is accepted, where those alone count.
    """
    said = any(count.get(state) for state in STATES)
    if not said or (only == "accepted" and not any(keeps(s, only) and n for s, n in count.items())):
        lacks = "no polygon that somebody accepted" if said else "not been reviewed"
        raise MapError(
            f"{source} has {lacks}: review it with geoseg.review('{source}'), or leave --only out"
        )


def told_rejected(rejected: int, count: int, source: str) -> str:
    """Return what is said where rejected polygons count, for nobody said otherwise."""
    return (
        f"{rejected} of the {count} polygons of {source} were rejected in a review, and count "
        "nevertheless; pass --only kept to leave them out"
    )
