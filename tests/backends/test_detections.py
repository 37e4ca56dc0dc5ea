"""Boxes before masks: each object once, nothing decoded twice or in two tiles' places."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scenes import examples
from torchvision.ops import box_iou, nms

from geoseg import LandClass, Legend
from geoseg.backends.detections import (
    SAME_OBJECT,
    SAME_OUTLINE,
    Detections,
    distinct,
    inside,
    iou,
    join,
    share,
)
from geoseg.window import Window


@st.composite
def detections(draw: st.DrawFn, classes: int = 2) -> Detections:
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(0, 30))
    low = random.integers(0, 20, (count, 2))
    size = random.integers(1, 12, (count, 2))
    boxes = np.concatenate((low, low + size), axis=1).astype(np.float32)
    # Scores that differ: how ties go is not what the reference promises.
    scores = random.permutation(count).astype(np.float32) / max(count, 1)
    return Detections(boxes, random.integers(0, classes, count).astype(np.int32), scores)


@given(detections())
def test_iou_is_that_of_torchvision(found):
    for box in found.boxes:
        want = box_iou(torch.from_numpy(box[None]), torch.from_numpy(found.boxes))[0]
        assert np.allclose(iou(box, found.boxes), want, atol=1e-6)


@given(detections())
def test_duplicates_go_as_in_torchvision_class_by_class(found):
    want = set()
    for cls in range(2):
        mine = np.flatnonzero(found.classes == cls)
        kept = nms(
            torch.from_numpy(found.boxes[mine]), torch.from_numpy(found.scores[mine]), SAME_OBJECT
        )
        want |= set(mine[kept.numpy()].tolist())
    got = distinct(found)
    assert len(got) == len(want)
    assert np.array_equal(got.boxes, found.boxes[sorted(want)])
    assert np.array_equal(got.scores, found.scores[sorted(want)])


@examples(50)
@given(detections(3))
def test_a_shared_mask_is_of_a_box_that_is_decoded_and_nearly_equal(found):
    stand_in = share(found)
    for i, j in enumerate(stand_in.tolist()):
        assert stand_in[j] == j
        assert i == j or iou(found.boxes[i], found.boxes[[j]])[0] >= SAME_OUTLINE
    decoded = np.unique(stand_in)
    for i in decoded.tolist():
        others = decoded[decoded != i]
        assert (iou(found.boxes[i], found.boxes[others]) < SAME_OUTLINE).all()


def of(boxes, classes=None, scores=None) -> Detections:
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(count, 4),
        np.array(classes if classes is not None else [0] * count, np.int32),
        np.array(scores if scores is not None else [0.5] * count, np.float32),
    )


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        ((0, 0, 10, 10), False),  # ends where the window begins
        ((0, 0, 10.5, 10.5), True),
        ((20, 20, 30, 30), False),
        ((19.5, 12, 30, 13), True),
        ((0, 0, 40, 40), True),
        ((3, 3, 3, 3), True),  # a point: what lies under it may reach anywhere
    ],
)
def test_what_shares_no_pixel_with_the_core_is_not_decoded(box, kept):
    assert len(inside(of([box]), Window(10, 10, 20, 20))) == kept


def test_thresholds_are_of_the_class_and_spare_what_has_no_score():
    legend = Legend(
        classes=[LandClass(name="a", threshold=0.5), LandClass(name="b", threshold=0.2)]
    )
    found = of([(0, 0, 1, 1)] * 5, [0, 0, 1, 1, 0], [0.5, 0.4, 0.3, 0.1, np.nan])
    assert found.at_least(legend).scores[:3].tolist() == pytest.approx(
        [0.5, 0.3, np.nan], nan_ok=True
    )


def test_join_keeps_masks_and_fullness_in_order():
    mask = np.ones((1, 1), bool)
    one = Detections(np.zeros((1, 4), np.float32), np.zeros(1, np.int32), np.ones(1, np.float32),
                     masks=[mask])  # fmt: skip
    both = join([one, Detections.empty(), one])
    assert len(both) == len(both.masks) == 2
    assert not both.full
    assert join([Detections.empty(), Detections.empty()]).masks is None


def test_take_and_shift_keep_masks_with_their_boxes():
    masks = [np.full((1, 1), k == 1) for k in range(3)]
    found = Detections(
        np.array([[k, k, k + 1, k + 1] for k in range(3)], np.float32),
        np.arange(3, dtype=np.int32), np.ones(3, np.float32), masks=masks,
    )  # fmt: skip
    moved = found.take(np.array([False, True, True])).shift(10, 20)
    assert moved.boxes.tolist() == [[11, 21, 12, 22], [12, 22, 13, 23]]
    assert [bool(m.all()) for m in moved.masks] == [True, False]
