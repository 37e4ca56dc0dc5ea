"""Where did a class become another? Asked of the engine: each transition is a cover of its own.

The raster is what is at each pixel at both dates, the model looks that pair up. So tiles, memory,
stopping and going on, least areas, outlines and areas of interest are those of every map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.analysis.burnt import Burnt
from geoseg.analysis.changes.aligned import UNSEEN, Aligned
from geoseg.bands import Band
from geoseg.errors import ConfigError
from geoseg.export.style import rgb
from geoseg.frame import Frame
from geoseg.instances import Instances
from geoseg.legend import MAX_CLASSES, LandClass, Legend
from geoseg.pixels import Pixels
from geoseg.raster import Samples, Valid
from geoseg.window import Window

ARROW = " -> "

_GAINED_FROM, _LOST_TO = "#ffffff", "#d7191c"
"""What stands for ground of no class: what is gained is pale, what is lost red."""

_OF_AFTER = 0.7
"""How much of a transition's colour is that of what came."""

Transition = tuple[int, int]
"""Class numbers before and after, as in `Aligned`."""


@dataclass(frozen=True, slots=True)
class BothDates:
    """Class numbers of two dates as a raster of two bands: a RasterReader."""

    frame: Frame
    """The grid of both."""
    before: Burnt
    """Class numbers of the earlier date."""
    after: Burnt
    """Those of the later date."""
    facts: Mapping[str, Any]
    """What tells this pair from another, JSON-able."""

    @property
    def bands(self) -> tuple[Band, ...]:
        """Before and after."""
        return Band(dtype="uint16"), Band(dtype="uint16")

    @property
    def roles(self) -> Mapping[str, int]:
        """None: numbers of classes are no light."""
        return {}

    def read(self, window: Window) -> tuple[Samples, Valid]:
        """Return the numbers of a window, and whether both dates have seen the ground."""
        data = np.stack([self.before.read(window), self.after.read(window)])
        return data, (data != UNSEEN).all(axis=0)

    def identity(self) -> dict[str, Any]:
        """Return what tells this pair from another."""
        return dict(self.facts)


@dataclass(frozen=True, slots=True, eq=False)
class Transitions:
    """Knows which class of a legend a pair of numbers is: a Backend."""

    class_of: NDArray[np.int32]
    """(n, n) class of the legend by number before and after; -1 for none."""
    identity: str = "change 1"
    halo_px: int = 0

    def segment(self, tiles: Sequence[Pixels]) -> list[Instances]:
        """Return a mask for each transition of a tile."""
        return [self._of(tile) for tile in tiles]

    def _of(self, tile: Pixels) -> Instances:
        before, after = (np.where(tile.valid, band, 0) for band in tile.data)
        cls = np.where(tile.valid, self.class_of[before, after], -1)
        found = np.unique(cls[cls >= 0]).astype(np.int32)
        height, width = cls.shape
        return Instances(
            np.tile(np.array([[0, 0, width, height]], np.int32), (len(found), 1)),
            [cls == k for k in found.tolist()],
            found,
            np.ones(len(found), np.float32),
        )


def name_of(aligned: Aligned, transition: Transition) -> str:
    """Return what the class of a transition is called: `forest -> bare soil`."""
    before, after = transition
    return f"{aligned.names[before]}{ARROW}{aligned.names[after]}"


def legend_of(aligned: Aligned, wanted: Sequence[Transition]) -> Legend:
    """Return a legend of transitions.

    Raises:
        ConfigError: They are too many.
    """
    if len(wanted) > MAX_CLASSES:
        raise ConfigError(
            f"{len(wanted)} different changes occur, {MAX_CLASSES} can be mapped; compare maps of "
            "fewer classes"
        )
    classes = [
        LandClass(name=name_of(aligned, t), kind="cover", colour=_colour(aligned, t))
        for t in wanted
    ]
    return Legend(classes=tuple(classes or [LandClass(name="no change", kind="cover")]))


def _colour(aligned: Aligned, transition: Transition) -> str:
    """Mix the colours of what was and what came: mostly the latter."""
    ends = (_GAINED_FROM, _LOST_TO)
    known = [
        aligned.classes[k - 1].colour if k else end for k, end in zip(transition, ends, strict=True)
    ]
    before, after = (np.array(rgb(colour)) for colour in known)
    mixed = np.rint(before * (1 - _OF_AFTER) + after * _OF_AFTER).astype(int)
    return "#" + "".join(f"{v:02x}" for v in mixed.tolist())


def backend_of(aligned: Aligned, wanted: Sequence[Transition]) -> Transitions:
    """Return the backend that knows these transitions, classes as in `legend_of`."""
    n = len(aligned.names)
    class_of = np.full((n, n), -1, np.int32)
    for k, (before, after) in enumerate(wanted):
        class_of[before, after] = k
    return Transitions(class_of)
