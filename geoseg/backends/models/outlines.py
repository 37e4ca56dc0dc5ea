"""How do models that answer with boxes and coarse masks at once give outlines?"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, floor

import numpy as np
import torch

from geoseg.backends.detections import Detections, Floats
from geoseg.backends.models.upsampling import Upsampler, extents, tight, upsampler
from geoseg.window import Window

MARGIN_CELLS, MARGIN_SHARE = 2, 0.05
"""How far a mask may reach beyond its box: a mask is uncertain by a cell or two, a detector's box
by a few percent of its size. What lies farther off is another thing that looks alike."""


def room(box: Floats, picture: tuple[int, int], up: Upsampler) -> Window:
    """Return the pixels in which a box's mask may lie.

    Args:
        box: x0, y0, x1, y1 in pixels of the picture.
        picture: (rows, cols).
        up: From the mask to the pixels that are asked for.
    """
    x0, y0, x1, y1 = (
        box * np.array((up.cols.pixels / picture[1], up.rows.pixels / picture[0]) * 2)
    ).tolist()
    dx = MARGIN_CELLS * up.cols.cell + MARGIN_SHARE * (x1 - x0)
    dy = MARGIN_CELLS * up.rows.cell + MARGIN_SHARE * (y1 - y0)
    return Window(floor(x0 - dx), floor(y0 - dy), ceil(x1 + dx), ceil(y1 + dy)).intersection(
        up.whole
    )


def outlined(found: Detections, masks: torch.Tensor, shape: tuple[int, int]) -> Detections:
    """Give detections their masks, up-sampled inside their boxes; leave out what has none.

    Args:
        found: Boxes in pixels of the picture.
        masks: (n, row, col) probability, stretched over the picture; inside above 1/2.
        shape: (rows, cols) of the picture.
    """
    steps = ((masks.shape[k], shape[k - 1], shape[k - 1]) for k in (1, 2))
    rows, cols = ((step,) for step in steps)
    up = upsampler(rows, cols, str(masks.device))
    kept, boxes, outlines = [], [], []
    for k, samples in enumerate(extents(masks, 0.5)):
        window = up.reach(samples).intersection(room(found.boxes[k], shape, up))
        inside = window.area and tight((up.values(masks[k], window) > 0.5).cpu().numpy(), window)
        if inside:
            kept.append(k)
            boxes.append(inside[0])
            outlines.append(inside[1])
    return replace(
        found.take(np.array(kept, np.intp)),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        masks=outlines,
    )
