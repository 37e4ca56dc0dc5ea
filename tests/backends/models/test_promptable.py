"""SAM and its kin: the makers' own code gives the same masks, and little devices suffice."""

from __future__ import annotations

import pickle
from math import ceil

import numpy as np
import pytest
import references
import torch
from segmenters import CPU, FAMILIES, UNSURE, full

from geoseg.backends.detections import Detections
from geoseg.backends.models import promptable, sam, sam2
from geoseg.backends.models.asking import Code
from geoseg.backends.models.device import Device
from geoseg.backends.models.promptable import Kind, Promptable
from geoseg.backends.weights import Weights
from geoseg.config import ModelOptions
from geoseg.errors import BackendError

SHAPES = ((61, 83), (64, 64), (40, 97), (61, 83))


def pictures():
    draw = np.random.default_rng(3)
    return [draw.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in SHAPES]


def prompts(shape, seed=0):
    """Five boxes and three points in a picture."""
    draw = np.random.default_rng(seed)
    size = np.array(shape[::-1] * 2, np.float32)
    corner = draw.uniform(0, 0.7, (8, 2))
    boxes = np.hstack((corner, corner + draw.uniform(0.1, 0.3, (8, 2)))).astype(np.float32) * size
    boxes[5:, 2:] = boxes[5:, :2]
    order = draw.permutation(8)
    return Detections(boxes[order], np.zeros(8, np.int32), np.full(8, np.nan, np.float32))


@pytest.fixture
def segmenter(family, ready):
    return ready(family)


def check(cutout, logits, quality, near=None, far=None):
    """Compare with the reference: all of it, or what is near the box, and nothing far from it."""
    mask = full(cutout, logits.shape)
    certain = np.abs(logits) > UNSURE
    assert not (mask & certain & (logits <= 0)).any()
    missed = ~mask & certain & (logits > 0)
    assert not missed[near or ...].any()
    if far is not None:
        outside = np.ones_like(mask)
        outside[far] = False
        assert not (mask & outside).any()
    if cutout is not None:
        assert cutout.quality == pytest.approx(min(max(quality, 0), 1), abs=1e-5)


def around(box, shape, cells, share):
    """Return the pixels around a box, by mask cells of the coarsest of the tiny models."""
    cell = max(shape) / 16
    dx, dy = cells * cell + share * (box[2] - box[0]), cells * cell + share * (box[3] - box[1])
    x0, y0 = max(int(box[0] - dx), 0), max(int(box[1] - dy), 0)
    return slice(y0, ceil(box[3] + dy)), slice(x0, ceil(box[2] + dx))


def check_all(family, folder, picture, asked, cutouts, shape):
    ratio = np.array((shape[1] / picture.shape[1], shape[0] / picture.shape[0]) * 2)
    for k, cutout in enumerate(cutouts):
        is_point = bool(asked.is_point[k])
        prompt = asked.boxes[k : k + 1, : 2 if is_point else 4]
        logits, quality = references.prompted(family, folder, picture, prompt)
        if shape != picture.shape[:2]:
            logits = references.resized(logits, shape)
        best = quality[0].argmax()
        box = asked.boxes[k] * ratio
        near, far = around(box, shape, 0, 0), around(box, shape, 2.5, 0.06)
        regions = {} if is_point else {"near": near, "far": far}
        check(cutout, logits[0, best], quality[0, best], **regions)


@pytest.mark.parametrize("batch", [1, 4])
def test_masks_and_qualities_are_those_of_the_reference(family, segmenter, saved, batch):
    shown = pictures()[:batch]
    asked = [prompts(p.shape[:2], i) for i, p in enumerate(shown)]
    answer = segmenter.cut(shown, asked, [p.shape[:2] for p in shown])
    assert [len(a) for a in answer] == [8] * batch
    assert any(c is not None for a in answer for c in a)
    for picture, detections, cutouts in zip(shown, asked, answer, strict=True):
        check_all(family, saved(family), picture, detections, cutouts, picture.shape[:2])


