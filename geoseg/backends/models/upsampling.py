"""What does a network's coarse plane say about the pixels of a tile, inside a window only?

Up-sampling every mask to the whole tile would cost floats per mask and pixel of the tile; here the
cost follows the window.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.backends.interpolation import Axis, Step, axis
from geoseg.instances import Mask
from geoseg.window import Window

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Upsampler:
    """Bilinear resizing of planes to one shape, in any number of steps."""

    rows: Axis
    """From rows of the plane to rows of the tile."""
    cols: Axis
    """From columns of the plane to columns of the tile."""
    row_weights: torch.Tensor
    """`rows.weights` on the device."""
    col_weights: torch.Tensor
    """`cols.weights` on the device."""

    @property
    def whole(self) -> Window:
        """The tile."""
        return Window(0, 0, self.cols.pixels, self.rows.pixels)

    def reach(self, samples: NDArray[np.intp]) -> Window:
        """Return the pixels that look at any of the samples in x0, y0, x1, y1 of the plane."""
        x0, y0, x1, y1 = samples.tolist()
        if x0 >= x1 or y0 >= y1:
            return Window(0, 0, 0, 0)
        left, right = self.cols.reach(x0, x1)
        top, bottom = self.rows.reach(y0, y1)
        return Window(left, top, right, bottom)

    def values(self, planes: torch.Tensor, window: Window) -> torch.Tensor:
        """Return planes (..., row, col) float32 at the pixels of a window that is not empty."""
        rows = self.rows.samples(window.y0, window.y1)
        cols = self.cols.samples(window.x0, window.x1)
        down = self.row_weights[window.y0 : window.y1, rows]
        across = self.col_weights[window.x0 : window.x1, cols]
        return down @ planes[..., rows, cols] @ across.T


@lru_cache(maxsize=32)
def upsampler(rows: tuple[Step, ...], cols: tuple[Step, ...], device: str) -> Upsampler:
    """Return the resizing along rows and columns, its weights on the device."""
    down, across = axis(*rows), axis(*cols)
    # Made outside inference mode, the weights serve inside and outside of it.
    with torch.inference_mode(mode=False):
        return Upsampler(
            down,
            across,
            torch.from_numpy(down.weights).to(device),
            torch.from_numpy(across.weights).to(device),
        )


def extents(planes: torch.Tensor, above: float) -> NDArray[np.intp]:
    """Return the box of the samples above a value in each plane: (n, row, col) gives (n, 4).

    Boxes are x0, y0, x1, y1, half-open; 0, 0, 0, 0 where no sample is.
    """
    high = planes > above
    rows: NDArray[np.bool_] = high.any(dim=2).cpu().numpy()
    cols: NDArray[np.bool_] = high.any(dim=1).cpu().numpy()
    box = np.column_stack(
        (
            cols.argmax(axis=1),
            rows.argmax(axis=1),
            cols.shape[1] - cols[:, ::-1].argmax(axis=1),
            rows.shape[1] - rows[:, ::-1].argmax(axis=1),
        )
    )
    box[~rows.any(axis=1)] = 0
    return box


def tight(mask: Mask, window: Window) -> tuple[Box, Mask] | None:
    """Cut a window's mask to the box of its pixels; None where there are none."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    y0, y1, x0, x1 = int(rows[0]), int(rows[-1]) + 1, int(cols[0]), int(cols[-1]) + 1
    box = (window.x0 + x0, window.y0 + y0, window.x0 + x1, window.y0 + y1)
    return box, mask[y0:y1, x0:x1].copy()
