"""Which pixels surely belong together? Those from which water runs into one hollow.

The height is how steeply colour changes, so that ridges are edges. Each pixel slides to its lowest
neighbour until none is lower: tobogganing (Mortensen and Barrett 1999, "Toboggan-based intelligent
scissors with a four-parameter edge model").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.backends.detections import Floats

Labels = NDArray[np.int32]
"""(row, col) of whole numbers 0..n-1, each of which is somewhere."""

_EIGHT = np.ones((3, 3), bool)
_AROUND = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0))


def basins(height: Floats) -> Labels:
    """Return which basin each pixel (row, col) runs into; a plateau without exit is a hollow."""
    rows, cols = height.shape
    padded = np.pad(height, 1, constant_values=np.inf)
    lowest = height.copy()
    step = np.zeros(height.shape, np.int32)
    for y, x in _AROUND:
        beside = padded[1 + y : 1 + y + rows, 1 + x : 1 + x + cols]
        lower = beside < lowest
        np.copyto(lowest, beside, where=lower)
        np.copyto(step, np.int32(y * cols + x), where=lower)
    hollows, _ = ndimage.label(step == 0, _EIGHT)
    goes = np.arange(height.size, dtype=np.int32) + step.ravel()
    while not np.array_equal(further := goes[goes], goes):
        goes = further
    found: Labels = hollows.ravel()[goes].reshape(height.shape).astype(np.int32) - 1
    return found
