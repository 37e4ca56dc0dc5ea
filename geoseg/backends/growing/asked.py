"""What is asked, in whole pixels of the picture? Prompts cut to what it shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoseg.backends.detections import Floats
from geoseg.backends.prompts import Prompt
from geoseg.instances import Mask
from geoseg.window import Window

Point = tuple[float, float]
"""x, y."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A prompt of which at least something positive lies in the picture."""

    points: tuple[tuple[Point, bool], ...]
    """And whether each lies in the object, in the order in which they were said."""
    box: Window | None
    """Around the object; it holds the points in it."""
    mask: Mask | None
    """(row, col) of the picture: roughly the object; not empty."""

    @property
    def inside(self) -> tuple[Point, ...]:
        """Points in the object."""
        return tuple(point for point, positive in self.points if positive)

    @property
    def outside(self) -> tuple[Point, ...]:
        """Points not in the object."""
        return tuple(point for point, positive in self.points if not positive)


def asked(prompt: Prompt, shape: tuple[int, int]) -> Asked | None:
    """Return what of a prompt lies in a picture (rows, cols); None where nothing positive does.

    Of two points in one pixel the later counts.
    """
    rows, cols = shape
    said: dict[tuple[int, int], tuple[Point, bool]] = {}
    for (x, y), positive in zip(prompt.points.tolist(), prompt.positive.tolist(), strict=True):
        if 0 <= x <= cols and 0 <= y <= rows:
            pixel = (min(int(y), rows - 1), min(int(x), cols - 1))
            said.pop(pixel, None)
            said[pixel] = ((x, y), positive)
    points = tuple(said.values())
    inside = tuple(point for point, positive in points if positive)
    box = None if prompt.box is None else _around(prompt.box, inside, Window(0, 0, cols, rows))
    box = box if box is not None and box.area else None
    mask = prompt.mask if prompt.mask is not None and prompt.mask.any() else None
    return Asked(points, box, mask) if inside or box or mask is not None else None


def _around(box: Floats, inside: tuple[Point, ...], picture: Window) -> Window:
    """Return a box in whole pixels, wider where points in the object lie beyond it."""
    corners = np.concatenate((box.reshape(2, 2), np.reshape(inside, (-1, 2))))
    (x0, y0), (x1, y1) = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
    # A box without extent still lies in a pixel.
    whole = Window(int(x0), int(y0), max(int(x1), int(x0) + 1), max(int(y1), int(y0) + 1))
    return whole.intersection(picture)
