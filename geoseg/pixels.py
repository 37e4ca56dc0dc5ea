"""What does a backend get to see of a tile?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

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
    trust: Window
    """Where an answer counts: `window`, less the backend's own `halo_px` on sides that are not
    the raster's edge. What lies outside may be looked at; objects joined there are not joined."""
    core: Window
    """The pixels this tile decides: what has none of them is another tile's to answer."""
    picture: NDArray[np.uint8] | None = None
    """What `rgb` returns, where it was made beforehand."""

    def rgb(self) -> NDArray[np.uint8]:
        """Return the picture for models: (row, col, 3) uint8, the run's stretch."""
        return self.stretch.apply(self.data) if self.picture is None else self.picture


@runtime_checkable
class Pictured(Protocol):
    """A backend that says whether it will ask tiles for `rgb`.

    The picture is then made with the reading, while the backend is busy with the tiles before.
    """

    @property
    def wants_rgb(self) -> bool:
        """Whether every tile is looked at as a picture."""
        ...
