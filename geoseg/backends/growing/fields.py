"""Where may the object of a box or a rough mask be? How likely each pixel is before its colour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from geoseg.backends.detections import Floats
from geoseg.backends.growing.asked import Asked
from geoseg.instances import Mask
from geoseg.window import Window

_RING = 0.1
"""How far beyond its bounds, as a share of their sides, what lies around an object is looked at."""

_LEAST_RING_PX = 4

_IN_BOX, _IN_MASK = 0.5, 2.0
"""Logits of being the object: in the middle of a box, and well inside of a rough mask."""

_MARGIN = 0.15
"""How far the object may end from the edge of a rough mask, as a share of the mask's extent."""

_LEAST_MARGIN_PX = 3


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A part of a picture in which one object is."""

    window: Window
    """Which part: the object's bounds and a ring around them."""
    allowed: Mask
    """(row, col) of the window: where the object may be."""
    logit: Floats
    """(row, col) of the window: how likely a pixel is of the object."""


def field(asked: Asked, shape: tuple[int, int]) -> Field:
    """Return where the object of a box, a mask or both may be, in a picture (rows, cols)."""
    picture = Window(0, 0, shape[1], shape[0])
    near = np.ones(shape, bool)
    logit = np.zeros(shape, np.float32)
    if asked.mask is not None:
        near, logit = _around(asked.mask)
    if asked.box is not None:
        in_box = np.zeros(shape, bool)
        in_box[asked.box.slices_in(picture)] = True
        if (near & in_box).any():
            near &= in_box
        else:
            near = in_box
        logit[asked.box.slices_in(picture)] += _in_box(asked.box)
    window = bounds(near)
    ring = max(_LEAST_RING_PX, int(_RING * max(window.width, window.height)))
    window = window.grow(ring, picture)
    part = window.slices_in(picture)
    return Field(window, near[part], logit[part])


def _in_box(box: Window) -> Floats:
    """Return the logits of a box: objects fill its middle and its sides, rarely its corners."""
    x, y = (np.abs((np.arange(n) + 0.5) * 2 / n - 1) for n in (box.width, box.height))
    found: Floats = (_IN_BOX * (1 - x[None, :] ** 3 - y[:, None] ** 3)).astype(np.float32)
    return found


def _around(mask: Mask) -> tuple[Mask, Floats]:
    """Return where the object of a rough mask may be, and its logits."""
    margin = max(_LEAST_MARGIN_PX, _MARGIN * float(np.sqrt(np.count_nonzero(mask))))
    deep = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    far = ndimage.distance_transform_edt(~mask)
    depth = ((deep - far) / margin).astype(np.float32)
    return depth > -1, _IN_MASK * np.clip(depth, -1, 1)


def bounds(mask: Mask) -> Window:
    """Return the rows and columns of a mask that is not empty."""
    y, x = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return Window(int(x[0]), int(y[0]), int(x[-1]) + 1, int(y[-1]) + 1)
