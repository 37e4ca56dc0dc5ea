"""What is a small picture's value at the pixels of a large one, without making the large one?

Bilinear resizing is linear in rows and in columns apart, so resizing in several steps (a model's
mask to its input, the input to the picture, the picture to the raster) is one matrix per axis. Of
that matrix only the rows of a box are used: the cost follows the box, not the tile. Sampling is as
in `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`: pixel centres at halves,
values at the edge repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

Step = tuple[int, int, int]
"""Resize `source` samples to `target`, then keep the first `kept`."""


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
def axis_matrix(steps: tuple[Step, ...]) -> Floats:
    """Return the weights of several resizing steps along one axis.

    Args:
        steps: From the first to the last; each takes what the one before kept.

    Returns:
        (kept of the last step, source of the first step) float32, rows adding up to one.
    """
    weights = np.eye(steps[0][0])
    for source, target, kept in steps:
        weights = resize_matrix(source, target)[:kept] @ weights
    weights.setflags(write=False)
    return weights.astype(np.float32)


def support(matrix: Floats, start: int, stop: int) -> slice:
    """Return the source samples that rows `start`..`stop` of a matrix look at."""
    used = np.flatnonzero(matrix[start:stop].any(axis=0))
    return slice(int(used[0]), int(used[-1]) + 1)


def reach(matrix: Floats, flags: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the range of rows of a matrix that look at any flagged source sample."""
    touched = np.flatnonzero(matrix[:, flags].any(axis=1))
    return (int(touched[0]), int(touched[-1]) + 1) if len(touched) else (0, 0)


def steps_of(sizes: Sequence[tuple[int, int]]) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """Return the steps along rows and columns through (rows, cols) sizes, nothing cut."""
    rows = tuple((a[0], b[0], b[0]) for a, b in pairwise(sizes))
    cols = tuple((a[1], b[1], b[1]) for a, b in pairwise(sizes))
    return rows, cols
