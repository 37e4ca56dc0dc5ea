"""What do all networks that are asked with boxes and points have in common?

SAM and its kin: a family (one file each) encodes pictures and decodes prompts into coarse masks;
here pictures of one size are encoded together, prompts decoded in chunks, and masks made in pixels
of the tile, inside their boxes only. Kirillov et al. 2023, arXiv:2304.02643.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import torch
from torchvision.ops import nms

from geoseg.backends.detections import Detections, Floats, Picture
from geoseg.backends.interpolation import Step
from geoseg.backends.models.asking import Asked, Code, Network, Shape, boxed, pointed, said
from geoseg.backends.models.device import Device, Portions, check_finite, choose
from geoseg.backends.models.embeddings import Embeddings, folder_of
from geoseg.backends.models.encoder import Encoder
from geoseg.backends.models.outlines import room
from geoseg.backends.models.upsampling import Upsampler, extents, tight, upsampler
from geoseg.backends.outlining import Cutout
from geoseg.backends.prompts import Prompt
from geoseg.backends.weights import Weights, locate
from geoseg.config import ModelOptions
from geoseg.window import Window

R = TypeVar("R")

PROMPTS = 32
"""Prompts decoded at once, until the device proves too small."""

SURE, STABLE, OFFSET, SAME_SEGMENT = 0.88, 0.95, 1.0, 0.7
"""Which segments count when nobody says where to look: predicted IoU above, area that remains of
the mask between logits -OFFSET and OFFSET, and IoU of boxes beyond which two are one. Defaults of
the automatic mask generator of segment_anything 1.0."""


_COMPUTING = "torch", "torchvision", "transformers", "timm", "segment-anything", "pillow"
"""Packages that resize pictures and encode them."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known of a family before its network is loaded."""

    name: str
    """Part of `--backend`."""
    load: Callable[[Weights, Device], Network]
    """A function of a module: workers find it by name."""


