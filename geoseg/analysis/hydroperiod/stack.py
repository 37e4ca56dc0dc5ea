"""Where is water at each date, in which polygon, and what was seen?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.analysis.changes.aligned import (
    UNSEEN,
    Aligned,
    Date,
    align,
    common_classes,
    held_rows,
)
from geoseg.analysis.changes.objects import Things, burnt_things
from geoseg.analysis.pixelarea import pixels_m2
from geoseg.area import Area
from geoseg.errors import ConfigError
from geoseg.frame import Floats, Frame
from geoseg.window import Window

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Water of several dates on one grid; polygons of all dates are numbered through."""

    aligned: Aligned
    """Class numbers of each date."""
    number: int
    """That of water."""
    things: tuple[Things, ...]
    """Polygons of water of each date."""
    offset: Ints
    """(n + 1,) so many polygons of all classes have the dates before; at last, all dates."""

    @property
    def frame(self) -> Frame:
        """The grid."""
        return self.aligned.frame

    @property
    def count(self) -> int:
        """Number of dates."""
        return len(self.things)

    def windows(self) -> Iterator[Window]:
        """Return whole rows from top to bottom, as much as is held at once."""
        return held_rows(self.frame)

    def asked(self, window: Window) -> Mask:
        """Return (row, col) what is asked for."""
        if self.aligned.asked is None:
            return np.ones(window.shape, bool)
        return self.aligned.asked.read(window) > 0

    def read(self, date: int, window: Window) -> tuple[Ints, Mask]:
        """Return (row, col) number of the polygon of water, 0 for none; and what was seen."""
        codes = self.aligned.dates[date].read(window)
        seen = (codes != UNSEEN) & self.asked(window)
        place = self.things[date].burnt.read(window).astype(np.int64)
        wet = seen & (codes == self.number) & (place > 0)
        return np.where(wet, place + self.offset[date], 0), seen

    def m2(self, window: Window) -> Floats:
        """Return (row, col) ground of pixels in m2."""
        return np.broadcast_to(pixels_m2(self.frame, window), window.shape)


def stack(
    dates: tuple[Date, ...], water: str | None, grid: Frame, folder: Path, area: Area | None
) -> Stack:
    """Lay dates on each other.

    Args:
        dates: Polygons, and what was looked at.
        water: Which class is water; the only one where None.
        grid: The pixels.
        folder: Where rasters are written.
        area: What is asked for, in pixels of the grid; everything where None.

    Raises:
        ConfigError: The dates share no legend, or it is not clear which class is water.
    """
    layers = [d.layer for d in dates]
    classes = common_classes(layers)
    names = [c.name for c in classes]
    wanted = choose_class(names, water)
    aligned = align(dates, classes, grid, folder, area)
    things = tuple(
        burnt_things(layer, wanted, grid, folder / f"things{k}.tif")
        for k, layer in enumerate(layers)
    )
    offset = np.cumsum([0, *(layer.count for layer in layers)])
    return Stack(aligned, names.index(wanted) + 1, things, offset)


def choose_class(names: Sequence[str], water: str | None) -> str:
    """Return the class that is water: the one that is asked for, or the only one.

    Raises:
        ConfigError: There are several, or none is called so.
    """
    if water is None and len(names) > 1:
        raise ConfigError(
            f"there are {len(names)} classes ({', '.join(names)}); say with --class which is water"
        )
    wanted = names[0] if water is None else water
    if wanted not in names:
        raise ConfigError(f"--class '{wanted}' is none of the classes: {', '.join(names)}")
    return wanted
