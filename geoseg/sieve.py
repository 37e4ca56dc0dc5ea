"""Which features are large enough for the map, and what becomes of the others?

Comes after tiles have become features and before these are drawn, on features as a whole: so the
answer is the same however the raster was cut.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from geoseg.config import Finish
from geoseg.decide import FEATURE, SeamPlan
from geoseg.detect import Job
from geoseg.errors import ConfigError
from geoseg.executors import Executor, surely
from geoseg.features import shares
from geoseg.frame import Frame
from geoseg.holes import ANCHOR, ANY, Inside, areas
from geoseg.instances import SCORE_STEPS
from geoseg.patches import BORDER, GONE, Patches, border, settle
from geoseg.survey import NOTHING, SPARE, SPECK, Surveyed, survey
from geoseg.units import Size, parse_area

Ints = NDArray[np.int64]

_HELD = 2**20
"""Borders that are held before those between the same features are summed."""


@dataclass(frozen=True, slots=True, eq=False)
class Sieved:
    """What is drawn."""

    plan: SeamPlan
    """With fewer features; numbered by first pixel in row-major order, then class, as before."""
    inside: Inside | None
    """What keeps holes open; None where none is filled."""
    small: Mapping[str, int] = field(default_factory=dict)
    """How many features below the least area were `merged` into neighbours or `dropped`; empty
    where there is no least area."""


def check_sizes(finish: Finish, frame: Frame) -> None:
    """Refuse areas on the ground where nobody knows how large a pixel is there.

    Raises:
        ConfigError: The raster has no CRS.
    """
    for option, value in (("--min-area", finish.min_area), ("--min-hole", finish.min_hole)):
        if value is not None:
            try:
                parse_area(value).in_pixels(frame.gsd_m, 2)
            except ConfigError as error:
                raise ConfigError(f"{option}: {error}") from error


def sieve(
    job: Job,
    executor: Executor,
    tell: Callable[[int, int], None],
    plan: SeamPlan,
    counts: Sequence[int],
) -> Sieved:
    """Merge or drop small features, and gather what keeps holes open.

    Args:
        job: Says what is too small.
        executor: Looks at the tiles once more.
        tell: Called with tiles done, and of how many.
        plan: Of all features.
        counts: Labels per tile.
    """
    if job.finish.min_area is None and job.finish.min_hole is None:
        return Sieved(plan, None)
    found = _Survey(plan, counts)
    tiles = job.store.tiles
    tell(0, len(tiles))
    surveyed = surely(executor, survey, shares(plan, counts, tiles))
    for step, (tile, said) in enumerate(zip(tiles, surveyed, strict=True), 1):
        found.add(tile, said)
        tell(step, len(tiles))
    home, small = _homes(job, plan, found)
    left, extents = _regroup(plan, home, found.extents)
    if job.finish.min_hole is None:
        return Sieved(left, None, small)
    least = parse_area(job.finish.min_hole)
    # A cover is connected: if it is large it lies in no small hole, and no part of it does.
    whole = np.asarray(job.is_cover, bool)[left.features["cls"]]
    too_large = whole & (_areas(job, extents, least) >= SPARE * least.value)
    rows = np.column_stack((extents["first"] >> 32, extents["last_y"]))
    return Sieved(left, Inside(_anchors(job, left, found.specks(left), too_large), rows), small)


class _Survey:
    """What all tiles say, by feature."""

    def __init__(self, plan: SeamPlan, counts: Sequence[int]) -> None:
        self._plan = plan
        self._offset = np.r_[0, np.cumsum(counts)]
        self.extents = np.repeat(NOTHING, len(plan.features))
        self._borders = [np.zeros(0, BORDER)]
        self._specks: list[tuple[Ints, NDArray[np.void]]] = []
        self._held = 0

    def add(self, tile: int, said: Surveyed) -> None:
        """Add what a tile says."""
        drawn = np.flatnonzero(said.extents["px"])
        _add(self.extents, self._features(tile, drawn + 1), said.extents[drawn])
        self._specks.append((said.specks["label"] - 1 + self._offset[tile], said.specks))
        for other, shared in said.borders:
            a, b = self._features(tile, shared["a"]), self._features(other, shared["b"])
            apart = a != b
            a, b, length = a[apart], b[apart], shared["length"][apart]
            self._borders.append(border(np.minimum(a, b), np.maximum(a, b), length))
            self._held += len(self._borders[-1])
        if self._held > max(_HELD, 2 * len(self._borders[0])):
            self._borders = [self.borders()]
            self._held = len(self._borders[0])

    def _features(self, tile: int, labels: Ints) -> Ints:
        found: Ints = self._plan.feature[self._offset[tile] + labels - 1].astype(np.int64)
        return found

    def borders(self) -> NDArray[np.void]:
        """Return (k,) of BORDER between features, each two of them once."""
        held = np.concatenate(self._borders)
        return border(held["a"], held["b"], held["length"])

    def specks(self, plan: SeamPlan) -> tuple[Ints, NDArray[np.void]]:
        """Return the specks, and the feature of each in a plan."""
        of_label = np.concatenate([np.zeros(0, np.int64), *(where for where, _ in self._specks)])
        found = np.concatenate([np.zeros(0, SPECK), *(speck for _, speck in self._specks)])
        return plan.feature[of_label].astype(np.int64), found


def _add(extents: NDArray[np.void], at: Ints, more: NDArray[np.void]) -> None:
    for name in ("px", "x", "y"):
        np.add.at(extents[name], at, more[name])
    np.minimum.at(extents["first"], at, more["first"])
    np.maximum.at(extents["last_y"], at, more["last_y"])


def _areas(job: Job, extents: NDArray[np.void], size: Size) -> NDArray[np.float64]:
    px = extents["px"]
    centres = np.column_stack((extents["x"], extents["y"])) / np.maximum(px, 1)[:, None] + 0.5
    return areas(job.raster.frame, px, centres, size)


def _homes(job: Job, plan: SeamPlan, found: _Survey) -> tuple[Ints, dict[str, int]]:
    """Return the feature of whose outline each becomes a part, or GONE; and what small ones did."""
    own = np.arange(len(plan.features))
    home, small = own.copy(), {}
    px = found.extents["px"]
    if job.finish.min_area is not None:
        least = parse_area(job.finish.min_area)
        patches = Patches(plan.features["cls"], px, _areas(job, found.extents, least))
        home = settle(patches, found.borders(), least.value)
        moved = (home != own) & (patches.area < least.value) & (px > 0)
        dropped = int(np.sum(moved & (home == GONE)))
        small = {"merged": int(np.sum(moved)) - dropped, "dropped": dropped}
    home[px == 0] = GONE
    return home, small


def _regroup(
    plan: SeamPlan, home: Ints, extents: NDArray[np.void]
) -> tuple[SeamPlan, NDArray[np.void]]:
    """Unite features, and number what is left by first pixel and class.

    What is known of a feature is that of the parts which have been of its class before.
    """
    left = np.flatnonzero(home != GONE)
    names, to = np.unique(home[left], return_inverse=True)
    old = plan.features[left]
    united = np.repeat(NOTHING, len(names))
    _add(united, to, extents[left])

    cls = plan.features["cls"][names]
    own = old["cls"] == cls[to]
    features = np.zeros(len(names), FEATURE)
    features["cls"] = cls
    for name in ("area_px", "runs"):
        np.add.at(features[name], to, old[name])
    for name in ("inter", "union"):
        np.add.at(features[name], to[own], old[name][own])
    np.maximum.at(features["n_tiles"], to[own], old["n_tiles"][own])
    steps = np.rint(old["score"] * SCORE_STEPS) * old["area_px"] * own
    weight = np.bincount(to, old["area_px"] * own, len(names))
    mean = np.bincount(to, steps, len(names)) / np.maximum(weight, 1) / SCORE_STEPS
    features["score"] = np.round(mean, 4)

    order = np.lexsort((cls, united["first"]))
    number = np.full(len(names), GONE)
    number[order] = np.arange(len(names))
    # The last entry is for labels of no feature, -1.
    now = np.full(len(home) + 1, GONE, np.int32)
    now[left] = number[to]
    return replace(plan, feature=now[plan.feature], features=features[order]), united[order]


def _anchors(
    job: Job, plan: SeamPlan, specks: tuple[Ints, NDArray[np.void]], too_large: NDArray[np.bool_]
) -> NDArray[np.void]:
    """Return what keeps holes open, by row: specks, and tiles that nobody knows."""
    feature, speck = specks
    # The last entry is for specks of no feature, -1.
    here = ~np.append(too_large, np.True_)[feature]
    lost = [job.grid[tile].core for tile in job.store.failed()]
    coverage = np.array(job.legend.coverages)[plan.features["cls"][feature[here]]]
    anchors = np.zeros(len(coverage) + len(lost), ANCHOR)
    anchors["y"] = np.r_[speck["y"][here], [core.y0 for core in lost]]
    anchors["x"] = np.r_[speck["x"][here], [core.x0 for core in lost]]
    anchors["coverage"] = np.r_[coverage, np.full(len(lost), ANY)]
    return anchors[np.argsort(anchors["y"], kind="stable")]
