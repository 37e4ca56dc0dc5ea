"""From polygons to answers: how sure is an area, what changed, how good is a map?

Functions take files or GeoDataFrames and give (Geo)DataFrames; each is imported when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME: dict[str, str] = {
    "change": "geoseg.analysis.changes.compare",
    "series": "geoseg.analysis.hydroperiod.whole",
}

__all__: list[str] = ["change", "series"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module 'geoseg.analysis' has no attribute '{name}'")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
