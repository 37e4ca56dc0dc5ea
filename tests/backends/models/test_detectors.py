"""Boxes and scores are those of the reference code, on the same weights and pixels."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
import transformers as tf

from geoseg import LandClass, Legend
from geoseg.backends.models.grounding_dino import grounding_dino, mm_grounding_dino
from geoseg.backends.models.omdet_turbo import omdet_turbo
from geoseg.backends.models.owl import owlv2, owlvit
from geoseg.config import ModelOptions
from geoseg.errors import BackendError

MAKERS = {
    "grounding-dino": grounding_dino,
    "mm-grounding-dino": mm_grounding_dino,
    "owlv2": owlv2,
    "owlvit": owlvit,
    "omdet-turbo": omdet_turbo,
}
CLASSES = {
    "grounding-dino": "GroundingDino",
    "mm-grounding-dino": "MMGroundingDino",
    "owlv2": "Owlv2",
    "owlvit": "OwlViT",
    "omdet-turbo": "OmDetTurbo",
}
SIZES = [(64, 64), (61, 83), (120, 47)]
CPU = ModelOptions(device="cpu")
NAMES = ("building", "solar panel")


def legend(*names: str, least: float = 0.0) -> Legend:
    return Legend(classes=[LandClass(name=n, threshold=least) for n in names])


def pictures(count: int, size: tuple[int, int]) -> list[np.ndarray]:
    random = np.random.default_rng(size[0])
    return [random.integers(0, 255, (*size, 3), dtype=np.uint8) for _ in range(count)]


def reference(family: str, folder, shown, names) -> list[dict[str, np.ndarray]]:
    """Return boxes (n, 4) and scores (n, classes) as transformers computes them."""
    name = CLASSES[family]
    prefix = "GroundingDino" if "dino" in family else name
    processor = getattr(tf, f"{prefix}Processor").from_pretrained(folder)
    model = getattr(tf, f"{name}ForObjectDetection").from_pretrained(folder).eval()
    sizes = [p.shape[:2] for p in shown]
    text = [list(names)] * len(shown)
    if "dino" in family:
        text = [". ".join(names) + "."] * len(shown)
    inputs = processor(images=shown, text=text, return_tensors="pt")
    with torch.inference_mode():
        out = model(**inputs)
    if family == "omdet-turbo":
        boxes = tf.image_transforms.center_to_corners_format(out.decoder_coord_logits)
        scores = out.decoder_class_logits.sigmoid()
        scale = torch.tensor([[w, h, w, h] for h, w in sizes])[:, None]
        return [
            {"boxes": (b * s).numpy(), "scores": c.numpy()}
            for b, s, c in zip(boxes, scale, scores, strict=True)
        ]
    options = {"text_threshold": 0.0} if "dino" in family else {}
    done = processor.post_process_grounded_object_detection(
        out, threshold=-1.0, target_sizes=torch.tensor(sizes), **options
    )
    tokens = out.logits.sigmoid().numpy()
    owners = [[k] for k in range(len(names))]
    if "dino" in family:
        # "building . solar panel ." in word pieces, behind [CLS].
        pieces = processor.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
        dots = [i for i, piece in enumerate(pieces) if piece == "."]
        owners = [list(range(1, dots[0])), list(range(dots[0] + 1, dots[1]))]
    return [
        {
            "boxes": d["boxes"].numpy(),
            "scores": np.stack([t[:, mine].max(axis=1) for mine in owners], axis=1),
            "best": d["scores"].numpy(),
        }
        for d, t in zip(done, tokens, strict=True)
    ]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("family", MAKERS)
def test_boxes_and_scores_equal_the_references(saved, family, count, size):
    shown = pictures(count, size)
    detector = MAKERS[family](str(saved(family)), CPU).ask(legend(*NAMES))
    got = detector.detect(shown)
    want = reference(family, saved(family), shown, NAMES)
    assert len(got) == len(want) == count
    edge = np.array((size[1], size[0]) * 2)
    for found, known in zip(got, want, strict=True):
        boxes = np.clip(known["boxes"], 0, edge)
        kept = (boxes[:, 2:] > boxes[:, :2]).all(axis=1) & (known["scores"].max(axis=1) > 0)
        assert kept.any()
        assert np.allclose(found.boxes, boxes[kept], atol=1e-3)
        assert np.allclose(found.scores, known["scores"][kept].max(axis=1), atol=1e-5)
        close = np.ptp(known["scores"][kept], axis=1) < 1e-5
        assert (close | (found.classes == known["scores"][kept].argmax(axis=1))).all()
        if family.startswith("owl"):
            assert np.allclose(found.scores, known["best"][kept], atol=1e-6)


@pytest.mark.parametrize("family", MAKERS)
def test_a_picture_does_not_depend_on_its_company(saved, family):
    shown = [*pictures(2, SIZES[1]), *pictures(1, SIZES[2])]
    detector = MAKERS[family](str(saved(family)), CPU).ask(legend(*NAMES))
    together = detector.detect(shown)
    for picture, found in zip(shown, together, strict=True):
        (alone,) = detector.detect([picture])
        assert np.allclose(alone.boxes, found.boxes, atol=1e-3)
        assert np.allclose(alone.scores, found.scores, atol=1e-5)


@pytest.mark.parametrize("family", MAKERS)
def test_one_class_per_pass_is_each_class_asked_alone(saved, family):
    shown = pictures(2, SIZES[1])
    options = ModelOptions(device="cpu", one_class_per_pass=True)
    apart = MAKERS[family](str(saved(family)), options).ask(legend(*NAMES)).detect(shown)
    for cls, name in enumerate(NAMES):
        alone = MAKERS[family](str(saved(family)), CPU).ask(legend(name)).detect(shown)
        for both, one in zip(apart, alone, strict=True):
            mine = both.classes == cls
            assert np.allclose(both.boxes[mine], one.boxes, atol=1e-3)
            assert np.allclose(both.scores[mine], one.scores, atol=1e-5)


@pytest.mark.parametrize("family", MAKERS)
def test_a_copy_in_another_process_would_answer_the_same(saved, family):
    detector = MAKERS[family](str(saved(family)), CPU).ask(legend(*NAMES))
    shown = pictures(1, SIZES[1])
    before = detector.detect(shown)[0]
    blob = pickle.dumps(detector)
    assert len(blob) < 5_000
    after = pickle.loads(blob).detect(shown)[0]  # noqa: S301
    assert np.array_equal(before.boxes, after.boxes)
    assert np.array_equal(before.scores, after.scores)
    assert pickle.loads(blob).identity == detector.identity  # noqa: S301


@pytest.mark.parametrize("family", MAKERS)
def test_half_precision_runs_and_is_part_of_the_identity(saved, family):
    options = ModelOptions(device="cpu", precision="bf16")
    detector = MAKERS[family](str(saved(family)), options).ask(legend(*NAMES))
    (found,) = detector.detect(pictures(1, SIZES[0]))
    assert found.boxes.dtype == found.scores.dtype == np.float32
    assert detector.identity.endswith(" bf16")


@pytest.mark.parametrize("family", MAKERS)
def test_the_picture_is_encoded_once_for_all_passes_and_words_once_for_all_pictures(
    saved, family, monkeypatch
):
    from geoseg.backends.models.loading import Remembering

    worked: list[str] = []
    original = Remembering.forward

    def forward(self, *args, **kwargs):
        before = len(self._known)
        known = set(self._known)
        out = original(self, *args, **kwargs)
        if set(self._known) != known or len(self._known) != before:
            worked.append(type(self.part).__name__)
        return out

    monkeypatch.setattr(Remembering, "forward", forward)
    options = ModelOptions(device="cpu", one_class_per_pass=True)
    names = ("building", "tree", "roof")
    detector = MAKERS[family](str(saved(family)), options).ask(legend(*names))
    detector.detect(pictures(1, SIZES[0]))
    vision = [w for w in worked if "Text" not in w and "Bert" not in w]
    words = [w for w in worked if w not in vision]
    # OmDet-Turbo has an encoder behind its backbone, and remembers words by itself.
    assert len(vision) == (2 if family == "omdet-turbo" else 1)
    assert len(words) == (0 if family == "omdet-turbo" else len(names))
    worked.clear()
    detector.detect(pictures(1, SIZES[1]))
    assert len([w for w in worked if w in words]) == 0


def test_the_words_of_the_last_phrase_belong_together_as_the_dot_promises(saved):
    detector = grounding_dino(str(saved("grounding-dino")), CPU).ask(legend("tree", "solar panel"))
    assert [s.text for s in detector.asked] == ["tree. solar panel."]
    assert detector.asked[0].owners.tolist() == [-1, 0, -1, 1, 1, -1, -1]


def test_a_legend_over_the_token_limit_takes_several_passes_and_finds_its_last_class(saved):
    names = [f"small building of tree number {k}" for k in range(80)]
    detector = grounding_dino(str(saved("grounding-dino")), CPU).ask(legend(*names))
    limit = 64
    assert len(detector.asked) > 1
    assert all(len(s.owners) <= limit for s in detector.asked)
    (found,) = detector.detect(pictures(1, SIZES[0]))
    assert 79 in found.classes


@pytest.mark.parametrize(
    ("family", "limit"), [("grounding-dino", 64), ("owlv2", 40), ("omdet-turbo", 77)]
)
def test_a_prompt_that_would_be_cut_is_refused_before_the_work(saved, family, limit):
    long = Legend(classes=[LandClass(name="a", prompts=("z" * (limit + 20),))])
    with pytest.raises(BackendError, match="is longer than the model can read; shorten it"):
        MAKERS[family](str(saved(family)), CPU).ask(long)


@pytest.mark.parametrize("family", MAKERS)
def test_a_detector_says_when_it_has_answered_all_it_can(saved, family):
    shown = pictures(1, SIZES[0])
    folder = str(saved(family))
    (found,) = MAKERS[family](folder, CPU).ask(legend(*NAMES)).detect(shown)
    assert found.full
    (found,) = MAKERS[family](folder, CPU).ask(legend(*NAMES, least=1.0)).detect(shown)
    assert not found.full
