"""Which pixels count, and which of them lie near a seam of the tiles?

A pixel counts if its centre lies in the area of interest and in no tile that failed, and if the
raster has data there. The seam zone is what lies within a distance of a border between the cores
of two tiles; the rest is interior.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window as RasterioWindow

from geoseg.analysis.burnt import Burnt
from geoseg.area import Geometries, polygonal
from geoseg.errors import TileFailedError
from geoseg.export.burn import burn, strips
from geoseg.frame import Floats, Frame
from geoseg.grid import Grid
from geoseg.raster import RasterReader
from geoseg.window import Window

Zone = NDArray[np.int8]
Ints = NDArray[np.int64]

OUTSIDE, INTERIOR, SEAM = 0, 1, 2

ZONES = ("whole", "seam", "interior")
"""What every figure is given for."""

MEMBERS = {"whole": (INTERIOR, SEAM), "seam": (SEAM, SEAM), "interior": (INTERIOR, INTERIOR)}
"""From which number to which they reach."""

_AROUND, _FAILED = 1, 2
"""What is burnt on pixels that do not count."""

READ_PX = 1024
"""Side of what is looked at at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Seams:
    """Borders between the cores of tiles, and how far their zone reaches."""

    x: Floats
    """Columns where tiles meet, ascending."""
    y: Floats
    """Rows, likewise."""
    reach_px: float
    """How far the zone reaches to each side."""

    @classmethod
    def of(cls, grid: Grid | None, reach_px: float) -> Seams:
        """Return the seams of a grid; of none there are none."""
        if grid is None:
            return cls(np.empty(0), np.empty(0), reach_px)
        rows, cols = grid.shape
        return cls(_lines(cols, grid.core_px), _lines(rows, grid.core_px), reach_px)

    def near(self, bounds: Floats) -> NDArray[np.bool_]:
        """Tell of (n, 4) boxes x0, y0, x1, y1 whether more than an edge of each is in the zone.

        What hangs together lies in the zone exactly if its box does: seams cross the whole raster.
        """
        low, high = bounds[:, :2] - self.reach_px, bounds[:, 2:] + self.reach_px
        across = _between(self.x, low[:, 0], high[:, 0])
        return across | _between(self.y, low[:, 1], high[:, 1])


def _lines(count: int, core_px: int) -> Floats:
    return np.arange(1, count, dtype=np.float64) * core_px


def _between(lines: Floats, low: Floats, high: Floats) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.searchsorted(lines, low, "right") < np.searchsorted(lines, high)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """The pixels that count, and their zones."""

    left_out: Burnt
    """0 where a pixel counts: what is so nearly everywhere takes no room on the disk."""
    seams: Seams
    """Where tiles meet."""

    @property
    def frame(self) -> Frame:
        """The grid."""
        return self.left_out.frame

    def read(self, window: Window) -> Zone:
        """Return the (row, col) zone of the pixels of a window inside the frame."""
        columns = np.arange(window.x0, window.x1, dtype=float)
        rows = np.arange(window.y0, window.y1, dtype=float)
        reach = self.seams.reach_px
        near_x = _between(self.seams.x, columns - reach, columns + 1 + reach)
        near_y = _between(self.seams.y, rows - reach, rows + 1 + reach)
        zone = np.where(near_y[:, None] | near_x[None, :], SEAM, INTERIOR)
        found: Zone = np.where(self.left_out.read(window) == 0, zone, OUTSIDE).astype(np.int8)
        return found

    def of(self, shapes: Geometries) -> Zone:
        """Return the (n,) zone of polygons: OUTSIDE if their centroid is in no pixel that counts.

        Else SEAM if the outline of a part touches the seam zone.
        """
        parts, owner = shapely.get_parts(shapes, return_index=True)
        zone = np.full(len(shapes), INTERIOR, np.int8)
        zone[owner[self.seams.near(shapely.bounds(parts))]] = SEAM
        centre = shapely.get_coordinates(shapely.centroid(shapes))
        zone[~self._counts(centre)] = OUTSIDE
        return zone

    def _counts(self, xy: Floats) -> NDArray[np.bool_]:
        """Tell of (n, 2) places in pixels, of the frame, whether their pixel counts."""
        frame = self.frame
        pixel = np.clip(np.floor(xy).astype(np.int64), 0, (frame.width - 1, frame.height - 1))
        found = np.zeros(len(xy), bool)
        every = strips(frame)
        strip = pixel[:, 1] // every[0][1]
        for number in np.unique(strip).tolist():
            here = strip == number
            y0, y1 = every[number]
            values = self.left_out.read(Window(0, y0, frame.width, y1))
            found[here] = values[pixel[here, 1] - y0, pixel[here, 0]] == 0
        return found


def survey(
    path: Path,
    frame: Frame,
    seams: Seams,
    *,
    area: Geometries | None,
    failed: Geometries,
    raster: RasterReader | None,
) -> tuple[Ground, int]:
    """Find the pixels that count.

    Args:
        path: A file that is written.
        frame: The pixels.
        seams: Where tiles meet.
        area: (n,) polygons in pixel corner coordinates outside of which nothing counts, or None.
        failed: (n,) polygons of tiles that failed, likewise.
        raster: What the map was made of; None where that is not known.

    Returns:
        The pixels; and how many do not count because their tile failed.
    """

    def painted() -> Iterator[tuple[Geometries, Ints]]:
        yield failed, np.full(len(failed), _FAILED)
        if area is not None:
            box = shapely.box(0, 0, frame.width, frame.height)
            around = shapely.get_parts(shapely.difference(box, shapely.union_all(area)))
            yield polygonal(around), np.full(len(polygonal(around)), _AROUND)

    burn(path, frame, "uint8", painted())
    left_out = Burnt(path, frame)
    lost = 0
    if len(failed):
        lost = sum(int((values == _FAILED).sum()) for _, values in left_out.strips())
    if raster is not None:
        _leave_out_nodata(left_out, raster)
    return Ground(left_out, seams), lost


def _leave_out_nodata(left_out: Burnt, raster: RasterReader) -> None:
    with rasterio.open(left_out.path, "r+") as target:
        for window in windows(left_out.frame, READ_PX):
            where = RasterioWindow(window.x0, window.y0, window.width, window.height)
            values = target.read(1, window=where)
            if values.all():
                continue
            try:
                valid = raster.read(window)[1]
            except TileFailedError:
                # What cannot be read has failed in the map, too, and is painted already.
                continue
            if not valid.all():
                values[~valid] = _AROUND
                target.write(values, 1, window=where)


def windows(frame: Frame, side_px: int) -> Iterator[Window]:
    """Yield windows that hold every pixel of a frame once."""
    for y in range(0, frame.height, side_px):
        for x in range(0, frame.width, side_px):
            yield Window(x, y, min(x + side_px, frame.width), min(y + side_px, frame.height))
