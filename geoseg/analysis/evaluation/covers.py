"""How well do covers agree, pixel by pixel, and how well do their boundaries?

Both layers are burnt on the pixels of the map and compared window by window; where polygons of one
layer overlap, the last counts. A boundary pixel of a class is one that has a neighbour, of four,
that is not of the class. The F1 of boundaries is that of Csurka et al. (2013, BMVC, "What is a good
evaluation measure for semantic segmentation?"), per class: precision is the part of the map's
boundary pixels that are no farther than a tolerance from one of the reference's, recall the part of
the reference's that are so near to one of the map's. Distances are Euclidean, between centres.
Pixels that do not count have no boundary, and make none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.analysis.burnt import Burnt, burnt_classes
from geoseg.analysis.evaluation.counts import Counts, part
from geoseg.analysis.evaluation.layers import Pair, numbered
from geoseg.analysis.evaluation.zones import MEMBERS, OUTSIDE, READ_PX, Ground, windows
from geoseg.frame import Floats
from geoseg.window import Window

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

NONE = "(none)"
"""Pixels of no class of kind cover."""

_NUMBERS = 3
"""Of zones."""


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """Pixels by what the map and the reference say of them."""

    labels: tuple[str, ...]
    """NONE, the classes that both have, then those that only one has."""
    pixels: Ints
    """(zone number, label of the map, label of the reference)."""
    boundary: Ints
    """(zone number, label, 4) boundary pixels of the map; of these, near one of the reference;
    of the reference; of these, near one of the map."""

    def confusion(self, zone: str) -> Ints:
        """Return (label of the map, label of the reference) pixels of a zone."""
        low, high = MEMBERS[zone]
        found: Ints = self.pixels[low : high + 1].sum(axis=0)
        return found

    def counts(self, zone: str, name: str) -> Counts:
        """Return pixels of a class that are right, false and missed."""
        table, k = self.confusion(zone), self.labels.index(name)
        right = int(table[k, k])
        return Counts(right, int(table[k].sum()) - right, int(table[:, k].sum()) - right)

    def edges(self, zone: str, name: str) -> tuple[float, float, float]:
        """Return precision, recall and F1 of the boundary of a class; NaN where it has none."""
        low, high = MEMBERS[zone]
        found = self.boundary[low : high + 1, self.labels.index(name)].sum(axis=0)
        mapped, near, truth, met = found.tolist()
        precision, recall = part(near, mapped), part(met, truth)
        if math.isnan(precision) or math.isnan(recall):
            return precision, recall, math.nan if not mapped and not truth else 0.0
        both = precision + recall
        return precision, recall, 2 * precision * recall / both if both else 0.0


def compare_covers(pair: Pair, ground: Ground, tolerance_px: float, folder: Path) -> Agreement:
    """Compare the covers of a map and a reference.

    Args:
        pair: Both.
        ground: The pixels that count.
        tolerance_px: How far apart boundaries may be.
        folder: Where rasters are written.

    Raises:
        ConfigError: A layer cannot be brought to the grid's CRS.
    """
    judged = pair.of_kind("cover")
    every = {
        c.name: c.kind for c in (*pair.reference.classes, *pair.map.classes)
    }  # the map's kinds count
    names = [*judged, *(n for n, kind in every.items() if kind == "cover" and n not in judged)]
    frame = ground.frame
    mapped = burnt_classes(numbered(pair.map, names), frame, folder / "map.tif")
    truth = burnt_classes(numbered(pair.reference, names), frame, folder / "reference.tif")
    size = len(names) + 1
    pixels = np.zeros(_NUMBERS * size * size, np.int64)
    edges = np.zeros((_NUMBERS, size, 4), np.int64)
    halo = math.ceil(tolerance_px) + 1
    for window in windows(frame, READ_PX):
        seen = _See(mapped, truth, ground, window, window.grow(halo, frame.window))
        if seen.empty:
            continue
        pixels += seen.confusion(size)
        for cls in range(1, len(judged) + 1):
            edges[:, cls] += seen.boundary(cls, tolerance_px)
    return Agreement((NONE, *names), pixels.reshape(_NUMBERS, size, size), edges)


class _See:
    """Both layers in a window, and around it."""

    def __init__(
        self, mapped: Burnt, truth: Burnt, ground: Ground, core: Window, around: Window
    ) -> None:
        self._core = core.slices_in(around)
        self._zone = ground.read(around)
        self._map, self._truth = mapped.read(around), truth.read(around)

    @property
    def empty(self) -> bool:
        """Whether no pixel of the window counts."""
        return not self._zone[self._core].any()

    def confusion(self, size: int) -> Ints:
        """Return the pixels by zone, map and reference, in one row."""
        zone, one, other = (
            a[self._core].astype(np.int64).ravel() for a in (self._zone, self._map, self._truth)
        )
        return np.bincount((zone * size + one) * size + other, minlength=_NUMBERS * size * size)

    def boundary(self, cls: int, tolerance_px: float) -> Ints:
        """Return (zone, 4) boundary pixels of a class, as Agreement has them."""
        here = [self._boundary(layer == cls) for layer in (self._map, self._truth)]
        found = np.zeros((_NUMBERS, 4), np.int64)
        for k, (own, other) in enumerate((here, here[::-1])):
            inner = own[self._core]
            if not inner.any():
                continue
            near = inner & (_distance(other)[self._core] <= tolerance_px)
            zone = self._zone[self._core]
            found[:, 2 * k] = np.bincount(zone[inner], minlength=_NUMBERS)
            found[:, 2 * k + 1] = np.bincount(zone[near], minlength=_NUMBERS)
        return found

    def _boundary(self, inside: Mask) -> Mask:
        counts = self._zone != OUTSIDE
        inside, other = inside & counts, ~inside & counts
        beside = np.zeros_like(inside)
        beside[1:] |= other[:-1]
        beside[:-1] |= other[1:]
        beside[:, 1:] |= other[:, :-1]
        beside[:, :-1] |= other[:, 1:]
        return inside & beside


def _distance(mask: Mask) -> Floats:
    """Return the distance of each pixel to the nearest that is True."""
    if not mask.any():
        return np.full(mask.shape, np.inf)
    found: Floats = ndimage.distance_transform_edt(~mask)
    return found
