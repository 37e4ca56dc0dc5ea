"""What do all text-prompted detectors have in common?

A family (one file each) turns prompts into tensors and pictures into boxes with a score per class;
here pictures of one size are asked together, thresholds and classes are settled, boxes get the
pixels of their picture, and what the device cannot hold is asked in smaller portions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.backends.detections import Detections, Picture, join
from geoseg.backends.models.device import Device, Portions, check_finite, choose
from geoseg.backends.models.loading import Classes, load
from geoseg.backends.models.outlines import outlined
from geoseg.backends.phrases import Phrase, best_class, phrases
from geoseg.backends.weights import Weights, locate
from geoseg.config import ModelOptions
from geoseg.errors import BackendError
from geoseg.legend import Legend

SATURATED = 0.9
"""A picture is taken to hold more objects than a model can answer when this share of its answers
is in use: not every query finds an object of its own, so the last ones stay free."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """Raw boxes of one picture from one pass."""

    boxes: NDArray[np.float32]
    """(n, 4) x0, y0, x1, y1 as fractions of the family's frame of the picture."""
    scores: NDArray[np.float32]
    """(n, classes)."""
    masks: torch.Tensor | None = None
    """(n, row, col) probability of being inside, on the device, stretched over the picture; None
    of models that answer with boxes alone."""


class Family(Protocol):
    """A loaded network of one family, and how it is spoken to."""

    def read(self, asked: Sequence[Phrase], *, apart: bool) -> Sequence[Any]:
        """Return what each pass is asked, in the network's own terms.

        Raises:
            BackendError: A prompt it cannot read.
        """
        ...

    def look(self, pictures: Sequence[Picture]) -> Any:
        """Return pictures of one size as the network's input, on its device."""
        ...

    def answer(self, seen: Any, asked: Any, classes: int) -> list[Answer]:
        """Return one Answer per picture for one pass."""
        ...

    def frame(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return the (rows, cols), in pixels of the picture, that fractions of 1 stand for."""
        ...


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known of a family before its network is loaded."""

    name: str
    """Part of `--backend`."""
    model: Classes
    """What its folders are loaded with."""
    usual_threshold: float
    """What its reference code recommends."""
    build: Callable[[Any, Any, Any, Device], Family]
    """Called with network, image processor, tokenizer, device."""


@dataclass(frozen=True)
class TextDetector:
    """A detector of one family with its weights; picklable, each process loads them anew."""

    kind: Kind
    weights: Weights
    options: ModelOptions
    legend: Legend | None = None
    """Set by `ask`."""

    def __getstate__(self) -> dict[str, Any]:
        """Leave the network behind."""
        own = ("kind", "weights", "options", "legend")
        return {k: v for k, v in self.__dict__.items() if k in own}

    @property
    def identity(self) -> str:
        """Weights, arithmetic, and how classes are asked."""
        apart = " one class per pass" if self.options.one_class_per_pass else ""
        return f"{self.weights.identity} {choose(self.options).precision}{apart}"

    @property
    def usual_threshold(self) -> float:
        """Least score that the reference code recommends."""
        return self.kind.usual_threshold

    def facts(self) -> list[dict[str, Any]]:
        """Return what the output file says of the weights."""
        return [self.weights.facts()]

    @cached_property
    def _family(self) -> Family:
        device = choose(self.options)
        network, pictures, words = load(self.weights, self.kind.model, device)
        return self.kind.build(network, pictures, words, device)

    @cached_property
    def _portions(self) -> Portions:
        return Portions(1 << 20, "tile")

    @cached_property
    def asked(self) -> Sequence[Any]:
        """What each pass is asked, in the family's own terms."""
        if self.legend is None:
            raise BackendError(f"{self.kind.name} was not asked for anything; call ask(legend)")
        return self._family.read(phrases(self.legend), apart=self.options.one_class_per_pass)

    def ask(self, legend: Legend) -> TextDetector:
        """Return the detector with the legend's prompts read.

        Raises:
            BackendError: A prompt that is empty, shared by classes, or too long; bad weights.
        """
        asking = replace(self, legend=legend)
        asking.__dict__["_family"] = self._family
        _ = asking.asked
        return asking

    def detect(self, pictures: Sequence[Picture]) -> list[Detections]:
        """Return one Detections per picture."""
        found: list[Detections | None] = [None] * len(pictures)
        shapes = dict.fromkeys(p.shape for p in pictures)
        for shape in shapes:
            # Pictures of one size need no padding, so none depends on its company.
            which = [i for i, p in enumerate(pictures) if p.shape == shape]
            answers = self._portions(self._detect_alike, [pictures[i] for i in which])
            for i, answer in zip(which, answers, strict=True):
                found[i] = answer
        return [f for f in found if f is not None]

    def take_notes(self) -> tuple[str, ...]:
        """Return, once, what happened since the last call."""
        return self._portions.take_notes()

    def _detect_alike(self, pictures: Sequence[Picture]) -> list[Detections]:
        asked, family, device = self.asked, self._family, choose(self.options)
        legend = self.legend
        if legend is None:
            raise BackendError(f"{self.kind.name} was not asked for anything; call ask(legend)")
        height, width = family.frame(pictures[0].shape[:2])
        with torch.inference_mode(), device.computing():
            seen = family.look(pictures)
            answers = [family.answer(seen, a, len(legend.classes)) for a in asked]
        return [
            join([self._settle(passed[i], legend, p.shape, (height, width)) for passed in answers])
            for i, p in enumerate(pictures)
        ]

    def _settle(
        self, answer: Answer, legend: Legend, shape: tuple[int, ...], frame: tuple[int, int]
    ) -> Detections:
        check_finite(answer.scores)
        kept, classes, scores = best_class(answer.scores, legend)
        scale = np.array((frame[1], frame[0]) * 2, np.float32)
        boxes = np.clip(answer.boxes[kept] * scale, 0, np.array((shape[1], shape[0]) * 2))
        some = (boxes[:, 2:] - boxes[:, :2] > 0).all(axis=1)
        full = len(kept) >= SATURATED * len(answer.boxes)
        found = Detections(boxes.astype(np.float32), classes, scores, full).take(some)
        if answer.masks is None:
            return found
        return outlined(found, answer.masks[torch.from_numpy(kept[some])], (shape[0], shape[1]))


def detector(kind: Kind, argument: str | None, options: ModelOptions) -> TextDetector:
    """Find the weights of a family and return its detector.

    Raises:
        BackendError: No such weights or device.
    """
    choose(options)
    return TextDetector(kind, locate(kind.name, argument, offline=options.offline), options)


def corners(boxes: torch.Tensor) -> NDArray[np.float32]:
    """Return (n, 4) x0, y0, x1, y1 of (n, 4) centre x, y, width, height."""
    centre, half = boxes[:, :2].float(), boxes[:, 2:].float() / 2
    found: NDArray[np.float32] = torch.cat((centre - half, centre + half), dim=1).cpu().numpy()
    return found
