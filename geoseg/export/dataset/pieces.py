"""Which pixels of which polygon lie in which chip? Runs are cut where chips meet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from geoseg.export.coco import Images
from geoseg.export.sweep import Ints, Runs


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Parts of polygons, each in one chip; by polygon, then by chip."""

    owner: Ints
    """(n,) number of the polygon."""
    chip: Ints
    """(n,) number of the image."""
    stops: Ints
    """(n + 1,) where in the rest the runs of each piece begin, and at last where they end."""
    column: Ints
    """Column of the raster of each run."""
    top: Ints
    """Its first row."""
    bottom: Ints
    """The row after its last."""

    def __len__(self) -> int:
        return len(self.owner)

    def runs(self, number: int) -> tuple[Ints, Ints, Ints]:
        """Return column, top and bottom of the runs of a piece."""
        mine = slice(self.stops[number], self.stops[number + 1])
        return self.column[mine], self.top[mine], self.bottom[mine]

    def of(self, kept: Ints) -> Pieces:
        """Return some of the pieces, by number, in rising order."""
        size = np.diff(self.stops)[kept]
        stops = np.r_[0, np.cumsum(size)]
        take = np.arange(stops[-1]) + np.repeat(self.stops[kept] - stops[:-1], size)
        return Pieces(
            self.owner[kept], self.chip[kept], stops,
            self.column[take], self.top[take], self.bottom[take],
        )  # fmt: skip

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield polygon and image of each piece."""
        yield from zip(self.owner.tolist(), self.chip.tolist(), strict=True)


def pieces_of(runs: Runs, images: Images) -> Pieces:
    """Cut polygons into the chips they hold pixels of.

    Args:
        runs: Of `runs_down`.
        images: The chips; what lies outside of the raster is left out.
    """
    side, frame = images.side_px, images.frame
    top, bottom = np.maximum(runs.start, 0), np.minimum(runs.stop, frame.height)
    inside = (runs.line >= 0) & (runs.line < frame.width) & (top < bottom)
    owner, column, top, bottom = (v[inside] for v in (runs.owner, runs.line, top, bottom))
    count = (bottom - 1) // side - top // side + 1
    run = np.repeat(np.arange(len(top)), count)
    row = np.arange(len(run)) - np.repeat(np.cumsum(count) - count, count) + (top // side)[run]
    top, bottom = np.maximum(top[run], row * side), np.minimum(bottom[run], (row + 1) * side)
    owner, column = owner[run], column[run]
    chip = row * images.across + column // side
    order = np.lexsort((top, column, chip, owner))
    owner, chip = owner[order], chip[order]
    new = np.ones(len(owner), bool)
    new[1:] = (owner[1:] != owner[:-1]) | (chip[1:] != chip[:-1])
    first = np.flatnonzero(new)
    stops = np.r_[first, len(owner)]
    return Pieces(owner[first], chip[first], stops, column[order], top[order], bottom[order])
