"""A polygon is truncated where one of its pixels has a neighbour of which nothing is known."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from scenes import areas, blobs, examples, seeds, sizes
from scipy import ndimage

from geoseg import truncated as module
from geoseg.polygons import outlines
from geoseg.runs import runs_of
from geoseg.truncated import truncated
from geoseg.window import Window


def ask(shapes, known, square=512, reads=None):
    raster = Window(0, 0, known.shape[1], known.shape[0])

    def look(window):
        if reads is not None:
            reads.append(window)
        return known[window.slices_in(raster)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SQUARE_PX", square)
        return truncated(shapes, raster, look)


def drawn(ids):
    return outlines(runs_of(ids.astype(np.int32), (0, 0)), int(ids.max()))


def beside(mask, known):
    """Tell by dilation whether a mask meets what is not known, or the edge."""
    grown = ndimage.binary_dilation(np.pad(mask, 1)) & ~np.pad(mask, 1)
    return (grown & np.pad(~known, 1, constant_values=True)).any()


@examples(100)
@given(seeds, sizes, st.integers(1, 100), st.sampled_from([0.3, 0.9, 0.999]))
def test_neighbours_are_looked_at(random, size, square, share):
    ids = blobs(*size, random)
    known = (random.random(size) < share) | (ids > 0)
    want = [beside(ids == number, known) for number in range(1, int(ids.max()) + 1)]
    assert ask(drawn(ids), known, square).tolist() == want


def test_a_corner_is_not_an_edge():
    known = np.ones((7, 7), bool)
    known[1, 1] = False
    ids = np.zeros((7, 7), int)
    ids[2:4, 2:4] = 1
    assert not ask(drawn(ids), known)[0]
    ids[1, 2] = 1
    assert ask(drawn(ids), known)[0]


@examples(50)
@given(seeds, sizes)
def test_where_an_area_cuts_nothing_is_asked(random, size):
    """An edge that is left over of a pixel's edge counts; the cut across a pixel does not."""
    raster = Window(0, 0, size[1], size[0])
    area = areas(raster, random)
    if area is None:
        return
    ids = blobs(*size, random)
    known = (random.random(size) < 0.9) | (ids > 0)
    cut = area.clip(drawn(ids))[0]
    y, x = np.nonzero(np.pad(~known, 1, constant_values=True))
    pixels = shapely.union_all(shapely.box(x - 1, y - 1, x, y))
    shared = shapely.length(shapely.intersection(shapely.boundary(cut), shapely.boundary(pixels)))
    np.testing.assert_array_equal(ask(cut, known), shared > 1e-9)


def test_no_more_is_read_at_once_than_a_square():
    known, reads = np.ones((300, 200), bool), []
    ids = np.ones((300, 200), int)
    ids[0], ids[-1], ids[:, 0], ids[:, -1] = 0, 0, 0, 0
    assert not ask(drawn(ids), known, 64, reads)[0]
    # A row or column of pixels along each of four edges.
    assert all(1 in w.shape and max(w.shape) <= 64 for w in reads)
    assert sum(w.area for w in reads) == 2 * (298 + 198)
