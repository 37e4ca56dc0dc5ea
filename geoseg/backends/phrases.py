"""How are the classes of a legend put into words for a model, and its scores given back to them?

Detectors that read one sentence get all phrases as `river. solar panel.`; its tokens are known by
the class whose phrase they are in. A sentence that would be cut in silence is split instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import BackendError
from geoseg.legend import Legend

NOBODY = -1
"""Owner of tokens that are in no phrase: dots, beginning, end, filling."""

_STOPS = re.compile(r"[.?]+")
"""What ends a phrase in the eyes of Grounding DINO."""

Spans = Callable[[str], Sequence[tuple[int, int]]]
"""Tokens of a text as (start, stop) characters; an empty span for tokens that are added to it."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """One prompt of a class."""

    text: str
    """In lower case, without what would end a phrase."""
    cls: int
    """Index of the class."""


@dataclass(frozen=True, slots=True, eq=False)
class Sentence:
    """What one pass of a detector is asked."""

    text: str
    """Phrases that each end with a dot, the last one too: without it, the words of the last phrase
    no longer belong together."""
    owners: NDArray[np.intp]
    """(token,) class of each token, NOBODY for none."""


def phrases(legend: Legend) -> tuple[Phrase, ...]:
    """Return every prompt of every class, in order, each said once.

    Raises:
        BackendError: Nothing is left of a prompt, or two classes ask for the same.
    """
    found: dict[str, Phrase] = {}
    for cls, land_class in enumerate(legend.classes):
        for prompt in land_class.prompts:
            text = " ".join(_STOPS.sub(" ", prompt).lower().split())
            if not text:
                raise BackendError(f"prompt '{prompt}' of class '{land_class.name}' has no words")
            first = found.setdefault(text, Phrase(text, cls))
            if first.cls != cls:
                raise BackendError(
                    f"classes '{legend.classes[first.cls].name}' and '{land_class.name}' both ask "
                    f"for '{text}'; give each prompt to one class"
                )
    return tuple(found.values())


def passes(
    asked: Sequence[Phrase], fits: Callable[[Sequence[Phrase]], bool], *, apart: bool = False
) -> tuple[tuple[Phrase, ...], ...]:
    """Divide phrases into as few passes as fit, in order.

    Args:
        asked: Phrases.
        fits: Whether a model can read these together.
        apart: Never ask for two classes in one pass.

    Raises:
        BackendError: A phrase does not even fit alone.
    """
    done: list[tuple[Phrase, ...]] = []
    for phrase in asked:
        if not fits((phrase,)):
            raise BackendError(
                f"prompt '{phrase.text}' is longer than the model can read; shorten it, or choose "
                "another --backend"
            )
        last = done[-1] if done else ()
        together = last and not (apart and last[-1].cls != phrase.cls)
        if together and fits((*last, phrase)):
            done[-1] = (*last, phrase)
        else:
            done.append((phrase,))
    return tuple(done)


def sentence(asked: Sequence[Phrase], spans: Spans) -> Sentence:
    """Join phrases into one text and find the class of each of its tokens."""
    text = " ".join(f"{phrase.text}." for phrase in asked)
    owner_of = np.full(len(text) + 1, NOBODY)
    at = 0
    for phrase in asked:
        owner_of[at : at + len(phrase.text)] = phrase.cls
        at += len(phrase.text) + 2
    tokens = spans(text)
    owners = [owner_of[start] if stop > start else NOBODY for start, stop in tokens]
    return Sentence(text, np.array(owners, np.intp))


def class_scores(
    tokens: NDArray[np.float32], owners: NDArray[np.intp], classes: int
) -> NDArray[np.float32]:
    """Return the score of each class: the best over the tokens of its own phrases.

    Args:
        tokens: (n, token) scores; tokens beyond `owners` are filling.
        owners: (token,) class of each token, or NOBODY.
        classes: Number of classes of the legend.

    Returns:
        (n, classes) float32; 0 for classes that were not asked for.
    """
    scores = np.zeros((len(tokens), classes), np.float32)
    shown = tokens[:, : len(owners)]
    for cls in np.unique(owners[owners != NOBODY]).tolist():
        scores[:, cls] = shown[:, owners[: shown.shape[1]] == cls].max(axis=1)
    return scores


def best_class(
    scores: NDArray[np.float32], legend: Legend
) -> tuple[NDArray[np.intp], NDArray[np.int32], NDArray[np.float32]]:
    """Return which boxes count, as which class, with which score.

    A box goes to its best class among those whose threshold it reaches (ties: legend order).

    Args:
        scores: (n, classes).
        legend: Gives each class its threshold.

    Returns:
        (m,) indices of boxes, (m,) classes, (m,) scores.
    """
    least = np.array([c.threshold or 0.0 for c in legend.classes], np.float32)
    able = np.where((scores >= least) & (scores > 0), scores, np.float32(-1))
    best = able.argmax(axis=1)
    value = able[np.arange(len(able)), best]
    kept = np.flatnonzero(value > 0)
    return kept, best[kept].astype(np.int32), value[kept]
