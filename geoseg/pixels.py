"""What does a backend get to see of a tile?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.raster import Samples, Valid
from geoseg.stretch import Stretch
from geoseg.window import Window


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """A window of a raster, as a backend sees it."""

    window: Window
    """Where it lies in the raster."""
    data: Samples
    """(band, row, col) in the raster's own type, all bands."""
    valid: Valid
    """(row, col), True where data is good."""
    stretch: Stretch
    """The run's stretch."""
    core: Window
    """What this tile decides: what lies outside is decided by others."""
    trust: Window
    """Where an answer counts: `window`, less the backend's own `halo_px` on sides that are not
    the raster's edge. What lies outside may be looked at; objects joined there are not joined."""

    def rgb(self) -> NDArray[np.uint8]:
        """Return the picture for models: (row, col, 3) uint8, the run's stretch."""
        return self.stretch.apply(self.data)
