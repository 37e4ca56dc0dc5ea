"""SAM 3 asked for concepts: one phrase at a time -> boxes, masks and scores of all it names.

At most as many objects per phrase and picture as it has queries (200). The picture is stretched to
a square. Meta 2025, "SAM 3: Segment Anything with Concepts"; its weights are under a licence of
their own, see the catalogue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from geoseg.backends.detections import Picture
from geoseg.backends.models.detector import Answer, Kind, TextDetector, detector
from geoseg.backends.models.device import Device
from geoseg.backends.models.loading import Classes, Remembering, prepared
from geoseg.backends.phrases import Phrase, passes
from geoseg.config import ModelOptions


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """A phrase, tokenised."""

    phrase: Phrase
    tokens: dict[str, torch.Tensor]
    """`input_ids` and `attention_mask`, (1, token)."""


class Sam3:
    """A loaded network."""

    def __init__(self, network: Any, pictures: Any, words: Any, device: Device) -> None:
        self._network, self._pictures, self._words, self._device = network, pictures, words, device
        network.vision_encoder = device.tune(network.vision_encoder)
        network.text_encoder = Remembering(network.text_encoder, most=16)
        self._most = int(network.config.text_config.max_position_embeddings)
        self._many: dict[tuple[str, int], dict[str, torch.Tensor]] = {}

    def read(self, asked: Sequence[Phrase], *, apart: bool) -> Sequence[Said]:
        """Return phrases that are read whole; each is a pass of its own anyway."""

        def fits(some: Sequence[Phrase]) -> bool:
            return len(some) == 1 and len(self._words(some[0].text)["input_ids"]) <= self._most

        return [self._said(phrase) for (phrase,) in passes(asked, fits, apart=apart)]

    def _said(self, phrase: Phrase) -> Said:
        tokens = self._words(
            [phrase.text], padding="max_length", max_length=self._most, return_tensors="pt"
        )
        names = ("input_ids", "attention_mask")
        return Said(phrase, {name: self._device.send(tokens[name]) for name in names})

    def look(self, pictures: Sequence[Picture]) -> Any:
        """Return what the encoder sees: once, for all phrases."""
        given = prepared(self._pictures, pictures, self._device)
        return self._network.get_vision_features(given["pixel_values"])

    def answer(self, seen: Any, asked: Said, classes: int) -> list[Answer]:
        """Return boxes, scores and masks of one phrase."""
        count = len(seen.fpn_hidden_states[0])
        out = self._network(vision_embeds=seen, **self._for(asked, count))
        # As the reference does: how sure it is of each object, and that there is any.
        sure = out.pred_logits.float().sigmoid() * out.presence_logits.float().sigmoid()
        scores = np.zeros((*sure.shape, classes), np.float32)
        scores[..., asked.phrase.cls] = sure.cpu().numpy()
        boxes = out.pred_boxes.float().cpu().numpy()
        masks = out.pred_masks.float().sigmoid()
        return [Answer(boxes[i], scores[i], masks[i]) for i in range(count)]

    def _for(self, asked: Said, count: int) -> dict[str, torch.Tensor]:
        """Return a phrase's tokens for each of some pictures; the same tensors each time."""
        key = asked.phrase.text, count
        if key not in self._many:
            self._many[key] = {k: v.expand(count, -1) for k, v in asked.tokens.items()}
        return self._many[key]

    def frame(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return the picture's own size: it is stretched."""
        return shape


_KIND = Kind(
    "sam3",
    # Published weights are those of the video model, which contains this one.
    Classes(
        ("sam3", "sam3_video"), "Sam3Config", "Sam3Model", "Sam3ImageProcessor", "CLIPTokenizer"
    ),
    # What its makers' documentation asks for; the code of transformers falls back to 0.3.
    0.5,
    Sam3,
)


def sam3(argument: str | None, options: ModelOptions) -> TextDetector:
    """Return SAM 3 with these weights."""
    return detector(_KIND, argument, options)
