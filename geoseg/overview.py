"""What does a raster look like from afar? A small picture, of a raster of any size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from geoseg.raster import RasterReader
from geoseg.stretch import fit_stretch
from geoseg.window import Window

SIDE_PX = 1600
"""Longest side of a picture that fills a page or a screen."""

_STRIP_ROWS = 512
"""About so many rows are held at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Overview:
    """A thinned raster."""

    image: NDArray[np.uint8]
    """(row, col, 3) red, green, blue; white where nothing is valid."""
    valid: NDArray[np.bool_]
    """(row, col) whether data is good."""
    transform: Affine
    """Corners of the picture's pixels (col, row) to CRS coordinates (x, y)."""


def overview(raster: RasterReader, side_px: int = SIDE_PX) -> Overview:
    """Return every n-th pixel of a raster, so that neither side is longer than `side_px`."""
    frame, stretch = raster.frame, fit_stretch(raster, raster.roles)
    step = -(-max(frame.width, frame.height) // side_px)
    images, masks = [], []
    strip = max(_STRIP_ROWS // step, 1) * step
    for y in range(0, frame.height, strip):
        data, valid = raster.read(Window(0, y, frame.width, min(y + strip, frame.height)))
        seen = valid[::step, ::step]
        thin = stretch.apply(data[:, ::step, ::step])
        thin[~seen] = 255
        images.append(thin)
        masks.append(seen)
    return Overview(
        np.concatenate(images), np.concatenate(masks), frame.transform @ Affine.scale(step)
    )
