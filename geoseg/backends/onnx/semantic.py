"""What does a net say of every pixel? Probabilities per class, from the lattice's windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from geoseg.backends.onnx.card import Card, Semantic
from geoseg.backends.onnx.lattice import Lattice
from geoseg.backends.onnx.net import Net
from geoseg.backends.onnx.plan import Plan
from geoseg.backends.regions import Found, answer, regions, whole
from geoseg.errors import BackendError
from geoseg.instances import Instances
from geoseg.pixels import Pixels

Planes = NDArray[np.float32]
"""(class, row, col)."""

_ROUNDING = 1e-3
"""How far rounding may take a probability beyond 0..1."""


@dataclass(frozen=True, slots=True)
class SemanticNet:
    """A net that knows pixels."""

    net: Net
    card: Card
    output: Semantic
    """Of the card."""

    @property
    def lattice(self) -> Lattice:
        """Where its windows lie."""
        return Lattice(self.card.input.size_px, self.card.input.margin_px)

    @property
    def halo_px(self) -> int:
        """How far from a pixel its window reaches."""
        return self.lattice.halo_px

    def check(self) -> None:
        """Run a window of noise: it tells more than declared shapes, which may be free.

        Raises:
            BackendError: The output does not fit the card.
        """
        wanted = self.card.input
        size = (len(wanted.bands), wanted.size_px, wanted.size_px)
        noise = np.random.default_rng(0).normal(0, 2, size).astype(np.float32)
        found = self._probabilities(noise)
        low, high, total = (float(v) for v in (found.min(), found.max(), found.sum(axis=0).max()))
        if not -_ROUNDING <= low <= high <= 1 + _ROUNDING:
            raise BackendError(
                f"model '{self.net.file}' answers {low:.4g}..{high:.4g}, which are no "
                "probabilities; its card says activation = 'none': write 'softmax' or 'sigmoid'"
            )
        if self.output.adds_up and total > 1 + _ROUNDING:
            raise BackendError(
                f"model '{self.net.file}' answers probabilities that add up to {total:.4g}; write "
                "exclusive = false under [output] of its card"
            )

    def segment(self, plan: Plan, tile: Pixels) -> Instances:
        """Return covers, one mask each, and objects, one per connected region."""
        # Regions that only meet outside the trusted window must not become one.
        counted = np.zeros_like(tile.valid)
        inside = tile.trust.slices_in(tile.window)
        counted[inside] = tile.valid[inside]
        objects: list[Found] = []
        covers: list[Found] = []
        planes = self.evidence(plan, tile)
        for cls, (wanted, evidence) in enumerate(zip(plan.classes, planes, strict=True)):
            mask = (evidence >= np.float32(wanted.threshold)) & counted
            if wanted.is_cover:
                covers += whole(cls, mask, evidence)
            else:
                objects += regions(cls, ndimage.label(mask)[0], evidence)
        return answer(objects, covers)

    def evidence(self, plan: Plan, tile: Pixels) -> Planes:
        """Return the probability (class of the legend, row, col) of a tile's trusted pixels.

        Beyond the trusted window, and in cells without data, it is 0.
        """
        out = np.zeros((len(plan.classes), *tile.valid.shape), np.float32)
        for cell, window in self.lattice.cells(tile.trust):
            kept = cell.intersection(tile.trust)
            here = kept.slices_in(tile.window)
            if not tile.valid[here].any():
                continue
            found = self._probabilities(plan.channels.show(tile, window))
            mine = found[:, *kept.slices_in(window)]
            for plane, wanted in zip(out, plan.classes, strict=True):
                plane[here] = self._any(mine[list(wanted.members)])
        return out

    def _any(self, planes: Planes) -> NDArray[np.float32]:
        """Return the probability (row, col) that a pixel is of any of some classes."""
        total = planes.sum(axis=0) if self.output.adds_up else planes.max(axis=0)
        # NaN is a net's way of not knowing.
        kept: NDArray[np.float32] = np.clip(np.nan_to_num(total, nan=0.0), 0, 1)
        return kept

    def _probabilities(self, shown: NDArray[np.float32]) -> Planes:
        """Return what the net says (class of the net, row, col) of one window (channel, row, col).

        Raises:
            BackendError: The output does not fit the card.
        """
        layout = self.card.input.layout
        raw = self.net.run(shown, [self._output_name()])[0]
        planes = raw.astype(np.float32)
        if raw.ndim == len(layout):
            planes = planes[0] if layout.startswith("N") else planes
            planes = np.moveaxis(planes, -1, 0) if layout.endswith("HWC") else planes
        if planes.shape != (len(self.card.classes), *shown.shape[1:]):
            raise BackendError(
                f"model '{self.net.file}' answers {raw.shape} in layout {layout}; its card has "
                f"{len(self.card.classes)} classes and a window of {shown.shape[1]} px: correct "
                "the card, or export the model with an output as large as its input"
            )
        if self.output.activation == "softmax":
            planes = special.softmax(planes, axis=0)
        elif self.output.activation == "sigmoid":
            planes = special.expit(planes)
        return planes

    def _output_name(self) -> str:
        names, asked = self.net.outputs, self.output.name
        if asked is None and len(names) == 1:
            return names[0]
        if asked not in names:
            raise BackendError(
                f"model '{self.net.file}' has outputs {', '.join(names)}; its card asks for "
                f"{asked or 'none of them'}: write name = '{names[0]}' under [output]"
            )
        return asked
