"""Laws of windows: they are the pixel sets that they say they are."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from geoseg.window import Window

FULL = Window(0, 0, 12, 12)
corner = st.integers(0, 12)
windows = st.builds(Window, corner, corner, corner, corner)


def pixels(window: Window) -> set[tuple[int, int]]:
    return {(y, x) for y in range(window.y0, window.y1) for x in range(window.x0, window.x1)}


@given(windows)
def test_area_and_shape_count_pixels(window):
    assert window.area == len(pixels(window))
    assert window.shape == (window.height, window.width)
    assert window.area == window.height * window.width


@given(windows, windows)
def test_intersection_is_what_both_hold(a, b):
    assert pixels(a.intersection(b)) == pixels(a) & pixels(b)
    assert a.intersection(b) == b.intersection(a)


@given(windows, st.integers(-15, 15), st.integers(-15, 15))
def test_shift_moves_every_pixel(window, dx, dy):
    moved = window.shift(dx, dy)
    assert pixels(moved) == {(y + dy, x + dx) for y, x in pixels(window)}
    assert moved.shift(-dx, -dy) == window


@given(windows.filter(lambda w: w.x0 < w.x1 and w.y0 < w.y1), st.integers(0, 5))
def test_grow_reaches_that_far_on_all_sides_and_not_beyond(window, px):
    grown = window.grow(px, FULL)
    near = {
        (y, x)
        for y in range(12)
        for x in range(12)
        if window.y0 - px <= y < window.y1 + px and window.x0 - px <= x < window.x1 + px
    }
    assert pixels(grown) == near


@given(windows.filter(lambda w: w.x0 <= w.x1 and w.y0 <= w.y1), st.integers(-9, 9))
def test_slices_pick_the_window_out_of_an_array(window, origin):
    image = np.zeros((12, 12), bool)
    outer = FULL.shift(origin, 2 * origin)
    image[window.shift(origin, 2 * origin).slices_in(outer)] = True
    assert {(int(y), int(x)) for y, x in np.argwhere(image)} == pixels(window)


@given(windows.filter(lambda w: w.x0 < w.x1 and w.y0 < w.y1), st.integers(0, 2))
def test_a_margin_is_taken_where_the_raster_goes_on(window, margin):
    trusted = window.trusted(margin, FULL)
    for side in ("x0", "y0", "x1", "y1"):
        moved = abs(getattr(window, side) - getattr(trusted, side))
        assert moved == (0 if getattr(window, side) == getattr(FULL, side) else margin)
