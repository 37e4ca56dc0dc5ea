"""Boxes, labels, scores and masks of an instance net become instances of the tile."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nets import card, covers, instances, pixels, raster
from scenes import examples

import geoseg
from geoseg.backends.onnx import Onnx
from geoseg.backends.onnx.instance import sampling
from geoseg.errors import BackendError
from geoseg.window import Window

CLASSES = [
    {"name": "background", "words": []},
    {"name": "boat"},
    {"name": "car", "words": ["car", "vehicle"]},
]

ANSWERS = {
    "boxes": np.array([[2, 3, 10, 9], [20, 20, 30, 28], [0, 0, 5, 5]], np.float32),
    "scores": np.array([0.9, 0.6, 0.3], np.float32),
    "labels": np.array([1, 2, 2], np.int64),
    "masks": np.ones((3, 1, 7, 7), np.float32),
}


def load(folder, answers=None, output=None, **changes) -> Onnx:
    side = changes.pop("side", "s")
    instances(folder / "net.onnx", ANSWERS | (answers or {}), side=side)
    described = {"kind": "instance"} | (output or {})
    changes = {"size_px": 32, "margin_px": 8, "classes": CLASSES} | changes
    return Onnx.load(card(folder / "card.toml", described, **changes))


def find(backend, *words, kind="object", size=(40, 45)):
    source = raster(*size)
    return backend.fit(source, covers(*words, kind=kind)).segment([pixels(source)])[0]


def test_every_asked_class_is_found_with_its_score_and_mask(tmp_path):
    found = find(load(tmp_path), "vehicle", "boat")
    assert found.boxes.tolist() == [[20, 20, 30, 28], [2, 3, 10, 9]]
    assert found.classes.tolist() == [0, 1]
    assert found.scores.tolist() == pytest.approx([0.6, 0.9])
    assert all(mask.all() for mask in found.masks)


def test_what_scores_less_than_its_class_asks_is_left_out(tmp_path):
    backend, source = load(tmp_path), raster(40, 45)
    for threshold, count in ((0.0, 2), (0.5, 1), (0.7, 0)):
        asked = covers("car", threshold=threshold, kind="object")
        assert len(backend.fit(source, asked).segment([pixels(source)])[0]) == count


@pytest.mark.parametrize(
    ("output", "boxes"),
    [
        ({"box_format": "cxcywh"}, [[6, 6, 8, 6], [25, 24, 10, 8], [2.5, 2.5, 5, 5]]),
        ({"box_unit": "fraction"}, np.array(ANSWERS["boxes"]) / 64),
    ],
)
def test_boxes_are_read_as_the_card_says(tmp_path, output, boxes):
    # A tile of 40 x 45 pixels is filled up to 64 x 64.
    backend = load(tmp_path, {"boxes": np.array(boxes, np.float32)}, output)
    assert find(backend, "boat", "car").boxes.tolist() == [[2, 3, 10, 9], [20, 20, 30, 28]]


def test_a_mask_of_the_window_is_cut_to_its_box(tmp_path):
    window = np.random.default_rng(0).random((3, 64, 64)).astype(np.float32)
    backend = load(tmp_path, {"masks": window}, {"mask_frame": "window"})
    found = find(backend, "boat", "car")
    for i, (x0, y0, x1, y1) in enumerate(found.boxes.tolist()):
        assert (found.masks[i] == (window[i, y0:y1, x0:x1] >= 0.5)).all()


@given(
    corner=st.tuples(*[st.floats(-4, 30, width=16)] * 2),
    size=st.tuples(*[st.floats(0.5, 20, width=16)] * 2),
    seed=st.integers(0, 99),
)
@examples(25)
def test_a_cropped_mask_is_pasted_as_by_grid_sample(tmp_path, corner, size, seed):
    torch = pytest.importorskip("torch", reason="the oracle is torch's grid_sample")
    mask = np.random.default_rng(seed).random((7, 7)).astype(np.float32)
    box = np.array([*corner, corner[0] + size[0], corner[1] + size[1]], np.float32)
    backend = load(tmp_path, {"boxes": np.tile(box, (3, 1)), "masks": np.stack([mask] * 3)})
    found = find(backend, "boat")
    if not len(found):
        assert box[0] >= 45 or box[1] >= 40 or box[2] <= 0 or box[3] <= 0
        return
    # What Detectron2 does: sample the mask at pixel centres, nothing beyond it.
    centres = [torch.arange(n) + 0.5 for n in (40, 45)]
    y = (centres[0] - float(box[1])) / float(box[3] - box[1]) * 2 - 1
    x = (centres[1] - float(box[0])) / float(box[2] - box[0]) * 2 - 1
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)[None]
    value = torch.nn.functional.grid_sample(
        torch.from_numpy(mask)[None, None], grid.float(), align_corners=False
    )[0, 0].numpy()
    x0, y0, x1, y1 = found.boxes[0].tolist()
    there = value[y0:y1, x0:x1]
    assert (found.masks[0] == (there >= 0.5))[np.abs(there - 0.5) > 1e-4].all()
    value[y0:y1, x0:x1] = 0
    assert (value < 0.5).all()


def test_sampling_the_samples_themselves_changes_nothing():
    part, weights = sampling(9, (0, 9), (2, 6))
    assert part == slice(2, 6)
    assert (weights == np.eye(4)).all()


def test_nothing_found_is_an_empty_answer(tmp_path):
    nothing = {
        "boxes": np.zeros((0, 4), np.float32), "scores": np.zeros(0, np.float32),
        "labels": np.zeros(0, np.int64), "masks": np.zeros((0, 1, 28, 28), np.float32),
    }  # fmt: skip
    assert len(find(load(tmp_path, nothing), "boat", "car")) == 0


def test_boxes_that_are_no_numbers_or_outside_are_left_out(tmp_path):
    boxes = np.array([[np.nan, 0, 3, 3], [90, 90, 99, 99], [5, 5, 5, 9]], np.float32)
    backend = load(tmp_path, {"boxes": boxes, "scores": np.ones(3, np.float32)})
    assert len(find(backend, "boat", "car")) == 0


def test_a_batch_axis_is_the_same(tmp_path):
    batched = {k: v[None] for k, v in ANSWERS.items() if k != "masks"}
    assert find(load(tmp_path, batched), "boat", "car").boxes.tolist() == [
        [2, 3, 10, 9],
        [20, 20, 30, 28],
    ]


def test_a_map_of_a_net_and_its_card(tmp_path):
    run = geoseg.segment(raster(40, 45), covers("boat", kind="object"), backend=load(tmp_path))
    found = run.features()
    assert found["score"].tolist() == pytest.approx([0.9], abs=1e-4)
    # 8 x 6 pixels of 10 m.
    assert found.area.tolist() == [4800]


def test_a_tile_larger_than_a_fixed_net_names_the_knob(tmp_path):
    backend = load(tmp_path, side=32)
    source = raster(40, 45)
    with pytest.raises(BackendError, match=r"of 32 px, this tile has 45x40; .*--tile 32"):
        backend.fit(source, covers("boat")).segment([pixels(source)])
    part = pixels(source, Window(10, 10, 42, 40))
    assert len(backend.fit(source, covers("boat")).segment([part])[0]) == 1


@pytest.mark.parametrize(
    ("answers", "output", "message"),
    [
        ({}, {"boxes": "dets"}, "has outputs boxes, scores, labels, masks, not dets; name them"),
        ({"labels": np.array([1, 2, 9])}, {}, "answers labels 1..9; its card has classes 0..2"),
        ({"scores": np.ones((3, 80), np.float32)}, {}, "boxes (3, 4), scores (3, 80), lab"),
        ({"masks": np.ones((3, 32), np.float32)}, {}, "masks (3, 32); (n, 4), (n,), (n,) and"),
    ],
)  # fmt: skip
def test_outputs_unlike_the_card_are_refused_before_any_tile(tmp_path, answers, output, message):
    with pytest.raises(BackendError) as caught:
        load(tmp_path, answers, output)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_halo_is_the_margin(tmp_path):
    assert load(tmp_path).halo_px == 8