@pytest.mark.parametrize("shape", [(122, 166), (30, 41)])
def test_a_tile_finer_or_coarser_than_its_picture_is_one_more_bilinear_step(
    family, segmenter, saved, shape
):
    picture = pictures()[0]
    asked = prompts(picture.shape[:2])
    (answer,) = segmenter.cut([picture], [asked], [shape])
    check_all(family, saved(family), picture, asked, answer, shape)


def test_the_tracker_inside_the_video_model_is_the_tracker(saved, ready):
    """The video model's own name for weights is how SAM 3 is published."""
    inside = sam2.sam3_tracker(str(saved("sam3-tracker-video")), CPU)
    picture, shape = pictures()[0], SHAPES[0]
    asked = prompts(shape)
    (a,), (b,) = (s.cut([picture], [asked], [shape]) for s in (inside, ready("sam3-tracker")))
    assert [c and (c.box, c.quality) for c in a] == [c and (c.box, c.quality) for c in b]


def test_prompts_do_not_depend_on_their_company(segmenter):
    picture, shape = pictures()[0], SHAPES[0]
    asked = prompts(shape)
    (together,) = segmenter.cut([picture], [asked], [shape])
    for k, cutout in enumerate(together):
        ((alone,),) = segmenter.cut([picture], [asked.take(np.array([k]))], [shape])
        differing = full(alone, shape) != full(cutout, shape)
        assert differing.mean() < 0.001


