"""How is GDAL held to what a run allows, and kept from saying one thing many times?

The second line of defence: what a file may reach for is decided before GDAL sees it (sniff.py,
vrt.py). Should that have a hole, GDAL itself runs no Python and asks no network.
"""

from __future__ import annotations

import logging
import multiprocessing
from typing import Any


def options(*, network: bool, trusted: bool) -> dict[str, Any]:
    """Return configuration options of GDAL.

    Args:
        network: Whether the raster itself is on the network.
        trusted: Whether it may reach wherever it likes.
    """
    guarded: dict[str, Any] = {"GDAL_VRT_ENABLE_PYTHON": "NO"}
    if trusted:
        guarded["GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE"] = "ALL"
    elif not network:
        guarded["CPL_VSIL_CURL_ALLOWED_FILENAME"] = "none"
    return guarded


class _Once(logging.Filter):
    """Lets a message pass once: every handle that is opened says it again."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if record.levelno < logging.WARNING:
            return True
        # GDAL says it of a file by name ("CPLE_AppDefined in a.tif: ..."), and of parts without.
        words = text.partition(" in ")[2] or text
        known = any(said == text or said.endswith(f": {words}") for said in self._said)
        # A worker opens what the main process has opened, and told of, before.
        known |= multiprocessing.parent_process() is not None
        self._said.add(text)
        return not known


def say_once() -> None:
    """Have GDAL's warnings pass once per process, and not at all in worker processes."""
    # rasterio gives GDAL's messages to this logger.
    logger = logging.getLogger("rasterio._env")
    if not any(isinstance(f, _Once) for f in logger.filters):
        logger.addFilter(_Once())
