"""A sweep finds the pixels whose centre a polygon holds, and paints them in order."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio.features
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from scenes import examples

from geoseg.export.sweep import paint, runs_across, runs_down

SIZE = 24


def some(seed: int) -> np.ndarray:
    """Return polygons with holes and parts, some of them partly outside of 0..SIZE."""
    random = np.random.default_rng(seed)
    discs = [
        shapely.Point(*random.uniform(-3, SIZE + 3, 2)).buffer(random.uniform(0.2, 9))
        for _ in range(12)
    ]
    return np.array(
        [shapely.difference(discs[k], discs[k + 1]) for k in range(6)]
        + [discs[k].union(discs[k + 3]) for k in range(6)]
    )


@examples(30)
@given(seed=st.integers(0, 2**32 - 1))
def test_runs_hold_the_centres_that_the_polygons_hold(seed):
    found = some(seed)
    low = 20
    y, x = np.mgrid[-low : SIZE + low, -low : SIZE + low]
    for runs, turned in ((runs_across(found), False), (runs_down(found), True)):
        for number, shape in enumerate(found):
            mask = np.zeros(x.shape, bool)
            for line, start, stop in zip(*runs.of(number), strict=True):
                assert not mask[line + low, start + low : stop + low].any()
                mask[line + low, start + low : stop + low] = True
            wanted = shapely.contains_xy(shape, x + 0.5, y + 0.5)
            assert np.array_equal(mask.T if turned else mask, wanted)


@pytest.mark.parametrize("at_once", [7, 2**21])
@examples(30)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, SIZE))
def test_later_polygons_lie_on_top_as_gdal_paints_them(at_once, seed, rows):
    shapes = some(seed)
    values = np.random.default_rng(seed).integers(1, 9, len(shapes))
    wanted = np.zeros((SIZE, SIZE), np.uint8)
    # Away from the origin: rasterio takes the identity for no transform at all.
    moved = shapely.transform(shapes, lambda xy: xy + 100)
    rasterio.features.rasterize(
        [(s, v) for s, v in zip(moved, values.tolist(), strict=True) if not s.is_empty],
        out=wanted,
        transform=Affine.translation(100, 100),
    )
    found = np.zeros_like(wanted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geoseg.export.sweep.PAINT_PIXELS", at_once)
        for y in range(0, SIZE, rows):
            paint(found[y : y + rows], y, runs_across(shapes), values)
    assert np.array_equal(found, wanted)


def test_pixels_that_share_an_edge_or_a_corner_are_had_once():
    cells = [(0, 0), (1, 1), (2, 1), (1, 2), (3, 3)]
    squares = np.array([shapely.box(x, y, x + 1, y + 1) for x, y in cells])
    found = np.zeros((4, 4), np.int64)
    paint(found, 0, runs_across(np.array([shapely.union_all(squares)])), np.array([5]))
    assert [(x, y) for y, x in np.argwhere(found == 5)] == sorted(cells, key=lambda c: c[::-1])
    apart = np.zeros((4, 4), np.int64)
    paint(apart, 0, runs_across(squares), np.arange(1, 6))
    assert [apart[y, x] for x, y in cells] == [1, 2, 3, 4, 5]


def test_nothing_is_in_no_polygons():
    nothing = np.array([shapely.MultiPolygon(), shapely.box(0.6, 0.6, 1.4, 1.4)])
    runs = runs_across(nothing)
    assert len(runs.line) == 0
    assert runs.stops.tolist() == [0, 0, 0]
