"""Where do pixels come from?

A RasterReader knows its frame and bands and reads windows. ArrayRaster holds an array in memory;
geotiff.py reads files.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from geoseg.bands import Band
from geoseg.errors import RasterError, TileFailedError
from geoseg.frame import Frame, horizontal_wkt
from geoseg.grid import Grid
from geoseg.window import Window

log = logging.getLogger(__name__)

Samples = NDArray[Any]
Valid = NDArray[np.bool_]

HUGE = 1e30
"""Float samples beyond this are fill, whatever the metadata says (-3.4e38 is a common habit)."""


_FEW = 0.25
"""Windows of the lattice with data, as a part of all, below which the data is looked for."""

_STEPS = 0.7548776662466927, 0.5698402909980532
"""Multiples of these, less their whole parts, fill a square evenly (Roberts's R2 sequence)."""


class RasterReader(Protocol):
    """A raster that can be read by windows, from any thread, and pickled."""

    @property
    def frame(self) -> Frame:
        """Size, transform and CRS."""
        ...

    @property
    def bands(self) -> tuple[Band, ...]:
        """What is known of each band, in order."""
        ...

    @property
    def roles(self) -> Mapping[str, int]:
        """1-based band number by role, as far as known."""
        ...

    def read(self, window: Window) -> tuple[Samples, Valid]:
        """Return (band, row, col) samples and (row, col) validity of a window inside the raster.

        Raises:
            TileFailedError: The window cannot be read.
        """
        ...

    def identity(self) -> dict[str, Any]:
        """Return what tells this raster from a changed one, JSON-able."""
        ...


@runtime_checkable
class Narrowed(Protocol):
    """A RasterReader of which only parts are to be sampled."""

    def windows(self, blocks: int, side_px: int) -> list[Window]:
        """Return windows to sample, blocks x blocks at most."""
        ...


@runtime_checkable
class Patchy(Protocol):
    """A RasterReader that knows, without reading, where it has no data."""

    def empty(self, window: Window) -> bool:
        """Tell whether surely no pixel of the window is valid."""
        ...

    def patches(self) -> NDArray[np.int64]:
        """Return (n, 4) boxes x0, y0, x1, y1 in pixels; no pixel outside of them is valid."""
        ...


def blank(raster: RasterReader, windows: Iterable[Window]) -> Iterator[bool]:
    """Tell of each window whether a raster knows, without reading, that no pixel is valid."""
    known = raster if isinstance(raster, Patchy) else None
    return (known is not None and known.empty(window) for window in windows)


def holding(
    raster: RasterReader, grid: Grid, inside: tuple[int, ...] | None
) -> tuple[int, ...] | None:
    """Return the tiles, of some or (None) of all, that may hold a valid pixel; None for all."""
    tiles = range(len(grid)) if inside is None else inside
    nothing = blank(raster, (grid[index].read for index in tiles))
    found = tuple(index for index, known in zip(tiles, nothing, strict=True) if not known)
    return inside if len(found) == len(tiles) else found


def sample(
    raster: RasterReader, blocks: int = 8, side_px: int = 128
) -> list[tuple[Window, Samples, Valid]]:
    """Read a lattice of small windows at full resolution, spread over the raster.

    Statistics of a run are taken from these: the cost does not depend on the raster's size, the
    choice not on the tiling, and stale overviews cannot mislead. Small rasters are read whole, and
    of a Narrowed one no more than it says. Where the lattice mostly misses the data of a Patchy
    one, as many windows are spread over its data instead.

    Args:
        raster: What to read.
        blocks: Windows per side of the lattice.
        side_px: Side of a window.

    Returns:
        (window, samples, valid) of windows with at least one valid pixel. A window that cannot
        be read is left out: its tiles will say why.

    Raises:
        RasterError: No window can be read.
    """
    full = raster.frame.window
    if isinstance(raster, Narrowed):
        return _read(raster, raster.windows(blocks, side_px))
    if full.width <= blocks * side_px and full.height <= blocks * side_px:
        try:
            data, valid = raster.read(full)
            return [(full, data, valid)] if valid.any() else []
        except TileFailedError:
            log.debug("not all of the raster can be read; sampling it in parts")
            if max(full.shape) <= side_px:
                side_px = max(1, max(full.shape) // blocks)
    windows = lattice(full, blocks, side_px)
    found = _read(raster, windows)
    if isinstance(raster, Patchy) and len(found) < _FEW * len(windows):
        found = _read(raster, _spread(raster.patches(), blocks**2, side_px)) or found
    return found


def _read(raster: RasterReader, windows: list[Window]) -> list[tuple[Window, Samples, Valid]]:
    found, failure = [], None
    for window, known in zip(windows, blank(raster, windows), strict=True):
        if known:
            continue
        try:
            data, valid = raster.read(window)
        except TileFailedError as error:
            if getattr(raster, "networked", False):
                # Another time there would be other statistics, and another map.
                raise RasterError(
                    f"the statistics of the run need all of their sample: {error}; run the same "
                    "again when its server answers, or download the raster"
                ) from error
            failure = error
            continue
        found.append((window, data, valid))
    if failure is not None and not found:
        raise RasterError(f"nothing can be read for the statistics of the run: {failure}")
    if failure is not None:
        log.warning("%s; left out of the statistics", failure)
    return [(window, data, valid) for window, data, valid in found if valid.any()]


def lattice(full: Window, blocks: int, side_px: int) -> list[Window]:
    """Return at most blocks x blocks windows from edge to edge of another, row by row."""
    return [
        Window(
            full.x0 + x,
            full.y0 + y,
            min(full.x0 + x + side_px, full.x1),
            min(full.y0 + y + side_px, full.y1),
        )
        for y in _lattice(full.height, blocks, side_px)
        for x in _lattice(full.width, blocks, side_px)
    ]


def _spread(boxes: NDArray[np.int64], count: int, side: int) -> list[Window]:
    """Return at most `count` windows inside the boxes, evenly by area; each lies in one box."""
    ends = np.cumsum((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    if len(boxes) == 0:
        return []
    windows: dict[Window, None] = {}
    for k in range(count):
        box = boxes[np.searchsorted(ends, (k + 0.5) / count * ends[-1], "right")].tolist()
        x, y = (
            low + int(max(high - low - side, 0) * (k * step % 1))
            for low, high, step in zip(box[:2], box[2:], _STEPS, strict=True)
        )
        windows[Window(x, y, min(x + side, box[2]), min(y + side, box[3]))] = None
    return list(windows)


def _lattice(size: int, blocks: int, side: int) -> list[int]:
    if size <= blocks * side:
        return list(range(0, size, side))
    return [round(k * (size - side) / (blocks - 1)) for k in range(blocks)]


@dataclass(frozen=True, eq=False)
class ArrayRaster:
    """A raster in memory."""

    data: Samples
    """(band, row, col)."""
    valid: Valid | None = None
    """(row, col), True where data is good; everything where None."""
    transform: Affine = field(default_factory=Affine.identity)
    """Pixel corner to CRS."""
    crs: str | None = None
    """Anything pyproj reads, or None."""
    roles: Mapping[str, int] = field(default_factory=dict)
    """1-based band number by role."""

    @property
    def frame(self) -> Frame:
        """Size, transform and CRS."""
        _, height, width = self.data.shape
        wkt = None if self.crs is None else horizontal_wkt(self.crs)
        return Frame(width, height, self.transform, wkt)

    @property
    def bands(self) -> tuple[Band, ...]:
        """What is known of each band: its type."""
        return tuple(Band(dtype=str(self.data.dtype)) for _ in self.data)

    def read(self, window: Window) -> tuple[Samples, Valid]:
        """Return samples and validity of a window."""
        rows, cols = window.slices_in(self.frame.window)
        data = self.data[:, rows, cols]
        valid = finite(data)
        return data, valid if self.valid is None else valid & self.valid[rows, cols]

    def identity(self) -> dict[str, Any]:
        """Return shape, type and SHA-256 of the samples."""
        digest = hashlib.sha256(np.ascontiguousarray(self.data).tobytes())
        if self.valid is not None:
            digest.update(np.ascontiguousarray(self.valid).tobytes())
        return {
            "shape": list(self.data.shape),
            "dtype": str(self.data.dtype),
            "sha256": digest.hexdigest(),
        }


def finite(data: Samples) -> Valid:
    """Tell which pixels are numbers in every band."""
    if not np.issubdtype(data.dtype, np.floating):
        return np.ones(data.shape[1:], bool)
    with np.errstate(invalid="ignore"):
        good: Valid = np.logical_and.reduce(np.abs(data) < HUGE, axis=0)
    return good
