"""How does a text become a backend?

spectral                     a backend of its own
grounding-dino+sam2          a detector and a segmenter: words -> boxes -> masks
grounding-dino               a detector alone: its boxes are the outlines
sam2, with boxes             a segmenter whose boxes or points are the user's
sam2, in a session           a segmenter that is asked by hand
everything:sam2              a segmenter on a lattice of points: no words
NAME:WEIGHTS                 with other weights: a folder, a file, OWNER/NAME@REVISION
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from geoseg.backends import Backend, BackendInfo, available, find, make, of_role
from geoseg.backends.clouds import Cloudless
from geoseg.backends.everything import Everything
from geoseg.backends.given import given
from geoseg.backends.keeping import check_cache
from geoseg.backends.outlining import Interactive
from geoseg.backends.pictures import View
from geoseg.backends.prompted import Prompted
from geoseg.backends.searching import Searching
from geoseg.config import OF_THE_USER, ModelOptions
from geoseg.errors import BackendError

if TYPE_CHECKING:
    import geopandas as gpd

    Layer: TypeAlias = str | Path | gpd.GeoDataFrame

EVERYTHING = "everything"
"""Prefix of a segmenter that is asked for every segment it sees."""


def load(
    spec: str,
    options: ModelOptions | None = None,
    boxes: Layer | None = None,
) -> Backend:
    """Return the backend that a text describes (see the top of this file).

    Args:
        spec: `NAME`, `NAME:WEIGHTS`, `DETECTOR+SEGMENTER` or `everything:SEGMENTER`.
        options: How models are run.
        boxes: A vector layer whose boxes and points a segmenter is asked for.

    Raises:
        BackendError: No such name or combination; the message lists what there is.
        ConfigError: The folder that is to keep embeddings cannot be used.
        MissingDependencyError: It needs an extra that is not installed.
    """
    options = options or ModelOptions()
    first, plus, second = _parts(spec)
    name, argument = _named(first)
    if options.one_class_per_pass and not needs_words(spec, boxes):
        raise BackendError(
            f"backend '{spec}' asks for no words: --one-class-per-pass does nothing; leave it out"
        )
    _check_kept(spec, options)
    if name == EVERYTHING and not plus:
        return _everything(argument, options, boxes)
    info = find(name)
    if boxes is not None and (plus or info.role != "segmenter"):
        raise BackendError(
            f"boxes are given, but backend '{spec}' finds its own; use a segmenter alone, as sam2 "
            f"(one of: {', '.join(of_role('segmenter'))})"
        )
    if not plus and info.role == "backend":
        _check_heeded(info, options)
        backend: Backend = make(info, argument, options)
        return backend
    if not plus and info.role == "segmenter" and boxes is None:
        raise BackendError(
            f"backend '{name}' outlines boxes but finds none: pair it with a detector, as "
            f"grounding-dino+{name}, give --boxes LAYER, or use everything:"
            f"{name if info.proposes else 'sam2'}"
        )
    return _prompted(spec, (first, second), options, boxes)


def interactive(model: str | Interactive, options: ModelOptions | None = None) -> Interactive:
    """Return a segmenter to be asked by hand, not yet ready.

    Args:
        model: `NAME` or `NAME:WEIGHTS`, or an object that is one.
        options: How models are run; where None, what was seen is kept in the user's cache folder.

    Raises:
        BackendError: There is none of this name, it takes no prompts, or does not heed an option.
        ConfigError: The folder that is to keep embeddings cannot be used.
        MissingDependencyError: It needs an extra that is not installed.
    """
    check_promptable(model)
    if not isinstance(model, str):
        return model
    name, argument = _named(model)
    info = find(name)
    if options is None:
        options = ModelOptions(cache="auto" if info.keeps else None)
    _check_kept(model, options)
    _check_asked([info], options)
    if options.one_class_per_pass:
        raise BackendError(f"'{model}' asks for no words: leave one_class_per_pass out")
    made: Interactive = make(info, argument, options)
    check_promptable(made)
    return made


def check_promptable(model: str | Interactive) -> None:
    """Refuse what cannot be a segmenter that is asked by hand; nothing is loaded.

    Raises:
        BackendError: There is none of this name, or it takes no prompts.
    """
    if not isinstance(model, str):
        lacking = [n for n in ("identity", "ready", "look", "ask") if not hasattr(model, n)]
        if lacking:
            raise BackendError(
                f"{type(model).__name__} takes no prompts: it lacks {', '.join(lacking)} (see "
                "geoseg.backends.outlining.Interactive)"
            )
        return
    first, plus, _ = _parts(model)
    name, _ = _named(first)
    if plus or name == EVERYTHING or find(name).role != "segmenter":
        raise BackendError(
            f"'{model}' takes no prompts: it does not outline what is pointed at; give a segmenter "
            f"alone (one of: {', '.join(of_role('segmenter'))})"
        )


def _prompted(
    spec: str,
    parts: tuple[str, str],
    options: ModelOptions,
    boxes: Layer | None,
) -> Backend:
    names = [_named(part) for part in parts if part]
    infos = [find(name) for name, _ in names]
    if len(infos) == 2 and [i.role for i in infos] != ["detector", "segmenter"]:
        raise BackendError(
            f"backend '{spec}' is not a detector and a segmenter; the first of "
            f"{', '.join(of_role('detector'))}, the second of {', '.join(of_role('segmenter'))}"
        )
    _check_asked(infos, options)
    made = [make(info, arg, options) for info, (_, arg) in zip(infos, names, strict=True)]
    if boxes is not None:
        return Prompted(given(boxes), made[0], View(options.gsd))
    segmenter = made[1] if len(made) == 2 else None
    return Prompted(Searching(made[0]), segmenter, View(options.gsd))


def _everything(segmenter: str | None, options: ModelOptions, boxes: Layer | None) -> Backend:
    if not segmenter:
        raise BackendError("everything: needs a segmenter, as everything:sam2")
    name, argument = _named(segmenter)
    if boxes is not None or find(name).role != "segmenter":
        raise BackendError(
            f"everything: takes a segmenter and no boxes, as everything:sam2 (one of: "
            f"{', '.join(of_role('segmenter'))})"
        )
    if not find(name).proposes:
        raise BackendError(
            f"backend '{name}' outlines what it is pointed at and proposes nothing: use "
            f"everything:sam2, or give --boxes LAYER with {name} alone"
        )
    return Everything(make(find(name), argument, options), View(options.gsd))


def _check_heeded(info: BackendInfo, options: ModelOptions) -> None:
    """Refuse options of models for a backend that is none, rather than ignore them.

    Raises:
        BackendError: Names the options that would do nothing.
    """
    usual = ModelOptions()
    heeded = set(OF_THE_USER) | ({"device"} if info.configurable else set())
    unheard = [
        f"--{name.replace('_', '-')}"
        for name, value in options
        if name not in heeded and value != getattr(usual, name)
    ]
    if unheard and info.extra != "models":
        raise BackendError(
            f"backend '{info.name}' does not heed {', '.join(unheard)}; leave it out, or choose a "
            "model with --backend"
        )


def _check_asked(infos: list[BackendInfo], options: ModelOptions) -> None:
    """Refuse options of models where no part of what is asked with pictures is one.

    Raises:
        BackendError: Names the options that would do nothing.
    """
    if not any(info.configurable for info in infos):
        # The size at which pictures are shown is heeded by all.
        _check_heeded(infos[0], options.model_copy(update={"gsd": None}))


def _check_kept(spec: str, options: ModelOptions) -> None:
    """Refuse to keep embeddings that are not made, or not where they cannot be kept.

    Raises:
        BackendError: The backend makes none that could be used again.
        ConfigError: The folder that was named cannot be used.
    """
    infos = _infos(spec)
    if options.cache is not None and infos and not any(info.keeps for info in infos):
        raise BackendError(
            f"backend '{spec}' keeps no embeddings: --cache does nothing; leave it out, or use a "
            "segmenter, as grounding-dino+sam2"
        )
    check_cache(options)


def _infos(spec: str) -> list[BackendInfo]:
    """Return what is registered under the names in a text."""
    named = [_named(part) for part in _parts(spec) if part not in ("", "+")]
    names = [argument if name == EVERYTHING else name for name, argument in named]
    known = available()
    return [known[_named(name)[0]] for name in names if name and _named(name)[0] in known]


def _parts(spec: str) -> tuple[str, str, str]:
    """Cut `DETECTOR+SEGMENTER` at a plus that a name follows: paths may hold one too."""
    for k, char in enumerate(spec):
        if char == "+" and _named(spec[k + 1 :])[0] in available():
            return spec[:k], "+", spec[k + 1 :]
    return (spec, "", "") if "+" not in spec or ":" in spec else spec.partition("+")


def _named(part: str) -> tuple[str, str | None]:
    name, colon, argument = part.partition(":")
    return name.strip(), argument.strip() if colon else None


def located(spec: str | Backend | None) -> str | Backend | None:
    """Return a spec whose weights, where they are files or folders, have whole paths."""
    if not isinstance(spec, str):
        return spec
    first, plus, second = _parts(spec)
    return _located(first) + plus + _located(second)


def _located(part: str) -> str:
    name, argument = _named(part)
    if not argument:
        return part
    if name == EVERYTHING:
        return f"{name}:{_located(argument)}"
    # Too long a name is no file, and no error.
    return f"{name}:{os.path.abspath(argument)}" if os.path.exists(argument) else part  # noqa: PTH100, PTH110


def packages(spec: str) -> tuple[str, ...]:
    """Return the modules with which a backend computes, beyond what geoseg itself needs."""
    return tuple(sorted({module for info in _infos(spec) for module in info.requires}))


def needs_words(spec: str, boxes: Layer | None) -> bool:
    """Tell whether a backend must be told what to look for."""
    return boxes is None and _named(spec)[0] != EVERYTHING


def cloudless(backend: Backend, masker: str | Backend, options: ModelOptions) -> Backend:
    """Return a backend for which cloud and shadow belong to nothing.

    Args:
        backend: Whose answers are cut.
        masker: What knows cloud and shadow, by name or as an object.
        options: How models are run.

    Raises:
        BackendError: There is no such backend.
    """
    if isinstance(masker, str):
        # What is kept is for the backend.
        masker = load(masker, options.model_copy(update={"cache": None}))
    return Cloudless(backend, masker)
