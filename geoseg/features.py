"""How do a plan and the stored labels become features? In batches, on any worker.

A batch is a stretch of feature numbers. They are counted from the top of the raster, so a batch
needs the tiles of a band of rows and no more, and memory does not depend on the raster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.decide import DROP, PIECE, SeamPlan
from geoseg.detect import Job
from geoseg.polygons import outlines
from geoseg.runs import RUN, Runs, clip, subtract
from geoseg.seams import PAIR, VOICE, Seam, link

BATCH_FEATURES = 4096
"""Most features of a batch."""

BATCH_RUNS = 2**16
"""Most runs of a batch, unless it is a single feature: they decide how much memory it takes."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Features to draw; picklable."""

    first: int
    """Number of the first feature, 0-based."""
    table: NDArray[np.void]
    """(n,) of decide.FEATURE."""
    tiles: tuple[int, ...]
    """Tiles that hold labels of these features."""
    labels: tuple[NDArray[np.void], ...]
    """Per tile, of DRAWN."""
    erase: tuple[tuple[int, int, tuple[int, int, bool]], ...]
    """(tile, label, (tile, label, whole)): the first gives up what the second draws."""


DRAWN = np.dtype([("label", "<i4"), ("feature", "<i4"), ("whole", "?")])
"""A label of a tile, the number of its feature within the batch, 0-based, and how it is drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """What a tile holds, and what it and its neighbours say of each other."""

    facts: NDArray[np.void]
    """(n,) of FACT."""
    seams: tuple[tuple[int, Seam], ...]
    """(later neighbour, what they say)."""
    notes: tuple[str, ...]
    """What the backend said of the tile."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Features in pixels, not yet on the ground; picklable."""

    number: Ints
    """(n,) 1-based, unique in the run."""
    cls: Ints
    """(n,) class index."""
    score: NDArray[np.float64]
    """(n,) mean score, 0..1."""
    n_tiles: Ints
    """(n,) tiles that saw it."""
    seam_iou: NDArray[np.float64]
    """(n,) agreement of the tiles where more than one looked, 0..1; NaN where only one did."""
    outline: NDArray[np.object_]
    """(n,) shapely MultiPolygons in pixel corner coordinates: along pixel edges, as
    `polygons.outlines` gives them, or generalised."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Finished features, in the raster's CRS."""

    number: Ints
    """(n,) 1-based, unique in the run."""
    cls: Ints
    """(n,) class index."""
    score: NDArray[np.float64]
    """(n,) mean score, 0..1."""
    area_ha: NDArray[np.float64]
    """(n,) area on the ellipsoid in hectares, NaN without a CRS."""
    perimeter_m: NDArray[np.float64]
    """(n,) length of all rings on the ellipsoid in metres, NaN without a CRS."""
    n_tiles: Ints
    """(n,) tiles that saw it."""
    seam_iou: NDArray[np.float64]
    """(n,) agreement of the tiles where more than one looked, 0..1; NaN where only one did."""
    geometry: NDArray[np.object_]
    """(n,) shapely MultiPolygons."""
    extra: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """(n,) each: further columns by name. `clipped` (bool), where there is an area of interest:
    whether it reaches the area's edge, where it may go on outside."""


def compare(job: Job, index: int) -> Compared:
    """Compare a tile with each later neighbour."""
    labels = job.store.get(index)
    mine = job.scope(index)
    seams = []
    for other in filter(job.store.wants, job.grid.neighbours(index)) if len(labels.runs) else ():
        theirs = job.store.get(other)
        if len(theirs.runs):
            seams.append((other, link(labels, theirs, mine, job.scope(other), job.is_cover)))
    return Compared(labels.facts, tuple(seams), labels.notes)


