"""Every family of networks that are asked with prompts, and what their cutouts look like."""

from __future__ import annotations

import numpy as np

from geoseg.backends.models import sam, sam2
from geoseg.config import ModelOptions

FAMILIES = {
    "sam": sam.sam,
    "sam-hq": sam.sam_hq,
    "sam2": sam2.sam2,
    "sam2-video": sam2.sam2,
    "edgetam": sam2.edgetam,
    "sam3-tracker": sam2.sam3_tracker,
    "segment-anything": sam.sam,
}

UNSURE = 1e-4
"""Logits nearer to the threshold may fall on either side of it."""

CPU = ModelOptions(device="cpu")


def full(cutout, shape):
    mask = np.zeros(shape, bool)
    if cutout is not None:
        x0, y0, x1, y1 = cutout.box
        mask[y0:y1, x0:x1] = cutout.mask
        edges = (cutout.mask[0], cutout.mask[-1], cutout.mask[:, 0], cutout.mask[:, -1])
        assert all(edge.any() for edge in edges), "not cropped to its pixels"
    return mask
