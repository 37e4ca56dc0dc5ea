"""How does a picture become a PNG?"""

from __future__ import annotations

import warnings

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

ZLEVEL = 2
"""Of a photograph 5 % larger than at the usual 6, in a quarter of the time."""


def png(image: NDArray[np.uint8]) -> bytes:
    """Return a (band, row, col) picture of three or four bands as a PNG."""
    bands, height, width = image.shape
    profile = {"driver": "PNG", "count": bands, "height": height, "width": width, "dtype": "uint8"}
    profile["zlevel"] = ZLEVEL
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with MemoryFile() as file:
            with file.open(transform=Affine.identity(), **profile) as target:
                target.write(image)
            content: bytes = file.read()
    return content
