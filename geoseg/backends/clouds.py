"""What lies under clouds? Nothing can be said: a wrapper that keeps any backend from guessing.

Pixels that a masker calls cloud or shadow are shown to the backend as not valid, and belong to no
polygon. What is fitted once per run is fitted to the raster as it is, clouds and all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from geoseg.backends import Backend, Fittable
from geoseg.config import DEFAULT_THRESHOLD, DEFAULT_TILE_PX
from geoseg.instances import Instances, Mask
from geoseg.legend import LandClass, Legend
from geoseg.pixels import Pixels
from geoseg.raster import RasterReader

THRESHOLD = 0.5
"""Least evidence that a pixel is cloud or shadow."""

CLOUDS = Legend(
    classes=(
        # One class: a pixel that may be either is neither clear nor, of each, likely enough.
        LandClass(name="cloud", prompts=("cloud", "shadow"), kind="cover", threshold=THRESHOLD),
    )
)
"""What a masker is asked for."""


@dataclass(frozen=True, slots=True)
class Cloudless:
    """A backend that does not see what a masker calls cloud or shadow."""

    backend: Backend
    """Finds the classes of the legend."""
    masker: Backend
    """Knows the words cloud and shadow."""

    @property
    def identity(self) -> str:
        """Both identities."""
        return f"{self.backend.identity} without clouds of {self.masker.identity}"

    @property
    def halo_px(self) -> int:
        """The sum of both: the backend looks at pixels, each of which the masker looks around."""
        return self.backend.halo_px + self.masker.halo_px

    @property
    def usual_threshold(self) -> float:
        """That of the backend."""
        return float(getattr(self.backend, "usual_threshold", DEFAULT_THRESHOLD))

    @property
    def usual_tile_px(self) -> int:
        """That of the backend."""
        return int(getattr(self.backend, "usual_tile_px", DEFAULT_TILE_PX))

    @property
    def wants_rgb(self) -> bool:
        """That of the backend."""
        return bool(getattr(self.backend, "wants_rgb", False))

    def words(self) -> Legend | None:
        """Return the backend's legend where it needs none."""
        found: Legend | None = getattr(self.backend, "words", lambda: None)()
        return found

    def facts(self) -> list[dict[str, Any]]:
        """Return what the output file says of the weights of both."""
        return [f for part in (self.backend, self.masker) for f in getattr(part, "facts", list)()]

    def fit(self, raster: RasterReader, legend: Legend) -> Cloudless:
        """Return the pair with both fitted, as far as they can be.

        Raises:
            BackendError: One of them cannot do what it is asked.
        """
        return Cloudless(
            _fitted(self.backend, raster, legend), _fitted(self.masker, raster, CLOUDS)
        )

    def segment(self, tiles: Sequence[Pixels]) -> list[Instances]:
        """Return the backend's instances, cut to what is clear."""
        clear = [self._clear(tile) for tile in tiles]
        shown = [replace(t, valid=t.valid & c) for t, c in zip(tiles, clear, strict=True)]
        answers = self.backend.segment(shown)
        return [_cut(a, c) for a, c in zip(answers, clear, strict=True)]

    def _clear(self, tile: Pixels) -> Mask:
        """Return which pixels (row, col) of a tile are not known to be cloud or shadow.

        The masker is trusted as far as the backend looks from the pixels that count.
        """
        trust = tile.trust.grow(self.backend.halo_px, tile.window)
        said = self.masker.segment([replace(tile, trust=trust)])[0]
        clear = np.ones(tile.valid.shape, bool)
        for i, (x0, y0, x1, y1) in enumerate(said.boxes.tolist()):
            sure = said.evidence is not None and said.evidence[i] is not None
            if sure or said.scores[i] >= THRESHOLD:
                clear[y0:y1, x0:x1] &= ~said.masks[i]
        return clear


def _fitted(backend: Backend, raster: RasterReader, legend: Legend) -> Backend:
    return backend.fit(raster, legend) if isinstance(backend, Fittable) else backend


def _cut(said: Instances, clear: Mask) -> Instances:
    """Return instances without the pixels that are not clear; some may become empty."""
    boxes = zip(said.boxes.tolist(), said.masks, strict=True)
    return replace(said, masks=[m & clear[y0:y1, x0:x1] for (x0, y0, x1, y1), m in boxes])
