"""What lies around a click or in a box, when there are no weights? A region by colour and edges.

Before anybody points, the picture becomes a tree of nested regions (seen.py). A click chooses among
those around it (choosing.py), further clicks correct (pieces.py); a box or a rough mask is cut out
of its surroundings (cutting.py); what is drawn is in one piece (drawing.py). No randomness: the
same picture and prompt give the same answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geoseg.backends.detections import Detections, Picture
from geoseg.backends.growing.asked import Asked, asked
from geoseg.backends.growing.cutting import cut_out
from geoseg.backends.growing.drawing import drawn
from geoseg.backends.growing.pieces import corrected, first_regions
from geoseg.backends.growing.seen import Region, Seen, see
from geoseg.backends.outlining import Cutout
from geoseg.backends.prompts import Prompt

CANDIDATES = 8
"""At most so many masks answer a prompt."""


@dataclass(frozen=True)
class Grow:
    """A segmenter without weights."""

    @property
    def identity(self) -> str:
        """Changes when the same prompt may be answered otherwise."""
        return "grow 1"

    def ready(self) -> Grow:
        """Return itself: there is nothing to load."""
        return self

    def look(self, picture: Picture) -> Seen:
        """Return the regions of a picture."""
        return see(picture)

    def ask(self, seen: Seen, prompt: Prompt, shape: tuple[int, int]) -> list[Cutout]:
        """Return masks that one object may have, the best first.

        They hold every point that lies in the object and none that does not. A mask stays in the
        box, which is made wider where points in the object lie beyond it, and ends near the edge of
        a rough mask. What of a prompt lies outside of the picture is not heeded.

        Args:
            seen: What `look` returned.
            prompt: In pixels of the picture.
            shape: (rows, cols) of the tile the picture shows: what masks are made in.
        """
        said = asked(prompt, seen.shape)
        return [] if said is None else self._answers(seen, said, shape, CANDIDATES)

    def cut(
        self,
        pictures: Sequence[Picture],
        prompts: Sequence[Detections],
        shapes: Sequence[tuple[int, int]],
    ) -> list[list[Cutout | None]]:
        """Return the mask of every prompt of every picture; None where nothing is there."""
        return [
            self._cut(see(picture), found, shape)
            for picture, found, shape in zip(pictures, prompts, shapes, strict=True)
        ]

    def _cut(self, seen: Seen, found: Detections, shape: tuple[int, int]) -> list[Cutout | None]:
        answers: list[Cutout | None] = []
        for box, is_point in zip(found.boxes, found.is_point.tolist(), strict=True):
            point = Prompt(points=box[None, :2], positive=np.array((True,)))
            said = asked(point if is_point else Prompt(box=box), seen.shape)
            answer = [] if said is None else self._answers(seen, said, shape, 1)
            answers.append(answer[0] if answer else None)
        return answers

    def _answers(self, seen: Seen, said: Asked, shape: tuple[int, int], count: int) -> list[Cutout]:
        framed = said.box is not None or said.mask is not None
        starts = cut_out(seen, said)[:count] if framed else []
        if not starts and said.inside:
            starts = first_regions(seen, said.inside[0], count)
        regions: list[Region] = []
        for start in starts:
            region = corrected(seen, start, said.points)
            if not any(np.array_equal(region.leaves, other.leaves) for other in regions):
                regions.append(region)
        masks = [drawn(seen, region, said, shape) for region in regions]
        return [mask for mask in masks if mask is not None]
