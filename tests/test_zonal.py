"""Means under polygons are those of masks, and of areas where pixels are covered in part."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from scenes import blobs, examples, seeds, sizes

from geoseg import zonal
from geoseg.polygons import outlines
from geoseg.runs import runs_of
from geoseg.window import Window


class Field:
    """Noise with holes, that remembers what was read of it."""

    def __init__(self, size, random):
        self.data = random.normal(1e4, 1e3, (2, *size))
        self.valid = random.random(size) < 0.9
        self.window = Window(0, 0, size[1], size[0])
        self.reads = []

    def read(self, window):
        self.reads.append(window)
        rows, cols = window.slices_in(self.window)
        return self.data[:, rows, cols], self.valid[rows, cols]

    def means(self, shapes, square=512):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(zonal, "SQUARE_PX", square)
            return zonal.means(shapes, self.window, self.read, planes, 2)


def planes(data, valid):
    return (np.where(valid, band, np.nan) for band in data)


@examples(60)
@given(seeds, sizes, st.integers(1, 100))
def test_means_are_those_of_masks(random, size, square):
    ids = blobs(*size, random)
    shapes = outlines(runs_of(ids.astype(np.int32), (0, 0)), int(ids.max()))
    field = Field(size, random)
    found = field.means(shapes, square)
    for number in range(1, len(shapes) + 1):
        mine = (ids == number) & field.valid
        want = field.data[:, mine].mean(axis=1) if mine.any() else [np.nan] * 2
        np.testing.assert_allclose(found[number - 1], want, rtol=1e-12)


@examples(30)
@given(seeds, st.integers(3, 40))
def test_a_pixel_counts_by_the_part_that_is_covered(random, square):
    field = Field((30, 40), random)
    centres, radii = random.uniform(-5, 45, (5, 2)), random.uniform(0.2, 20, 5)
    shapes = shapely.buffer(shapely.points(centres), radii)
    shapes[0] = shapely.difference(shapes[0], shapely.buffer(shapes[0].centroid, radii[0] / 2))
    y, x = np.mgrid[:30, :40]
    pixels = shapely.box(x, y, x + 1, y + 1)
    found = field.means(shapes, square)
    for shape, mean in zip(shapes, found, strict=True):
        weight = shapely.area(shapely.intersection(pixels, shape)) * field.valid
        if weight.sum() > 0.01:
            want = (field.data * weight).sum(axis=(1, 2)) / weight.sum()
            np.testing.assert_allclose(mean, want, rtol=1e-6)


@examples(20)
@given(seeds)
def test_a_mean_depends_on_its_polygon_only(random):
    field = Field((60, 70), random)
    shapes = shapely.buffer(shapely.points(random.uniform(0, 60, (20, 2))), 9.7)
    together = field.means(shapes, 16)
    alone = np.concatenate([field.means(shapes[k : k + 1], 16) for k in range(20)])
    np.testing.assert_array_equal(together, alone)


def test_no_more_is_read_at_once_than_a_square():
    field = Field((300, 200), np.random.default_rng(1))
    everything = np.array([shapely.box(0, 0, 200, 300)])
    np.testing.assert_allclose(
        field.means(everything, 64)[0], field.data[:, field.valid].mean(axis=1), rtol=1e-12
    )
    assert max(max(w.shape) for w in field.reads) == 64
    assert sum(w.area for w in field.reads) == 300 * 200


def test_what_nobody_knows_is_not_a_number():
    field = Field((10, 10), np.random.default_rng(1))
    field.valid[:] = False
    shapes = np.array([shapely.box(2, 2, 5, 5), shapely.box(20, 20, 22, 22)])
    assert np.isnan(field.means(shapes)).all()
    assert field.means(shapes[:0]).shape == (0, 2)
