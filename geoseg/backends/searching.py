"""How does a detector search tiles, and what if a tile holds more than it can answer?

Detectors answer a fixed number of boxes per picture. One that uses them all up may have missed
objects: the picture is cut in four overlapping parts, and those are searched again, which is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from geoseg.backends.detections import Detections, Detector, Picture, distinct, join
from geoseg.legend import Legend
from geoseg.pixels import Pixels
from geoseg.raster import RasterReader
from geoseg.window import Window

LEAST_PX = 64
"""Pictures are not cut into parts smaller than this."""

DEEPEST = 2
"""Parts of parts, and no further: 16 parts hold 16 times what a model can answer, and a detector
that is always full would search for hours."""

IN_PARTS = "more objects than the model can answer: searched in parts"
EVEN_IN_PARTS = "more objects than the model can answer, even in parts: lower --tile"

_OVERLAP = 8
"""Parts reach over the middle by one of so many parts of the side."""

_AT_EDGE_PX = 2.0
"""A box that ends this close to where a part was cut may be of a larger object."""

Search = Callable[[Sequence[Picture]], list[Detections]]


def quarters(shape: tuple[int, int]) -> tuple[Window, ...]:
    """Return four windows that cover (rows, cols) and overlap in the middle."""
    height, width = shape
    over_y, over_x = height // _OVERLAP, width // _OVERLAP
    rows = ((0, height // 2 + over_y), (height // 2 - over_y, height))
    cols = ((0, width // 2 + over_x), (width // 2 - over_x, width))
    return tuple(Window(x0, y0, x1, y1) for y0, y1 in rows for x0, x1 in cols)


def refine(picture: Picture, found: Detections, search: Search, depth: int = DEEPEST) -> Detections:
    """Search the parts of a picture in which a detector found all it could answer.

    Large objects are kept from the whole picture, small ones come from the parts; what both found
    is kept once.

    Args:
        picture: (row, col, 3) uint8.
        found: What the detector found in the whole picture.
        search: The detector.
        depth: How often parts may be cut into parts.
    """
    parts = quarters(picture.shape[:2])
    if not found.full or depth == 0 or min(min(w.shape) for w in parts) < LEAST_PX:
        return found
    cuts = [picture[w.slices_in(Window(0, 0, *picture.shape[1::-1]))] for w in parts]
    answers = [refine(c, f, search, depth - 1) for c, f in zip(cuts, search(cuts), strict=True)]
    inner = [
        _uncut(answer, window, picture.shape).shift(window.x0, window.y0)
        for answer, window in zip(answers, parts, strict=True)
    ]
    return replace(distinct(join([found, *inner])), full=any(a.full for a in answers))


def _uncut(found: Detections, window: Window, shape: tuple[int, ...]) -> Detections:
    """Leave out boxes at an edge of a part that is not the picture's edge."""
    x0, y0, x1, y1 = found.boxes.T
    cut = (
        ((x0 < _AT_EDGE_PX) & (window.x0 > 0))
        | ((y0 < _AT_EDGE_PX) & (window.y0 > 0))
        | ((x1 > window.width - _AT_EDGE_PX) & (window.x1 < shape[1]))
        | ((y1 > window.height - _AT_EDGE_PX) & (window.y1 < shape[0]))
    )
    kept: Detections = found.take(np.asarray(~cut))
    return kept


@dataclass(frozen=True)
class Searching:
    """A prompter that asks a detector."""

    detector: Detector
    """Finds boxes in pictures."""

    @property
    def identity(self) -> str:
        """That of the detector."""
        return self.detector.identity

    @property
    def usual_threshold(self) -> float:
        """That of the detector."""
        return self.detector.usual_threshold

    def facts(self) -> list[dict[str, Any]]:
        """Return what the output file says of the weights."""
        found: list[dict[str, Any]] = getattr(self.detector, "facts", list)()
        return found

    def take_notes(self) -> list[str]:
        """Return, once, what happened since the last call."""
        return list(getattr(self.detector, "take_notes", list)())

    def fit(self, raster: RasterReader, legend: Legend) -> Searching:  # noqa: ARG002
        """Return one that looks for the classes of the legend.

        Raises:
            BackendError: A prompt it cannot read, or weights that cannot be used.
        """
        return Searching(self.detector.ask(legend))

    def prompt(self, tiles: Sequence[Pixels], pictures: Sequence[Picture]) -> list[Detections]:
        """Return what the detector finds in each picture."""
        del tiles  # a detector sees pictures
        done = []
        for picture, found in zip(pictures, self.detector.detect(pictures), strict=True):
            better = refine(picture, found, self.detector.detect)
            notes = (IN_PARTS,) * (better is not found) + (EVEN_IN_PARTS,) * better.full
            done.append(replace(better, notes=notes))
        return done
