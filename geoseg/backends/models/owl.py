"""OWL-ViT and OWLv2: a list of phrases -> a box per image patch.

Minderer et al. 2022, arXiv:2205.06230; 2023, arXiv:2306.09683. Phrases do not influence each
other, so all are asked in one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.backends.detections import Picture
from geoseg.backends.models.detector import Answer, Kind, TextDetector, corners, detector
from geoseg.backends.models.device import Device
from geoseg.backends.models.loading import Classes, Remembering, prepared
from geoseg.backends.phrases import Phrase, class_scores, passes
from geoseg.config import ModelOptions


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """Tokenised phrases."""

    tokens: dict[str, torch.Tensor]
    """`input_ids` and `attention_mask`, (phrase, token)."""
    owners: NDArray[np.intp]
    """(phrase,) class of each."""
    repeated: dict[int, dict[str, torch.Tensor]] = field(default_factory=dict)
    """The same tokens for several pictures, by their number; kept so that they are encoded once."""


class Owl:
    """A loaded network."""

    def __init__(self, network: Any, pictures: Any, words: Any, device: Device) -> None:
        self._network, self._pictures, self._words, self._device = network, pictures, words, device
        inner = network.owlv2 if hasattr(network, "owlv2") else network.owlvit
        self._pads = hasattr(network, "owlv2")
        self._limit = int(network.config.text_config.max_position_embeddings)
        inner.vision_model = Remembering(device.tune(inner.vision_model))
        inner.text_model = Remembering(inner.text_model, most=8)

    def read(self, asked: Sequence[Phrase], *, apart: bool) -> Sequence[Said]:
        """Return the phrases' tokens; those of one class for each pass where that is wanted."""

        def fits(some: Sequence[Phrase]) -> bool:
            return all(len(self._words(p.text)["input_ids"]) <= self._limit for p in some)

        return [self._said(some) for some in passes(asked, fits, apart=apart)]

    def _said(self, asked: Sequence[Phrase]) -> Said:
        tokens = self._words(
            [p.text for p in asked],
            padding="max_length",
            max_length=self._limit,
            return_tensors="pt",
        )
        kept = {k: self._device.send(tokens[k]) for k in ("input_ids", "attention_mask")}
        return Said(kept, np.array([p.cls for p in asked], np.intp))

    def look(self, pictures: Sequence[Picture]) -> Any:
        """Return pixels, padded and resized as the reference does."""
        return prepared(self._pictures, pictures, self._device)["pixel_values"]

    def answer(self, seen: Any, asked: Said, classes: int) -> list[Answer]:
        """Return a box per patch and the scores of the classes."""
        count = len(seen)
        if count not in asked.repeated:
            asked.repeated[count] = {k: v.repeat(count, 1) for k, v in asked.tokens.items()}
        out = self._network(pixel_values=seen, **asked.repeated[count])
        scores = out.logits.float().sigmoid().cpu().numpy()
        return [
            Answer(corners(out.pred_boxes[i]), class_scores(scores[i], asked.owners, classes))
            for i in range(count)
        ]

    def frame(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return the square that OWLv2 pads a picture to; OWL-ViT stretches the picture itself."""
        return (max(shape), max(shape)) if self._pads else shape


_OWLV2, _OWLVIT = (
    Kind(
        name,
        Classes(
            (name,),
            f"{prefix}Config",
            f"{prefix}ForObjectDetection",
            f"{prefix}ImageProcessor",
            "CLIPTokenizer",
        ),
        0.1,
        Owl,
    )
    for name, prefix in (("owlv2", "Owlv2"), ("owlvit", "OwlViT"))
)


def owlv2(argument: str | None, options: ModelOptions) -> TextDetector:
    """Return OWLv2 with these weights."""
    return detector(_OWLV2, argument, options)


def owlvit(argument: str | None, options: ModelOptions) -> TextDetector:
    """Return OWL-ViT with these weights."""
    return detector(_OWLVIT, argument, options)
