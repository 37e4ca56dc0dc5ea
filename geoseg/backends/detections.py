"""Where might something be? Boxes with a class and a score, before there is a mask.

Coordinates are pixels of the picture that was searched. A box without extent is a point: the
segmenter is asked what lies under it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from geoseg.instances import Mask
from geoseg.legend import Legend
from geoseg.window import Window

Picture = NDArray[np.uint8]
"""(row, col, 3)."""

Floats = NDArray[np.float32]

SAME_OBJECT = 0.7
"""Boxes of one class that overlap by more (intersection over union) are one detection."""

SAME_OUTLINE = 0.9
"""Boxes of different classes that overlap by more are decoded once."""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What a detector finds in one picture."""

    boxes: Floats
    """(n, 4) x0, y0, x1, y1 in pixels of the picture; points where x0 = x1 and y0 = y1."""
    classes: NDArray[np.int32]
    """(n,) index into the legend."""
    scores: Floats
    """(n,) confidence in 0..1; NaN: let the segmenter say how sure it is."""
    full: bool = False
    """Whether the detector found as many as it can answer, so that some may be missing."""
    masks: Sequence[Mask] | None = None
    """Of models that answer with masks: n masks (row, col), each of its box's size; boxes are then
    whole numbers."""
    notes: tuple[str, ...] = ()
    """What the user should know of how the picture was searched."""

    @classmethod
    def empty(cls) -> Detections:
        """Return what is found in an empty picture."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, np.float32))

    def __len__(self) -> int:
        """Return the number of detections."""
        return len(self.boxes)

    @property
    def is_point(self) -> NDArray[np.bool_]:
        """(n,) whether a detection is a point."""
        flat: NDArray[np.bool_] = (self.boxes[:, :2] == self.boxes[:, 2:]).all(axis=1)
        return flat

    def take(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> Detections:
        """Return some of the detections, by index or mask."""
        index = np.flatnonzero(which) if which.dtype == bool else which
        masks = None if self.masks is None else [self.masks[i] for i in index.tolist()]
        return replace(
            self,
            boxes=self.boxes[index],
            classes=self.classes[index],
            scores=self.scores[index],
            masks=masks,
        )

    def shift(self, dx: int, dy: int) -> Detections:
        """Return the detections of a cut in the pixels of the picture that it was cut from."""
        offset = np.array((dx, dy, dx, dy), np.float32)
        return replace(self, boxes=self.boxes + offset)

    def at_least(self, legend: Legend) -> Detections:
        """Return what reaches the threshold of its class; what has no score stays."""
        least = np.array([c.threshold or 0.0 for c in legend.classes], np.float32)
        return self.take(~(self.scores < least[self.classes]))


def join(parts: Sequence[Detections]) -> Detections:
    """Return all detections of several answers about one picture."""
    if len(parts) == 1:
        return parts[0]
    masked = any(p.masks is not None for p in parts)
    return Detections(
        np.concatenate([np.zeros((0, 4), np.float32), *(p.boxes for p in parts)]),
        np.concatenate([np.zeros(0, np.int32), *(p.classes for p in parts)]),
        np.concatenate([np.zeros(0, np.float32), *(p.scores for p in parts)]),
        any(p.full for p in parts),
        [m for p in parts for m in p.masks or ()] if masked else None,
    )


def iou(one: Floats, many: Floats) -> Floats:
    """Return the intersection over union of a box with others: (4,) and (n, 4) give (n,)."""
    low, high = np.maximum(one[:2], many[:, :2]), np.minimum(one[2:], many[:, 2:])
    inter = np.prod(np.clip(high - low, 0, None), axis=1)
    union = np.prod(one[2:] - one[:2]) + np.prod(many[:, 2:] - many[:, :2], axis=1) - inter
    found: Floats = np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
    return found


def distinct(found: Detections) -> Detections:
    """Leave out, in each class, boxes that a better-scored one already means.

    Aliases of a class find the same object twice; greedy, best score first, ties in order
    (non-maximum suppression).
    """
    kept: list[int] = []
    scores = np.nan_to_num(found.scores, nan=1.0)
    for cls in np.unique(found.classes).tolist():
        mine = np.flatnonzero(found.classes == cls)
        waiting = mine[np.argsort(-scores[mine], kind="stable")]
        while len(waiting):
            best, rest = waiting[0], waiting[1:]
            kept.append(int(best))
            waiting = rest[iou(found.boxes[best], found.boxes[rest]) <= SAME_OBJECT]
    return found.take(np.sort(np.array(kept, np.intp)))


def share(found: Detections) -> NDArray[np.intp]:
    """Return, for each box, the index of the box whose mask it can use: (n,), itself as a rule.

    Two classes asked for one thing (building, roof) give two boxes and need one decoding.
    """
    stand_in = np.arange(len(found))
    for i in range(len(found)):
        if stand_in[i] == i:
            later = np.flatnonzero(stand_in[i + 1 :] == np.arange(i + 1, len(found))) + i + 1
            same = iou(found.boxes[i], found.boxes[later]) >= SAME_OUTLINE
            stand_in[later[same]] = i
    return stand_in


def inside(found: Detections, window: Window) -> Detections:
    """Leave out boxes that share no pixel with a window; points are kept."""
    boxes = found.boxes
    meets = (
        (boxes[:, 0] < window.x1)
        & (boxes[:, 2] > window.x0)
        & (boxes[:, 1] < window.y1)
        & (boxes[:, 3] > window.y0)
    )
    return found.take(meets | found.is_point)


class Detector(Protocol):
    """Anything that finds the classes of a legend as boxes in pictures."""

    @property
    def identity(self) -> str:
        """Name and version (revision or digest of weights)."""
        ...

    @property
    def usual_threshold(self) -> float:
        """Least score that its makers recommend."""
        ...

    def ask(self, legend: Legend) -> Self:
        """Return a detector that looks for these classes.

        Raises:
            BackendError: A prompt it cannot read; says which and why.
        """
        ...

    def detect(self, pictures: Sequence[Picture]) -> list[Detections]:
        """Return one Detections per picture: every class that reaches its threshold."""
        ...
