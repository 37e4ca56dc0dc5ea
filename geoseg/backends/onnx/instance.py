"""Which objects does an instance net see in a tile?

Objects cross any window, so the net is shown the tile itself, and the seams decide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from geoseg.backends.onnx.card import Card, Instance
from geoseg.backends.onnx.net import Net
from geoseg.backends.onnx.plan import Plan
from geoseg.errors import BackendError
from geoseg.instances import Instances, Mask
from geoseg.pixels import Pixels

_SURE = 0.5
"""Least probability of a mask's pixels, as in Mask R-CNN."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a net says of one picture."""

    boxes: Floats
    """(n, 4) x0, y0, x1, y1 in pixels of the picture."""
    scores: NDArray[np.float32]
    """(n,) 0..1."""
    labels: NDArray[np.int64]
    """(n,) index into the card's classes."""
    masks: NDArray[np.float32]
    """(n, row, col) probability, stretched over the box or over the picture."""


@dataclass(frozen=True, slots=True)
class InstanceNet:
    """A net that knows objects."""

    net: Net
    card: Card
    output: Instance
    """Of the card."""

    @property
    def halo_px(self) -> int:
        """The card's margin: nearer to the edge of a tile its answers are not used."""
        return self.card.input.margin_px

    def check(self) -> None:
        """Run a blank picture.

        Raises:
            BackendError: The outputs do not fit the card.
        """
        side = self.card.input.size_px
        self._ask(np.zeros((len(self.card.input.bands), side, side), np.float32))

    def segment(self, plan: Plan, tile: Pixels) -> Instances:
        """Return the objects of a tile that reach the threshold of their class.

        Raises:
            BackendError: The tile is larger than the net takes, or the outputs do not fit the card.
        """
        side = self.card.input.size_px
        height, width = tile.valid.shape
        shown = plan.channels.show(tile, tile.window)
        # Filled up with the mean.
        shown = np.pad(shown, ((0, 0), (0, -height % side), (0, -width % side)))
        if shown.shape[1:] != (side, side) and isinstance(self.net.input_shape["H"], int):
            raise BackendError(
                f"model '{self.net.file}' takes pictures of {side} px, this tile has "
                f"{width}x{height}; pass --tile {side} or less"
            )
        said = self._ask(shown)
        whole = np.isfinite(said.boxes).all(axis=1)
        found = []
        for cls, wanted in enumerate(plan.classes):
            good = np.isin(said.labels, wanted.members) & whole
            for i in np.flatnonzero(good & (said.scores >= np.float32(wanted.threshold))).tolist():
                drawn = self._draw(said, i, tile.valid.shape, shown.shape[1:])
                if drawn is not None:
                    found.append((*drawn, cls, said.scores[i]))
        if not found:
            return Instances.empty()
        boxes, masks, classes, scores = zip(*found, strict=True)
        return Instances(
            np.array(boxes, np.int32),
            masks,
            np.array(classes, np.int32),
            np.array(scores, np.float32),
        )

    def _ask(self, shown: NDArray[np.float32]) -> Answers:
        """Return what the net says of one picture (channel, row, col)."""
        names = (self.output.boxes, self.output.scores, self.output.labels, self.output.masks)
        lacking = [name for name in names if name not in self.net.outputs]
        if lacking:
            raise BackendError(
                f"model '{self.net.file}' has outputs {', '.join(self.net.outputs)}, not "
                f"{', '.join(lacking)}; name them under [output] of its card"
            )
        boxes, scores, labels, masks = self.net.run(shown, names)
        n = labels.size
        sizes = (boxes.size, scores.size, masks.size)
        if masks.ndim < 3 or sizes != (4 * n, n, n * masks.shape[-2] * masks.shape[-1]):
            raise BackendError(
                f"model '{self.net.file}' answers boxes {boxes.shape}, scores {scores.shape}, "
                f"labels {labels.shape}, masks {masks.shape}; (n, 4), (n,), (n,) and (n, row, col) "
                "are asked: export it with duplicates removed"
            )
        labels = labels.reshape(-1).astype(np.int64)
        if n and not 0 <= labels.min() <= labels.max() < len(self.card.classes):
            raise BackendError(
                f"model '{self.net.file}' answers labels {labels.min()}..{labels.max()}; its card "
                f"has classes 0..{len(self.card.classes) - 1}: add those that are missing"
            )
        masks = masks.reshape(n, *masks.shape[-2:]).astype(np.float32)
        return Answers(
            _corners(boxes.reshape(-1, 4).astype(np.float64), self.output, shown.shape[1:]),
            scores.reshape(-1).astype(np.float32),
            labels,
            special.expit(masks) if self.output.activation == "sigmoid" else masks,
        )

    def _draw(
        self, said: Answers, i: int, tile: tuple[int, ...], picture: tuple[int, ...]
    ) -> tuple[tuple[int, int, int, int], Mask] | None:
        """Return box and mask of an answer in pixels of the tile, None if nothing is left of it."""
        left, top, right, bottom = said.boxes[i].tolist()
        x0, y0 = max(int(np.floor(left)), 0), max(int(np.floor(top)), 0)
        x1, y1 = min(int(np.ceil(right)), tile[1]), min(int(np.ceil(bottom)), tile[0])
        if x0 >= x1 or y0 >= y1:
            return None
        mask = said.masks[i]
        if self.output.mask_frame == "window":
            rows, cols = (0.0, float(picture[0])), (0.0, float(picture[1]))
        else:
            # Around a mask that is cropped to its box there is nothing, as Detectron2 has it.
            mask = np.pad(mask, 1)
            rows, cols = _wider(top, bottom, mask.shape[0]), _wider(left, right, mask.shape[1])
        row_part, row_weights = sampling(mask.shape[0], rows, (y0, y1))
        col_part, col_weights = sampling(mask.shape[1], cols, (x0, x1))
        value = row_weights @ mask[row_part, col_part] @ col_weights.T
        return (x0, y0, x1, y1), value >= _SURE


def _corners(boxes: Floats, output: Instance, size: tuple[int, ...]) -> Floats:
    """Return boxes as corners in pixels of a picture of size (rows, cols)."""
    if output.box_unit == "fraction":
        boxes = boxes * np.array((size[1], size[0]) * 2)
    if output.box_format == "cxcywh":
        half = boxes[:, 2:] / 2
        boxes = np.concatenate((boxes[:, :2] - half, boxes[:, :2] + half), axis=1)
    return boxes


def _wider(start: float, stop: float, count: int) -> tuple[float, float]:
    """Return the frame of a mask that got one more sample at either end."""
    step = (stop - start) / (count - 2)
    return start - step, stop + step


def sampling(
    count: int, frame: tuple[float, float], wanted: tuple[int, int]
) -> tuple[slice, Floats]:
    """Say how to sample a line bilinearly at the centres of pixels.

    Args:
        count: Samples of the line.
        frame: Where the line begins and ends, in pixels; beyond it its ends go on.
        wanted: First pixel, and one past the last.

    Returns:
        The samples that are looked at, and (pixel, sample) weights.
    """
    start, stop = frame
    at = (np.arange(*wanted) + 0.5 - start) * (count / (stop - start)) - 0.5
    at = np.clip(at, 0, count - 1)
    low, high = int(at[0]), min(int(np.ceil(at[-1])) + 1, count)
    return slice(low, high), np.maximum(1 - np.abs(at[:, None] - np.arange(low, high)), 0)
