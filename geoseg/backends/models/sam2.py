"""SAM 2, EdgeTAM and the tracker of SAM 3 on single pictures: prompts -> masks.

The picture is stretched to a square, so tiles had better be square. Published weights are those of
the video models; their memory is not used. Ravi et al. 2024, arXiv:2408.00714; Zhou et al. 2025,
arXiv:2501.07256.
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
from geoseg.backends.models.sam import decode, prepare
from geoseg.backends.weights import Weights
from geoseg.config import ModelOptions

_CLASSES = MappingProxyType(
    {
        name: Classes(kinds, f"{prefix}Config", f"{prefix}Model", f"{pictures}ImageProcessor")
        for name, kinds, prefix, pictures in (
            ("sam2", ("sam2", "sam2_video"), "Sam2", "Sam2"),
            ("edgetam", ("edgetam", "edgetam_video"), "EdgeTam", "Sam2"),
            ("sam3-tracker", ("sam3_tracker", "sam3_video"), "Sam3Tracker", "Sam3"),
        )
    }
)


class Sam2:
    """A loaded network."""

    def __init__(self, network: Any, pictures: Any, device: Device) -> None:
        self._network, self._pictures, self._device = network, pictures, device
        prepare(network, device)
        self.grid = grid_of(network.prompt_encoder)

    def encode(self, pictures: Sequence[Picture]) -> list[Code]:
        """Return image embeddings on several levels."""
        given = prepared(self._pictures, pictures, self._device)
        levels = self._network.get_image_embeddings(given["pixel_values"])
        return [
            Code(
                {"image_embeddings": [level[i : i + 1] for level in levels]},
                picture.shape[:2],
                tuple(given["pixel_values"].shape[2:]),
                None,
            )
            for i, picture in enumerate(pictures)
        ]

    def decode(self, features: Features, asked: Asked) -> tuple[torch.Tensor, torch.Tensor]:
        """Return masks and predicted IoU."""
        return decode(self._network, features, asked)


def _load(weights: Weights, device: Device) -> Sam2:
    network, pictures, _ = load(weights, _CLASSES[weights.family], device)
    return Sam2(network, pictures, device)


def sam2(argument: str | None, options: ModelOptions) -> Promptable:
    """Return SAM 2 with these weights."""
    return promptable(Kind("sam2", _load), argument, options)


def edgetam(argument: str | None, options: ModelOptions) -> Promptable:
    """Return EdgeTAM with these weights."""
    return promptable(Kind("edgetam", _load), argument, options)


def sam3_tracker(argument: str | None, options: ModelOptions) -> Promptable:
    """Return the part of SAM 3 that is asked with boxes and points."""
    return promptable(Kind("sam3-tracker", _load), argument, options)
