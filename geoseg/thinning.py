"""How is a large window read for a small picture? Every n-th pixel, from overviews where there are.

A file with overviews, as a COG, gives a picture of any part of it in milliseconds; of others all
pixels of the part are read, and no more is held at once than a budget, however wide they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from geoseg.raster import RasterReader, Samples, Valid
from geoseg.window import Window

_STRIP_ROWS = 512
"""About so many rows are read at once: fewer would read the blocks of a tiled file again."""

_MOST_BYTES = 64 * 2**20
"""All bands of what is read at once, but for steps whose square alone is more."""


@dataclass(frozen=True, slots=True, eq=False)
class Thin:
    """A window of a raster, thinned."""

    data: Samples
    """(band, row, col) samples of the bands that were asked for."""
    valid: Valid
    """(row, col) whether data is good."""
    across: float
    """Columns of the raster per column."""
    down: float
    """Rows of the raster per row."""


@runtime_checkable
class Thinned(Protocol):
    """A RasterReader that may hold thinned copies of itself."""

    def thin(self, window: Window, step: int, bands: Sequence[int]) -> Thin | None:
        """Return a window of ceil(side / step) pixels; None where no copy is as fine as that.

        Raises:
            TileFailedError: It cannot be read.
        """
        ...


def thin(raster: RasterReader, window: Window, step: int, bands: Sequence[int]) -> Thin:
    """Return about every n-th pixel of a window.

    Args:
        raster: What to read.
        window: Some of its pixels, at least one.
        step: Every how many-th pixel, in rows and columns.
        bands: 0-based numbers, in the order wanted; one may come twice.

    Returns:
        ceil(side / step) pixels a side. Validity is that of all bands where all pixels are read,
        and that of these bands where an overview is.

    Raises:
        TileFailedError: It cannot be read.
    """
    if step > 1 and isinstance(raster, Thinned):
        found = raster.thin(window, step, bands)
        if found is not None:
            return found
    shape = -(-window.height // step), -(-window.width // step)
    valid = np.zeros(shape, bool)
    data = np.zeros((len(bands), *shape), _kind(raster))
    for part in _parts(raster, window, step):
        samples, good = raster.read(part)
        y, x = (part.y0 - window.y0) // step, (part.x0 - window.x0) // step
        few = good[::step, ::step]
        here = np.s_[y : y + few.shape[0], x : x + few.shape[1]]
        valid[here] = few
        for k, band in enumerate(bands):
            data[k][here] = samples[band, ::step, ::step]
    return Thin(data, valid, step, step)


def _parts(raster: RasterReader, window: Window, step: int) -> Iterator[Window]:
    """Yield windows that fit the budget, each a multiple of the step from the corner."""
    pixel = len(raster.bands) * _kind(raster).itemsize + 1
    rows = max(_STRIP_ROWS // step, 1) * step
    cols = max(_MOST_BYTES // (rows * pixel) // step, 1) * step
    for y in range(window.y0, window.y1, rows):
        for x in range(window.x0, window.x1, cols):
            yield Window(x, y, min(x + cols, window.x1), min(y + rows, window.y1))


def _kind(raster: RasterReader) -> np.dtype[Any]:
    return np.result_type(*(band.dtype for band in raster.bands))
