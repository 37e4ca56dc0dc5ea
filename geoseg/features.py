"""How do a plan and the stored labels become features? In batches, on any worker.

A batch is a stretch of feature numbers. They are counted from the top of the raster, so a batch
needs the tiles of a band of rows and no more, and memory does not depend on the raster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.decide import DROP, PIECE, SeamPlan
from geoseg.detect import Job
from geoseg.holes import Inside, fill
from geoseg.instances import Labels
from geoseg.polygons import outlines
from geoseg.regularise import regularise
from geoseg.reread import known, reread
from geoseg.runs import RUN, Runs, clip, subtract
from geoseg.seams import PAIR, VOICE, Seam, link
from geoseg.truncated import truncated
from geoseg.units import parse_area

BATCH_FEATURES = 4096
"""Most features of a batch."""

BATCH_RUNS = 2**16
"""Most runs of a batch, unless it is a single feature: they decide how much memory it takes."""

Ints = NDArray[np.int64]


DRAWN = np.dtype([("label", "<i4"), ("feature", "<i4"), ("whole", "?")])
"""A label of a tile, the number of its feature within the batch, 0-based, and how it is drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """What is drawn of one tile; picklable."""

    tile: int
    labels: NDArray[np.void]
    """(n,) of DRAWN."""
    erase: tuple[tuple[int, tuple[int, int, bool]], ...]
    """(label, (tile, label, whole)): the first gives up what the second draws."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Features to draw; picklable."""

    first: int
    """Number of the first feature, 0-based."""
    table: NDArray[np.void]
    """(n,) of decide.FEATURE."""
    shares: tuple[Share, ...]
    """Of the tiles that hold labels of these features."""
    anchors: NDArray[np.void] | None
    """(k,) of ANCHOR: what keeps holes open; None where none is filled."""


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
    extra: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """(n,) each: further columns that are known from pixel edges only."""
    regular: Mapping[int, shapely.MultiPolygon] = field(default_factory=dict)
    """By place, for every feature of the classes that are to have right angles: such an outline, of
    which it is not known if it is in another's way; its own where none fits."""
    filled: int = 0
    """Holes that were filled."""


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
    """(n,) each: further columns by name, see columns.py. `clipped` (bool), where there is an area
    of interest: whether it reaches the area's edge, where it may go on outside."""
    filled: int = 0
    """Holes that were filled."""


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


def batches(plan: SeamPlan, counts: Sequence[int], inside: Inside | None = None) -> Iterator[Batch]:
    """Cut the features of a plan into batches.

    Args:
        plan: Of all features.
        counts: Labels per tile.
        inside: What keeps holes open; None where none is filled.
    """
    sharing = _Sharing(plan, counts)
    drawn = sharing.drawn[np.argsort(plan.feature[sharing.drawn], kind="stable")]
    of_feature = plan.feature[drawn]
    for first, stop in pairwise(_cuts(plan.features["runs"])):
        here = drawn[np.searchsorted(of_feature, first) : np.searchsorted(of_feature, stop)]
        yield Batch(
            first,
            plan.features[first:stop],
            tuple(sharing.of(here, plan.feature[here] - first)),
            None if inside is None else inside.of(first, stop),
        )


def shares(plan: SeamPlan, counts: Sequence[int], tiles: Sequence[int]) -> Iterator[Share]:
    """Yield all that is drawn of each of these tiles; labels take the place of features."""
    sharing = _Sharing(plan, counts)
    nothing = np.zeros(0, DRAWN)
    for tile in tiles:
        first, stop = np.searchsorted(sharing.drawn, sharing.offset[tile : tile + 2])
        here = sharing.drawn[first:stop]
        yield from sharing.of(here, here - sharing.offset[tile]) or [Share(tile, nothing, ())]


