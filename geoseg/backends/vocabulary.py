"""Which of the words that a backend knows is meant? For backends without free text.

Case, hyphens, plurals and harmless adjectives do not matter.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import get_close_matches

from geoseg.errors import BackendError

_ADJECTIVES = frozenset({"dense", "green", "tropical", "natural", "dry", "small", "large", "big"})


def plain(text: str) -> str:
    """Return a word in lower case with single spaces, without hyphens and underscores."""
    return " ".join(text.casefold().replace("-", " ").replace("_", " ").split())


def known(word: str, words: Collection[str], backend: str, topics: Sequence[str]) -> str:
    """Return the known word that a typed one means.

    Args:
        word: As typed.
        words: Every known word, plain and in singular.
        backend: Who knows them, for the message.
        topics: A few words that show what it is about, for the message.

    Raises:
        BackendError: It means none; the message names the closest known words.
    """
    for form in _forms(plain(word), words):
        if form in words:
            return form
    near = get_close_matches(plain(word), words, 3, 0.6)
    hint = f"closest: {', '.join(near)}" if near else f"it knows: {', '.join(topics)}"
    raise BackendError(
        f"backend '{backend}' does not know the word '{word}' ({hint}); pick a known word, or a "
        "model that reads free text with --backend"
    )


def _forms(text: str, words: Collection[str]) -> list[str]:
    """Return the ways to read a phrase: as typed, singular, without leading adjectives."""
    parts = text.split()
    while len(parts) > 1 and parts[0] in _ADJECTIVES and text not in words:
        parts = parts[1:]
    forms = [text]
    for phrase in (text, " ".join(parts)):
        forms.append(phrase)
        head, _, last = phrase.rpartition(" ")
        forms += [f"{head} {singular}".strip() for singular in singulars(last)]
    return forms


def singulars(word: str) -> list[str]:
    """Return what a word may be the plural of; guesses, to be looked up."""
    endings = (("ies", "y"), ("ves", "f"), ("es", ""), ("s", ""))
    return [word[: -len(end)] + back for end, back in endings if word.endswith(end)]
