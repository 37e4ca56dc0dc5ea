"""What does GDAL know that rasterio does not pass on? Asked of the library it is linked to.

Where it cannot be found there is no answer: callers do without.
"""

from __future__ import annotations

import ctypes
import json
from dataclasses import dataclass
from functools import cache

import rasterio._env


@dataclass(frozen=True, slots=True)
class Traffic:
    """What this process has fetched through GDAL since it began."""

    requests: int
    """Requests, as GDAL counts them."""
    fetched_bytes: int
    """Bytes of the answers, without headers."""


@cache
def _gdal() -> ctypes.CDLL | None:
    try:
        gdal = ctypes.CDLL(rasterio._env.__file__)  # noqa: SLF001
        gdal.VSINetworkStatsGetAsSerializedJSON.restype = ctypes.c_void_p
        gdal.VSINetworkStatsGetAsSerializedJSON.argtypes = [ctypes.c_void_p]
        gdal.VSIFree.argtypes = [ctypes.c_void_p]
        gdal.CPLGetErrorCounter.restype = ctypes.c_uint32
    except (OSError, AttributeError):
        return None
    return gdal


def gdal_errors() -> int | None:
    """Return how many errors GDAL has met in this thread; it tells of some in no other way."""
    gdal = _gdal()
    return None if gdal is None else int(gdal.CPLGetErrorCounter())


def traffic() -> Traffic | None:
    """Return what this process has fetched with `CPL_VSIL_NETWORK_STATS_ENABLED`."""
    gdal = _gdal()
    place = None if gdal is None else gdal.VSINetworkStatsGetAsSerializedJSON(None)
    if gdal is None or not place:
        return None
    try:
        said = json.loads(ctypes.string_at(place))
    finally:
        gdal.VSIFree(place)
    methods = said.get("methods", {}).values()
    return Traffic(
        sum(m.get("count", 0) for m in methods), sum(m.get("downloaded_bytes", 0) for m in methods)
    )
