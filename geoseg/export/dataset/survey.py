"""What lies in which chip? Asked of the map, before its raster is read.

A chip whose labels would not be the truth is left out: where tiles failed; where polygons lie of
which nobody has said anything, if only what was accepted counts; where nothing was drawn, of a map
that was drawn by hand: nobody says that nothing is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from geoseg.export.coco import Images
from geoseg.export.cog import in_pixels
from geoseg.export.dataset.pieces import Pieces, pieces_of
from geoseg.export.dataset.split import Ties
from geoseg.export.read import Map
from geoseg.export.sweep import runs_down
from geoseg.recipe import BY_HAND
from geoseg.reviewed import REVIEW, STATES, keeps

USED = 0
"""Of a chip that is not left out."""

FAILED, UNJUDGED, UNDRAWN, UNREADABLE, EMPTY, BETWEEN = range(1, 7)

WHY = {
    FAILED: "where tiles failed",
    UNJUDGED: "with polygons that nobody has judged",
    UNDRAWN: "where nothing was drawn",
    UNREADABLE: "that cannot be read",
    EMPTY: "without data",
    BETWEEN: "between train and val",
}
"""Why a chip is left out; the first that holds counts."""

_INSIDE_PX = 0.25
"""A chip and a failed tile that share no more than that touch, but share no pixel."""

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows of a map, and their pixels."""

    batch: pa.RecordBatch
    """As the map has them."""
    kept: Mask
    """(n,) whether each counts."""
    judged: Mask
    """(n,) whether somebody has said what it is; all, unless only what was accepted counts."""
    pieces: Pieces
    """Their pixels, by chip."""

    @property
    def chips(self) -> Ints:
        """(n,) in how many chips each has pixels."""
        return np.bincount(self.pieces.owner, minlength=self.batch.num_rows)


def rows_of(found: Map, images: Images, only: str | None) -> Iterator[Rows]:
    """Yield the rows of a map, some at a time.

    Args:
        found: The map; with the columns of reviews where `only` is said.
        images: The chips.
        only: Which rows count, of `geoseg.reviewed.ONLY`; all where None.
    """
    for batch in found.batches():
        said = [None] * batch.num_rows if only is None else batch.column(REVIEW).to_pylist()
        kept = np.array([keeps(state, only) for state in said], bool)
        judged = np.array([only != "accepted" or state in STATES for state in said], bool)
        shapes = in_pixels(batch, images.frame)
        yield Rows(batch, kept, judged, pieces_of(runs_down(shapes), images))


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """What is known of the chips."""

    why: NDArray[np.uint8]
    """(n,) why each is left out, of WHY, or USED; what is found out later is noted here."""
    ties: Ties
    """Objects with pixels in several chips."""


def survey(found: Map, images: Images, only: str | None) -> Survey:
    """Look through a map; arguments as `rows_of`."""
    by_hand = BY_HAND in found.made_by().facts
    why = np.full(len(images), UNDRAWN if by_hand else USED, np.uint8)
    objects = [c.name for c in found.legend.classes if c.kind == "object"]
    things, chips, count = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
    for rows in rows_of(found, images, only):
        owner, chip = rows.pieces.owner, rows.pieces.chip
        mine = chip[rows.kept[owner]]
        why[mine[why[mine] == UNDRAWN]] = USED
        # Stays: the rows that follow make only what is not drawn usable.
        why[chip[~rows.judged[owner]]] = UNJUDGED
        named = rows.batch.column("class").to_pylist()
        is_object = np.array([name in objects for name in named], bool)
        tied = rows.kept & is_object & (rows.chips > 1)
        number = np.cumsum(tied) - 1 + count
        things.append(number[owner[tied[owner]]])
        chips.append(chip[tied[owner]])
        count += int(tied.sum())
    why[list(_failed(found, images))] = FAILED
    return Survey(why, Ties(np.concatenate(things), np.concatenate(chips)))


def _failed(found: Map, images: Images) -> Iterator[int]:
    """Yield the chips that share a pixel with a tile that failed."""
    outlines = [outline for *_, outline in found.failed()]
    for outline in shapely.transform(np.array(outlines, object), images.frame.to_pixels):
        for chip in images.touched(outline.bounds):
            w, d = images.window(chip), _INSIDE_PX
            if outline.intersects(shapely.box(w.x0 + d, w.y0 + d, w.x1 - d, w.y1 - d)):
                yield chip
