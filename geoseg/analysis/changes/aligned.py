"""What is on one grid of pixels at each of several dates, and what of it was seen?

Each date is a raster of class numbers on the disk, read by strips or windows. A pixel has the class
of the polygon that holds its centre; where an object lies on a cover, that of the object.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window as RasterioWindow

from geoseg.analysis.burnt import Burnt
from geoseg.analysis.changes.seen import Mask, Seen, valid_at
from geoseg.analysis.classed import UNMAPPED, Classed, check_names
from geoseg.area import Area, Geometries
from geoseg.errors import ConfigError
from geoseg.export.burn import burn, lean
from geoseg.frame import Frame
from geoseg.legend import LandClass
from geoseg.window import Window

Ints = NDArray[np.int64]
Codes = NDArray[np.unsignedinteger]

UNSEEN = 2**16 - 1
"""What a pixel holds that a date has not seen; 0 is ground without a class."""

HELD_PX = 2**18
"""About so many pixels of a date are held at once: sums over them take 8 bytes each."""


@dataclass(frozen=True, slots=True, eq=False)
class Date:
    """A layer, and the ground that it looked at."""

    layer: Classed
    """Its polygons."""
    seen: Seen
    """On the grid."""


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """Several dates on one grid."""

    frame: Frame
    """The grid."""
    classes: tuple[LandClass, ...]
    """Of all dates: class k is number k + 1 in the rasters."""
    dates: tuple[Burnt, ...]
    """Class numbers of each date: 0 where none is, UNSEEN where nobody looked; uint16."""
    asked: Burnt | None
    """1 in the area of interest, else 0; None where all is asked for; uint8."""
    digests: tuple[str, ...]
    """SHA-256 of the pixels of each date."""

    @property
    def names(self) -> tuple[str, ...]:
        """What each number stands for."""
        return (UNMAPPED, *(c.name for c in self.classes))

    def strips(self, *which: int) -> Iterator[tuple[Window, list[Codes], Mask]]:
        """Yield whole rows from top to bottom: numbers of some dates, and what is asked for."""
        for window in held_rows(self.frame):
            wanted = np.ones(window.shape, bool)
            if self.asked is not None:
                wanted = self.asked.read(window) > 0
            yield window, [self.dates[k].read(window) for k in which], wanted


def common_classes(layers: Sequence[Classed]) -> tuple[LandClass, ...]:
    """Return the classes of several layers, in the order of the first that has them.

    Maps say what was looked for, so theirs must be the same; other layers only what was found.

    Raises:
        ConfigError: They were not looked for alike, or share none.
    """
    known = [{c.name for c in layer.classes} for layer in layers]
    for layer, names in zip(layers, known, strict=True):
        check_names(names, layer.name)
    legends = [(layer, names) for layer, names in zip(layers, known, strict=True) if layer.map]
    for layer, names in zip(layers, known, strict=True):
        for other, theirs in legends:
            odd = names ^ theirs if layer.map else names - theirs
            if odd:
                raise ConfigError(
                    f"{layer.name} and {other.name} have different legends (in one only: "
                    f"{', '.join(sorted(odd))}); maps that are compared are made with one legend"
                )
        if not names & known[0]:
            raise ConfigError(
                f"{layers[0].name} ({', '.join(sorted(known[0]))}) and {layer.name} "
                f"({', '.join(sorted(names))}) share no class; give layers with the same names"
            )
    # Maps first: their classes have colours and kinds that were asked for.
    best = {c.name: c for layer in sorted(layers, key=lambda x: x.map is None)[::-1]
            for c in layer.classes}  # fmt: skip
    order = {c.name: None for layer in layers for c in layer.classes}
    return tuple(best[name] for name in order)


def align(
    dates: Sequence[Date],
    classes: tuple[LandClass, ...],
    grid: Frame,
    folder: Path,
    area: Area | None = None,
) -> Aligned:
    """Burn dates into rasters of one grid.

    Args:
        dates: In any CRS.
        classes: Of all of them, as `common_classes` gives them.
        grid: The pixels to burn them into.
        folder: Where the rasters are written; older ones there are replaced.
        area: What is asked for, in pixels of the grid; everything where None.

    Raises:
        ConfigError: One cannot be brought to the CRS of the grid.
    """
    asked = None
    if area is not None:
        asked = _burnt(folder / "asked.tif", grid, [area.polygons])
    made = [_date(date, classes, grid, folder / f"date{k}.tif") for k, date in enumerate(dates)]
    burnt, digests = zip(*made, strict=True)
    return Aligned(grid, classes, burnt, asked, digests)


def _burnt(path: Path, grid: Frame, batches: Iterable[Geometries]) -> Burnt:
    burn(path, grid, "uint8", ((shapes, np.ones(len(shapes), np.int64)) for shapes in batches))
    return Burnt(path, grid)


def _lost(seen: Seen, grid: Frame) -> Iterator[Geometries]:
    """Yield what hides the ground."""
    yield seen.failed
    if seen.clouds is not None:
        for _, shapes, _ in seen.clouds.in_pixels(grid):
            yield shapes


def _date(date: Date, classes: tuple[LandClass, ...], grid: Frame, path: Path) -> tuple[Burnt, str]:
    order = [c.name for c in classes]
    number = np.array([order.index(c.name) + 1 for c in date.layer.classes], np.int64)
    # Kinds of the common classes: another layer than a map does not know its own.
    is_object = np.array([classes[n - 1].kind == "object" for n in number.tolist()])
    burn(path, grid, "uint16", _painted(date.layer, grid, number, is_object))
    return Burnt(path, grid), _hide(date.seen, grid, path)


def _painted(
    layer: Classed, grid: Frame, number: Ints, is_object: Mask
) -> Iterator[tuple[Geometries, Ints]]:
    """Yield polygons and their class numbers: covers first, then what lies on them."""
    for objects in np.unique(is_object).tolist():
        for batch, shapes, owner in layer.in_pixels(grid):
            cls = batch.cls[owner]
            here = is_object[cls] == objects
            yield shapes[here], number[cls[here]]


def _hide(seen: Seen, grid: Frame, path: Path) -> str:
    """Mark what was not seen; returns the SHA-256 of all pixels."""
    looked, lost = None, None
    if seen.looked is not None:
        looked = _burnt(path.with_suffix(".looked.tif"), grid, [seen.looked])
    if len(seen.failed) or seen.clouds is not None:
        lost = _burnt(path.with_suffix(".lost.tif"), grid, _lost(seen, grid))
    digest = hashlib.sha256()
    with lean(), rasterio.open(path, "r+") as target:
        for window in held_rows(grid):
            where = RasterioWindow(0, window.y0, grid.width, window.height)
            codes = target.read(1, window=where)
            hidden = np.zeros(codes.shape, bool)
            if lost is not None:
                hidden |= lost.read(window) > 0
            if looked is not None:
                hidden |= looked.read(window) == 0
            if seen.raster is not None:
                hidden |= ~valid_at(seen.raster, grid, window)
            codes[hidden] = UNSEEN
            if hidden.any():
                target.write(codes, 1, window=where)
            digest.update(codes.tobytes())
    for burnt in (looked, lost):
        if burnt is not None:
            burnt.path.unlink()
    return digest.hexdigest()


def held_rows(grid: Frame) -> Iterator[Window]:
    """Yield whole rows from top to bottom, as many as are held at once."""
    rows = max(1, HELD_PX // grid.width)
    for y in range(0, grid.height, rows):
        yield Window(0, y, grid.width, min(y + rows, grid.height))
