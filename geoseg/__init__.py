"""Polygons out of imagery with words.

Conventions, everywhere: arrays are (band, row, col), pictures for models (row, col, 3) uint8;
boxes are (x0, y0, x1, y1) in half-open pixels; coordinates are (x, y); `valid` is True where data
is good; band numbers are 1-based; units are suffixes (`_px`, `_m`, `_ha`); scores are 0..1.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geoseg import analysis as analysis
    from geoseg.config import ModelOptions
    from geoseg.errors import GeosegError
    from geoseg.estimate import plan
    from geoseg.geotiff import open_raster
    from geoseg.instances import Instances
    from geoseg.interactive.session import Session
    from geoseg.legend import LandClass, Legend
    from geoseg.outcome import Run
    from geoseg.raster import ArrayRaster
    from geoseg.reviewing.review import review
    from geoseg.run import segment

_HOME = {
    "ArrayRaster": "geoseg.raster",
    "GeosegError": "geoseg.errors",
    "Instances": "geoseg.instances",
    "LandClass": "geoseg.legend",
    "Legend": "geoseg.legend",
    "ModelOptions": "geoseg.config",
    "Run": "geoseg.outcome",
    "Session": "geoseg.interactive.session",
    "open_raster": "geoseg.geotiff",
    "plan": "geoseg.estimate",
    "review": "geoseg.reviewing.review",
    "segment": "geoseg.run",
}

__all__ = [
    "ArrayRaster",
    "GeosegError",
    "Instances",
    "LandClass",
    "Legend",
    "ModelOptions",
    "Run",
    "Session",
    "open_raster",
    "plan",
    "review",
    "segment",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import geoseg` stays light."""
    if name == "analysis":
        return import_module("geoseg.analysis")
    if name not in _HOME:
        raise AttributeError(f"module 'geoseg' has no attribute '{name}'")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