@dataclass(frozen=True)
class Promptable:
    """A segmenter of one family with its weights; picklable, each process loads them anew."""

    kind: Kind
    weights: Weights
    options: ModelOptions

    def __getstate__(self) -> dict[str, Any]:
        """Leave the network behind."""
        return {k: v for k, v in self.__dict__.items() if k in ("kind", "weights", "options")}

    @property
    def identity(self) -> str:
        """Weights and arithmetic."""
        return f"{self.weights.identity} {choose(self.options).precision}"

    def facts(self) -> list[dict[str, Any]]:
        """Return what the output file says of the weights."""
        return [self.weights.facts()]

    def ready(self) -> Promptable:
        """Return the segmenter with its network loaded.

        Raises:
            BackendError: Weights that are damaged or of another kind, or no place for a cache.
        """
        _ = self._network, self._encoder
        return self

    @property
    def encoded(self) -> int:
        """Pictures encoded so far; those whose embeddings were kept from before do not count."""
        return self._encoder.encoded

    def take_notes(self) -> tuple[str, ...]:
        """Return, once, what happened since the last call."""
        return self._tiles.take_notes() + self._prompts.take_notes()

    def cut(
        self,
        pictures: Sequence[Picture],
        prompts: Sequence[Detections],
        shapes: Sequence[Shape],
    ) -> list[list[Cutout | None]]:
        """Return the mask of every prompt of every picture; None where nothing is there."""

        def answer(code: Code, i: int) -> list[Cutout | None]:
            done: list[Cutout | None] = [None] * len(prompts[i])
            asked, is_point = prompts[i].boxes, prompts[i].is_point
            for which, some in ((~is_point, asked), (is_point, asked[:, :2])):
                index = np.flatnonzero(which).tolist()
                found = self._prompts(partial(self._cut, code, some, shapes[i]), index)
                for k, cutout in zip(index, found, strict=True):
                    done[k] = cutout
            return done

        return self._each(pictures, answer)

    def propose(
        self,
        pictures: Sequence[Picture],
        points: Sequence[Floats],
        shapes: Sequence[Shape],
    ) -> list[list[Cutout]]:
        """Return the segments under points, each once, that the network is sure of."""

        def answer(code: Code, i: int) -> list[Cutout]:
            some = partial(self._propose, code, points[i], shapes[i])
            found = self._prompts(some, range(len(points[i])))
            return _distinct(list(chain.from_iterable(found)))

        return self._each(pictures, answer)

    def look(self, picture: Picture) -> Code:
        """Return what is seen in a picture, encoded or kept from before."""
        with torch.inference_mode():
            (code,) = self._tiles(self._encoder, [picture])
        return code

    def ask(self, seen: Code, prompt: Prompt, shape: Shape) -> list[Cutout]:
        """Return masks that one object may have, the best first.

        The first is what the predictors of the networks' makers choose for the same prompt; masks
        without a pixel are left out. Other than in `cut`, a mask may reach beyond its box: someone
        looks at it. See `asking.said` for what a prompt becomes.

        Args:
            seen: What `look` returned.
            prompt: In pixels of the picture.
            shape: (rows, cols) of the tile the picture shows: what masks are made in.
        """
        asked = said(seen, prompt, self._network.grid)
        if asked is None:
            return []
        ways = [asked]
        if prompt.further and not asked.several:
            # What means one thing to the network's makers may be meant otherwise.
            ways.append(replace(asked, several=True))
        with torch.inference_mode():
            found = self._prompts(partial(self._candidates, seen, shape), ways)
        return list(chain.from_iterable(found))

    @cached_property
    def _network(self) -> Network:
        return self.kind.load(self.weights, choose(self.options))

    @cached_property
    def _encoder(self) -> Encoder:
        return Encoder(lambda: self._network, choose(self.options), self._kept())

    def _kept(self) -> Embeddings | None:
        if self.options.cache is None:
            return None
        place = folder_of(self.options.cache)
        return Embeddings(place, self.options.cache_size, " ".join(self._arithmetic()))

    def _arithmetic(self) -> Iterator[str]:
        """Say all that the bits of an embedding depend on beside the picture."""
        device = choose(self.options)
        yield from (self.weights.family, self.weights.sha256, device.kind, device.precision)
        yield "compiled" if device.compiles else "plain"
        for package in _COMPUTING:
            with suppress(PackageNotFoundError):
                yield f"{package}-{version(package)}"

    @cached_property
    def _tiles(self) -> Portions:
        return Portions(1 << 20, "tile")

    @cached_property
    def _prompts(self) -> Portions:
        return Portions(PROMPTS, "prompt")

    def _each(self, pictures: Sequence[Picture], answer: Callable[[Code, int], R]) -> list[R]:
        """Encode pictures, those of one size together, and answer each from its code."""

        def some(which: Sequence[int]) -> list[R]:
            with torch.inference_mode():
                codes = self._encoder([pictures[i] for i in which])
                return [answer(code, i) for code, i in zip(codes, which, strict=True)]

        done: dict[int, R] = {}
        for shape in dict.fromkeys(p.shape for p in pictures):
            which = [i for i, p in enumerate(pictures) if p.shape == shape]
            done.update(zip(which, self._tiles(some, which), strict=True))
        return [done[i] for i in range(len(pictures))]

    def _decode(self, code: Code, asked: Asked) -> tuple[torch.Tensor, Floats]:
        """Decode prompts; logits in single precision, qualities on the host."""
        device = choose(self.options)
        with device.computing():
            logits, quality = self._network.decode(code.features, asked.on(device))
        sure: Floats = quality.float().cpu().numpy()
        check_finite(sure)
        return logits.float(), sure

    def _candidates(self, code: Code, shape: Shape, ways: Sequence[Asked]) -> list[list[Cutout]]:
        """Return the masks of some ways to ask for one object, each way's surest first."""
        found: list[list[Cutout]] = []
        for asked in ways:
            logits, quality = self._decode(code, asked)
            order = np.argsort(-quality[0], kind="stable").tolist()
            planes = logits[0, order]
            up = _upsampler(code, planes, shape)
            cutouts = (
                _cutout(up, planes[k], up.reach(samples), quality[0, order[k]])
                for k, samples in enumerate(extents(planes, 0))
            )
            found.append([_bounded(cutout) for cutout in cutouts if cutout])
        return found

    def _cut(
        self, code: Code, prompts: Floats, shape: Shape, which: Sequence[int]
    ) -> list[Cutout | None]:
        """Return the best mask of some boxes, or of some points."""
        asked = prompts[list(which)]
        is_box = asked.shape[1] == 4
        logits, quality = self._decode(code, (boxed if is_box else pointed)(code, asked))
        best = quality.argmax(axis=1)
        planes = logits[torch.arange(len(asked)), torch.from_numpy(best)]
        up = _upsampler(code, planes, shape)
        found: list[Cutout | None] = []
        for k, samples in enumerate(extents(planes, 0)):
            window = up.reach(samples)
            if is_box:
                window = window.intersection(room(asked[k], code.picture, up))
            found.append(_cutout(up, planes[k], window, quality[k, best[k]]))
        return [cutout and _bounded(cutout) for cutout in found]

    def _propose(
        self, code: Code, points: Floats, shape: Shape, which: Sequence[int]
    ) -> list[list[Cutout]]:
        """Return the segments under some points that are sure and stable."""
        logits, quality = self._decode(code, pointed(code, points[list(which)]))
        found: list[list[Cutout]] = [[] for _ in which]
        point, level = np.nonzero(quality > SURE)
        planes = logits[torch.from_numpy(point), torch.from_numpy(level)]
        up = _upsampler(code, planes, shape)
        for k, samples in enumerate(extents(planes, -OFFSET)):
            window = up.reach(samples)
            if window.area and _stability(up.values(planes[k], window)) >= STABLE:
                cutout = _cutout(up, planes[k], window, quality[point[k], level[k]])
                found[point[k]] += [cutout] if cutout else []
        return found


