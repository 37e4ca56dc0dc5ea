"""How do evidence planes become Instances? Whole masks for covers, regions for objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.instances import Instances, Mask

Plane = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """One instance of a tile."""

    cls: int
    """Index into the legend."""
    box: tuple[int, int, int, int]
    """x0, y0, x1, y1, half-open, in pixels of the tile."""
    mask: Mask
    """(row, col) of the box."""
    evidence: Plane
    """(row, col) of the box, 0..1."""

    @property
    def score(self) -> float:
        """Mean evidence: which of two objects keeps a pixel that both claim."""
        return float(self.evidence[self.mask].mean(dtype=np.float64))


def whole(cls: int, mask: Mask, evidence: Plane) -> Iterator[Found]:
    """Yield a cover: one mask over the whole tile, or nothing where it is empty."""
    if mask.any():
        yield Found(cls, (0, 0, mask.shape[1], mask.shape[0]), mask, evidence)


def regions(cls: int, labels: NDArray[np.int32], evidence: Plane) -> Iterator[Found]:
    """Yield each label 1, 2, ... of a tile (row, col) as an instance cropped to its box."""
    for label, where in enumerate(ndimage.find_objects(labels), 1):
        if where is not None:
            rows, cols = where
            box = (cols.start, rows.start, cols.stop, rows.stop)
            yield Found(cls, box, labels[where] == label, evidence[where])


def answer(objects: Sequence[Found], covers: Sequence[Found]) -> Instances:
    """Return a tile's answer."""
    found = [*objects, *covers]
    if not found:
        return Instances.empty()
    # A cover's pixels carry their own evidence, and no score is asked of it.
    scores = [*(f.score for f in objects), *(0.0 for _ in covers)]
    return Instances(
        boxes=np.array([f.box for f in found], np.int32),
        masks=[f.mask for f in found],
        classes=np.array([f.cls for f in found], np.int32),
        scores=np.array(scores, np.float32),
        evidence=[f.evidence for f in found],
    )
