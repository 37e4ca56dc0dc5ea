"""How large is each feature, where does it lie, and whom does it touch? Tile by tile.

All sums are of integers over pixels that one tile draws, so their totals do not depend on how the
raster was cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.detect import Job
from geoseg.features import Share, runs_drawn
from geoseg.holes import areas
from geoseg.instances import Labels
from geoseg.patches import border
from geoseg.runs import Runs, clip, fragments, overlaps
from geoseg.units import parse_area
from geoseg.window import Window

Ints = NDArray[np.int64]

EXTENT = np.dtype([("px", "<i8"), ("x", "<i8"), ("y", "<i8"), ("first", "<i8"), ("last_y", "<i8")])
"""Of drawn pixels: their number, the sums of their columns and rows, the first in row-major order
(row << 32 | column), and the last row."""

SPECK = np.dtype([("label", "<i4"), ("y", "<i4"), ("x", "<i4")])
"""A pixel of a connected part of a label that may lie in a hole which would be filled."""

NOTHING = np.array([(0, 0, 0, np.iinfo(np.int64).max, -1)], EXTENT)
"""The extent of what has no pixel."""

SPARE = 1.5
"""How much smaller than a hole's least area a part is taken to be: its pixels' ground area is not
quite that of its first pixel."""


@dataclass(frozen=True, slots=True, eq=False)
class Surveyed:
    """What a tile draws; labels are the tiles' own, 1-based."""

    extents: NDArray[np.void]
    """(labels,) of EXTENT."""
    specks: NDArray[np.void]
    """(k,) of SPECK, where holes are filled."""
    borders: tuple[tuple[int, NDArray[np.void]], ...]
    """(tile, of BORDER): `a` is a label of this tile, `b` one of that; where covers merge. A border
    within the tile has its labels in order."""


def survey(job: Job, share: Share) -> Surveyed:
    """Measure the drawn part of a tile's labels, and the borders to the right and below."""
    labels = job.store.get(share.tile)
    runs = runs_drawn(job, share, labels)
    merges = job.finish.min_area is not None and job.finish.small != "drop"
    return Surveyed(
        _extents(runs, len(labels.facts)),
        _specks(job, runs),
        tuple(_borders(job, share.tile, labels, runs)) if merges and job.legend.exclusive else (),
    )


def _extents(runs: Runs, count: int) -> NDArray[np.void]:
    at = runs["label"] - 1
    x0, x1, y = (runs[name].astype(np.int64) for name in ("x0", "x1", "y"))
    found = np.repeat(NOTHING, count)
    # float64 holds integers up to 2**53 exactly; a tile's sums stay far below.
    found["px"] = np.bincount(at, x1 - x0, count)
    found["x"] = np.bincount(at, (x1 - x0) * (x0 + x1 - 1) // 2, count)
    found["y"] = np.bincount(at, (x1 - x0) * y, count)
    np.minimum.at(found["first"], at, y << 32 | x0)
    np.maximum.at(found["last_y"], at, y)
    return found


def _specks(job: Job, runs: Runs) -> NDArray[np.void]:
    if job.finish.min_hole is None or len(runs) == 0:
        return np.zeros(0, SPECK)
    least = parse_area(job.finish.min_hole)
    count, part = fragments(runs)
    px = np.bincount(part, runs["x1"] - runs["x0"], count).astype(np.int64)
    order = np.lexsort((runs["x0"], runs["y"], part))
    first = runs[order[np.flatnonzero(np.diff(part[order], prepend=-1))]]
    centres = np.column_stack((first["x0"], first["y"])) + 0.5
    small = areas(job.raster.frame, px, centres, least) < SPARE * least.value
    found = np.zeros(int(small.sum()), SPECK)
    found["label"], found["y"], found["x"] = (first[name][small] for name in ("label", "y", "x0"))
    return found


def _borders(
    job: Job, tile: int, labels: Labels, runs: Runs
) -> Iterator[tuple[int, NDArray[np.void]]]:
    mine = _covers(job, labels, runs)
    if len(mine) == 0:
        return
    beside = mine[np.lexsort((mine["x0"], mine["y"]))]
    meet = (beside["x1"][:-1] == beside["x0"][1:]) & (beside["y"][:-1] == beside["y"][1:])
    left, right = beside["label"][:-1][meet], beside["label"][1:][meet]
    upper, lower, edges = _meeting(_shifted(mine, "y"), mine)
    a, b = np.r_[left, upper], np.r_[right, lower]
    apart = a != b
    length = np.r_[np.ones(len(left), np.int64), edges][apart]
    yield tile, border(np.minimum(a, b)[apart], np.maximum(a, b)[apart], length)
    (rows, cols), core = job.grid.shape, job.grid[tile].core
    row, col = divmod(tile, cols)
    if col + 1 < cols:
        strip = Window(core.x1, core.y0, core.x1 + 1, core.y1)
        yield from _across(job, _shifted(mine, "x"), tile + 1, strip)
    if row + 1 < rows:
        strip = Window(core.x0, core.y1, core.x1, core.y1 + 1)
        yield from _across(job, _shifted(mine, "y"), tile + cols, strip)


def _across(
    job: Job, shifted: Runs, other: int, strip: Window
) -> Iterator[tuple[int, NDArray[np.void]]]:
    mine = clip(shifted, strip)
    if len(mine) and job.store.wants(other):
        labels = job.store.get(other)
        # A cover is drawn where its tile's core is, so all of it that lies in the strip is.
        theirs = _covers(job, labels, clip(labels.claimed, strip))
        yield other, border(*_meeting(mine, theirs))


def _covers(job: Job, labels: Labels, runs: Runs) -> Runs:
    cls = labels.facts["cls"][runs["label"] - 1]
    covers: Runs = runs[np.asarray(job.is_cover, bool)[cls]]
    return covers


def _shifted(runs: Runs, axis: str) -> Runs:
    moved = runs.copy()
    for name in ("y",) if axis == "y" else ("x0", "x1"):
        moved[name] += 1
    return moved


def _meeting(a: Runs, b: Runs) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    nobody = np.zeros(max(len(a), len(b)), np.int64)
    met = overlaps(a, b, nobody[: len(a)], nobody[: len(b)])
    return a["label"][met.a], b["label"][met.b], met.px
