"""Laws of flattening: disjoint runs per class, cut to what can be trusted, with true facts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import examples, instances, legend, seeds
from scipy import ndimage

from geoseg.errors import BackendError
from geoseg.flatten import flatten
from geoseg.instances import SCORE_STEPS, Instances, Scope
from geoseg.window import Window

RASTER = Window(0, 0, 60, 50)
READ = Window(10, 5, 40, 30)
SCOPE = Scope(READ, Window(12, 7, 38, 28), Window(15, 10, 35, 25), RASTER)
ALONE = Scope(RASTER, RASTER, RASTER, RASTER)
EVERYWHERE = np.ones(READ.shape, bool)
OBJECTS = legend("object", "object")
COVERS = legend("cover", "cover")


def inside(window: Window) -> np.ndarray:
    mask = np.zeros(READ.shape, bool)
    mask[window.slices_in(READ)] = True
    return mask


def paint(labels, number: int) -> np.ndarray:
    """Return how often each pixel of the read window is covered by runs of a label."""
    count = np.zeros(READ.shape, int)
    for label, y, x0, x1 in labels.runs.tolist():
        assert x0 < x1
        if label == number:
            count[y - READ.y0, x0 - READ.x0 : x1 - READ.x0] += 1
    return count


def masks_of(answer: Instances) -> list[np.ndarray]:
    out = []
    for (x0, y0, x1, y1), mask in zip(answer.boxes.tolist(), answer.masks, strict=True):
        full = np.zeros(READ.shape, bool)
        full[y0:y1, x0:x1] = mask
        out.append(full)
    return out


@st.composite
def answers(draw: st.DrawFn, *, classes: int = 2, evidence: bool = False) -> Instances:
    random = draw(seeds)
    found = []
    for _ in range(draw(st.integers(0, 6))):
        y, x = random.integers(0, (20, 25))
        h, w = random.integers(1, 15, 2)
        box = slice(y, min(y + h, 25)), slice(x, min(x + w, 30))
        shape = tuple(s.stop - s.start for s in box)
        found.append((box, random.random(shape) < 0.8, int(random.integers(classes))))
    scores = random.integers(1, 9, len(found)) / 10
    answer = instances(found, scores)
    if not evidence or not found:
        return answer
    each = [random.integers(0, 1001, m.shape) / np.float32(1000) for m in answer.masks]
    return Instances(answer.boxes, answer.masks, answer.classes, answer.scores, each)


valids = seeds.map(lambda random: random.random(READ.shape) < 0.9)


@examples(150)
@given(answers(), valids)
def test_the_better_scored_object_keeps_a_shared_pixel(answer, valid):
    labels = flatten(answer, OBJECTS, valid, SCOPE)
    free = valid & inside(SCOPE.trust)
    masks, want = masks_of(answer), []
    for cls in range(2):
        taken = np.zeros(READ.shape, bool)
        for i in np.argsort(-answer.scores, kind="stable"):
            if answer.classes[i] == cls:
                mine = masks[i] & free & ~taken
                taken |= mine
                if mine.any():
                    want.append((cls, round(float(answer.scores[i]) * SCORE_STEPS), mine.tobytes()))
    got = []
    for number, fact in enumerate(labels.facts, 1):
        count = paint(labels, number)
        assert count.max() == 1
        score = fact["score_sum"] / fact["area_px"]
        got.append((int(fact["cls"]), round(score), (count > 0).tobytes()))
    assert sorted(got) == sorted(want)


@examples(150)
@given(answers(evidence=True), valids, st.booleans())
def test_covers_are_the_connected_regions_of_the_core(answer, valid, exclusive):
    asked = legend("cover", "cover", exclusive=exclusive)
    labels = flatten(answer, asked, valid, SCOPE)
    strength = np.full((2, *READ.shape), -1, int)
    for i, mask in enumerate(masks_of(answer)):
        x0, y0, x1, y1 = answer.boxes[i].tolist()
        shown = np.zeros(READ.shape, np.float32)
        shown[y0:y1, x0:x1] = answer.evidence[i]
        steps = np.rint(shown * np.float32(SCORE_STEPS)).astype(int)
        here = mask & valid & inside(SCOPE.trust)
        cls = answer.classes[i]
        strength[cls][here] = np.maximum(strength[cls], steps)[here]
    covered = strength >= 0
    if exclusive:
        covered[1] &= strength[1] > strength[0]
        covered[0] &= strength[0] >= strength[1]
    want = []
    for cls in range(2):
        regions, n = ndimage.label(covered[cls] & inside(SCOPE.core))
        want += [
            (cls, int(strength[cls][regions == k].sum()), (regions == k).tobytes())
            for k in range(1, n + 1)
        ]
    got = [
        (int(f["cls"]), int(f["score_sum"]), (paint(labels, k) > 0).tobytes())
        for k, f in enumerate(labels.facts, 1)
    ]
    assert sorted(got) == sorted(want)
    # What the tile would say in its halo is kept as testimony, once per pixel and class.
    halo = np.zeros(READ.shape, int)
    for _, y, x0, x1 in labels.testimony.tolist():
        halo[y - READ.y0, x0 - READ.x0 : x1 - READ.x0] += 1
    assert (halo == (covered & ~inside(SCOPE.core)).sum(0)).all()
    # It stands for the label of the core that it hangs together with, if there is one.
    n = len(labels.facts)
    connected = [ndimage.label(covered[cls])[0] for cls in range(2)]
    own = [(int(f["cls"]), paint(labels, k) > 0) for k, f in enumerate(labels.facts, 1)]
    for number, y, x0, _ in labels.testimony.tolist():
        at = y - READ.y0, x0 - READ.x0
        cls = own[-number - 1][0] if -number <= n else -number - n - 1
        region = connected[cls] == connected[cls][at]
        assert covered[cls][at]
        if -number <= n:
            assert region[own[-number - 1][1]].all()
        else:
            assert not (region & inside(SCOPE.core)).any()


@examples(150)
@given(answers(), valids)
def test_facts_are_true(answer, valid):
    labels = flatten(answer, legend("object", "cover"), valid, SCOPE)
    core, trust = inside(SCOPE.core), SCOPE.trust
    for number, fact in enumerate(labels.facts, 1):
        mask = paint(labels, number) > 0
        y, x = np.nonzero(mask)
        y, x = y + READ.y0, x + READ.x0
        assert fact["area_px"] == mask.sum() > 0
        assert fact["core_px"] == (mask & core).sum()
        assert (fact["first_y"], fact["first_x"]) == (y[0], x[0])
        cut = (x == trust.x0) | (x == trust.x1 - 1) | (y == trust.y0) | (y == trust.y1 - 1)
        assert fact["cut"] == cut.any()
        y, x = np.nonzero(mask & core)
        if len(y):
            y, x = y + READ.y0, x + READ.x0
            assert (fact["core_first_y"], fact["core_first_x"]) == (y[0], x[0])
            box = [fact[f"core_{n}"] for n in ("x0", "y0", "x1", "y1")]
            assert box == [x.min(), y.min(), x.max() + 1, y.max() + 1]


def test_the_rasters_edge_does_not_cut():
    whole = (slice(0, 50), slice(0, 60))
    answer = instances([(whole, np.ones((50, 60), bool), 0)])
    labels = flatten(answer, OBJECTS, np.ones((50, 60), bool), ALONE)
    assert labels.facts["cut"].tolist() == [False]


@given(answers(), seeds)
def test_the_order_of_unequal_instances_does_not_matter(answer, random):
    n = len(answer)
    scores = (np.arange(n) + 1).astype(np.float32) / 10
    order = random.permutation(n)
    shuffled = Instances(
        answer.boxes[order], [answer.masks[i] for i in order], answer.classes[order], scores[order]
    )
    plain = Instances(answer.boxes, answer.masks, answer.classes, scores)
    seen = []
    for each in (plain, shuffled):
        labels = flatten(each, OBJECTS, EVERYWHERE, SCOPE)
        seen.append(
            sorted(
                (f.item(), (paint(labels, k) > 0).tobytes()) for k, f in enumerate(labels.facts, 1)
            )
        )
    assert seen[0] == seen[1]


def test_nothing_is_empty():
    for labels in (
        flatten(Instances.empty(), OBJECTS, EVERYWHERE, SCOPE),
        flatten(instances([((slice(0, 5), slice(0, 5)), np.zeros((5, 5), bool), 0)]),
                COVERS, EVERYWHERE, SCOPE),
    ):  # fmt: skip
        assert len(labels.facts) == len(labels.runs) == len(labels.claimed) == 0


def odd(**change):
    plain = {
        "boxes": np.array([[0, 0, 4, 3]], np.int32),
        "masks": [np.ones((3, 4), bool)],
        "classes": np.array([0], np.int32),
        "scores": np.array([0.5], np.float32),
    }
    return Instances(**{**plain, **change})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"boxes": np.zeros((2, 4), np.int32)}, "backend gave 1 masks but boxes (2, 4)"),
        ({"boxes": np.zeros((1, 3), np.int32)}, "all need 1 rows"),
        ({"classes": np.array([2], np.int32)}, "answered class 2; the legend has classes 0..1"),
        ({"classes": np.array([-1], np.int32)}, "answered class -1"),
        ({"scores": np.array([1.5], np.float32)}, "answered a score of 1.5"),
        ({"scores": np.array([-0.1], np.float32)}, "answered a score of -0.1"),
        ({"scores": np.array([np.nan], np.float32)}, "answered a score of nan"),
        ({"boxes": np.array([[0, 0, 31, 3]], np.int32)}, "(0, 0, 31, 3) is outside its 30x25 tile"),
        ({"boxes": np.array([[-1, 0, 3, 3]], np.int32)}, "is outside its"),
        ({"boxes": np.array([[3, 0, 1, 3]], np.int32)}, "is outside its"),
        ({"notes": "split in 4"}, "backend gave notes 'split in 4'; a tuple of strings is asked"),
        ({"masks": [np.ones((4, 3), bool)]}, "mask (4, 3) does not fit its box (0, 0, 4, 3)"),
    ],
)
def test_what_a_backend_cannot_mean_is_refused(change, words):
    with pytest.raises(BackendError) as caught:
        flatten(odd(**change), OBJECTS, EVERYWHERE, SCOPE)
    assert words in str(caught.value)
