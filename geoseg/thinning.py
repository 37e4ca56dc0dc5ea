"""How is a large window read for a small picture? Every n-th pixel, from overviews where there are.

A file with overviews, as a COG, gives a picture of any part of it in milliseconds; of others all
pixels of the part are read, and little is held at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from geoseg.raster import RasterReader, Samples, Valid
from geoseg.window import Window

_STRIP_ROWS = 512
"""About so many rows are held at once."""


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
    parts, masks = [], []
    strip = max(_STRIP_ROWS // step, 1) * step
    for y in range(window.y0, window.y1, strip):
        data, valid = raster.read(Window(window.x0, y, window.x1, min(y + strip, window.y1)))
        parts.append(data[list(bands), ::step, ::step])
        masks.append(valid[::step, ::step])
    return Thin(np.concatenate(parts, axis=1), np.concatenate(masks), step, step)
