"""What was pointed at, in pixels of the raster, and what of it does a picture of a tile show?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize

from geoseg.backends.prompts import Prompt
from geoseg.frame import Floats
from geoseg.grid import Grid
from geoseg.instances import Mask
from geoseg.window import Window

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1."""


@dataclass(frozen=True, slots=True, eq=False)
class Pointed:
    """All that was said of one object."""

    points: tuple[tuple[float, float, bool], ...] = ()
    """x, y, and whether the point lies in the object."""
    box: Box | None = None
    """Around it."""
    mask: shapely.MultiPolygon | None = None
    """Roughly where it is."""
    further: bool = False
    """Whether there is a way to choose among what a tile may say."""

    @property
    def within(self) -> tuple[tuple[float, float], ...]:
        """The points that lie in the object."""
        return tuple((x, y) for x, y, positive in self.points if positive)

    @property
    def says_where(self) -> bool:
        """Whether there is more than points outside of the object."""
        return bool(self.within) or self.box is not None or self.mask is not None

    def at(self, x: float, y: float) -> Pointed:
        """Return it with a further point in the object, where a neighbour sees it."""
        return replace(self, points=(*self.points, (x, y, True)), further=True)

    def shown(self, window: Window, shape: tuple[int, int]) -> Prompt | None:
        """Return what a picture shows of it, in pixels of the picture; None where nothing is.

        Args:
            window: What the picture shows.
            shape: (rows, cols) of the picture.
        """
        scale = np.array((shape[1] / window.width, shape[0] / window.height))
        corner = np.array((window.x0, window.y0))
        points, positive = self._points_in(window)
        box = _cut(self.box, window)
        prompt = Prompt(
            ((points - corner) * scale).astype(np.float32),
            positive,
            None
            if box is None
            else ((box - np.tile(corner, 2)) * np.tile(scale, 2)).astype(np.float32),
            self._mask_in(window, shape),
            self.further,
        )
        told = positive.any() or prompt.box is not None or prompt.mask is not None
        return prompt if told else None

    def _points_in(self, window: Window) -> tuple[Floats, NDArray[np.bool_]]:
        given = np.array(self.points, np.float64).reshape(-1, 3)
        low, high = (window.x0, window.y0), (window.x1, window.y1)
        here = given[((given[:, :2] >= low) & (given[:, :2] < high)).all(axis=1)]
        return here[:, :2], here[:, 2] > 0

    def _mask_in(self, window: Window, shape: tuple[int, int]) -> Mask | None:
        if self.mask is None:
            return None
        scale = Affine.scale(window.width / shape[1], window.height / shape[0])
        to_pixels = Affine.translation(window.x0, window.y0) @ scale
        drawn = rasterize([(self.mask, 1)], shape, transform=to_pixels, dtype="uint8") > 0
        return drawn if drawn.any() else None

    def homes(self, grid: Grid) -> list[int]:
        """Return the tiles that are asked first.

        Those that decide a point in the object; else the one that decides most of the mask, else
        the one that decides the middle of the box.
        """
        if self.within:
            return list(dict.fromkeys(grid.at(x, y) for x, y in self.within))
        if self.mask is not None:
            x0, y0, x1, y1 = shapely.bounds(self.mask).tolist()
            cores = {i: grid[i].core for i in grid.meeting(_around((x0, y0, x1, y1)))}
            parts = [
                shapely.area(shapely.clip_by_rect(self.mask, c.x0, c.y0, c.x1, c.y1))
                for c in cores.values()
            ]
            return [list(cores)[int(np.argmax(parts))]]
        if self.box is None:
            return []
        x0, y0, x1, y1 = self.box
        return [grid.at((x0 + x1) / 2, (y0 + y1) / 2)]


def _cut(box: Box | None, window: Window) -> Floats | None:
    """Return the part of a box that lies in a window; None where there is none."""
    if box is None:
        return None
    low = np.maximum(box[:2], (window.x0, window.y0))
    high = np.minimum(box[2:], (window.x1, window.y1))
    return np.concatenate((low, high)) if (high > low).all() else None


def _around(box: Box) -> Window:
    """Return the pixels that a box touches."""
    (x0, y0), (x1, y1) = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
    return Window(int(x0), int(y0), int(x1), int(y1))
