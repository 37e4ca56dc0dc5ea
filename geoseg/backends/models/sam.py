"""SAM and SAM-HQ as transformers runs them: a padded picture, prompts -> masks.

Kirillov et al. 2023, arXiv:2304.02643; Ke et al. 2023, arXiv:2306.01567. SAM's own files (`.pth`)
are read by the package segment-anything, in a file of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import torch

from geoseg.backends.detections import Picture
from geoseg.backends.models.asking import Asked, Code, Features, grid_of
from geoseg.backends.models.device import Device
from geoseg.backends.models.loading import Classes, load, prepared
from geoseg.backends.models.promptable import Kind, Promptable, promptable
from geoseg.backends.weights import Weights
from geoseg.config import ModelOptions

_CLASSES = MappingProxyType(
    {
        "sam": Classes(("sam",), "SamConfig", "SamModel", "SamImageProcessor"),
        "sam-hq": Classes(("sam_hq",), "SamHQConfig", "SamHQModel", "SamImageProcessor"),
    }
)


class Sam:
    """A loaded network."""

    def __init__(self, network: Any, pictures: Any, device: Device) -> None:
        self._network, self._pictures, self._device = network, pictures, device
        prepare(network, device)
        self.grid = grid_of(network.prompt_encoder)

    def encode(self, pictures: Sequence[Picture]) -> list[Code]:
        """Return image embeddings; SAM-HQ decodes early features of the encoder with them."""
        given = prepared(self._pictures, pictures, self._device)
        seen = self._network.vision_encoder(given["pixel_values"])
        early = getattr(seen, "intermediate_embeddings", [])[:1]
        rows, cols = given["reshaped_input_sizes"][0].tolist()
        return [
            Code(
                {"image_embeddings": seen.last_hidden_state[i : i + 1]}
                | ({"intermediate_embeddings": [e[i : i + 1] for e in early]} if early else {}),
                picture.shape[:2],
                (rows, cols),
                tuple(given["pixel_values"].shape[2:]),
            )
            for i, picture in enumerate(pictures)
        ]

    def decode(self, features: Features, asked: Asked) -> tuple[torch.Tensor, torch.Tensor]:
        """Return masks and predicted IoU."""
        return decode(self._network, features, asked)


def prepare(network: Any, device: Device) -> None:
    """Compile the encoder if that is asked for; places in the picture stay exact."""
    network.vision_encoder = device.tune(network.vision_encoder)
    device.exact(network.prompt_encoder)
    device.exact(network.shared_image_embedding)


def decode(network: Any, features: Features, asked: Asked) -> tuple[torch.Tensor, torch.Tensor]:
    """Ask a network of transformers, for which all prompts are of one picture of a batch."""
    given = {
        "input_points": asked.points,
        "input_labels": asked.labels,
        "input_boxes": asked.boxes,
    }
    prompts = {name: tensor[None] for name, tensor in given.items() if tensor is not None}
    out = network(**features, **prompts, input_masks=asked.masks, multimask_output=asked.several)
    return out.pred_masks[0], out.iou_scores[0]


def _load(weights: Weights, device: Device) -> Sam:
    network, pictures, _ = load(weights, _CLASSES[weights.family], device)
    return Sam(network, pictures, device)


def sam(argument: str | None, options: ModelOptions) -> Promptable:
    """Return SAM with these weights: a folder, a model of the hub, or SAM's own `.pth` file."""
    if argument is not None and argument.endswith(".pth"):
        from geoseg.backends.models.segment_anything import sam as own

        return own(argument, options)
    return promptable(Kind("sam", _load), argument, options)


def sam_hq(argument: str | None, options: ModelOptions) -> Promptable:
    """Return SAM-HQ with these weights."""
    return promptable(Kind("sam-hq", _load), argument, options)
