"""Samples become reflectance by their type and range."""

from __future__ import annotations

import numpy as np
import pytest

from geoseg.scale import fit_scale


@pytest.mark.parametrize(
    ("values", "dtype", "reflectance"),
    [
        ([0, 3000, 9000], "uint16", 0.3),
        ([7300, 20000, 40000], "uint16", 0.35),
        ([0.0, 0.3, 0.9], "float32", 0.3),
        ([0, 51, 255], "uint8", 0.2),
    ],
)
def test_samples_become_reflectance(values, dtype, reflectance):
    block = np.array([[values]], dtype)
    scale = fit_scale(dtype, [(block, np.ones((1, 3), bool))], [0])
    assert scale.apply(block[0])[0, 1] == pytest.approx(reflectance, abs=2e-3)
