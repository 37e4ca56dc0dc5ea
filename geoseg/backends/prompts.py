"""What does a user point at? Points, a box and a rough mask, all of one object.

Coordinates are pixels of a picture: pixel k covers k..k+1, its centre is k + 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geoseg.backends.detections import Floats
from geoseg.instances import Mask


def _no_points() -> Floats:
    return np.zeros((0, 2), np.float32)


def _no_signs() -> NDArray[np.bool_]:
    return np.zeros(0, bool)


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """What is said of one object in one picture."""

    points: Floats = field(default_factory=_no_points)
    """(n, 2) x, y."""
    positive: NDArray[np.bool_] = field(default_factory=_no_signs)
    """(n,) whether a point lies in the object; else it lies outside of it."""
    box: Floats | None = None
    """(4,) x0, y0, x1, y1 around the object, or around the part of it that the picture shows."""
    mask: Mask | None = None
    """(row, col) of the picture: roughly where the object is."""
    further: bool = False
    """Whether other masks are wanted after the first, to choose from by what is known elsewhere; a
    segmenter that has them at hand gives them anyway."""
