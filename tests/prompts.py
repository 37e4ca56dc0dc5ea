"""Perfect detectors and segmenters: they know objects by their colour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from affine import Affine
from scenes import GEOREF, UTM
from scipy import ndimage

from geoseg import ArrayRaster
from geoseg.backends.detections import Detections
from geoseg.backends.outlining import Cutout
from geoseg.backends.prompts import Prompt


def coloured(ids: np.ndarray, transform: Affine = GEOREF, crs: str | None = UTM) -> ArrayRaster:
    """Return a raster in which every object has a colour of its own."""
    bands = np.stack([ids % 256, ids // 256 % 256, ids * 0]).astype(np.uint8)
    return ArrayRaster(bands, None, transform, crs, {"red": 1, "green": 2, "blue": 3})


def numbers(picture: np.ndarray) -> np.ndarray:
    """Return object numbers (row, col) of a picture."""
    return picture[..., 0] + 256 * picture[..., 1].astype(np.int32)


def bright(picture: np.ndarray) -> np.ndarray:
    """Return a number for everything bright that hangs together."""
    ids: np.ndarray = ndimage.label(picture[..., 0] > 100)[0]
    return ids


@dataclass
class Boxes:
    """A detector that boxes every object of a picture."""

    classes: tuple[int, ...]
    """Class of object 1, 2, ..."""
    scores: tuple[float, ...] = ()
    """Of object 1, 2, ...; 0.9 where empty."""
    see: Callable[[np.ndarray], np.ndarray] = numbers
    """Gives object numbers of a picture."""
    twice: bool = False
    """Whether it says everything again, a little shifted and less sure, and as another class."""
    identity: str = "boxes"
    usual_threshold: float = 0.25
    asked: list[object] = field(default_factory=list)

    def ask(self, legend):
        self.asked.append(legend)
        return self

    def detect(self, pictures):
        return [self.one(self.see(p)) for p in pictures]

    def one(self, ids: np.ndarray) -> Detections:
        boxes, classes, scores = [], [], []
        for number, place in enumerate(ndimage.find_objects(ids), 1):
            if place is None:
                continue
            rows, cols = place
            box = (cols.start, rows.start, cols.stop, rows.stop)
            score = self.scores[number - 1] if self.scores else 0.9
            cls = self.classes[number - 1]
            boxes.append(box)
            classes.append(cls)
            scores.append(score)
            if self.twice:
                boxes += [tuple(v + 0.2 for v in box), box]
                classes += [cls, 1 - cls]
                scores += [score - 0.1, score - 0.2]
        return Detections(
            np.array(boxes, np.float32).reshape(-1, 4),
            np.array(classes, np.int32),
            np.array(scores, np.float32),
        )


@dataclass
class Outlines:
    """A segmenter that outlines the object under the middle of a box, or under a point."""

    identity: str = "outlines"
    quality: float = 0.7
    see: Callable[[np.ndarray], np.ndarray] = numbers
    """Gives object numbers of a picture."""
    encoded: list[tuple[int, ...]] = field(default_factory=list)
    """Shapes of the pictures it has looked at."""
    decoded: list[int] = field(default_factory=list)
    """Boxes per picture."""

    def ready(self):
        return self

    def cut(self, pictures, prompts, shapes):
        return [self.one(*args) for args in zip(pictures, prompts, shapes, strict=True)]

    def one(self, picture, prompts, shape):
        self.encoded.append(picture.shape[:2])
        self.decoded.append(len(prompts))
        ids = self.see(picture)
        factor = shape[0] // picture.shape[0] or 1
        ids = np.kron(ids, np.ones((factor, factor), np.int32)) if factor > 1 else ids
        return [self.cutout(ids, box * shape[0] / picture.shape[0]) for box in prompts.boxes]

    def cutout(self, ids: np.ndarray, box: np.ndarray) -> Cutout | None:
        x0, y0 = np.floor(box[:2] + 1e-3).astype(int)
        x1, y1 = np.maximum(np.ceil(box[2:] - 1e-3).astype(int), (x0 + 1, y0 + 1))
        shown = ids[y0:y1, x0:x1]
        counts = np.bincount(shown[shown > 0]) if (shown > 0).any() else np.zeros(1, int)
        if counts.sum() == 0:
            return None
        place = ndimage.find_objects((ids == counts.argmax()).astype(np.int8))[0]
        rows, cols = place
        mask = ids[place] == counts.argmax()
        return Cutout((cols.start, rows.start, cols.stop, rows.stop), mask, self.quality)


@dataclass
class Knowing:
    """A segmenter to be asked by hand: it knows what hangs together and has one colour."""

    identity: str = "knowing 1"
    looks: int = 0
    asked: list[Prompt] = field(default_factory=list)
    fail: Exception | None = None

    def ready(self):
        return self

    def look(self, picture):
        self.looks += 1
        if self.fail is not None:
            raise self.fail
        return numbers(picture)

    def ask(self, seen, prompt: Prompt, shape):
        """Return what is pointed at; of a box or a mask what fills most of it."""
        self.asked.append(prompt)
        assert seen.shape == shape
        mask = np.zeros(shape, bool)
        for (x, y), positive in zip(prompt.points.astype(int), prompt.positive, strict=True):
            if positive:
                mask |= self.part(seen, x, y)
        if not prompt.positive.any():
            there = prompt.mask
            if there is None:
                x0, y0, x1, y1 = np.rint(prompt.box).astype(int)
                there = np.zeros(shape, bool)
                there[y0:y1, x0:x1] = True
            numbers_there = np.bincount(seen[there])
            numbers_there[0] = 0
            most = np.argwhere(there & (seen == numbers_there.argmax()))
            mask = self.part(seen, *most[0][::-1]) if numbers_there.any() else mask
        for (x, y), positive in zip(prompt.points.astype(int), prompt.positive, strict=True):
            if not positive:
                mask &= ~self.part(seen, x, y)
        places = ndimage.find_objects(mask.astype(int))
        if not places:
            return []
        rows, cols = places[0]
        return [Cutout((cols.start, rows.start, cols.stop, rows.stop), mask[rows, cols], 0.9)]

    def part(self, seen, x, y):
        parts, _ = ndimage.label(seen == seen[y, x])
        return (parts == parts[y, x]) & (seen > 0)
