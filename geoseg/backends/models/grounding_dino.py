"""Grounding DINO and MM-Grounding-DINO (LLMDet weights too): one sentence of phrases -> boxes.

A box has a score per token; its class is found through the tokens of the class's own phrases,
never through decoded text, so a label is always one of the legend's. Liu et al. 2023,
arXiv:2303.05499; Zhao et al. 2024, arXiv:2401.02361.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from geoseg.backends.detections import Picture
from geoseg.backends.models.detector import Answer, Kind, TextDetector, corners, detector
from geoseg.backends.models.device import Device
from geoseg.backends.models.loading import Classes, Remembering, prepared
from geoseg.backends.phrases import Phrase, Sentence, class_scores, passes, sentence
from geoseg.config import ModelOptions


class GroundingDino:
    """A loaded network."""

    def __init__(self, network: Any, pictures: Any, words: Any, device: Device) -> None:
        self._network, self._pictures, self._words, self._device = network, pictures, words, device
        # Cross attention mixes words and picture, but both backbones come before it.
        network.model.backbone = Remembering(device.tune(network.model.backbone))
        network.model.text_backbone = Remembering(network.model.text_backbone, most=16)
        self._tokens: dict[tuple[str, int], dict[str, torch.Tensor]] = {}

    def read(self, asked: Sequence[Phrase], *, apart: bool) -> Sequence[Sentence]:
        """Return sentences that are read whole: the network would cut longer ones in silence."""
        most = int(self._network.config.max_text_len)

        def fits(some: Sequence[Phrase]) -> bool:
            return len(self._spans(sentence(some, lambda _: ()).text)) <= most

        return [sentence(some, self._spans) for some in passes(asked, fits, apart=apart)]

    def _spans(self, text: str) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = self._words(text, return_offsets_mapping=True)[
            "offset_mapping"
        ]
        return found

    def look(self, pictures: Sequence[Picture]) -> Any:
        """Return pixels and pixel mask, resized as the reference does."""
        return prepared(self._pictures, pictures, self._device)

    def answer(self, seen: Any, asked: Sentence, classes: int) -> list[Answer]:
        """Return boxes and the scores of the classes by their own tokens."""
        count = len(seen["pixel_values"])
        out = self._network(**seen, **self._said(asked, count))
        tokens = out.logits.float().sigmoid().cpu().numpy()
        return [
            Answer(corners(out.pred_boxes[i]), class_scores(tokens[i], asked.owners, classes))
            for i in range(count)
        ]

    def _said(self, asked: Sentence, count: int) -> dict[str, torch.Tensor]:
        """Return a sentence's tokens for each of some pictures; the same tensors each time."""
        key = asked.text, count
        if key not in self._tokens:
            tokens = self._words(
                [asked.text] * count, return_tensors="pt", return_token_type_ids=True
            )
            self._tokens[key] = {k: self._device.send(v) for k, v in tokens.items()}
        return self._tokens[key]

    def frame(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return the picture's own size."""
        return shape


_GROUNDING, _MM_GROUNDING = (
    Kind(
        name,
        Classes(
            (name,),
            f"{prefix}Config",
            f"{prefix}ForObjectDetection",
            "GroundingDinoImageProcessor",
            "BertTokenizer",
        ),
        0.25,
        GroundingDino,
    )
    for name, prefix in (
        ("grounding-dino", "GroundingDino"),
        ("mm-grounding-dino", "MMGroundingDino"),
    )
)


def grounding_dino(argument: str | None, options: ModelOptions) -> TextDetector:
    """Return Grounding DINO with these weights."""
    return detector(_GROUNDING, argument, options)


def mm_grounding_dino(argument: str | None, options: ModelOptions) -> TextDetector:
    """Return MM-Grounding-DINO with these weights."""
    return detector(_MM_GROUNDING, argument, options)
