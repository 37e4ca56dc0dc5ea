"""How different do two colours look, and where do they change? CIELAB, and its steepness.

sRGB (IEC 61966-2-1) to CIE XYZ under D65 to CIE 1976 L*a*b* (CIE 15): distances are about what the
eye sees.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from geoseg.backends.detections import Floats, Picture

_XYZ = np.array(
    (
        (0.4124564, 0.3575761, 0.1804375),
        (0.2126729, 0.7151522, 0.0721750),
        (0.0193339, 0.1191920, 0.9503041),
    )
)
_OF_WHITE = (_XYZ / _XYZ.sum(axis=1, keepdims=True)).astype(np.float32)
_KNEE, _SLOPE = 216 / 24389, 24389 / 27

_BYTE = np.arange(256) / 255
_LINEAR = np.where(
    _BYTE <= 0.04045, _BYTE / 12.92, ((_BYTE + 0.055) / 1.055) ** 2.4
).astype(np.float32)  # fmt: skip


def lab(picture: Picture) -> Floats:
    """Return CIELAB of an sRGB picture: (3, row, col), L 0..100, a and b about -100..100."""
    light = np.tensordot(_OF_WHITE, _LINEAR[np.moveaxis(picture, 2, 0)], axes=1)
    f = np.where(light > _KNEE, np.cbrt(light), (_SLOPE * light + 16) / 116)
    planes: Floats = np.stack((116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])))
    return planes


def smooth(planes: Floats, sigma_px: float) -> Floats:
    """Return planes (k, row, col) under a Gaussian; beyond the picture its edge goes on."""
    out: Floats = ndimage.gaussian_filter(planes, (0, sigma_px, sigma_px), mode="nearest")
    return out


def steepness(planes: Floats) -> Floats:
    """Return how fast colour changes per pixel: (row, col), the length of all derivatives."""
    total = np.zeros(planes.shape[1:], np.float32)
    for axis in (1, 2):
        if planes.shape[axis] > 1:
            for plane in planes:
                total += np.gradient(plane, axis=axis - 1) ** 2
    found: Floats = np.sqrt(total)
    return found
