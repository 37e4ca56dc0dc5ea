"""A window of an up-sampled plane is that window of the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from segment_anything.utils.amg import batched_mask_to_box
from torch.nn.functional import interpolate

from geoseg.backends.models.upsampling import extents, tight, upsampler
from geoseg.window import Window


@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_a_window_has_the_values_of_the_whole(height, width, data):
    plane = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(height * 41 + width))
    up = upsampler(((16, height, height),), ((16, width, width),), "cpu")
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    window = Window(
        x0, y0, data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
    )
    whole = interpolate(plane[None], (height, width), mode="bilinear")[0]
    assert up.whole == Window(0, 0, width, height)
    found = up.values(plane, window)
    expected = whole[:, window.y0 : window.y1, window.x0 : window.x1]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@given(st.integers(0, 999), st.floats(-2, 4))
def test_nothing_above_a_value_lies_beyond_the_reach_of_samples_above_it(seed, above):
    plane = torch.randn(1, 9, 7, generator=torch.Generator().manual_seed(seed))
    up = upsampler(((9, 40, 31), (31, 50, 50)), ((7, 28, 28), (28, 33, 33)), "cpu")
    window = up.reach(extents(plane, above)[0])
    values = up.values(plane, up.whole)[0] > above
    values[window.y0 : window.y1, window.x0 : window.x1] = False
    assert not values.any()


def test_extents_are_the_boxes_of_the_reference():
    planes = torch.randn(20, 12, 17, generator=torch.Generator().manual_seed(0)) - 2
    planes[3] = -9
    expected = batched_mask_to_box(planes > 0).numpy()
    found = extents(planes, 0)
    empty = ~(planes > 0).flatten(1).any(dim=1).numpy()
    assert empty[3]
    np.testing.assert_array_equal(found[~empty] - (0, 0, 1, 1), expected[~empty])
    assert not found[empty].any()


@pytest.mark.parametrize("at", [(0, 0), (5, 7)])
def test_a_tight_mask_is_cropped_to_its_pixels(at):
    mask = np.zeros((6, 9), bool)
    assert tight(mask, Window(*at, at[0] + 9, at[1] + 6)) is None
    mask[2, 3:5] = True
    box, cut = tight(mask, Window(*at, at[0] + 9, at[1] + 6))
    assert box == (at[0] + 3, at[1] + 2, at[0] + 5, at[1] + 3)
    assert cut.tolist() == [[True, True]]
