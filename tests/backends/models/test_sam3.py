"""SAM 3's concepts: boxes, scores and masks of its makers' code."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import references

from geoseg.backends.models.sam3 import sam3
from geoseg.config import ModelOptions
from geoseg.errors import BackendError
from geoseg.legend import Legend

SHAPES = ((61, 83), (64, 64), (40, 97), (61, 83))

CPU = ModelOptions(device="cpu")


def pictures():
    draw = np.random.default_rng(3)
    return [draw.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in SHAPES]


def legend(text, threshold):
    asked = Legend.parse(text)
    filled = [c.model_copy(update={"threshold": threshold}) for c in asked.classes]
    return asked.model_copy(update={"classes": tuple(filled)})


def check(found, picture, folder, phrase):
    """Compare one class of an answer with all the reference says of its phrase."""
    shape = picture.shape[:2]
    scores, boxes, masks = references.concepts(folder, picture, phrase)
    cell = max(shape) / 32
    seen = 0
    for score, box, outline in zip(found.scores, found.boxes.astype(int), found.masks, strict=True):
        query = np.abs(scores - score).argmin()
        assert score == pytest.approx(scores[query], abs=1e-5)
        x0, y0, x1, y1 = box
        assert outline.shape == (y1 - y0, x1 - x0)
        mask = np.zeros(shape, bool)
        mask[y0:y1, x0:x1] = outline
        certain = np.abs(masks[query] - 0.5) > 1e-4
        expected = masks[query] > 0.5
        assert not (mask & certain & ~expected).any()
        left, top, right, bottom = np.clip(boxes[query], 0, (*shape[::-1], *shape[::-1]))
        near = slice(int(top), int(np.ceil(bottom))), slice(int(left), int(np.ceil(right)))
        assert not (expected & certain & ~mask)[near].any()
        margin = 2.5 * cell + 0.06 * max(right - left, bottom - top)
        assert x0 >= left - margin - 1
        assert y1 <= bottom + margin + 1
        seen += mask.any()
    assert seen == len(found)
    return scores


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("name", ["sam3", "sam3-video"])
def test_objects_are_those_of_the_reference(saved, name, batch):
    detector = sam3(str(saved(name)), CPU).ask(legend("boat, solar panel", 0.0))
    shown = pictures()[:batch]
    answers = detector.detect(shown)
    for picture, found in zip(shown, answers, strict=True):
        assert found.full
        for cls, phrase in enumerate(("boat", "solar panel")):
            mine = found.take(found.classes == cls)
            assert len(mine) > 10
            check(mine, picture, saved("sam3"), phrase)


def test_what_scores_less_than_its_class_asks_is_left_out(saved):
    (picture,) = pictures()[:1]
    scores, _, _ = references.concepts(saved("sam3"), picture, "boat")
    least = float(np.sort(scores)[-4] + np.sort(scores)[-5]) / 2
    detector = sam3(str(saved("sam3")), CPU).ask(legend("boat", least))
    (found,) = detector.detect([picture])
    assert 1 <= len(found) <= 4
    assert not found.full
    assert (found.scores >= least).all()


def test_one_encoding_serves_all_phrases(saved, monkeypatch):
    detector = sam3(str(saved("sam3")), CPU).ask(legend("boat, pond, tree", 0.2))
    network = detector._family._network
    calls, encode = [], network.get_vision_features
    monkeypatch.setattr(network, "get_vision_features", lambda p: calls.append(p) or encode(p))
    detector.detect(pictures()[:1])
    assert len(calls) == 1


def test_phrases_of_two_legends_are_not_taken_for_each_other(saved):
    detector = sam3(str(saved("sam3")), CPU)
    (picture,) = pictures()[:1]
    for phrase in ("boat", "pond", "tree", "boat"):
        (found,) = detector.ask(legend(phrase, 0.0)).detect([picture])
        check(found, picture, saved("sam3"), phrase)


def test_a_prompt_that_is_too_long_is_named_before_any_work(saved):
    detector = sam3(str(saved("sam3")), CPU)
    with pytest.raises(BackendError, match=r"^prompt 'a boat .*' is longer than the model can"):
        detector.ask(legend("a boat in the small pond behind the green house", 0.5))


def test_a_copy_gives_equal_results(saved):
    detector = sam3(str(saved("sam3")), CPU).ask(legend("boat", 0.0))
    copy = pickle.loads(pickle.dumps(detector))  # noqa: S301
    (a,), (b,) = detector.detect(pictures()[:1]), copy.detect(pictures()[:1])
    np.testing.assert_array_equal(a.boxes, b.boxes)
    np.testing.assert_array_equal(a.scores, b.scores)


def test_half_precision_runs(saved):
    half = sam3(str(saved("sam3")), ModelOptions(device="cpu", precision="bf16"))
    (found,) = half.ask(legend("boat", 0.0)).detect(pictures()[:1])
    scores, _, _ = references.concepts(saved("sam3"), pictures()[0], "boat")
    assert found.scores.mean() == pytest.approx(scores.mean(), abs=0.05)


def test_it_says_what_is_recommended(saved):
    assert sam3(str(saved("sam3")), CPU).usual_threshold == 0.5
