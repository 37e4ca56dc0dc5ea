"""What is at each pixel of a grid? A layer burnt into a raster on the disk, and read in windows.

A pixel belongs to the polygon that holds its centre; where several do, to the last of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window as RasterioWindow

from geoseg.analysis.classed import Classed
from geoseg.area import Geometries
from geoseg.export.burn import burn, lean, strips
from geoseg.frame import Frame
from geoseg.window import Window

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Burnt:
    """A raster of one band, of the size of a frame; what it holds has no place."""

    path: Path
    """The file."""
    frame: Frame
    """Its pixels."""

    def read(self, window: Window) -> NDArray[np.unsignedinteger]:
        """Return (row, col) values in a window inside the frame; 0 where nothing is."""
        where = RasterioWindow(window.x0, window.y0, window.width, window.height)
        with lean(), rasterio.open(self.path) as source:
            values: NDArray[np.unsignedinteger] = source.read(1, window=where)
        return values

    def strips(self) -> Iterator[tuple[Window, NDArray[np.unsignedinteger]]]:
        """Yield whole rows from top to bottom, as much as is held at once: (row, col) values."""
        for y0, y1 in strips(self.frame):
            window = Window(0, y0, self.frame.width, y1)
            yield window, self.read(window)


def burnt_classes(found: Classed, frame: Frame, path: Path) -> Burnt:
    """Burn the classes of a layer: their index, plus 1; uint16.

    Args:
        found: The layer, in any CRS.
        frame: The pixels to burn it into.
        path: The file that is written.

    Raises:
        ConfigError: The layer cannot be brought to the frame's CRS.
    """

    def painted() -> Iterator[tuple[Geometries, Ints]]:
        for batch, shapes, owner in found.in_pixels(frame):
            yield shapes, batch.cls[owner] + 1

    burn(path, frame, "uint16", painted())
    return Burnt(path, frame)


def burnt_rows(found: Classed, frame: Frame, path: Path) -> Burnt:
    """Burn which polygon of a layer is where: its position in it, from 1; uint32.

    Else as `burnt_classes`.
    """

    def painted() -> Iterator[tuple[Geometries, Ints]]:
        first = 1
        for batch, shapes, owner in found.in_pixels(frame):
            yield shapes, owner + first
            first += len(batch.id)

    burn(path, frame, "uint32", painted())
    return Burnt(path, frame)
