"""What does a segmenter see in a tile? Looked at when it is first asked, and remembered a while."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
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

ROOM_BYTES = 2**30
"""How much is remembered: 48 tiles of SAM 2-tiny. A click beside the last one looks at nothing
anew, also on an object over many tiles."""


@dataclass(slots=True, eq=False)
class _Look:
    """One tile."""

    valid: Mask
    picture: Picture
    seen: Any = None
    is_seen: bool = False
    nbytes: int = 0


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
            look.nbytes += _size(look.seen)
            self.looked += 1
            self._make_room()
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
            picture = np.ascontiguousarray(self._view.of(tile))
            self._kept[index] = _Look(valid, picture, nbytes=valid.nbytes + picture.nbytes)
            self._make_room()
        self._kept.move_to_end(index)
        return self._kept[index]

    def _make_room(self) -> None:
        """Forget what was asked longest ago, but not the tile that is asked now."""
        while len(self._kept) > 1 and sum(k.nbytes for k in self._kept.values()) > ROOM_BYTES:
            self._kept.popitem(last=False)


def _size(seen: Any) -> int:
    """Return the bytes of the arrays in what a segmenter saw, whatever that is made of."""
    if hasattr(seen, "nbytes"):
        return int(seen.nbytes)
    if is_dataclass(seen):
        return sum(_size(getattr(seen, field.name)) for field in fields(seen))
    parts = seen.values() if isinstance(seen, Mapping) else seen
    return (
        sum(map(_size, parts)) if isinstance(parts, Iterable) and not isinstance(parts, str) else 0
    )