def promptable(kind: Kind, argument: str | None, options: ModelOptions) -> Promptable:
    """Find the weights of a family and return its segmenter.

    Raises:
        BackendError: No such weights or device.
    """
    choose(options)
    return Promptable(kind, locate(kind.name, argument, offline=options.offline), options)


def _upsampler(code: Code, planes: torch.Tensor, shape: Shape) -> Upsampler:
    """Return the way from masks through the network's input and the picture to the tile."""
    rows, cols = (
        _steps(planes.shape[1 + k], code.canvas and (code.canvas[k], code.seen[k]), sizes)
        for k, sizes in enumerate(zip(code.picture, shape, strict=True))
    )
    return upsampler(rows, cols, str(planes.device))


def _steps(mask: int, padded: tuple[int, int] | None, sizes: tuple[int, int]) -> tuple[Step, ...]:
    """Return the resizing steps along one axis; sizes are those of picture and tile."""
    picture, tile = sizes
    steps = [(mask, picture, picture)]
    if padded is not None:
        canvas, seen = padded
        steps = [(mask, canvas, seen), (seen, picture, picture)]
    if tile != picture:
        steps.append((picture, tile, tile))
    return tuple(steps)


def _cutout(
    up: Upsampler, plane: torch.Tensor, window: Window, quality: np.float32
) -> Cutout | None:
    if not window.area:
        return None
    inside = tight((up.values(plane, window) > 0).cpu().numpy(), window)
    return None if inside is None else Cutout(*inside, float(quality))


def _stability(logits: torch.Tensor) -> float:
    """Return which share of the pixels that are nearly inside is surely inside."""
    wide = int((logits > -OFFSET).sum())
    return int((logits > OFFSET).sum()) / wide if wide else 0.0


def _distinct(found: Sequence[Cutout]) -> list[Cutout]:
    """Leave out segments whose box a surer one has; several points lie on most segments."""
    boxes = torch.tensor([c.box for c in found], dtype=torch.float32).reshape(-1, 4)
    # The reference measures boxes from the first to the last pixel.
    boxes[:, 2:] -= 1
    kept = nms(boxes, torch.tensor([c.quality for c in found]), SAME_SEGMENT)
    return [_bounded(found[i]) for i in kept.tolist()]


def _bounded(cutout: Cutout) -> Cutout:
    """Return it with a quality in 0..1: SAM's predicted IoU can leave that range."""
    return replace(cutout, quality=min(max(cutout.quality, 0.0), 1.0))
