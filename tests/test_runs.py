"""Laws of run arithmetic, against images."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scenes import examples, seeds
from scipy import ndimage

from geoseg.runs import RUN, clip, fragments, overlaps, runs_of, subtract
from geoseg.window import Window

SHAPE = (9, 12)
ORIGIN = (-4, 7)
FULL = Window(ORIGIN[0], ORIGIN[1], ORIGIN[0] + SHAPE[1], ORIGIN[1] + SHAPE[0])
images = npst.arrays(np.int32, SHAPE, elements=st.integers(0, 3))


def paint(runs: np.ndarray) -> np.ndarray:
    """Return how often each pixel is covered, (label, row, col)."""
    count = np.zeros((4, *SHAPE), int)
    for label, y, x0, x1 in runs.tolist():
        assert x0 < x1
        count[label, y - ORIGIN[1], x0 - ORIGIN[0] : x1 - ORIGIN[0]] += 1
    return count


def layers(image: np.ndarray) -> np.ndarray:
    return np.stack([(image == k) & (k > 0) for k in range(4)]).astype(int)


@examples(200)
@given(images)
def test_runs_cover_exactly_the_labels_in_row_major_order(image):
    runs = runs_of(image, ORIGIN)
    assert (paint(runs) == layers(image)).all()
    assert runs.tolist() == sorted(runs.tolist(), key=lambda r: (r[1], r[2]))
    # And are as long as they can be.
    ends = {(label, y, x1) for label, y, _, x1 in runs.tolist()}
    assert not ends & {(label, y, x0) for label, y, x0, _ in runs.tolist()}


@given(images, st.integers(-6, 12), st.integers(4, 20), st.integers(1, 14), st.integers(1, 14))
def test_clip_keeps_what_is_inside(image, x, y, width, height):
    runs = runs_of(image, ORIGIN)
    before = runs.copy()
    window = Window(x, y, x + width, y + height)
    want = layers(image)
    outside = np.ones(SHAPE, bool)
    inner = window.intersection(FULL)
    if inner.area:
        outside[inner.slices_in(FULL)] = False
    want[:, outside] = 0
    assert (paint(clip(runs, window)) == want).all()
    assert (runs == before).all()


@examples(200)
@given(images, images)
def test_overlaps_count_the_pixels_that_labels_share(a, b):
    runs_a, runs_b = runs_of(a, ORIGIN), runs_of(b, ORIGIN)
    same_key = np.zeros(len(runs_a), np.int64), np.zeros(len(runs_b), np.int64)
    shared = overlaps(runs_a, runs_b, *same_key)
    assert (shared.px > 0).all()
    assert len(set(zip(shared.a.tolist(), shared.b.tolist(), strict=True))) == len(shared.a)
    table = np.zeros((4, 4), int)
    np.add.at(table, (runs_a["label"][shared.a], runs_b["label"][shared.b]), shared.px)
    want = np.array([[((a == i) & (b == k)).sum() for k in range(4)] for i in range(4)])
    want[0], want[:, 0] = 0, 0
    assert (table == want).all()
    by_label = overlaps(runs_a, runs_b, runs_a["label"], runs_b["label"])
    assert by_label.px.sum() == np.trace(want)


@examples(200)
@given(images)
def test_fragments_are_the_4_connected_parts_of_each_label(image):
    runs = runs_of(image, ORIGIN)
    count, part = fragments(runs)
    found = np.full(SHAPE, -1)
    for (_, y, x0, x1), number in zip(runs.tolist(), part.tolist(), strict=True):
        found[y - ORIGIN[1], x0 - ORIGIN[0] : x1 - ORIGIN[0]] = number
    total = 0
    for label in range(1, 4):
        labels, n = ndimage.label(image == label)
        total += n
        pairs = set(zip(labels[labels > 0].tolist(), found[labels > 0].tolist(), strict=True))
        assert len(pairs) == n == len({number for _, number in pairs})
    assert count == total


@examples(200)
@given(images, images, seeds)
def test_subtract_leaves_what_nobody_took(image, taken, random):
    gone = np.concatenate([runs_of(taken, ORIGIN), runs_of(np.roll(taken, 1, 1), ORIGIN)])
    random.shuffle(gone)
    left = subtract(runs_of(image, ORIGIN), gone)
    want = layers(image)
    want[:, (taken > 0) | (np.roll(taken, 1, 1) > 0)] = 0
    assert (paint(left) == want).all()


def test_nothing_is_nothing():
    none = np.zeros(0, RUN)
    some = runs_of(np.ones((2, 2), np.int32), (0, 0))
    assert len(clip(none, FULL)) == len(subtract(none, some)) == 0
    assert (subtract(some, none) == some).all()
    assert fragments(none)[0] == 0
    key = np.zeros(0, np.int64)
    assert len(overlaps(none, some, key, np.zeros(len(some), np.int64)).px) == 0
