"""One stretch per run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import seeds

from geoseg.pixels import Pixels
from geoseg.raster import ArrayRaster
from geoseg.stretch import Stretch, fit_stretch
from geoseg.window import Window

PLAIN = Stretch((0, 1, 2), (0.0,) * 3, (255.0,) * 3)


def fit(data, valid=None, roles=None):
    return fit_stretch(ArrayRaster(data, valid, roles=roles or {}), roles or {})


@given(seeds)
def test_bytes_pass_unchanged(random):
    data = random.integers(0, 256, (4, 5, 6)).astype(np.uint8)
    roles = {"red": 4, "green": 2, "blue": 1}
    stretch = fit(data, roles=roles)
    assert (stretch.apply(data) == np.moveaxis(data[[3, 1, 0]], 0, -1)).all()
    full = Window(0, 0, 6, 5)
    pixels = Pixels(full, data, np.ones((5, 6), bool), stretch, full, full)
    assert (pixels.rgb() == stretch.apply(data)).all()
    made = np.zeros((5, 6, 3), np.uint8)
    assert replace(pixels, picture=made).rgb() is made


@pytest.mark.parametrize(
    ("count", "roles", "bands"),
    [
        (1, {}, (0, 0, 0)),
        (2, {}, (0, 0, 0)),
        (3, {}, (0, 1, 2)),
        (8, {}, (0, 1, 2)),
        (8, {"nir": 8}, (0, 1, 2)),
        (8, {"red": 6, "green": 4, "blue": 2}, (5, 3, 1)),
    ],
)
def test_roles_choose_the_bands_that_are_shown(count, roles, bands):
    assert fit(np.zeros((count, 3, 3), np.uint16), roles=roles).bands == bands


@given(seeds, st.sampled_from(["uint16", "int16", "float32", "float64"]))
def test_the_cut_is_numpys_percentile_of_valid_pixels(random, dtype):
    data = (random.normal(3000, 900, (3, 40, 50))).clip(0).astype(dtype)
    valid = random.random((40, 50)) > 0.3
    data[:, ~valid] = 30000
    stretch = fit(data, valid)
    for band in range(3):
        low, high = np.percentile(data[band][valid].astype(float), (2, 98))
        assert stretch.low[band] == low
        assert stretch.high[band] == high


@given(
    st.sampled_from(["uint8", "int8", "uint16", "int16", ">u2", ">i2"]),
    st.floats(-1e5, 1e5),
    st.floats(1e-3, 1e5),
)
def test_tables_give_what_the_formula_gives(dtype, low, width):
    limits = np.iinfo(dtype)
    values = np.arange(limits.min, limits.max + 1).astype(dtype)
    found = Stretch((0, 0, 0), (low,) * 3, (low + width,) * 3).apply(values.reshape(1, 16, -1))
    scaled = (values.astype(np.float64) - low) * (255.0 / (low + width - low))
    assert (found[..., 1].ravel() == np.rint(np.clip(scaled, 0, 255))).all()


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_low_is_black_high_is_white_and_between_is_linear(low, width):
    stretch = Stretch((0, 0, 0), (low,) * 3, (low + width,) * 3)
    values = low + width * np.array([-2.0, 0.0, 0.25, 0.5, 1.0, 3.0])
    found = stretch.apply(values.reshape(1, 1, -1))[0, :, 0].astype(int)
    assert np.abs(found - [0, 0, 63.75, 127.5, 255, 255]).max() <= 0.51
    assert (np.diff(found) >= 0).all()


@pytest.mark.parametrize("value", [0.0, -7.0, 1e9])
def test_a_flat_band_is_shown_without_dividing_by_zero(value):
    picture = fit(np.full((1, 9, 9), value)).apply(np.full((1, 2, 2), value))
    assert (picture == 0).all()


def test_nan_is_black_and_a_raster_without_valid_pixels_has_some_stretch():
    data = np.full((1, 4, 4), np.nan)
    assert (fit(data).apply(data) == 0).all()


def test_the_picture_of_a_window_is_the_window_of_the_picture():
    data = np.random.default_rng(0).integers(0, 9000, (3, 50, 60)).astype(np.uint16)
    stretch = fit(data)
    assert (stretch.apply(data[:, 10:30, 5:40]) == stretch.apply(data)[10:30, 5:40]).all()
