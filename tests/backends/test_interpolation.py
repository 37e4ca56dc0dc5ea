"""torch's own bilinear resizing is the oracle, in one step or several, whole or in part."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from geoseg.backends.interpolation import axis

SIZES = st.integers(1, 70)


@st.composite
def ways(draw):
    """Draw resizing steps along one axis, each cut at its end."""
    source, steps = draw(SIZES), []
    for _ in range(draw(st.integers(1, 3))):
        target = draw(SIZES)
        kept = draw(st.integers(1, target))
        steps.append((source, target, kept))
        source = kept
    return tuple(steps)


def reference(plane, rows, cols):
    planes = torch.from_numpy(plane)[None, None]
    for (_, height, down), (_, width, right) in zip(rows, cols, strict=True):
        planes = interpolate(planes, (height, width), mode="bilinear")[:, :, :down, :right]
    return planes[0, 0].numpy()


@given(ways(), st.data())
def test_rows_and_columns_apart_give_what_torch_gives_together(rows, data):
    cols = data.draw(ways().filter(lambda c: len(c) == len(rows)))
    seed = data.draw(st.integers(0, 99))
    plane = np.random.default_rng(seed).normal(0, 8, (rows[0][0], cols[0][0])).astype(np.float32)
    found = axis(*rows).weights @ plane @ axis(*cols).weights.T
    np.testing.assert_allclose(found, reference(plane, rows, cols), atol=2e-4)


@given(ways(), st.data())
def test_a_part_looks_at_its_own_samples_only(steps, data):
    found = axis(*steps)
    start = data.draw(st.integers(0, found.pixels - 1))
    stop = data.draw(st.integers(start + 1, found.pixels))
    looked = found.weights[start:stop].any(axis=0)
    samples = found.samples(start, stop)
    assert looked[samples.start]
    assert looked[samples.stop - 1]
    assert not looked[: samples.start].any()
    assert not looked[samples.stop :].any()


@given(ways(), st.data())
def test_samples_reach_the_pixels_that_look_at_them(steps, data):
    found = axis(*steps)
    count = found.weights.shape[1]
    start = data.draw(st.integers(0, count - 1))
    stop = data.draw(st.integers(start + 1, count))
    touched = np.flatnonzero(found.weights[:, start:stop].any(axis=1))
    low, high = found.reach(start, stop)
    assert set(touched) <= set(range(low, high))
    # Where pixels are farther apart than samples, none may look at the first or last of them.
    if len(touched):
        assert (low, high) == (touched[0], touched[-1] + 1)


@given(ways())
def test_weights_are_shares(steps):
    found = axis(*steps)
    assert (found.weights >= 0).all()
    np.testing.assert_allclose(found.weights.sum(axis=1), 1, atol=1e-5)
    assert (np.diff(found.first) >= 0).all()
    assert (np.diff(found.stop) >= 0).all()


def test_a_cell_is_as_large_as_the_picture_makes_it():
    assert axis((256, 1024, 1024)).cell == 4
    # Of a padded canvas only the samples that show the picture count.
    assert 7 < axis((256, 1024, 512), (512, 1024, 1024)).cell <= 8
