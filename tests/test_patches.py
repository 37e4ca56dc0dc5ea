"""Small patches go where a reckoning on the whole image, step by step, sends them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scenes import classes_image, examples, seeds
from sieving import numbered, touching, united

from geoseg.patches import BORDER, GONE, Patches, border, settle


@examples(100)
@given(st.tuples(st.integers(1, 25), st.integers(1, 25)), seeds, st.integers(1, 4), st.data())
def test_patches_settle_as_on_the_image(size, random, count, data):
    ids, cls = numbered(classes_image(*size, random, count))
    px = np.bincount(ids.ravel(), minlength=len(cls))[1:]
    least = data.draw(st.integers(0, max(2, int(px.max(initial=0)) + 2)))
    edges = touching(ids)
    borders = border(*(np.array([*part], np.int64) for part in _columns(edges)))
    random.shuffle(borders)
    home = settle(Patches(cls[1:], px, px.astype(float)), borders, least)
    want = united(ids, cls, least)
    ends = {int(i): int(want[ids == i][0]) for i in np.unique(ids[ids > 0])}
    assert [n + 1 if n != GONE else 0 for n in home.tolist()] == [
        ends[i + 1] for i in range(len(px))
    ]


def _columns(edges):
    pairs = [(a - 1, b - 1, n) for (a, b), n in edges.items() if a < b]
    return zip(*pairs, strict=True) if pairs else ((), (), ())


def test_a_long_chain_of_small_patches_ends_in_one():
    count = 100_000
    borders = np.zeros(count - 1, BORDER)
    borders["a"], borders["b"], borders["length"] = np.arange(count - 1), np.arange(1, count), 1
    patches = Patches(np.arange(count) % 2, np.ones(count, np.int64), np.ones(count))
    home = settle(patches, borders, count)
    assert len(np.unique(home)) == 1
    assert home[0] != GONE


def test_an_area_that_nobody_knows_is_large_enough():
    patches = Patches(np.array([0]), np.array([1]), np.array([np.nan]))
    assert settle(patches, np.zeros(0, BORDER), 5).tolist() == [0]