def number_labels(
    counts: Sequence[int], seams: Sequence[tuple[int, int, Seam]]
) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Number labels through all tiles.

    Args:
        counts: Labels per tile.
        seams: (tile, tile, what they say).

    Returns:
        All pairs (of PAIR) and voices (of VOICE) with 0-based numbers.
    """
    offset = np.r_[0, np.cumsum(counts)]
    pairs, voices = [np.zeros(0, PAIR)], [np.zeros(0, VOICE)]
    for a, b, seam in seams:
        pair = seam.pairs.copy()
        pair["a"] += offset[a] - 1
        pair["b"] += offset[b] - 1
        pairs.append(pair)
        for tile, heard in ((a, seam.voices_a), (b, seam.voices_b)):
            voice = heard.copy()
            voice["label"] += offset[tile] - 1
            voices.append(voice)
    return np.concatenate(pairs), np.concatenate(voices)


def batches(plan: SeamPlan, counts: Sequence[int]) -> Iterator[Batch]:
    """Cut the features of a plan into batches."""
    offset = np.r_[0, np.cumsum(counts)]
    drawn = np.flatnonzero(plan.draw != DROP)
    drawn = drawn[np.argsort(plan.feature[drawn], kind="stable")]
    of_feature = plan.feature[drawn]
    erase: dict[int, list[int]] = {}
    for loser, winner in plan.erase.tolist():
        erase.setdefault(loser, []).append(winner)

    def place(label: int) -> tuple[int, int]:
        tile = int(np.searchsorted(offset, label, "right")) - 1
        return tile, label - int(offset[tile]) + 1

    for first, stop in pairwise(_cuts(plan.features["runs"])):
        here = drawn[np.searchsorted(of_feature, first) : np.searchsorted(of_feature, stop)]
        tile_of = np.searchsorted(offset, here, "right") - 1
        tiles, labels = [], []
        for tile in np.unique(tile_of).tolist():
            mine = here[tile_of == tile]
            rows = np.zeros(len(mine), DRAWN)
            rows["label"] = mine - offset[tile] + 1
            rows["feature"] = plan.feature[mine] - first
            rows["whole"] = plan.draw[mine] != PIECE
            tiles.append(tile)
            labels.append(rows)
        losses = tuple(
            (*place(loser), (*place(winner), bool(plan.draw[winner] != PIECE)))
            for loser in here.tolist()
            for winner in erase.get(loser, ())
        )
        yield Batch(first, plan.features[first:stop], tuple(tiles), tuple(labels), losses)


def _cuts(runs: Ints) -> list[int]:
    """Return where batches begin, and the end."""
    cuts, since = [0], 0
    for i, count in enumerate(runs.tolist()):
        if i > cuts[-1] and (i - cuts[-1] >= BATCH_FEATURES or since + count > BATCH_RUNS):
            cuts.append(i)
            since = 0
        since += count
    return [*cuts, len(runs)] if len(runs) else []


def draw(job: Job, batch: Batch) -> Drawn:
    """Return the features of a batch: outlines in pixels."""
    runs = [
        _runs_of_tile(job, batch, tile, rows)
        for tile, rows in zip(batch.tiles, batch.labels, strict=True)
    ]
    pixels = outlines(np.concatenate([np.zeros(0, RUN), *runs]), len(batch.table))
    table = batch.table
    with np.errstate(invalid="ignore"):
        seam_iou = np.where(table["union"] > 0, table["inter"] / table["union"], np.nan)
    return Drawn(
        np.arange(len(table)) + batch.first + 1,
        table["cls"].astype(np.int64),
        table["score"],
        table["n_tiles"].astype(np.int64),
        np.round(seam_iou, 4).astype(np.float64),
        pixels,
    )


def place(job: Job, drawn: Drawn) -> Features:
    """Return features on the ground: cut to the area of interest, georeferenced and measured."""
    frame, pixels, extra = job.raster.frame, drawn.outline, {}
    if job.area is not None:
        pixels, extra["clipped"] = job.area.clip(pixels)
    kept = ~shapely.is_empty(pixels)
    pixels = pixels[kept]
    area_m2, perimeter_m = frame.measure(pixels)
    geometry = shapely.set_coordinates(pixels.copy(), frame.to_crs(shapely.get_coordinates(pixels)))
    return Features(
        drawn.number[kept],
        drawn.cls[kept],
        drawn.score[kept],
        area_m2 / 1e4,
        perimeter_m,
        drawn.n_tiles[kept],
        drawn.seam_iou[kept],
        shapely.orient_polygons(geometry, exterior_cw=False),
        {name: values[kept] for name, values in extra.items()},
    )


def draw_and_place(job: Job, batch: Batch) -> Features:
    """Return the features of a batch on the ground."""
    return place(job, draw(job, batch))


def _runs_of_tile(job: Job, batch: Batch, tile: int, rows: NDArray[np.void]) -> Runs:
    """Return a tile's part of a batch's features, labelled by feature, 1-based."""
    labels = job.store.get(tile)
    runs = _of_labels(labels.claimed, rows["label"])
    whole = np.zeros(len(labels.facts) + 1, bool)
    whole[rows["label"]] = rows["whole"]
    as_whole = whole[runs["label"]]
    runs = np.concatenate([runs[as_whole], clip(runs[~as_whole], job.grid[tile].core)])
    for loser_tile, label, winner in batch.erase:
        if loser_tile == tile:
            mine = runs["label"] == label
            runs = np.concatenate([runs[~mine], subtract(runs[mine], _drawn_by(job, *winner))])
    feature = np.zeros(len(labels.facts) + 1, np.int32)
    feature[rows["label"]] = rows["feature"] + 1
    runs["label"] = feature[runs["label"]]
    return runs


def _of_labels(runs: Runs, labels: NDArray[np.integer]) -> Runs:
    """Return a copy of the runs of some labels; runs are sorted by label."""
    wanted = np.zeros(int(runs["label"][-1]) + 1 if len(runs) else 1, bool)
    wanted[labels] = True
    found: Runs = runs[wanted[runs["label"]]]
    return found


def _drawn_by(job: Job, tile: int, label: int, whole: bool) -> Runs:  # noqa: FBT001
    runs = _of_labels(job.store.get(tile).claimed, np.array([label]))
    return runs if whole else clip(runs, job.grid[tile].core)
