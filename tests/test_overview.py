"""A raster of any size has a small picture, and little of it is held at once."""

import numpy as np
import pytest
from scenes import raster

from geoseg.overview import overview


class Watched:
    """A raster that knows how many rows were read at once."""

    def __init__(self, whole):
        self.whole, self.rows = whole, 0

    def __getattr__(self, name):
        return getattr(self.whole, name)

    def read(self, window):
        self.rows = max(self.rows, window.height)
        return self.whole.read(window)


@pytest.mark.parametrize("side_px", [30, 100, 2000])
def test_it_is_every_nth_pixel_and_read_in_strips(side_px):
    height, width = 1500, 1700
    valid = np.random.default_rng(0).random((height, width)) < 0.5
    seen = Watched(raster(np.ones((height, width), np.int32), valid=valid))
    found = overview(seen, side_px)
    step = -(-width // side_px)
    assert max(found.valid.shape) <= side_px
    assert (found.valid == valid[::step, ::step]).all()
    assert seen.rows <= 512
