"""A tile with more objects than a detector can answer is searched in parts, and it is said."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scenes import examples

from geoseg.backends.detections import Detections
from geoseg.backends.searching import (
    DEEPEST,
    EVEN_IN_PARTS,
    IN_PARTS,
    LEAST_PX,
    Searching,
    quarters,
    refine,
)


@dataclass
class Capped:
    """Finds every object (a colour of its own) that a picture shows whole, but only so many."""

    most: int
    identity: str = "capped"
    usual_threshold: float = 0.5
    sizes: list[tuple[int, ...]] = field(default_factory=list)

    def ask(self, _legend):
        return self

    def detect(self, pictures):
        return [self.one(p) for p in pictures]

    def one(self, picture) -> Detections:
        self.sizes.append(picture.shape[:2])
        ids = picture[..., 0] + 256 * picture[..., 1].astype(int)
        boxes = []
        for number in np.unique(ids[ids > 0]).tolist():
            y, x = np.nonzero(ids == number)
            boxes.append((x.min(), y.min(), x.max() + 1, y.max() + 1))
        shown = boxes[: self.most]
        return Detections(
            np.array(shown, np.float32).reshape(-1, 4),
            np.zeros(len(shown), np.int32),
            np.full(len(shown), 0.9, np.float32),
            full=len(boxes) >= self.most,
        )


def crowd(size: int, step: int) -> tuple[np.ndarray, set[tuple[int, ...]]]:
    """Draw squares of half a step on a lattice, and one long object; return their boxes."""
    picture = np.zeros((size, size, 3), np.uint8)
    boxes = set()
    spots = [(y, x) for y in range(step, size - step, step) for x in range(0, size - step, step)]
    for number, (y, x) in enumerate([(0, 0), *spots], 1):
        h, w = (step // 2, size) if number == 1 else (step // 2, step // 2)
        picture[y : y + h, x : x + w] = (number % 256, number // 256, 0)
        boxes.add((x, y, x + w, y + h))
    return picture, boxes


def test_all_objects_of_a_crowd_are_found_small_and_large_once_each():
    picture, boxes = crowd(512, 16)
    model = Capped(200)
    first = model.one(picture)
    assert first.full
    assert len(first) == 200 < len(boxes)
    found = refine(picture, first, model.detect)
    assert {tuple(int(v) for v in b) for b in found.boxes} == boxes
    assert len(found) == len(boxes)
    assert not found.full


def test_what_is_not_full_is_not_searched_again():
    picture, _ = crowd(256, 64)
    model = Capped(1000)
    first = model.one(picture)
    assert refine(picture, first, model.detect) is first
    assert len(model.sizes) == 1


def test_parts_do_not_get_smaller_than_can_be_seen():
    picture, _ = crowd(256, 8)
    model = Capped(5)
    found = refine(picture, model.one(picture), model.detect)
    assert found.full
    assert min(min(size) for size in model.sizes) >= LEAST_PX


def test_a_detector_that_is_always_full_is_not_asked_for_ever():
    picture, _ = crowd(1024, 8)
    model = Capped(1)
    assert refine(picture, model.one(picture), model.detect).full
    assert len(model.sizes) == sum(4**k for k in range(DEEPEST + 1))


@examples(30)
@given(st.integers(2, 3000), st.integers(2, 3000))
def test_quarters_cover_the_picture_and_overlap(height, width):
    rows = {(w.y0, w.y1) for w in quarters((height, width))}
    cols = {(w.x0, w.x1) for w in quarters((height, width))}
    for spans, size in ((rows, height), (cols, width)):
        (a0, a1), (b0, b1) = sorted(spans)
        assert (a0, b1) == (0, size)
        assert b0 <= a1
        assert size < 16 or a1 - b0 >= size // 8


def test_it_is_said_of_the_picture_it_is_about():
    picture, _ = crowd(512, 16)
    calm = np.zeros_like(picture)
    found = Searching(Capped(200)).prompt([], [calm, picture, calm])
    assert [f.notes for f in found] == [(), (IN_PARTS,), ()]
    (found,) = Searching(Capped(3)).prompt([], [picture])
    assert found.notes == (IN_PARTS, EVEN_IN_PARTS)
