"""Asked with points, boxes and rough masks, every network answers as its makers' predictor does."""

from __future__ import annotations

import numpy as np
import pytest
import references
import torch
from segmenters import FAMILIES, UNSURE, full

from geoseg.backends.models.asking import Code, rough, said
from geoseg.backends.outlining import Interactive
from geoseg.backends.prompts import Prompt
from geoseg.config import ModelOptions

SHAPES = ((61, 83), (83, 61), (64, 64), (130, 97))

ONE = {"points": np.array([[30.5, 22.0]], np.float32), "positive": np.array([True])}
THREE = {
    "points": np.array([[30.5, 22.0], [50.25, 41.0], [8.0, 55.5]], np.float32),
    "positive": np.array([True, False, True]),
}
BOX = {"box": np.array([12.0, 9.5, 47.0, 52.0], np.float32)}

KINDS = {
    "point": ONE,
    "points": THREE,
    "box": BOX,
    "box and points": BOX | THREE,
    "mask": {"mask": True},
    "mask and points": {"mask": True} | THREE,
    "everything": {"mask": True} | BOX | THREE,
}


def blob(shape):
    """Draw a rough mask: an ellipse with a bite."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    mask = ((x - 30) / 19) ** 2 + ((y - 28) / 23) ** 2 < 1
    mask[20:31, 25:40] = False
    return mask


def prompt_of(kind, shape):
    given = dict(KINDS[kind])
    if given.pop("mask", False):
        given["mask"] = blob(shape)
    return Prompt(**given)


def picture_of(shape, seed=3):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_mask_is_the_choice_of_the_reference(family, ready, saved, kind):
    segmenter = ready(family)
    assert isinstance(segmenter, Interactive)
    for shape in SHAPES:
        picture, prompt = picture_of(shape), prompt_of(kind, shape)
        logits, quality = references.pointed_at(family, saved(family), picture, prompt)
        best = quality.argmax()
        assert (logits[best] > UNSURE).any(), "no mask to compare"
        found = segmenter.ask(segmenter.look(picture), prompt, shape)
        mask = full(found[0], shape)
        certain = np.abs(logits[best]) > UNSURE
        np.testing.assert_array_equal(mask[certain], (logits[best] > 0)[certain])
        assert found[0].quality == pytest.approx(min(max(quality[best], 0), 1), abs=1e-5)


def test_one_point_has_all_candidates_and_the_surest_first(family, ready, saved):
    segmenter, shape = ready(family), SHAPES[0]
    picture = picture_of(shape)
    logits, quality = references.pointed_at(family, saved(family), picture, Prompt(**ONE))
    found = segmenter.ask(segmenter.look(picture), Prompt(**ONE), shape)
    order = [k for k in np.argsort(-quality, kind="stable") if (logits[k] > 0).any()]
    assert len(order) > 1
    assert len(found) == len(order)
    for cutout, k in zip(found, order, strict=True):
        certain = np.abs(logits[k]) > UNSURE
        np.testing.assert_array_equal(full(cutout, shape)[certain], (logits[k] > 0)[certain])


def test_what_is_not_ambiguous_has_further_candidates_where_they_are_wanted(family, ready):
    segmenter, shape = ready(family), SHAPES[0]
    seen = segmenter.look(picture_of(shape))
    alone = segmenter.ask(seen, Prompt(**BOX, **THREE), shape)
    found = segmenter.ask(seen, Prompt(**BOX, **THREE, further=True), shape)
    further = [c.quality for c in found[len(alone) :]]
    assert len(alone) <= 1 <= len(further)
    assert further == sorted(further, reverse=True)
    for a, b in zip(alone, found, strict=False):
        assert (a.box, a.quality) == (b.box, b.quality)


def test_masks_are_made_in_pixels_of_the_tile(family, ready, saved):
    """A picture coarser than its tile: the reference's mask, once more resized."""
    segmenter, shape, tile = ready(family), SHAPES[0], (122, 166)
    picture, prompt = picture_of(shape), Prompt(**BOX, **THREE)
    logits, quality = references.pointed_at(family, saved(family), picture, prompt)
    (larger,) = references.resized(logits[None], tile)
    best = quality.argmax()
    found = segmenter.ask(segmenter.look(picture), prompt, tile)
    certain = np.abs(larger[best]) > UNSURE
    mask = full(found[0] if found else None, tile)
    np.testing.assert_array_equal(mask[certain], (larger[best] > 0)[certain])


def test_it_is_encoded_once_and_asked_often(family, ready):
    segmenter, shape = ready(family), SHAPES[0]
    before = segmenter.encoded
    seen = segmenter.look(picture_of(shape, seed=11))
    first = segmenter.ask(seen, Prompt(**ONE), shape)
    for kind in KINDS:
        segmenter.ask(seen, prompt_of(kind, shape), shape)
    again = segmenter.ask(seen, Prompt(**ONE), shape)
    assert segmenter.encoded == before + 1
    assert [(c.box, c.quality) for c in first] == [(c.box, c.quality) for c in again]


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(),
        Prompt(points=ONE["points"], positive=np.array([False])),
        Prompt(mask=np.zeros(SHAPES[0], bool)),
    ],
    ids=["nothing", "a point outside", "a mask without a pixel"],
)
def test_nothing_is_found_where_nothing_is_pointed_at(ready, prompt):
    segmenter = ready("sam2")
    assert segmenter.ask(segmenter.look(picture_of(SHAPES[0])), prompt, SHAPES[0]) == []


def test_half_precision_answers_every_kind(family, saved, ready):
    half = FAMILIES[family](str(saved(family)), ModelOptions(device="cpu", precision="bf16"))
    shape = SHAPES[0]
    picture = picture_of(shape)
    seen_in_half, exact = half.look(picture), ready(family).look(picture)
    seen = 0
    for kind in KINDS:
        prompt = prompt_of(kind, shape)
        a, b = half.ask(seen_in_half, prompt, shape), ready(family).ask(exact, prompt, shape)
        assert bool(a) == bool(b), kind
        if a:
            seen += 1
            assert (full(a[0], shape) != full(b[0], shape)).mean() < 0.3
    assert seen, "no mask to compare"


CANVAS = Code({}, (61, 83), (47, 64), (64, 64))


def test_a_rough_mask_alone_is_told_with_its_box():
    mask = np.zeros((61, 83), bool)
    mask[10:31, 20:50] = True
    asked = said(CANVAS, Prompt(mask=mask), (16, 16))
    np.testing.assert_allclose(asked.boxes, np.array([[20, 10, 50, 31]]) * 64 / 83, rtol=1e-2)
    assert not asked.several
    with_a_point = said(CANVAS, Prompt(mask=mask, **ONE), (16, 16))
    assert with_a_point.boxes is None
    assert not with_a_point.several


def test_a_rough_mask_is_padded_as_its_picture_is():
    everywhere = rough(CANVAS, np.ones((61, 83), bool), (16, 16))
    assert everywhere.shape == (1, 1, 16, 16)
    assert torch.allclose(everywhere[..., :11, :], torch.tensor(10.0))
    assert torch.allclose(everywhere[..., 13:, :], torch.tensor(-10.0))


def test_a_cell_half_covered_is_not_decided():
    mask = np.zeros((64, 64), bool)
    mask[:, :32] = True
    logits = rough(Code({}, (64, 64), (64, 64), None), mask, (8, 8))[0, 0]
    assert (logits[:, :3] > 9).all()
    assert (logits[:, 5:] < -9).all()
    torch.testing.assert_close(logits, -logits.flip(1))
