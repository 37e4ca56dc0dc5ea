"""What is in the way of what: in exact arithmetic, against shapely."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scenes import examples

from geoseg.generalise.conflicts import _meet, _turns, areas, in_window, out_of_order
from geoseg.generalise.lines import GRID, ROUND, SHARP, Lines
from geoseg.window import Window

EVERYWHERE = Window(0, 0, 64, 64)
points = npst.arrays(np.int64, (4, 2), elements=st.integers(0, 4))
paths = npst.arrays(np.int64, st.tuples(st.integers(3, 8), st.just(2)), elements=st.integers(0, 6))


def lines(*corners, state=SHARP, closed=False) -> Lines:
    """Lines of which every corner stays."""
    start = np.r_[0, np.cumsum([len(c) for c in corners])]
    xy = GRID * np.concatenate([np.array(c, np.int64) for c in corners])
    each = np.full(len(xy), state, np.uint8)
    return Lines(xy, start, each, np.r_[closed, np.zeros(len(corners) - 1, bool)])


def causes(found: Lines, rounding: float = 0) -> list[int]:
    changed = np.ones(len(found.closed), bool)
    return in_window(found, changed, EVERYWHERE, rounding).tolist()


@examples(300)
@given(points)
def test_edges_meet_where_they_do(xy):
    a, b, c, d = xy
    one, other = shapely.LineString([a, b]), shapely.LineString([c, d])
    boxes = shapely.box(*one.bounds).intersects(shapely.box(*other.bounds))
    if boxes and (a != b).any() and (c != d).any():
        assert _meet(*xy[:, None])[0] == one.intersects(other)


@examples(200)
@given(paths, npst.arrays(np.int64, 2, elements=st.integers(0, 6)))
def test_rings_turn_around_what_is_inside(xy, point):
    ring = shapely.LinearRing(xy)
    turns = _turns(xy, np.roll(xy, -1, axis=0), np.tile(point, (len(xy), 1))).sum()
    if (
        ring.is_simple
        and shapely.Polygon(ring).is_valid
        and not ring.intersects(shapely.Point(point))
    ):
        assert abs(turns) == shapely.Polygon(ring).contains(shapely.Point(point))


@examples(100)
@given(st.lists(paths, min_size=1, max_size=4))
def test_areas_are_those_between_lines_and_their_chords(found):
    start = np.r_[0, np.cumsum([len(f) for f in found])]
    want = [
        sum(a[0] * b[1] - a[1] * b[0] for a, b in zip(f, np.roll(f, -1, axis=0), strict=True))
        for f in found
    ]
    assert areas(np.concatenate(found), start).tolist() == want


BASE = [(0, 0), (10, 0)]


@pytest.mark.parametrize(
    ("other", "wanted"),
    [
        ([(0, 5), (10, 5)], []),
        ([(10, 0), (10, 5)], []),
        ([(0, 0), (5, 5), (10, 0)], []),
        ([(5, -5), (5, 5)], [0, 4]),
        ([(5, 0), (5, 5)], [0, 4]),
        ([(0, 0), (10, 0)], [0, 4]),
        ([(0, 0), (5, 0), (5, 5)], [0, 4, 6]),
        ([(0, 5), (10, 0), (0, 8)], [0, 4, 6]),
    ],
)
def test_lines_may_share_their_ends_and_nothing_else(other, wanted):
    assert causes(lines(BASE, other)) == wanted


def test_a_line_that_folds_back_is_in_its_own_way():
    assert causes(lines([(0, 0), (10, 0), (5, 0), (5, 5)])) == [0, 2, 4]


def test_a_ring_that_is_a_line_is_in_its_own_way():
    assert causes(lines([(0, 0), (10, 3), (0, 0)], state=ROUND, closed=True)) == [0, 2]


def test_nothing_comes_between_a_ring_and_its_fixed_corner():
    square = [(10, 10), (50, 10), (50, 50), (10, 50), (10, 10)]
    # Of the curve it stays clear, and its ends are far away.
    passing = [(2, 40), (12, 12), (40, 2)]
    crosses_sharp = causes(lines(square, passing, state=ROUND, closed=True), rounding=0)
    assert crosses_sharp == [0, 6, 10, 12]
    assert causes(lines(square, passing, state=ROUND, closed=True), rounding=8) == [1, 13]
    elsewhere = [*square[2:], *square[1:3]]
    assert causes(lines(elsewhere, passing, state=ROUND, closed=True), rounding=8) == []


def test_who_changes_places_or_turns_over_is_found():
    # Areas from 10 to 20 to 30 between the first three; two rings.
    ends = np.array([(1, 2), (1, 2), (2, 1), (1, 3), (4, 4), (5, 5)])
    before = np.array([10, 20, -30, 5, 7, -7])
    assert out_of_order(ends, before, before).tolist() == []
    assert out_of_order(ends, before, np.array([25, 20, -30, -5, 3, -3])).tolist() == [0, 1]
    assert out_of_order(ends, before, np.array([10, 20, -20, 5, 7, -7])).tolist() == [1, 2]
    # No less than a third of an area remains.
    assert out_of_order(ends, before, np.array([10, 14, -18, 0, 3, -3])).tolist() == []
    assert out_of_order(ends, before, np.array([10, 13, -18, 0, 2, -3])).tolist() == [0, 1, 4]
    assert out_of_order(ends, before, np.array([10, 20, -30, 5, -7, 0])).tolist() == [4, 5]
