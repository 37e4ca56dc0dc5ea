"""What is a small picture's value at the pixels of a large one, without making the large one?

Bilinear resizing is linear in rows and in columns apart, so resizing in several steps (a model's
mask to its input, the input to the picture, the picture to the raster) is one matrix per axis. Of
that matrix only the rows of a box are used: the cost follows the box, not the tile. Sampling is as
in `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`: pixel centres at halves,
values at the edge repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

Step = tuple[int, int, int]
"""Resize `source` samples to `target`, then keep the first `kept`."""


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """All resizing along one axis, from samples to pixels."""

    weights: Floats
    """(pixel, sample), not negative, rows adding up to one."""
    first: NDArray[np.intp]
    """(pixel,) the first sample that each pixel looks at; never falls."""
    stop: NDArray[np.intp]
    """(pixel,) one past the last sample that each pixel looks at; never falls."""

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return len(self.weights)

    @property
    def cell(self) -> float:
        """Pixels per sample."""
        return self.pixels / int(self.stop[-1])

    def samples(self, start: int, stop: int) -> slice:
        """Return the samples that the pixels `start`..`stop` look at."""
        return slice(int(self.first[start]), int(self.stop[stop - 1]))

    def reach(self, start: int, stop: int) -> tuple[int, int]:
        """Return the range of pixels that look at any of the samples `start`..`stop`."""
        return int(np.searchsorted(self.stop, start, "right")), int(
            np.searchsorted(self.first, stop, "left")
        )


def resize_matrix(source: int, target: int) -> NDArray[np.float64]:
    """Return the (target, source) weights of bilinear resizing along one axis."""
    centre = np.clip((np.arange(target) + 0.5) * (source / target) - 0.5, 0, None)
    low = np.minimum(centre.astype(np.intp), source - 1)
    high = np.minimum(low + 1, source - 1)
    part = centre - low
    weights = np.zeros((target, source))
    rows = np.arange(target)
    np.add.at(weights, (rows, low), 1 - part)
    np.add.at(weights, (rows, high), part)
    return weights


@lru_cache(maxsize=64)
def axis(*steps: Step) -> Axis:
    """Return several resizing steps along one axis as one.

    Args:
        steps: From the first to the last; each takes what the one before kept.
    """
    weights = np.eye(steps[0][0])
    for source, target, kept in steps:
        weights = resize_matrix(source, target)[:kept] @ weights
    looked = weights > 0
    return Axis(
        weights.astype(np.float32),
        looked.argmax(axis=1),
        looked.shape[1] - looked[:, ::-1].argmax(axis=1),
    )
