"""How are networks spoken to that are asked with points, boxes and rough masks?

SAM and its kin: a network looks at pictures once and answers prompts from what it has seen, with
coarse masks. What is asked is said in pixels of the network's own input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn.functional import interpolate, pad

from geoseg.backends.detections import Floats, Picture
from geoseg.backends.models.device import Device
from geoseg.backends.prompts import Prompt
from geoseg.instances import Mask

Shape = tuple[int, int]
"""(rows, cols)."""

Features = Mapping[str, torch.Tensor | list[torch.Tensor]]
"""What an image encoder makes of one picture, in its family's own terms."""

SURE_LOGIT = 10.0
"""What a rough mask says of a cell inside of it, and with a minus outside: what SAM 2 itself
writes for a mask that a user gives (sam2_base.py, `_use_mask_as_output`: -10 and +10, "very close
to 0/1 in prob after sigmoid"). Masks were trained to come as logits of an earlier answer."""


@dataclass(frozen=True, slots=True, eq=False)
class Code:
    """What a network has seen in a picture."""

    features: Features
    """On the device."""
    picture: Shape
    """Size of the picture."""
    seen: Shape
    """Size to which the network's input resizes it: prompts are scaled by seen / picture."""
    canvas: Shape | None
    """Size of the padded input that masks fill; None where a mask fills the picture itself."""

    def on(self, device: Device) -> Code:
        """Return it with its tensors on a device."""
        moved = {
            name: [device.send(part) for part in value]
            if isinstance(value, list)
            else device.send(value)
            for name, value in self.features.items()
        }
        return replace(self, features=moved)


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What a network is asked about one picture: n prompts of one make."""

    points: torch.Tensor | None = None
    """(n, k, 2) float32 x, y in pixels of the network's input."""
    labels: torch.Tensor | None = None
    """(n, k) int32: 1 for points in the object, 0 for points outside; with points."""
    boxes: torch.Tensor | None = None
    """(n, 4) float32 x0, y0, x1, y1 in pixels of the network's input."""
    masks: torch.Tensor | None = None
    """(1, 1, row, col) float32 logits on the network's grid, where one prompt is asked."""
    several: bool = False
    """Whether several masks are wanted for each prompt, as one point may mean many things."""

    def on(self, device: Device) -> Asked:
        """Return it with its tensors on a device."""

        def sent(tensor: torch.Tensor | None) -> torch.Tensor | None:
            return None if tensor is None else device.send(tensor)

        places = sent(self.points), sent(self.labels), sent(self.boxes), sent(self.masks)
        return Asked(*places, several=self.several)


class Network(Protocol):
    """A loaded network of one family, and how it is spoken to."""

    @property
    def grid(self) -> Shape:
        """Size of the coarse masks that it makes, and of those that it takes."""
        ...

    def encode(self, pictures: Sequence[Picture]) -> list[Code]:
        """Return what is seen in pictures of one size."""
        ...

    def decode(self, features: Features, asked: Asked) -> tuple[torch.Tensor, torch.Tensor]:
        """Return coarse masks under prompts.

        Args:
            features: Of one picture.
            asked: The prompts, on the device.

        Returns:
            (n, k, row, col) logits, positive inside, and (n, k) predicted IoU; k is 1 unless
            several are wanted.
        """
        ...


def grid_of(prompt_encoder: Any) -> Shape:
    """Return the size of coarse masks: in every SAM four cells along each side of an embedding."""
    rows, cols = prompt_encoder.image_embedding_size
    return 4 * int(rows), 4 * int(cols)


def boxed(code: Code, boxes: Floats) -> Asked:
    """Ask for boxes (n, 4) in pixels of the picture: one mask each."""
    return Asked(boxes=_scaled(code, boxes))


def pointed(code: Code, points: Floats) -> Asked:
    """Ask for single points (n, 2) in pixels of the picture: several masks each."""
    ones = torch.ones(len(points), 1, dtype=torch.int32)
    return Asked(points=_scaled(code, points)[:, None], labels=ones, several=True)


def said(code: Code, prompt: Prompt, grid: Shape) -> Asked | None:
    """Ask for one object as a user points at it; None where nothing says where it is.

    One point alone is ambiguous: several masks are asked for, else one (what the documentation of
    SamPredictor.predict recommends). A rough mask alone is told together with its box: no network
    was trained on a mask by itself. A mask without a pixel says nothing.

    Args:
        code: What the network has seen.
        prompt: In pixels of the picture.
        grid: Size of the masks that the network takes.
    """
    mask = prompt.mask if prompt.mask is not None and prompt.mask.any() else None
    box = prompt.box
    if box is None and mask is None and not prompt.positive.any():
        return None
    if box is None and mask is not None and not len(prompt.points):
        box = _box_of(mask)
    has_points = len(prompt.points) > 0
    return Asked(
        points=_scaled(code, prompt.points)[None] if has_points else None,
        labels=torch.from_numpy(prompt.positive.astype(np.int32))[None] if has_points else None,
        boxes=None if box is None else _scaled(code, box[None]),
        masks=None if mask is None else rough(code, mask, grid),
        several=box is None and mask is None and len(prompt.points) == 1,
    )


def rough(code: Code, mask: Mask, grid: Shape) -> torch.Tensor:
    """Return a mask (row, col) of the picture as logits (1, 1, row, col) on a network's grid.

    It goes the picture's own way: resized, padded (outside of the object), and averaged to cells.
    """
    inside = torch.from_numpy(mask.astype(np.float32))[None, None]
    shown = interpolate(inside, code.seen, mode="bilinear", antialias=True)
    if code.canvas is not None:
        rows, cols = (side - seen for side, seen in zip(code.canvas, code.seen, strict=True))
        shown = pad(shown, (0, cols, 0, rows))
    share = interpolate(shown, grid, mode="bilinear", antialias=True)
    return (2 * share - 1) * SURE_LOGIT


def _scaled(code: Code, places: Floats) -> torch.Tensor:
    """Return points (n, 2) or boxes (n, 4) of the picture in pixels of the network's input."""
    (rows, cols), (height, width) = code.seen, code.picture
    scale = np.array((cols / width, rows / height))
    scaled = (places.reshape(len(places), -1, 2) * scale).reshape(places.shape)
    return torch.from_numpy(scaled.astype(np.float32))


def _box_of(mask: Mask) -> Floats:
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array((cols[0], rows[0], cols[-1] + 1, rows[-1] + 1), np.float32)
