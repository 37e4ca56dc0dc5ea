"""What does a model look at? The tile in the run's stretch, at a ground size it knows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec

import numpy as np

from geoseg.backends.detections import Picture
from geoseg.errors import BackendError, MissingDependencyError
from geoseg.pixels import Pixels
from geoseg.raster import RasterReader
from geoseg.window import Window

_LEAST_TILE_PX, _MOST_TILE_PX = 64, 4096
"""Memory goes with the tile: coarser pictures than of the second are smaller than they could be."""

_LARGEST_SCALE = 16.0
"""More picture pixels per raster pixel than this only blow up what is not there."""


MODEL_HALO_PX = 16
"""Edge of a model's picture on which its outlines are not trusted: four cells of a mask of SAM on
1024 px. An outline that ends within it must count as cut by the tile."""


@dataclass(frozen=True, slots=True)
class View:
    """At which ground size, and how large, a model is shown a tile."""

    gsd_m: float | None = None
    """Ground size in metres of the pixels of the picture; None: the raster's own."""
    side_px: int = 1024
    """Side of the pictures that the model was trained on."""
    scale: float = 1.0
    """Pixels of the picture per pixel of the raster; set by `fit`."""

    def __str__(self) -> str:
        """Return what an identity says of it."""
        return f" at {self.gsd_m:g} m" if self.gsd_m else ""

    @property
    def halo_px(self) -> int:
        """Width of the edge of a tile that is not trusted, in pixels of the raster."""
        return max(1, round(MODEL_HALO_PX / self.scale))

    @property
    def tile_px(self) -> int:
        """Side of the tile that fills the picture."""
        return min(max(_LEAST_TILE_PX, round(self.side_px / self.scale)), _MOST_TILE_PX)

    def fit(self, raster: RasterReader) -> View:
        """Return the view of a raster.

        Raises:
            BackendError: A ground size is asked of a raster without one, or one that cannot be.
            MissingDependencyError: Pictures are to be resized, and Pillow is not installed.
        """
        if self.gsd_m is None:
            return self
        if find_spec("PIL") is None:
            raise MissingDependencyError(
                "--gsd shows resized pictures, with the package 'pillow', which is not installed; "
                "pip install pillow"
            )
        own = raster.frame.gsd_m
        if own is None:
            raise BackendError(
                "--gsd needs a raster with a coordinate reference system: without one, pixels have "
                "no ground size; leave --gsd out, or set one with gdal_edit -a_srs"
            )
        scale = own / self.gsd_m
        if not 1 / _LARGEST_SCALE <= scale <= _LARGEST_SCALE:
            raise BackendError(
                f"--gsd {self.gsd_m:g} m is {1 / scale:.3g} times the raster's own {own:.3g} m; "
                f"between {own / _LARGEST_SCALE:.3g} and {own * _LARGEST_SCALE:.3g} m is possible"
            )
        return replace(self, scale=scale)

    def of(self, tile: Pixels) -> Picture:
        """Return the picture of a tile: (row, col, 3) uint8, `scale` pixels per pixel of it.

        Smaller pictures average what falls into a pixel (Pillow's bilinear filter grows with the
        step), so that fine texture does not alias.
        """
        shown = tile.rgb()
        if self.scale == 1.0:
            return shown
        from PIL import Image

        rows, cols = (max(1, round(n * self.scale)) for n in shown.shape[:2])
        smooth = Image.fromarray(shown).resize((cols, rows), Image.Resampling.BILINEAR)
        return np.asarray(smooth)


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
