"""What an area says of pixels is exact, and the same in every window."""

from __future__ import annotations

import pickle
from fractions import Fraction

import numpy as np
import pytest
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st
from scenes import areas, examples, seeds

from geoseg.area import FINE_PX, UNIT, Area
from geoseg.grid import Grid
from geoseg.polygons import outlines
from geoseg.runs import runs_of
from geoseg.window import Window


def inside(polygons, window: Window) -> np.ndarray:
    """Return where pixels share more than a line with polygons, in exact fractions."""
    rings = [
        [[Fraction(v) for v in xy] for xy in shapely.get_coordinates(ring).tolist()]
        for ring in shapely.get_rings(shapely.orient_polygons(polygons))
    ]
    y, x = np.mgrid[window.y0 : window.y1, window.x0 : window.x1]
    found = [
        sum(_cut(ring, (a, b, a + 1, b + 1)) for ring in rings) != 0
        for a, b in zip(x.ravel().tolist(), y.ravel().tolist(), strict=True)
    ]
    return np.array(found).reshape(window.shape)


def _cut(ring: list, box: tuple[int, ...]) -> Fraction:
    """Return twice the signed area of a ring inside a box (Sutherland and Hodgman 1974)."""
    points = ring[:-1]
    for axis, limit, sign in ((0, box[0], 1), (0, box[2], -1), (1, box[1], 1), (1, box[3], -1)):
        kept = []
        for p, q in zip(points[-1:] + points[:-1], points, strict=True):
            if (sign * (p[axis] - limit) >= 0) != (sign * (q[axis] - limit) >= 0):
                t = (limit - p[axis]) / (q[axis] - p[axis])
                kept.append([a + t * (b - a) for a, b in zip(p, q, strict=True)])
            if sign * (q[axis] - limit) >= 0:
                kept.append(q)
        points = kept
    pairs = zip(points[-1:] + points[:-1], points, strict=True)
    return sum((p[0] * q[1] - p[1] * q[0] for p, q in pairs), Fraction(0))


@examples(40)
@given(st.tuples(st.integers(1, 14), st.integers(1, 14)), seeds)
def test_touched_pixels_are_those_that_share_more_than_a_line(size, random):
    frame = Window(0, 0, size[1], size[0])
    area = areas(frame, random)
    assume(area is not None)
    around = Window(-2, -2, frame.x1 + 2, frame.y1 + 2)
    assert (area.mask(around) == inside(area.polygons, around)).all()


@examples(60)
@given(st.integers(1, 700), st.integers(1, 90), seeds)
def test_a_window_says_the_same_of_a_pixel_as_the_whole(height, width, random):
    frame = Window(0, 0, width, height)
    area = areas(frame, random)
    assume(area is not None)
    whole = area.mask(frame)
    y0, x0 = int(random.integers(height)), int(random.integers(width))
    part = Window(x0, y0, int(random.integers(x0, width)) + 1, int(random.integers(y0, height)) + 1)
    assert (area.mask(part) == whole[part.slices_in(frame)]).all()
    assert area.touches(part) == whole[part.slices_in(frame)].any()


@examples(60)
@given(st.tuples(st.integers(1, 90), st.integers(1, 90)), st.integers(4, 40), seeds)
def test_tiles_are_those_that_decide_a_touched_pixel(size, tile, random):
    frame = Window(0, 0, size[1], size[0])
    area = areas(frame, random)
    assume(area is not None)
    grid = Grid(frame, tile, int(random.integers(0, tile // 2)))
    whole = area.mask(frame)
    want = [i for i, t in enumerate(grid) if whole[t.core.slices_in(frame)].any()]
    assert list(area.tiles(grid)) == want


@examples(60)
@given(st.tuples(st.integers(2, 40), st.integers(2, 40)), seeds)
def test_cut_outlines_are_valid_and_equal_what_shapely_leaves(size, random):
    frame = Window(0, 0, size[1], size[0])
    area = areas(frame, random)
    assume(area is not None)
    labels = random.integers(0, 3, size).astype(np.int32)
    whole = outlines(runs_of(labels, (0, 0)), 2)
    united = shapely.union_all(area.polygons)
    cut, reaches = area.clip(whole)
    assert shapely.is_valid(cut).all()
    assert set(shapely.get_type_id(cut).tolist()) == {shapely.GeometryType.MULTIPOLYGON}
    want = shapely.intersection(whole, united)
    far = shapely.area(shapely.symmetric_difference(cut, want))
    assert (far <= FINE_PX * (shapely.length(whole) + shapely.length(united))).all()
    assert (reaches == ~shapely.contains_properly(united, whole)).all()


def test_a_whole_area_is_cut_into_exact_integers_and_travels():
    frame = Window(0, 0, 9, 9)
    (square,) = area_of(shapely.box(2.5, 1, 7, 8.25), frame).polygons
    assert square.equals(shapely.box(2.5, 1, 7, 8.25))
    area = area_of(shapely.Polygon([(0.1, 0.1), (5.3, 7.7), (3, 9.1)]), frame)
    corners = shapely.get_coordinates(area.polygons) * UNIT
    assert (corners == np.rint(corners)).all()
    again = pickle.loads(pickle.dumps(area))  # noqa: S301
    assert again.identity == area.identity
    assert (again.mask(frame) == area.mask(frame)).all()


def area_of(polygon, frame: Window) -> Area | None:
    return Area.of(np.array([polygon], object), frame)


def test_an_area_that_only_touches_the_raster_is_none():
    frame = Window(0, 0, 9, 9)
    assert area_of(shapely.box(9, 0, 12, 9), frame) is None
    assert area_of(shapely.box(20, 0, 99, 9), frame) is None
    assert area_of(shapely.box(8, 0, 12, 9), frame).mask(frame).sum() == 9


def test_a_window_that_shares_only_a_line_is_not_touched():
    area = area_of(shapely.box(10, 10, 20, 20), Window(0, 0, 50, 50))
    lines = [Window(0, 0, 10, 50), Window(20, 10, 30, 20), Window(0, 0, 10, 10)]
    pixels = [Window(0, 0, 11, 11), Window(19, 19, 30, 30), Window(12, 12, 13, 13)]
    assert area.touching(lines + pixels).tolist() == [False] * 3 + [True] * 3


def test_an_area_inside_one_pixel_touches_that_pixel():
    area = area_of(shapely.box(3.25, 4.5, 3.5, 4.75), Window(0, 0, 9, 9))
    assert np.argwhere(area.mask(Window(0, 0, 9, 9))).tolist() == [[4, 3]]
    assert Grid(Window(0, 0, 9, 9), 4, 2)[area.tiles(Grid(Window(0, 0, 9, 9), 4, 2))[0]].core


@pytest.mark.parametrize("order", [1, -1])
def test_the_identity_is_that_of_the_shape(order):
    frame = Window(0, 0, 50, 50)
    shapes = [shapely.box(1, 1, 9, 9), shapely.box(20, 20, 30, 31)][::order]
    area = Area.of(np.array(shapes, object), frame)
    assert area.identity.endswith(", columns 1..30, rows 1..31")
    assert area.identity == Area.of(np.array(shapes[::-1], object), frame).identity
    assert area.identity != area_of(shapes[0], frame).identity
