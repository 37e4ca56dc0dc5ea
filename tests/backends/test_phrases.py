"""The quirks of prompts, on fixed scores: labels are the legend's, nothing is cut in silence."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg import LandClass, Legend
from geoseg.backends.phrases import (
    NOBODY,
    Phrase,
    best_class,
    class_scores,
    passes,
    phrases,
    sentence,
)
from geoseg.errors import BackendError

PIECE = 4
"""Long words fall into pieces of so many letters, as word pieces do."""


def spans(text: str) -> list[tuple[int, int]]:
    """Cut a text as a word-piece tokenizer does, with one token before and one behind."""
    found = [(0, 0)]
    for match in re.finditer(r"[\w'-]+|[^\w\s]", text):
        cuts = range(match.start(), match.end(), PIECE)
        found += [(start, min(start + PIECE, match.end())) for start in cuts]
    return [*found, (0, 0)]


def legend(*names: str, **prompts: tuple[str, ...]) -> Legend:
    return Legend(
        classes=[
            LandClass(name=name, prompts=prompts.get(name, (name,)), threshold=0.1)
            for name in names
        ]
    )


def lit(said, *words: str) -> np.ndarray:
    """Return token scores that light up some words of a sentence, 0.9 and falling."""
    scores = np.full(len(said.owners), 0.01, np.float32)
    for k, word in enumerate(words):
        at = said.text.index(word)
        for token, (start, stop) in enumerate(spans(said.text)):
            if at <= start < at + len(word) and stop > start:
                scores[token] = 0.9 - 0.1 * k
    return scores[None]


def label(asked: Legend, *words: str) -> str:
    said = sentence(phrases(asked), spans)
    scores = class_scores(lit(said, *words), said.owners, len(asked.classes))
    _, classes, _ = best_class(scores, asked)
    return asked.classes[classes[0]].name


def test_the_last_phrase_ends_with_a_dot_too():
    said = sentence(phrases(legend("tree", "solar panel")), spans)
    assert said.text == "tree. solar panel."
    assert label(legend("tree", "solar panel"), "panel") == "solar panel"


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("solar", "panel"), "solar panel"),
        (("roof", "solar"), "roof"),  # two classes above any text threshold: one label, not both
        (("olar",), "solar panel"),  # a piece of a word
    ],
)
def test_lit_tokens_of_several_phrases_give_one_class_of_the_legend(words, name):
    assert label(legend("roof", "solar panel"), *words) == name


def test_classes_that_contain_each_other_are_told_apart_by_their_own_tokens():
    asked = legend("pool", "building with a pool", "building")
    said = sentence(phrases(asked), spans)
    first, second = (m.start() for m in re.finditer("pool", said.text))
    for at, name in ((first, "pool"), (second, "building with a pool")):
        scores = np.full((1, len(said.owners)), 0.01, np.float32)
        token = next(i for i, (start, stop) in enumerate(spans(said.text)) if start == at < stop)
        scores[0, token] = 0.8
        _, classes, _ = best_class(class_scores(scores, said.owners, 3), asked)
        assert asked.classes[classes[0]].name == name


def test_every_alias_counts_for_its_class_and_the_best_one_gives_the_score():
    asked = legend("water", "tree", water=("river", "lake"))
    said = sentence(phrases(asked), spans)
    assert said.text == "river. lake. tree."
    scores = class_scores(lit(said, "lake", "river"), said.owners, 2)
    assert scores[0].tolist() == pytest.approx([0.9, 0.01])


def test_tokens_that_are_nobodys_never_give_a_label():
    asked = legend("tree")
    said = sentence(phrases(asked), spans)
    scores = np.where(said.owners == NOBODY, np.float32(1), np.float32(0.01))[None]
    kept, _, _ = best_class(class_scores(scores, said.owners, 1), asked)
    assert len(kept) == 0


@given(st.integers(0, 2**32 - 1))
def test_labels_and_scores_are_those_of_the_legend_whatever_lights_up(seed):
    random = np.random.default_rng(seed)
    asked = legend("tree", "solar panel", "panel", "bare soil", water=("river",))
    said = sentence(phrases(asked), spans)
    tokens = random.random((20, len(said.owners) + 5), np.float32)
    scores = class_scores(tokens, said.owners, len(asked.classes))
    kept, classes, best = best_class(scores, asked)
    for row, cls, score in zip(kept, classes, best, strict=True):
        assert score == tokens[row, : len(said.owners)][said.owners == cls].max()
        assert score == scores[row].max()


def test_a_box_goes_to_the_best_class_whose_threshold_it_reaches():
    asked = Legend(
        classes=[LandClass(name="tree", threshold=0.6), LandClass(name="hut", threshold=0.2)]
    )
    kept, classes, scores = best_class(
        np.array([[0.5, 0.3], [0.7, 0.3], [0.5, 0.1]], np.float32), asked
    )
    assert (kept.tolist(), classes.tolist()) == ([0, 1], [1, 0])
    assert scores.tolist() == pytest.approx([0.3, 0.7])


@given(st.integers(1, 120), st.integers(8, 64), st.booleans())
def test_long_legends_are_divided_and_no_phrase_is_lost_or_cut(count, limit, apart):
    asked = [Phrase(f"class number {k}", k // 2) for k in range(count)]

    def fits(some) -> bool:
        return len(spans(sentence(some, spans).text)) <= limit

    said = passes(asked, fits, apart=apart)
    assert [p for some in said for p in some] == asked
    assert all(fits(some) for some in said)
    if apart:
        assert all(len({p.cls for p in some}) == 1 for some in said)
    else:
        # As few as possible: what opens a pass did not fit into the one before.
        assert all(not fits((*a, b[0])) for a, b in pairwise(said))


def test_eighty_classes_over_a_limit_of_256_tokens_take_several_passes():
    asked = legend(*(f"kind of thing number {k}" for k in range(80)))

    def fits(some) -> bool:
        return len(spans(sentence(some, spans).text)) <= 256

    said = [sentence(some, spans) for some in passes(phrases(asked), fits)]
    assert len(said) > 1
    assert set(np.concatenate([s.owners for s in said]).tolist()) == {NOBODY, *range(80)}


def test_a_phrase_that_fits_nowhere_is_refused():
    with pytest.raises(
        BackendError, match="'very long' is longer than the model can read; shorten"
    ):
        passes([Phrase("very long", 0)], lambda _: False)


def test_referring_expressions_keep_their_commas_and_lose_what_would_end_them():
    asked = legend("a", a=("The building with a pool, and a St. Bernard?",))
    assert [p.text for p in phrases(asked)] == ["the building with a pool, and a st bernard"]


def test_a_prompt_that_says_nothing_or_is_shared_is_refused():
    with pytest.raises(BackendError, match=r"prompt '\.\.' of class 'a' has no words"):
        phrases(legend("a", a=("..",)))
    with pytest.raises(BackendError, match="classes 'a' and 'b' both ask for 'roof'"):
        phrases(legend("a", "b", a=("roof",), b=("Roof.",)))
