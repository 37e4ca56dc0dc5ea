"""How does a picture lie on the web's projection, which maps of browsers are drawn in?"""

from __future__ import annotations

import base64
import math
import threading

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.warp import Resampling, reproject

from geoseg.overview import Overview
from geoseg.png import png

RADIUS_M = 6378137.0
HALF_M = math.pi * RADIUS_M
"""Half a side of the square that is all the web shows: up to 85 degrees of latitude."""
HIGHEST_DEG = math.degrees(math.atan(math.sinh(math.pi))) + 1e-6
"""The last latitude that it shows, and a little for rounding."""

_HUSHED = threading.Lock()
"""Rasterio's warp and the PNG ignore a warning meanwhile, and Python does that for all threads: the
end of one would end the other's, and the warning stand in a notebook's cell."""

_WEB = "+proj=merc +a=6378137 +b=6378137 +lon_0={:.12f} +units=m +nadgrids=@null +no_defs"

Bounds = tuple[float, float, float, float]
"""Left, low, right, high, in metres of the projection."""


def web_of(middle: float) -> str:
    """Return the web's projection (EPSG:3857), torn at the far side from a longitude."""
    return _WEB.format((middle + 180) % 360 - 180)


def to_lonlat(xy: NDArray[np.float64], middle: float) -> NDArray[np.float64]:
    """Return (n, 2) degrees of (n, 2) metres of the projection around a longitude."""
    return np.column_stack(
        (
            middle + np.degrees(xy[:, 0] / RADIUS_M),
            np.degrees(np.arctan(np.sinh(xy[:, 1] / RADIUS_M))),
        )
    )


def from_lonlat(lonlat: NDArray[np.float64], middle: float) -> NDArray[np.float64]:
    """Return (n, 2) metres of the projection of (n, 2) degrees, on whichever turn of the globe."""
    beside = (lonlat[:, 0] - middle + 180) % 360 - 180
    return np.column_stack(
        (np.radians(beside) * RADIUS_M, np.arcsinh(np.tan(np.radians(lonlat[:, 1]))) * RADIUS_M)
    )


def drawn(
    seen: Overview, crs: str, web: str, bounds: Bounds, shape: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return a picture as a projection shows it.

    Args:
        seen: The picture.
        crs: What its transform leads to.
        web: The projection.
        bounds: What of it is drawn.
        shape: (rows, cols) of what is drawn.

    Returns:
        (4, row, col) red, green, blue, and 255 where data is good.
    """
    rgba = np.concatenate([seen.image, 255 * seen.valid[..., None].astype(np.uint8)], axis=2)
    left, low, right, high = bounds
    height, width = shape
    image = np.zeros((4, height, width), np.uint8)
    with _HUSHED:
        reproject(
            np.ascontiguousarray(np.moveaxis(rgba, -1, 0)),
            image,
            src_transform=seen.transform,
            src_crs=crs,
            dst_transform=Affine((right - left) / width, 0, left, 0, (low - high) / height, high),
            dst_crs=web,
            resampling=Resampling.nearest,
        )
    return image


def data_url(image: NDArray[np.uint8]) -> str:
    """Return a (band, row, col) picture of three or four bands as a PNG inside a URL."""
    with _HUSHED:
        content = png(image)
    return f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"
