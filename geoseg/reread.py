"""What does the raster hold around outlines, when all tiles are settled?

A tile that failed may be one that cannot be read. What lies in it counts as unknown; the rest of a
window is there nevertheless.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from geoseg.detect import Job
from geoseg.errors import TileFailedError
from geoseg.raster import Samples, Valid
from geoseg.window import Window


def reread(job: Job, window: Window) -> tuple[Samples, Valid]:
    """Return (band, row, col) samples and (row, col) validity of a window inside the raster.

    Raises:
        TileFailedError: Something cannot be read that could be when tiles were made.
    """
    try:
        return job.raster.read(window)
    except TileFailedError:
        parts = dict(_parts(job, window))
        if not any(job.store.is_failed(tile) for tile in parts):
            raise
    dtype = np.result_type(*(band.dtype for band in job.raster.bands))
    data = np.zeros((len(job.raster.bands), *window.shape), dtype)
    valid = np.zeros(window.shape, bool)
    for tile, part in parts.items():
        if not job.store.is_failed(tile):
            rows, cols = part.slices_in(window)
            data[:, rows, cols], valid[rows, cols] = job.raster.read(part)
    return data, valid


def known(job: Job, window: Window) -> NDArray[np.bool_]:
    """Return (row, col) of a window, True where a pixel is valid and its tile has not failed."""
    found = reread(job, window)[1].copy()
    for tile, part in _parts(job, window):
        if job.store.is_failed(tile):
            found[part.slices_in(window)] = False
    return found


def _parts(job: Job, window: Window) -> Iterator[tuple[int, Window]]:
    """Yield the tiles of the run that decide a pixel of a window, and which pixels."""
    for tile in job.grid.meeting(window):
        if job.store.wants(tile):
            yield tile, job.grid[tile].core.intersection(window)
