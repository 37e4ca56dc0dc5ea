"""How do samples become the 8-bit red, green, blue that models want?

One linear stretch per run, fitted on samples of the whole raster: a stretch per tile would make
the same roof look different on either side of a seam. 8-bit rasters pass unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.raster import RasterReader, sample

PERCENTILES = (2.0, 98.0)
"""Samples below the first become 0, above the second 255, as in QGIS's cumulative cut."""

_ROWS = 64


@dataclass(frozen=True, slots=True)
class Stretch:
    """A linear map from samples of three bands to 0..255."""

    bands: tuple[int, int, int]
    """0-based indices of the bands shown as red, green and blue."""
    low: tuple[float, float, float]
    """Sample that becomes 0, per band."""
    high: tuple[float, float, float]
    """Sample that becomes 255, per band."""

    def apply(self, data: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the picture of samples.

        Args:
            data: (band, row, col) in the raster's own type.

        Returns:
            (row, col, 3) uint8; NaN becomes 0.
        """
        out = np.empty((*data.shape[1:], 3), np.uint8)
        for k, (band, low, high) in enumerate(zip(self.bands, self.low, self.high, strict=True)):
            if data.dtype == np.uint8 and (low, high) == (0.0, 255.0):
                out[..., k] = data[band]
                continue
            if data.dtype.kind in "iu" and data.dtype.itemsize <= 2:
                table = _table(data.dtype, low, high)
                bits = data[band].view(f"u{data.dtype.itemsize}")
                # In parts: take makes 8-byte indices, which are to stay in the processor's cache.
                for y in range(0, len(bits), _ROWS):
                    out[y : y + _ROWS, :, k] = table.take(bits[y : y + _ROWS])
                continue
            out[..., k] = _scale(data[band], low, high)
        return out


def _scale(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    scaled = (values.astype(np.float64) - low) * (255.0 / (high - low))
    return np.rint(np.clip(np.nan_to_num(scaled, nan=0.0), 0, 255)).astype(np.uint8)


@lru_cache(maxsize=8)
def _table(dtype: np.dtype[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Return what every 8 or 16-bit integer becomes, by its bits read as unsigned."""
    bits = np.arange(2 ** (8 * dtype.itemsize)).astype(f"u{dtype.itemsize}")
    return _scale(bits.view(dtype), low, high)


def fit_stretch(raster: RasterReader, roles: Mapping[str, int]) -> Stretch:
    """Fit the run's stretch.

    Args:
        raster: What to sample; only valid pixels count.
        roles: 1-based band numbers by role; without red, green and blue the first three bands
            are shown, and a single band as grey.
    """
    count = len(raster.bands)
    if {"red", "green", "blue"} <= roles.keys():
        shown = (roles["red"] - 1, roles["green"] - 1, roles["blue"] - 1)
    else:
        shown = (0, 1, 2) if count >= 3 else (0, 0, 0)
    (r0, r1), (g0, g1), (b0, b1) = limits(raster, shown)
    return Stretch(shown, (r0, g0, b0), (r1, g1, b1))


def limits(raster: RasterReader, bands: Sequence[int]) -> list[tuple[float, float]]:
    """Return the samples that become black and white, per 0-based band; 0 and 255 of 8-bit."""
    if all(raster.bands[b].dtype == "uint8" for b in bands):
        return [(0.0, 255.0) for _ in bands]
    samples = sample(raster)
    found = []
    for band in bands:
        values = np.concatenate([data[band][valid] for _, data, valid in samples] or [[]])
        cut = np.percentile(values.astype(np.float64), PERCENTILES) if values.size else (0.0, 1.0)
        low, high = float(cut[0]), float(cut[1])
        found.append((low, high if high > low else low + 1.0))
    return found
