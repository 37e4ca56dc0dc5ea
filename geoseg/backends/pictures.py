"""What does a model look at? The tile in the run's stretch, at a ground size it knows."""

from __future__ import annotations

import numpy as np

from geoseg.backends.detections import Picture
from geoseg.errors import BackendError
from geoseg.pixels import Pixels
from geoseg.raster import RasterReader
from geoseg.window import Window

_LARGEST_SCALE = 16.0
"""More picture pixels per raster pixel than this only blow up what is not there."""


def picture_scale(raster: RasterReader, gsd_m: float | None) -> float:
    """Return the pixels of a picture per pixel of the raster.

    Raises:
        BackendError: A ground size is asked of a raster without one, or one that cannot be meant.
    """
    if gsd_m is None:
        return 1.0
    own = raster.frame.gsd_m
    if own is None:
        raise BackendError(
            "--gsd needs a raster with a coordinate reference system: without one, pixels have no "
            "ground size; leave --gsd out, or set one with gdal_edit -a_srs"
        )
    scale = own / gsd_m
    if not 1 / _LARGEST_SCALE <= scale <= _LARGEST_SCALE:
        raise BackendError(
            f"--gsd {gsd_m:g} m is {gsd_m / own:.3g} times the raster's own {own:.3g} m; between "
            f"{own / _LARGEST_SCALE:.3g} and {own * _LARGEST_SCALE:.3g} m is possible"
        )
    return scale


def picture_of(tile: Pixels, scale: float = 1.0) -> Picture:
    """Return the picture of a tile: (row, col, 3) uint8, `scale` pixels per pixel of the tile.

    Smaller pictures average what falls into a pixel (Pillow's bilinear filter grows with the
    step), so that fine texture does not alias.
    """
    shown = tile.rgb()
    if scale == 1.0:
        return shown
    from PIL import Image

    size = (max(1, round(shown.shape[1] * scale)), max(1, round(shown.shape[0] * scale)))
    return np.asarray(Image.fromarray(shown).resize(size, Image.Resampling.BILINEAR))


def placed(window: Window, outer: Window, shape: tuple[int, ...]) -> Window:
    """Return where a window of the raster lies in the picture of an outer one, rounded outward.

    Args:
        window: In pixels of the raster.
        outer: What the picture shows.
        shape: (rows, cols, ...) of the picture.
    """
    fx, fy = shape[1] / max(outer.width, 1), shape[0] / max(outer.height, 1)
    return Window(
        int(np.floor((window.x0 - outer.x0) * fx)),
        int(np.floor((window.y0 - outer.y0) * fy)),
        int(np.ceil((window.x1 - outer.x0) * fx)),
        int(np.ceil((window.y1 - outer.y0) * fy)),
    )
