"""What is from outside is text on a page, and numbers say what they stand for."""

import re

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pages import Reader
from scenes import examples

from geoseg.analysis.page.document import element, page
from geoseg.analysis.page.figures import NOTHING, column, percent
from geoseg.analysis.page.ground import part_of
from geoseg.analysis.page.tables import ACROSS, cut, square
from geoseg.frame import Frame, horizontal_wkt


def readable(text):
    return not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000 for c in text)


MARKUP = st.sampled_from(
    ("<script>", "</script>", "<!--", "-->", "]]>", "&lt;", "&#60;", "&amp", "'", '"', "<", ">",
     "</style>", "</title>", "javascript:", "\u202e", "\ufeff", "\N{COMBINING ACUTE ACCENT}")
)  # fmt: skip


@given(st.lists(st.one_of(MARKUP, st.text(max_size=5)), max_size=6).map("".join))
@examples(100)
def test_any_text_is_text_and_nothing_else(given_text):
    plain = Reader(page("x", [element("p", "-")]).decode())
    found = Reader(page(given_text, [element("p", given_text, title=given_text)]).decode())
    assert found.tags == plain.tags
    # Before the body there are the title and the style sheet.
    said, [attribute] = found.text, [v for t, k, v in found.attributes if (t, k) == ("p", "title")]
    if readable(given_text):
        assert attribute == given_text
        assert "".join(said).count(given_text) >= (2 if given_text else 0)


def test_what_no_page_can_hold_is_seen_to_be_lost():
    text = page("x", [element("p", "a\0b\ud800c\x1bd\n")]).decode()
    assert "a\ufffdb\ufffdc\ufffdd\n" in text


WHOLE = st.floats(-1e9, 1e9)


def number(text):
    return float(text.replace(",", "").replace("\N{MINUS SIGN}", "-"))


@given(st.lists(st.one_of(WHOLE, st.just(np.nan)), min_size=1, max_size=6))
@examples(300)
def test_written_numbers_are_the_numbers(values):
    written = column(values)
    # Those below the last digit have a sign of their own.
    decimals = {len(t.rpartition(".")[2]) if "." in t else 0 for t in written if t != NOTHING}
    assert len(decimals) <= 1
    for value, text in zip(values, written, strict=True):
        if np.isnan(value):
            assert text == NOTHING
            continue
        last = 10.0 ** -next(iter(decimals))
        if text[0] in "<>":
            assert 0 < abs(value) <= last / 2
            assert (text[0] == "<") == (value > 0)
        else:
            assert abs(number(text) - value) <= last / 2 * (1 + 1e-6)
            assert (number(text) == 0) == (value == 0)


def test_numbers_have_digits_that_mean_something():
    assert column([28_745.4, 31.2, 0.0, 0.2]) == ["28,745", "31", "0", "< 1"]
    assert column([3.14159, -0.00001]) == ["3.142", "> \N{MINUS SIGN}0.001"]
    assert column([1.0, -2.0, 0.0], signed=True) == ["+1.000", "\N{MINUS SIGN}2.000", "0.000"]
    assert [percent(p) for p in (1, 0.12345, 0.0001, 0)] == ["100.0", "12.3", "< 0.1", "0.0"]


@given(st.integers(0, 40))
def test_a_wide_table_goes_on_below_without_losing_a_column(count):
    names = [f"c{k}" for k in range(count)]
    parts = [names[part] for part in cut(names)]
    assert [name for part in parts for name in part] == names
    assert max(map(len, parts)) <= ACROSS


def test_what_is_right_stands_out_in_every_part_of_a_matrix():
    names = [f"c{k}" for k in range(9)]
    cells = [["same" if i == j else "other" for j in range(9)] for i in range(9)]
    tables = square("m", "Map", names, cells, ("All", ["sum"] * 9))
    assert len(tables) == 2
    strong = [e.text for t in tables for e in t.iter("strong")]
    assert strong == ["same"] * 9


@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from(
        [
            (None, Affine.identity()),
            ("EPSG:32633", Affine(10, 0, 500_000, 0, -10, 5_000_000)),
            ("EPSG:4326", Affine(0.5, 0, -10, 0, -0.5, 80)),
            ("EPSG:4326", Affine(0.001, 0.0002, 10, 0.0003, -0.001, 60)),
        ]
    ),
    st.integers(0, 2**32),
)
@examples(60)
def test_a_part_of_the_ground_is_that_of_its_pixels(height, width, place, seed):
    crs, transform = place
    frame = Frame(width, height, transform, None if crs is None else horizontal_wkt(crs))
    good = np.random.default_rng(seed).random((height, width)) < 0.5
    y, x = np.mgrid[:height, :width] + 0.5
    size = np.ones(good.shape)
    if crs is not None:
        size = frame.pixels_m2(np.column_stack((x.ravel(), y.ravel()))).reshape(good.shape)
    assert part_of(frame, good, 1) == pytest.approx(size[good].sum() / size.sum(), abs=2e-2)
    assert part_of(frame, np.ones_like(good), 1) == 1


def test_pixels_at_the_edge_of_an_overview_count_for_what_they_stand_for():
    frame = Frame(10, 4, Affine.identity(), None)
    seen = np.ones((1, 3), bool)
    seen[0, 2] = False
    assert part_of(frame, seen, 4) == 0.8


def test_the_style_sheet_is_the_only_one_that_is_let_in():
    text = page("x", []).decode()
    [policy] = re.findall(r'content="(default-src[^"]*)"', text)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
