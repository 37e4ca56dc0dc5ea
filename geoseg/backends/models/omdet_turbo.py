"""OmDet-Turbo: a list of phrases and a task that names them -> boxes.

Zhao et al. 2024, arXiv:2403.06892.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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

_MOST_TOKENS = 77
"""Of the task and of each phrase; the reference cuts longer ones in silence."""


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """Tokenised phrases and their task."""

    tokens: dict[str, torch.Tensor]
    """`classes_...` (phrase, token) and `tasks_...` (1, token)."""
    owners: NDArray[np.intp]
    """(phrase,) class of each."""


class OmDetTurbo:
    """A loaded network; it remembers the words it has encoded by itself."""

    def __init__(self, network: Any, pictures: Any, words: Any, device: Device) -> None:
        self._network, self._pictures, self._words, self._device = network, pictures, words, device
        network.vision_backbone = Remembering(device.tune(network.vision_backbone))
        network.encoder = Remembering(network.encoder)

    def read(self, asked: Sequence[Phrase], *, apart: bool) -> Sequence[Said]:
        """Return phrases and tasks that are read whole."""

        def fits(some: Sequence[Phrase]) -> bool:
            texts = [_task(some), *(p.text for p in some)]
            return all(len(self._words(t)["input_ids"]) <= _MOST_TOKENS for t in texts)

        return [self._said(some) for some in passes(asked, fits, apart=apart)]

    def _said(self, asked: Sequence[Phrase]) -> Said:
        tokens = {}
        for name, texts in (("classes", [p.text for p in asked]), ("tasks", [_task(asked)])):
            found = self._words(
                texts, padding="max_length", max_length=_MOST_TOKENS, return_tensors="pt"
            )
            for key in ("input_ids", "attention_mask"):
                tokens[f"{name}_{key}"] = self._device.send(found[key])
        return Said(tokens, np.array([p.cls for p in asked], np.intp))

    def look(self, pictures: Sequence[Picture]) -> Any:
        """Return pixels, resized as the reference does."""
        return prepared(self._pictures, pictures, self._device)["pixel_values"]

    def answer(self, seen: Any, asked: Said, classes: int) -> list[Answer]:
        """Return boxes and the scores of the classes."""
        count = len(seen)
        many = {k: v.repeat(count, 1) for k, v in asked.tokens.items()}
        structure = torch.full((count,), len(asked.owners), device=seen.device)
        out = self._network(pixel_values=seen, classes_structure=structure, **many)
        scores = out.decoder_class_logits.float().sigmoid().cpu().numpy()
        return [
            Answer(
                corners(out.decoder_coord_logits[i]),
                class_scores(scores[i], asked.owners, classes),
            )
            for i in range(count)
        ]

    def frame(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return the picture's own size: it is stretched."""
        return shape


def _task(asked: Sequence[Phrase]) -> str:
    return f"Detect {', '.join(p.text for p in asked)}."


_KIND = Kind(
    "omdet-turbo",
    Classes(
        ("omdet-turbo",),
        "OmDetTurboConfig",
        "OmDetTurboForObjectDetection",
        "DetrImageProcessor",
        "CLIPTokenizer",
    ),
    0.3,
    OmDetTurbo,
)


def omdet_turbo(argument: str | None, options: ModelOptions) -> TextDetector:
    """Return OmDet-Turbo with these weights."""
    return detector(_KIND, argument, options)
