"""How do polygons become pixels on the disk? Strip by strip, so that no raster is held."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window as RasterioWindow

from geoseg.export.sweep import Geometries, Ints, paint, runs_across
from geoseg.frame import Frame

STRIP_PIXELS = 2**22
"""Most pixels of a strip: what is held of the raster at once."""

STRIP_ROWS = 512

BLOCK_PIXELS = 2**17
"""Most pixels of a block in the file: large ones, read again and again, scatter the heap."""

CACHE_BYTES = 64 * 2**20
"""What GDAL keeps of blocks."""

Strip = tuple[int, int]
"""First row, and the row after the last."""


def strips(frame: Frame) -> list[Strip]:
    """Return strips of rows from the top of a raster to its bottom."""
    rows = max(1, min(STRIP_ROWS, STRIP_PIXELS // frame.width))
    return [(y, min(y + rows, frame.height)) for y in range(0, frame.height, rows)]


def lean() -> rasterio.Env:
    """Keep GDAL from holding 5 % of the machine's memory of what is written and read."""
    return rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES)


def burn(
    path: Path, frame: Frame, dtype: str, polygons: Iterable[tuple[Geometries, Ints]]
) -> list[int]:
    """Burn polygons into a plain raster of one band, one over the other; 0 is where none is.

    Args:
        path: The raster; it has the size of the frame, and no place.
        frame: Its pixels.
        dtype: Its type, as `"uint8"`.
        polygons: Batches of (n,) valid (multi)polygons in pixel corner coordinates, and (n,) what
            each is painted with.

    Returns:
        A checksum (CRC-32) of each strip.
    """
    every = strips(frame)
    item = np.dtype(dtype).itemsize
    empty = {y1 - y0: zlib.crc32(bytes((y1 - y0) * frame.width * item)) for y0, y1 in every}
    sums = [empty[y1 - y0] for y0, y1 in every]
    profile = {
        "driver": "GTiff", "width": frame.width, "height": frame.height, "count": 1,
        "dtype": dtype, "bigtiff": "IF_SAFER", "sparse_ok": True,
        "blockysize": min(every[0][1], max(1, BLOCK_PIXELS // frame.width)),
        # A place of its own, so that none is missed; that of the map comes with the page.
        "transform": Affine.scale(2),
    }  # fmt: skip
    with lean(), rasterio.open(path, "w+", **profile) as target:
        for shapes, values in polygons:
            runs = runs_across(shapes)
            numbers = np.unique(runs.line // every[0][1])
            for number in numbers[(numbers >= 0) & (numbers < len(every))].tolist():
                y0, y1 = every[number]
                where = RasterioWindow(0, y0, frame.width, y1 - y0)
                strip = target.read(1, window=where)
                paint(strip, y0, runs, values)
                target.write(strip, 1, window=where)
                sums[number] = zlib.crc32(strip.tobytes())
    return sums