class _Sharing:
    """Sorts the drawn labels of a plan by tile."""

    def __init__(self, plan: SeamPlan, counts: Sequence[int]) -> None:
        self.offset = np.r_[0, np.cumsum(counts)]
        self.drawn = np.flatnonzero((plan.draw != DROP) & (plan.feature >= 0))
        self._whole = plan.draw != PIECE
        self._erase: dict[int, list[int]] = {}
        for loser, winner in plan.erase.tolist():
            self._erase.setdefault(loser, []).append(winner)

    def of(self, labels: Ints, feature: NDArray[np.integer]) -> list[Share]:
        """Return the shares of these labels, each with the number of its feature."""
        tile_of = np.searchsorted(self.offset, labels, "right") - 1
        return [
            self._share(tile, labels[tile_of == tile], feature[tile_of == tile])
            for tile in np.unique(tile_of).tolist()
        ]

    def _share(self, tile: int, labels: Ints, feature: NDArray[np.integer]) -> Share:
        rows = np.zeros(len(labels), DRAWN)
        rows["label"] = labels - self.offset[tile] + 1
        rows["feature"] = feature
        rows["whole"] = self._whole[labels]
        erase = tuple(
            (int(loser - self.offset[tile]) + 1, self._place(winner))
            for loser in labels.tolist()
            for winner in self._erase.get(loser, ())
        )
        return Share(tile, rows, erase)

    def _place(self, label: int) -> tuple[int, int, bool]:
        tile = int(np.searchsorted(self.offset, label, "right")) - 1
        return tile, label - int(self.offset[tile]) + 1, bool(self._whole[label])


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
    runs = [runs_drawn(job, share, job.store.get(share.tile)) for share in batch.shares]
    pixels = outlines(np.concatenate([np.zeros(0, RUN), *runs]), len(batch.table))
    table, filled = batch.table, 0
    if batch.anchors is not None and job.finish.min_hole is not None:
        coverage = np.array(job.legend.coverages)[table["cls"]]
        least = parse_area(job.finish.min_hole)
        pixels, filled = fill(pixels, coverage, batch.anchors, least, job.raster.frame)
    with np.errstate(invalid="ignore"):
        seam_iou = np.where(table["union"] > 0, table["inter"] / table["union"], np.nan)
    return Drawn(
        np.arange(len(table)) + batch.first + 1,
        table["cls"].astype(np.int64),
        table["score"],
        table["n_tiles"].astype(np.int64),
        np.round(seam_iou, 4).astype(np.float64),
        pixels,
        {"truncated": _truncated(job, pixels)} if "truncated" in job.columns.asked else {},
        filled=filled,
    )


def _truncated(job: Job, pixels: NDArray[np.object_]) -> NDArray[np.bool_]:
    asked = pixels if job.area is None else job.area.clip(pixels)[0]
    return truncated(asked, job.raster.frame.window, partial(known, job))


def place(job: Job, drawn: Drawn) -> Features:
    """Return features on the ground: cut to the area of interest, georeferenced and measured."""
    frame, pixels, extra = job.raster.frame, drawn.outline, dict(drawn.extra)
    if job.area is not None:
        pixels, extra["clipped"] = job.area.clip(pixels)
    kept = ~shapely.is_empty(pixels)
    pixels = pixels[kept]
    area_m2, perimeter_m = frame.measure(pixels)
    extra = {name: values[kept] for name, values in extra.items()}
    extra |= job.columns.means(pixels, frame.window, partial(reread, job))
    if "compactness" in job.columns.asked:
        extra["compactness"] = 4 * np.pi * area_m2 / perimeter_m**2
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
        extra,
        drawn.filled,
    )


def squared(job: Job, drawn: Drawn) -> Drawn:
    """Return features with right-angled outlines beside those of pixels, where they are asked."""
    asked = np.flatnonzero(job.finish.is_regular(job.legend)[drawn.cls])
    outline = drawn.outline.copy()
    # A map that was generalised has points on edges, where others end on them.
    parts, owner = shapely.get_parts(shapely.simplify(outline[asked], 0.0), return_index=True)
    outline[asked] = shapely.multipolygons(parts, indices=owner)
    shapes = regularise(outline[asked], job.raster.frame)
    return replace(drawn, outline=outline, regular=dict(zip(asked.tolist(), shapes, strict=True)))


def draw_squared(job: Job, batch: Batch) -> Drawn:
    """Return the features of a batch: outlines in pixels, and right-angled ones beside them."""
    return squared(job, draw(job, batch))


def draw_and_place(job: Job, batch: Batch) -> Features:
    """Return the features of a batch on the ground."""
    return place(job, draw(job, batch))


def runs_drawn(job: Job, share: Share, labels: Labels) -> Runs:
    """Return what is drawn of a tile, labelled by feature, 1-based."""
    rows = share.labels
    runs = _of_labels(labels.claimed, rows["label"])
    whole = np.zeros(len(labels.facts) + 1, bool)
    whole[rows["label"]] = rows["whole"]
    as_whole = whole[runs["label"]]
    runs = np.concatenate([runs[as_whole], clip(runs[~as_whole], job.grid[share.tile].core)])
    for label, winner in share.erase:
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
