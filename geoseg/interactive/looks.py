"""What does a segmenter see in a tile? Looked at when it is first asked, and remembered a while."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoseg.backends.detections import Picture
from geoseg.backends.outlining import Cutout, Interactive
from geoseg.backends.pictures import View
from geoseg.grid import Grid
from geoseg.instances import Mask, Scope
from geoseg.interactive.pointed import Pointed
from geoseg.pixels import Pixels
from geoseg.progress import Progress
from geoseg.raster import RasterReader
from geoseg.stretch import Stretch
from geoseg.window import Window

KEPT = 8
"""Tiles that are remembered: a click beside the last one looks at nothing anew."""


@dataclass(slots=True, eq=False)
class _Look:
    """One tile."""

    valid: Mask
    picture: Picture
    seen: Any = None
    is_seen: bool = False


class Looks:
    """The tiles of a raster, as a segmenter sees them."""

    def __init__(
        self,
        raster: RasterReader,
        segmenter: Interactive,
        view: View,
        grid: Grid,
        stretch: Stretch,
    ) -> None:
        self.grid = grid
        self.looked = 0
        """Pictures that the segmenter was shown so far."""
        self.progress: Progress | None = None
        self._raster, self._segmenter, self._view, self._stretch = raster, segmenter, view, stretch
        self._kept: OrderedDict[int, _Look] = OrderedDict()

    def scope(self, index: int) -> Scope:
        """Return the windows of a tile."""
        tile, raster, margin = self.grid[index], self.grid.raster, self._view.halo_px
        return Scope(tile.read, tile.read.trusted(margin, raster), tile.core, raster)

    def valid(self, index: int) -> Mask:
        """Return (row, col) of what the tile reads: True where data is good."""
        return self._at(index).valid

    def is_valid(self, x: float, y: float) -> bool:
        """Tell whether the pixel at a place of the raster is good."""
        index = self.grid.at(x, y)
        read = self.grid[index].read
        return bool(self._at(index).valid[int(y) - read.y0, int(x) - read.x0])

    def ask(self, index: int, pointed: Pointed) -> list[Cutout]:
        """Return what the object may be in a tile, in its pixels, best first."""
        look, read = self._at(index), self.grid[index].read
        prompt = pointed.shown(read, look.picture.shape[:2])
        if prompt is None or not look.valid.any():
            return []
        if not look.is_seen:
            self._tell(0)
            look.seen, look.is_seen = self._segmenter.look(look.picture), True
            self.looked += 1
            self._tell(1)
        return self._segmenter.ask(look.seen, prompt, read.shape)

    def _tell(self, done: int) -> None:
        if self.progress is not None:
            self.progress("encode", done, 1)

    def _at(self, index: int) -> _Look:
        if index not in self._kept:
            read = self.grid[index].read
            data, valid = self._raster.read(read)
            tile = Pixels(read, data, valid, self._stretch, read, self.grid[index].core)
            self._kept[index] = _Look(valid, np.ascontiguousarray(self._view.of(tile)))
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(index)
        return self._kept[index]


def is_inside(x: float, y: float, raster: Window) -> bool:
    """Tell whether a place lies on a pixel of the raster."""
    return raster.x0 <= x < raster.x1 and raster.y0 <= y < raster.y1
