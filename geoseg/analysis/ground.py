"""Which pixels of a map are ground that could be mapped, and how much ground is in each?

Ground is what the raster has data for, inside the area of interest. A map that does not say of what
raster it is has no ground but its polygons.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from geoseg.analysis.burnt import Burnt, burnt_classes
from geoseg.analysis.classed import UNMAPPED, Classed, check_names, grid_of
from geoseg.analysis.looked import area_of, raster_of
from geoseg.analysis.pixelarea import pixels_m2
from geoseg.export.burn import burn, lean
from geoseg.frame import Floats, Frame
from geoseg.origin import ANY_BAND
from geoseg.prepare import open_source
from geoseg.raster import RasterReader
from geoseg.reproject import from_grid
from geoseg.window import Window

log = logging.getLogger(__name__)

Ints = NDArray[np.int64]

M2_PER_HA = 10_000.0

_PIXELS = 2**20
"""About so many pixels are looked at at once: whole rows."""


@dataclass(frozen=True, slots=True)
class Ground:
    """The pixels of a map that could be mapped."""

    frame: Frame
    """All pixels."""
    reader: RasterReader | None
    """Tells which of them have data; all where None."""
    within: Burnt | None
    """The area of interest, 1 inside; everything where None."""
    bare: bool
    """Whether ground without a polygon is known."""

    def known(self, window: Window) -> NDArray[np.bool_]:
        """Return (row, col) whether a pixel without a polygon could have one."""
        if not self.bare:
            return np.zeros(window.shape, bool)
        known = np.ones(window.shape, bool)
        if self.within is not None:
            known &= self.within.read(window) > 0
        if self.reader is not None and known.any():
            known &= self.reader.read(window)[1]
        return known


@contextmanager
def workshop() -> Iterator[Path]:
    """Yield a folder for burnt layers; it does not stay, and GDAL keeps little of what is read."""
    with TemporaryDirectory(prefix="geoseg-") as name, lean():
        yield Path(name)


def find_ground(found: Classed, raster: str | None, folder: Path) -> Ground:
    """Return the ground of a map.

    Args:
        found: The map.
        raster: Its raster, where it is not at its place; of a layer from elsewhere, the raster that
            it was made of.
        folder: Where files may be made.

    Raises:
        RasterError: The raster that was given cannot be read.
        ConfigError: The area of interest cannot be read.
        MapError: The area of interest of the map is not there any more, or another.
    """
    if raster is not None:
        reader = open_source(raster, ANY_BAND, None)
        return Ground(reader.frame, reader, _within(found, reader.frame, folder), bare=True)
    frame = grid_of(found)
    if found.map is None:
        log.warning(
            "%s does not tell of what raster it is: only ground with a polygon counts (--raster "
            "tells)",
            found.name,
        )
        return Ground(frame, None, None, bare=False)
    known, notes = raster_of(found.map, "--raster FILE")
    for note in notes:
        log.warning("%s", note)
    return Ground(frame, known, _within(found, frame, folder), bare=True)


def frame_of(found: Classed, raster: str | None) -> Frame:
    """Return the pixels of a map, or of the raster that is named instead.

    Raises:
        RasterError: That cannot be read.
    """
    return grid_of(found) if raster is None else open_source(raster, ANY_BAND, None).frame


def whole(frame: Frame) -> Ground:
    """Return ground that covers all of a frame."""
    return Ground(frame, None, None, bare=True)


def _within(found: Classed, frame: Frame, folder: Path) -> Burnt | None:
    """Return the area of interest of a map, on a frame."""
    area = None if found.map is None else area_of(found.map)
    if area is None or found.frame is None:
        return None
    polygons = from_grid(area.polygons, found.frame, frame, found.name)
    path = folder / "aoi.tif"
    burn(path, frame, "uint8", [(polygons, np.ones(len(polygons), np.int64))])
    return Burnt(path, frame)


@dataclass(frozen=True, slots=True, eq=False)
class Laid:
    """A layer as pixels: each has the class of the polygon that holds its centre.

    Where several hold it, that of the last of them.
    """

    names: tuple[str, ...]
    """Of the classes; the last is UNMAPPED."""
    ground: Ground
    """Where it lies."""
    burnt: Burnt
    """Classes, as `burnt_classes` gives them."""
    over: Laid | None = None
    """What it is laid over: ground is what that has a number for. Its own polygons, and `ground`,
    where None."""

    @property
    def nowhere(self) -> int:
        """What pixels that are no ground have instead of the number of a class."""
        return len(self.names)

    def numbers(self, window: Window) -> Ints:
        """Return (row, col) numbers of classes, indices of `names`; `nowhere` where no ground is.

        Raises:
            TileFailedError: The raster cannot be read there.
        """
        numbers = self.burnt.read(window).astype(np.int64) - 1
        bare = numbers < 0
        numbers[bare] = self.nowhere - 1
        if self.over is not None:
            numbers[self.over.numbers(window) == self.over.nowhere] = self.nowhere
        elif bare.any():
            numbers[bare & ~self.ground.known(window)] = self.nowhere
        return numbers

    def at(self, cols: Ints, rows: Ints) -> Ints:
        """Return the `numbers` of (n,) pixels; `nowhere` outside the frame."""
        found = np.full(len(cols), self.nowhere)
        inside = (cols >= 0) & (cols < self.ground.frame.width)
        for window in self.windows():
            here = inside & (rows >= window.y0) & (rows < window.y1)
            if here.any():
                found[here] = self.numbers(window)[rows[here] - window.y0, cols[here]]
        return found

    def windows(self) -> Iterator[Window]:
        """Yield whole rows from top to bottom, as much as is held at once."""
        frame = self.ground.frame
        rows = max(1, _PIXELS // frame.width)
        for y0 in range(0, frame.height, rows):
            yield Window(0, y0, frame.width, min(y0 + rows, frame.height))

    def digest(self) -> str:
        """Return what tells this map from another one: of its classes, pixel by pixel."""
        seen = hashlib.sha256("\n".join(self.names).encode())
        for _, numbers in self.burnt.strips():
            seen.update(numbers.astype("<u2").tobytes())
        return seen.hexdigest()


def lay(found: Classed, ground: Ground, path: Path, over: Laid | None = None) -> Laid:
    """Lay a layer over ground, or over another layer; `path` is a file that is written.

    Raises:
        ConfigError: It cannot be brought to the CRS of the ground, or has a class UNMAPPED.
    """
    names = [c.name for c in found.classes]
    check_names(names, found.name)
    return Laid((*names, UNMAPPED), ground, burnt_classes(found, ground.frame, path), over)


def census(laid: Laid) -> tuple[Floats, Ints]:
    """Return (k,) ground in hectares, and (k,) pixels, of each class; pixels without a CRS."""
    size, count = np.zeros(laid.nowhere + 1), np.zeros(laid.nowhere + 1, np.int64)
    for window in laid.windows():
        flat = laid.numbers(window).ravel()
        size += np.bincount(flat, sizes_ha(laid.ground.frame, window).ravel(), laid.nowhere + 1)
        count += np.bincount(flat, minlength=laid.nowhere + 1)
    return size[:-1], count[:-1]


def sizes_ha(frame: Frame, window: Window) -> Floats:
    """Return (row, col) the ground in hectares of the pixels of a window; 1 without a CRS."""
    if frame.crs is None:
        return np.ones(window.shape)
    return np.broadcast_to(pixels_m2(frame, window) / M2_PER_HA, window.shape)
