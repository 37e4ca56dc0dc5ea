"""Which blocks of a GeoTIFF were ever written? Its index tells, without reading a pixel.

GDAL reads blocks of a sparse file that were never written as nodata. A raster of a continent with
islands of data has hundreds of thousands of them; to know them is to pass them by.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Interleaving
from rasterio.errors import RasterioIOError
from rasterio.io import DatasetReader

from geoseg.library import gdal_errors
from geoseg.window import Window

MAX_BLOCKS = 2**22
"""An index with more blocks is not looked through: it would take seconds."""


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """The blocks of a file, and which of them hold something."""

    shape_px: tuple[int, int]
    """Rows and columns of a block."""
    written: NDArray[np.bool_]
    """(row, col) of blocks."""

    def empty(self, window: Window) -> bool:
        """Tell whether nothing was written in any block of a window."""
        height, width = self.shape_px
        rows = slice(window.y0 // height, -(-window.y1 // height))
        cols = slice(window.x0 // width, -(-window.x1 // width))
        return not self.written[rows, cols].any()

    @property
    def widest(self) -> float:
        """Part of the blocks that are written in the row of blocks that has most of them, 0..1."""
        return float(self.written.mean(axis=1).max())

    def boxes(self, within: Window) -> NDArray[np.int64]:
        """Return the written blocks as (n, 4) x0, y0, x1, y1 in pixels, row by row."""
        height, width = self.shape_px
        row, col = np.nonzero(self.written)
        corners = np.stack((col * width, row * height, (col + 1) * width, (row + 1) * height), 1)
        return np.minimum(corners, (within.x1, within.y1, within.x1, within.y1)).astype(np.int64)


def find_blocks(dataset: DatasetReader, indexes: tuple[int, ...]) -> Blocks | None:
    """Return the blocks of bands of a GeoTIFF; None where all are written, or it is not known.

    Args:
        dataset: The open file.
        indexes: 1-based bands; a block is written if it is in any of them.

    Raises:
        RasterioIOError: Its index cannot be read.
    """
    height, width = dataset.block_shapes[indexes[0] - 1]
    rows, cols = -(-dataset.height // height), -(-dataset.width // width)
    same = all(dataset.block_shapes[i - 1] == (height, width) for i in indexes)
    before = gdal_errors()
    if before is None or dataset.driver != "GTiff" or rows * cols > MAX_BLOCKS or not same:
        return None
    if dataset.interleaving == Interleaving.pixel:
        indexes = indexes[:1]
    written = np.zeros((rows, cols), bool)
    for row in range(rows):
        written[row] = [
            any(dataset.get_tag_item(f"BLOCK_OFFSET_{c}_{row}", "TIFF", bidx=i) for i in indexes)
            for c in range(cols)
        ]
        # An entry that cannot be read looks like that of a block never written.
        if gdal_errors() != before:
            raise RasterioIOError("the index of its blocks cannot be read")
    return None if written.all() else Blocks((height, width), written)
