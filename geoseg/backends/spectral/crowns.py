"""Where does one tree crown end and the next begin?

The evidence for trees is smoothed at the scale of a crown. Every tree pixel climbs the smooth
surface by steepest ascent; pixels that reach the same peak are one crown. All of it happens in
integers and within a fixed reach, so a crown does not depend on the window it was seen in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.backends.spectral.features import box_sum
from geoseg.backends.spectral.indices import Plane

LEVELS = 255
"""Evidence is seen in steps of 1 / LEVELS."""

PASSES = 2
"""Box filters in a row: a smooth pyramid, reaching less far than a Gaussian of its width."""

MAX_STEPS = 32
"""Longest climb in pixels; a power of two."""

_LARGEST_HALF_PX = 7
"""Half the largest smoothing box: keeps the reach of a crown within half the default overlap, and
the sums of PASSES boxes within 32 bits."""

_RADIUS_M = 3.2
"""Reach of a climb on the ground, where pixels are coarse enough for it."""

_COARSEST_M = 1.5
"""Beyond this pixel size single crowns cannot be told apart."""


@dataclass(frozen=True, slots=True)
class CrownShape:
    """Sizes of the crown search."""

    box_px: int
    """Side of the smoothing box, odd."""
    steps: int = MAX_STEPS
    """Longest climb, a power of two."""
    least_peak: float = 0.6
    """A peak whose smoothed evidence is lower is no crown."""

    @property
    def reach_px(self) -> int:
        """How far from a pixel its crown is decided."""
        return PASSES * (self.box_px // 2) + self.steps + 1


def shape_for(gsd_m: float, smoothing_m: float) -> CrownShape | None:
    """Return the sizes for a pixel size, None where trees are too small to be told apart.

    Args:
        gsd_m: Side of a pixel on the ground.
        smoothing_m: Side of the smoothing box on the ground.
    """
    if gsd_m > _COARSEST_M:
        return None
    half = min(max(round(smoothing_m / gsd_m / 2), 1), _LARGEST_HALF_PX)
    steps = min(1 << math.ceil(math.log2(_RADIUS_M / gsd_m)), MAX_STEPS)
    return CrownShape(2 * half + 1, max(steps, 4))


def delineate(evidence: Plane, mask: NDArray[np.bool_], shape: CrownShape) -> NDArray[np.int32]:
    """Return a label image (row, col): 1..n per crown, 0 elsewhere.

    Args:
        evidence: (row, col) 0..1.
        mask: (row, col), the pixels that may belong to a crown.
        shape: Sizes of the search.
    """
    surface = np.rint(evidence * np.float32(LEVELS)).astype(np.int32)
    for _ in range(PASSES):
        surface = box_sum(surface, shape.box_px)
    parent = _uphill(surface)
    peak = parent
    for _ in range(shape.steps.bit_length() - 1):
        peak = peak.take(peak)
    full = LEVELS * shape.box_px ** (2 * PASSES)
    high = surface.ravel()[peak] >= int(shape.least_peak * full)
    keep = mask.ravel() & high & (parent[peak] == peak)
    labels = np.zeros(mask.size, np.int32)
    names, numbers = np.unique(peak[keep], return_inverse=True)
    labels[keep] = numbers + 1 if names.size else 0
    return labels.reshape(mask.shape)


def _uphill(surface: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return for each pixel, flat, the flat index of the highest of its 3x3 neighbourhood.

    Of equals the last in row-major order wins, itself included: a strict order, hence no cycles.
    """
    height, width = surface.shape
    around = np.pad(surface, 1, constant_values=-1)
    best = np.full(surface.shape, -1, surface.dtype)
    step = np.zeros(surface.shape, np.int32)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            there = around[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
            higher = there >= best
            np.copyto(step, dy * width + dx, where=higher)
            np.maximum(best, there, out=best)
    step += np.arange(surface.size, dtype=np.int32).reshape(surface.shape)
    return step.ravel()
