"""What do samples mean? Reflectance, guessed from their type and range.

The guess is made once per run, from `geoseg.raster.sample`, and does not know the tiling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DARKEST = 1e-4
"""Least reflectance: keeps every ratio defined."""

_LARGEST_FRACTION = 2.0
"""Floats up to here are reflectance as they are."""
_LANDSAT_LOW, _LANDSAT_HIGH = 5000, 7300
"""Landsat Collection 2 never stores less than the first for a real surface; 7273 is black."""
_BYTE_HIGH = 255
_TEN_THOUSANDTHS_HIGH = 20_000
"""Integers up to here are reflectance times 10,000, with room for clouds and snow."""

Block = tuple[NDArray[Any], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Scale:
    """`reflectance = sample * factor + offset`, not below DARKEST."""

    factor: float
    offset: float
    levels: str
    """`reflectance`, or `display` for 8-bit pictures."""

    def apply(self, samples: NDArray[Any]) -> NDArray[np.float32]:
        """Return scaled samples of one band, NaN and less as DARKEST."""
        plane = samples.astype(np.float32)
        plane *= np.float32(self.factor)
        plane += np.float32(self.offset)
        return np.fmax(plane, np.float32(DARKEST), out=plane)


def fit_scale(dtype: str, blocks: Sequence[Block], numbers: Sequence[int]) -> Scale:
    """Guess what samples mean from their type and range.

    Args:
        dtype: NumPy name of the sample type.
        blocks: (band, row, col) samples and (row, col) validity.
        numbers: 0-based bands in use.
    """
    if dtype == "uint8":
        # Half a count more, so that black pixels have defined ratios.
        return Scale(1 / 255, 0.5 / 255, "display")
    values = [data[b][valid].astype(np.float64) for data, valid in blocks for b in numbers]
    joined = np.concatenate(values or [np.zeros(1)])
    low, high = (float(v) for v in np.percentile(joined, (1, 99)))
    if dtype.startswith("float") and high <= _LARGEST_FRACTION:
        return Scale(1.0, 0.0, "reflectance")
    if low >= _LANDSAT_LOW and high > _LANDSAT_HIGH:
        # Landsat Collection 2 surface reflectance: 2.75e-5 * DN - 0.2.
        return Scale(2.75e-5, -0.2, "reflectance")
    if high <= _BYTE_HIGH:
        return Scale(1 / 255, 0.5 / 255, "display")
    if high <= _TEN_THOUSANDTHS_HIGH:
        return Scale(1e-4, 0.0, "reflectance")
    return Scale(1 / 65535, 0.0, "display")