def test_a_copy_of_an_adapter_gives_equal_results(segmenter):
    picture, shape = pictures()[0], SHAPES[0]
    asked = prompts(shape)
    first = segmenter.cut([picture], [asked], [shape])
    packed = pickle.dumps(segmenter)
    assert len(packed) < 2000, "the network travels with the adapter"
    second = pickle.loads(packed).cut([picture], [asked], [shape])  # noqa: S301
    for a, b in zip(first[0], second[0], strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert (a.box, a.quality) == (b.box, b.quality)
            np.testing.assert_array_equal(a.mask, b.mask)


def test_half_precision_runs_and_knows_places_as_well(family, segmenter, saved):
    half = FAMILIES[family](str(saved(family)), ModelOptions(device="cpu", precision="bf16"))
    assert half.identity == segmenter.identity.replace("fp32", "bf16")
    picture, shape = pictures()[0], SHAPES[0]
    asked = prompts(shape)
    (answer,) = half.cut([picture], [asked], [shape])
    (other,) = segmenter.cut([picture], [asked], [shape])
    pairs = [(full(a, shape), full(b, shape)) for a, b in zip(answer, other, strict=True)]
    assert np.mean([(a != b).mean() for a, b in pairs]) < 0.1


class Small:
    """A device that holds so many pictures and prompts at once, and no more."""

    def __init__(self, pictures=99, prompts=99):
        self.most, self.tried = (pictures, prompts), []

    def encode(self, pictures):
        self.hold(len(pictures), 0)
        return [Code({}, p.shape[:2], p.shape[:2], None) for p in pictures]

    def decode(self, _features, asked):
        count = len(asked.boxes)
        self.hold(count, 1)
        planes = torch.full((count, 1, 8, 8), -1.0)
        planes[:, :, 2:6, 2:6] = 1
        return planes, torch.full((count, 1), 0.9)

    def hold(self, count, which):
        self.tried.append((which, count))
        if count > self.most[which]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def small(tmp_path, **most):
    (tmp_path / "model.bin").touch()
    weights = Weights("fake", "fake", tmp_path, None, "0" * 64, "none")
    device = Small(**most)
    return Promptable(Kind("fake", lambda _w, _d: device), weights, CPU), device


def ask(segmenter, count, boxes):
    shown = [np.zeros((32, 32, 3), np.uint8)] * count
    box = np.tile(np.array([[8, 8, 24, 24]], np.float32), (boxes, 1))
    asked = Detections(box, np.zeros(boxes, np.int32), np.ones(boxes, np.float32))
    return segmenter.cut(shown, [asked] * count, [(32, 32)] * count)


def test_what_does_not_fit_is_halved_and_the_size_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(promptable, "PROMPTS", 64)
    segmenter, device = small(tmp_path, pictures=2, prompts=20)
    answer = ask(segmenter, 4, 40)
    assert [len(a) for a in answer] == [40] * 4
    assert all(c.box == (8, 8, 24, 24) for a in answer for c in a)
    assert device.tried[0] == (0, 4)
    assert device.tried[1:4] == [(0, 2), (1, 40), (1, 20)]
    assert segmenter.take_notes() == (
        "out of device memory: tiles at once 4 -> 2",
        "out of device memory: prompts at once 40 -> 20",
    )
    assert segmenter.take_notes() == ()
    device.tried.clear()
    ask(segmenter, 4, 40)
    assert max(count for which, count in device.tried if which == 0) == 2
    assert max(count for which, count in device.tried if which == 1) == 20


@pytest.mark.parametrize("most", [{"pictures": 0}, {"prompts": 0}])
def test_a_device_that_holds_nothing_is_said_to_be_too_small_in_one_line(tmp_path, most):
    segmenter, _ = small(tmp_path, **most)
    with pytest.raises(BackendError, match=r"^out of memory .* lower --tile, .*$") as caught:
        ask(segmenter, 2, 3)
    assert "\n" not in str(caught.value)


def test_other_failures_are_not_taken_for_a_lack_of_memory(tmp_path):
    segmenter, device = small(tmp_path)
    device.decode = lambda *_: (_ for _ in ()).throw(RuntimeError("shape mismatch"))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        ask(segmenter, 1, 1)


def test_nothing_is_where_every_logit_is_negative(tmp_path):
    segmenter, device = small(tmp_path)
    device.decode = lambda _f, p: (
        torch.full((len(p.boxes), 1, 8, 8), -1.0),
        torch.ones(len(p.boxes), 1),
    )
    assert ask(segmenter, 1, 2) == [[None, None]]


def test_an_answer_that_is_no_number_does_not_pass_for_nothing(tmp_path):
    segmenter, device = small(tmp_path)
    nothing = torch.full((2, 1, 8, 8), torch.nan), torch.full((2, 1), torch.nan)
    device.decode = lambda _features, _prompts: nothing
    with pytest.raises(BackendError, match=r"no numbers, .*; use --precision bf16 or fp32"):
        ask(segmenter, 1, 2)


def test_a_mask_that_leaks_is_cut_a_little_beyond_its_box(tmp_path):
    segmenter, device = small(tmp_path)
    device.decode = lambda _f, p: (torch.ones(len(p.boxes), 1, 8, 8), torch.ones(len(p.boxes), 1))
    shown, box = np.zeros((160, 160, 3), np.uint8), np.array([[60, 80, 100, 100]], np.float32)
    asked = Detections(box, np.zeros(1, np.int32), np.ones(1, np.float32))
    ((cutout,),) = segmenter.cut([shown], [asked], [(160, 160)])
    # Two cells of 20 px, and 5 % of 40 and of 20 px.
    assert cutout.box == (18, 39, 142, 141)
    assert cutout.mask.all()


def test_a_device_that_is_not_there_is_named(saved):
    with pytest.raises(BackendError, match="--device cuda is not there"):
        sam.sam(str(saved("sam")), ModelOptions(device="cuda"))


def test_places_stay_exact_in_half_precision():
    part = torch.nn.Linear(2, 2)
    Device("cpu", torch.bfloat16).exact(part)
    with torch.autocast("cpu", torch.bfloat16):
        assert part(torch.ones(1, 2)).dtype == torch.float32
