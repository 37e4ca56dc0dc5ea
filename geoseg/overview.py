"""What does a raster look like from afar? A small picture, of a raster of any size."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from geoseg.raster import RasterReader
from geoseg.stretch import Stretch, fit_stretch
from geoseg.thinning import thin
from geoseg.window import Window

SIDE_PX = 1600
"""Longest side of a picture that fills a page or a screen."""


@dataclass(frozen=True, slots=True, eq=False)
class Overview:
    """A thinned raster, or a part of one."""

    image: NDArray[np.uint8]
    """(row, col, 3) red, green, blue; white where nothing is valid."""
    valid: NDArray[np.bool_]
    """(row, col) whether data is good."""
    transform: Affine
    """Corners of the picture's pixels (col, row) to CRS coordinates (x, y)."""


def overview(raster: RasterReader, side_px: int = SIDE_PX) -> Overview:
    """Return every n-th pixel of a raster, so that neither side is longer than `side_px`."""
    frame = raster.frame
    step = step_for(frame.window, side_px)
    return part(raster, fit_stretch(raster, raster.roles), frame.window, step)


def step_for(window: Window, side_px: int) -> int:
    """Return every how many-th pixel is few enough."""
    return -(-max(window.width, window.height) // side_px)


def part(raster: RasterReader, stretch: Stretch, window: Window, step: int) -> Overview:
    """Return every n-th pixel of a window.

    Raises:
        TileFailedError: It cannot be read.
    """
    found = thin(raster, window, step, stretch.bands)
    image = replace(stretch, bands=(0, 1, 2)).apply(found.data)
    image[~found.valid] = 255
    place = Affine.translation(window.x0, window.y0) @ Affine.scale(found.across, found.down)
    return Overview(image, found.valid, raster.frame.transform @ place)
