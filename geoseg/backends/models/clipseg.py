"""CLIPSeg: a heat map per phrase. Coarse outlines, but of anything, and good for covers.

Lüddecke & Ecker 2022, arXiv:2112.10003. It looks at 352 x 352 pixels, to which the picture is
stretched: tiles of that size are seen as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from geoseg.backends.detections import Picture
from geoseg.backends.models.device import Portions, check_finite, choose
from geoseg.backends.models.loading import Classes, Remembering, load, prepared
from geoseg.backends.models.upsampling import upsampler
from geoseg.backends.phrases import Phrase, passes, phrases
from geoseg.backends.pictures import View
from geoseg.backends.prompted import noted
from geoseg.backends.regions import Found, Plane, answer, regions, whole
from geoseg.backends.weights import Weights, locate
from geoseg.config import ModelOptions
from geoseg.errors import BackendError
from geoseg.instances import Instances
from geoseg.legend import LandClass, Legend
from geoseg.pixels import Pixels
from geoseg.raster import RasterReader

_CLASSES = Classes(
    ("clipseg",),
    "CLIPSegConfig",
    "CLIPSegForImageSegmentation",
    "ViTImageProcessor",
    "CLIPTokenizer",
)

USUAL_THRESHOLD = 0.3
"""Its makers recommend none; users commonly cut at 0.3 to 0.5."""

PICTURE_PX = 352
"""Side of the pictures it was trained on."""


@dataclass(frozen=True, slots=True, eq=False)
class _Loaded:
    """Network, image processor and tokenizer."""

    network: Any
    pictures: Any
    words: Any


@dataclass(frozen=True)
class CLIPSeg:
    """A backend with its weights; picklable, each process loads them anew."""

    weights: Weights
    options: ModelOptions
    view: View = View(side_px=PICTURE_PX)
    """What it is shown; fitted by `fit`."""
    legend: Legend | None = None
    """Set by `fit`."""

    def __getstate__(self) -> dict[str, Any]:
        """Leave the network behind."""
        own = ("weights", "options", "view", "legend")
        return {k: v for k, v in self.__dict__.items() if k in own}

    @property
    def identity(self) -> str:
        """Weights, arithmetic, and what is shown."""
        return f"{self.weights.identity} {choose(self.options).precision}{self.view}"

    @property
    def halo_px(self) -> int:
        """Width of the edge of a tile that is not trusted, in pixels of the raster."""
        return self.view.halo_px

    @property
    def usual_tile_px(self) -> int:
        """Side of the tile that is seen pixel by pixel."""
        return self.view.tile_px

    @property
    def usual_threshold(self) -> float:
        """Least evidence, where the user gives none."""
        return USUAL_THRESHOLD

    @property
    def wants_rgb(self) -> bool:
        """Yes: every tile is looked at as a picture."""
        return True

    def facts(self) -> list[dict[str, Any]]:
        """Return what the output file says of the weights."""
        return [self.weights.facts()]

    def fit(self, raster: RasterReader, legend: Legend) -> CLIPSeg:
        """Return the backend with weights loaded and prompts read.

        Raises:
            BackendError: Weights or prompts that cannot be used, or a raster without ground size.
        """
        fitted = replace(self, view=self.view.fit(raster), legend=legend)
        fitted.__dict__["_loaded"] = self._loaded
        _ = fitted.asked
        return fitted

    def segment(self, tiles: Sequence[Pixels]) -> list[Instances]:
        """Return covers whole and objects by region, with the evidence of each pixel."""
        classes = self._fitted.classes
        planes = self.evidence(
            [self.view.of(tile) for tile in tiles], [t.window.shape for t in tiles]
        )
        answers = [_segment(p, tile, classes) for p, tile in zip(planes, tiles, strict=True)]
        return noted(answers, [self._portions])

    def evidence(
        self, pictures: Sequence[Picture], shapes: Sequence[tuple[int, int]]
    ) -> list[Plane]:
        """Return, for each picture, (class, row, col) of 0..1 in pixels of its tile."""
        heat = self._portions(self._look, list(pictures))
        return [self._upsampled(h, shape) for h, shape in zip(heat, shapes, strict=True)]

    @property
    def _fitted(self) -> Legend:
        if self.legend is None:
            raise BackendError("backend 'clipseg' is not fitted; call fit(raster, legend) first")
        return self.legend

    @cached_property
    def _portions(self) -> Portions:
        return Portions(1 << 20, "tile")

    @cached_property
    def _loaded(self) -> _Loaded:
        device = choose(self.options)
        network, pictures, words = load(self.weights, _CLASSES, device)
        # The network encodes the picture anew for each phrase; here it does so once.
        network.clip.vision_model = Remembering(device.tune(network.clip.vision_model))
        return _Loaded(network, pictures, words)

    @cached_property
    def asked(self) -> list[tuple[int, torch.Tensor]]:
        """Class and (1, width) embedding of each phrase."""
        network, words = self._loaded.network, self._loaded.words
        most = int(network.config.text_config.max_position_embeddings)

        def fits(some: Sequence[Phrase]) -> bool:
            return len(some) == 1 and len(words(some[0].text)["input_ids"]) <= most

        return [
            (phrase.cls, self._embedding(phrase.text))
            for (phrase,) in passes(phrases(self._fitted), fits)
        ]

    def _embedding(self, text: str) -> torch.Tensor:
        tokens = self._loaded.words([text], return_tensors="pt")
        sent = {k: choose(self.options).send(tokens[k]) for k in ("input_ids", "attention_mask")}
        with torch.inference_mode():
            found: torch.Tensor = self._loaded.network.get_conditional_embeddings(1, **sent)
            return found

    def _look(self, pictures: Sequence[Picture]) -> list[torch.Tensor]:
        """Return (class, row, col) of 0..1 of each picture, as coarse as the network sees it."""
        device = choose(self.options)
        given = prepared(self._loaded.pictures, pictures, device)
        heat: dict[int, torch.Tensor] = {}
        with torch.inference_mode(), device.computing():
            for cls, embedding in self.asked:
                seen = self._loaded.network(
                    pixel_values=given["pixel_values"],
                    conditional_embeddings=embedding.expand(len(pictures), -1),
                ).logits.float()
                # Any prompt of a class will do.
                heat[cls] = torch.maximum(heat[cls], seen) if cls in heat else seen
        planes = torch.stack([heat[cls] for cls in sorted(heat)], dim=1).sigmoid()
        return list(planes)

    def _upsampled(self, heat: torch.Tensor, shape: tuple[int, int]) -> Plane:
        rows, cols = (
            ((size, pixels, pixels),) for size, pixels in zip(heat.shape[1:], shape, strict=True)
        )
        up = upsampler(rows, cols, str(heat.device))
        with torch.inference_mode():
            planes: Plane = up.values(heat, up.whole).clamp(0, 1).cpu().numpy()
        check_finite(planes)
        return planes


def _segment(planes: Plane, tile: Pixels, classes: Sequence[LandClass]) -> Instances:
    # Regions that only meet outside the trusted window must not become one.
    counted = np.zeros_like(tile.valid)
    inside = tile.trust.slices_in(tile.window)
    counted[inside] = tile.valid[inside]
    objects: list[Found] = []
    covers: list[Found] = []
    for cls, (land_class, evidence) in enumerate(zip(classes, planes, strict=True)):
        mask = counted & (evidence >= np.float32(land_class.threshold or 0.0))
        if land_class.kind == "cover":
            covers += whole(cls, mask, evidence)
        else:
            objects += regions(cls, ndimage.label(mask)[0], evidence)
    return answer(objects, covers)


def clipseg(argument: str | None, options: ModelOptions) -> CLIPSeg:
    """Return CLIPSeg with these weights.

    Raises:
        BackendError: No such weights or device.
    """
    choose(options)
    weights = locate("clipseg", argument, offline=options.offline)
    return CLIPSeg(weights, options, View(options.gsd, PICTURE_PX))
