"""What does a backend say about a tile, and what is kept of it?

A backend answers with Instances. They are flattened into Labels: disjoint runs of pixels per
class, cut to the pixels the tile can be trusted on, plus one row of facts per label. Everything
after this file works on runs ("row y, columns x0..x1, label"), never on images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import BackendError
from geoseg.legend import Legend
from geoseg.runs import RUN, clip, fragments, outside, overlaps
from geoseg.window import Window

Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]
Steps = NDArray[np.int16]

SCORE_STEPS = 10_000
"""Scores are summed as integers of 1/10,000, so that no sum depends on its order."""

FACT = np.dtype(
    [
        ("cls", "<i4"),
        ("cut", "?"),
        ("area_px", "<i8"),
        ("core_px", "<i8"),
        ("score_sum", "<i8"),
        ("core_score_sum", "<i8"),
        ("first_y", "<i4"),
        ("first_x", "<i4"),
        ("core_first_y", "<i4"),
        ("core_first_x", "<i4"),
        ("core_x0", "<i4"),
        ("core_y0", "<i4"),
        ("core_x1", "<i4"),
        ("core_y1", "<i4"),
    ]
)
"""One label of a tile: its class, whether the trusted window cuts it, its pixels in the trusted
window and in the core, the sums of their scores (in 1/SCORE_STEPS), the first pixel in row-major
order, and the box of its core part. Coordinates are the raster's."""


@dataclass(frozen=True, slots=True, eq=False)
class Instances:
    """A backend's answer for one tile: boxes, masks cropped to them, class and score."""

    boxes: NDArray[np.int32]
    """(n, 4) x0, y0, x1, y1, half-open, in pixels of the tile."""
    masks: Sequence[Mask]
    """n masks (row, col), each of its box's size. Class `cover`: one mask per class and tile is
    enough; its connected regions are found here."""
    classes: NDArray[np.int32]
    """(n,) index into the legend."""
    scores: NDArray[np.float32]
    """(n,) confidence in 0..1."""
    evidence: Sequence[NDArray[np.float32] | None] | None = None
    """n arrays (row, col) of confidence per pixel in 0..1, each of its box's size; where given it
    replaces the score, and the score of a feature is the mean over its pixels."""

    def __post_init__(self) -> None:
        n = len(self.masks)
        if not (self.boxes.shape == (n, 4) and self.classes.shape == self.scores.shape == (n,)):
            raise BackendError(
                f"backend gave {n} masks but boxes {self.boxes.shape}, classes "
                f"{self.classes.shape}, scores {self.scores.shape}; all need {n} rows"
            )

    @classmethod
    def empty(cls) -> Instances:
        """Return the answer of a tile in which nothing was found."""
        return cls(np.zeros((0, 4), np.int32), (), np.zeros(0, np.int32), np.zeros(0, np.float32))

    def __len__(self) -> int:
        """Return the number of instances."""
        return len(self.masks)


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What is kept of a tile; labels are 1..n, `facts[k - 1]` is about label k."""

    runs: NDArray[np.void]
    """(m,) of RUN, sorted by label, y, x0. Label 0 does not occur; covers have runs with a
    negative label -k in the halo: what the tile would say there of the class of label k, or
    -(n + 1 + class) where it has no such label."""
    facts: NDArray[np.void]
    """(n,) of FACT."""

    @property
    def claimed(self) -> NDArray[np.void]:
        """The runs that belong to labels, halo testimony of covers left out."""
        return self.runs[np.searchsorted(self.runs["label"], 1) :]

    @property
    def testimony(self) -> NDArray[np.void]:
        """The halo runs of covers, with negative labels."""
        return self.runs[: np.searchsorted(self.runs["label"], 0)]

    @classmethod
    def empty(cls) -> Labels:
        """Return the labels of a tile with nothing in it."""
        return cls(np.zeros(0, RUN), np.zeros(0, FACT))


@dataclass(frozen=True, slots=True)
class Scope:
    """Which pixels of a tile count, and for what; coordinates are the raster's."""

    read: Window
    """What the backend was shown: the frame of the instances' coordinates."""
    trust: Window
    """Where its answer no longer depends on what lies outside the read window."""
    core: Window
    """What the tile decides."""
    raster: Window
    """The whole raster: a label at its edge is not cut."""


def runs_of(labels: NDArray[np.integer | np.bool_], origin: tuple[int, int]) -> NDArray[np.void]:
    """Return the row runs of equal, non-zero labels of an image.

    Args:
        labels: (row, col) label image, 0 is background; of a mask, True is label 1.
        origin: (x, y) of its top left pixel in the raster.

    Returns:
        (m,) of RUN, in row-major order.
    """
    height, width = labels.shape
    # A column of background keeps runs from going on in the next row.
    padded = np.zeros((height, width + 1), labels.dtype)
    padded[:, :width] = labels
    flat = padded.ravel()
    change = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    start = np.r_[0, change]
    stop = np.r_[change, flat.size]
    keep = flat[start] != 0
    start, stop = start[keep], stop[keep]
    runs = np.zeros(len(start), RUN)
    row = start // (width + 1)
    runs["label"] = flat[start]
    runs["y"] = row + origin[1]
    runs["x0"] = start - row * (width + 1) + origin[0]
    runs["x1"] = stop - row * (width + 1) + origin[0]
    return runs


def flatten(instances: Instances, legend: Legend, valid: Mask, scope: Scope) -> Labels:
    """Turn a backend's answer into disjoint runs per class and facts per label.

    Pixels of nodata and outside the trusted window belong to nothing. Of two instances of one
    class `object`, the better-scored one keeps a shared pixel (ties: the earlier one). Covers of
    an exclusive legend leave each pixel to the one with the most evidence (ties: legend order).

    Args:
        instances: In pixels of `scope.read`.
        legend: Gives each class its kind.
        valid: (row, col) of `scope.read`, True where data is good.
        scope: Windows of the tile.

    Raises:
        BackendError: A class index or a box that cannot be, or a mask unlike its box.
    """
    _check(instances, legend, scope)
    valid = valid & _inside(scope.trust, scope.read)
    kinds = np.array([c.kind == "cover" for c in legend.classes])
    is_cover = kinds[instances.classes] if len(instances) else np.zeros(0, bool)
    parts = [
        *_objects(instances, np.flatnonzero(~is_cover), valid, scope),
        *_covers(instances, np.flatnonzero(is_cover), legend, valid, scope),
    ]
    return _number(parts, scope)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Labels 1..n of one label image, before numbers are given across images."""

    runs: NDArray[np.void]
    cls: Ints
    """(n,) class of each label."""
    score_sums: Ints
    """(n,) over all pixels of the label in the trusted window."""
    core_score_sums: Ints
    testimony: NDArray[np.void] | None = None
    """Halo runs of covers: label k > 0 stands for label k here, 0 for none, class in `halo`."""
    halo_cls: int = -1


def _check(instances: Instances, legend: Legend, scope: Scope) -> None:
    if not len(instances):
        return
    low, high = int(instances.classes.min()), int(instances.classes.max())
    if low < 0 or high >= len(legend.classes):
        raise BackendError(
            f"backend answered class {low if low < 0 else high}; the legend has classes "
            f"0..{len(legend.classes) - 1}"
        )
    scores = instances.scores
    if not bool(((scores >= 0) & (scores <= 1)).all()):
        raise BackendError(f"backend answered a score of {scores.min()}..{scores.max()}; 0..1")
    height, width = scope.read.shape
    for (x0, y0, x1, y1), mask in zip(instances.boxes.tolist(), instances.masks, strict=True):
        if not (0 <= x0 <= x1 <= width and 0 <= y0 <= y1 <= height):
            raise BackendError(f"box {(x0, y0, x1, y1)} is outside its {width}x{height} tile")
        if mask.shape != (y1 - y0, x1 - x0):
            raise BackendError(f"mask {mask.shape} does not fit its box {(x0, y0, x1, y1)}")


def _inside(window: Window, outer: Window) -> Mask:
    mask = np.zeros(outer.shape, bool)
    mask[window.slices_in(outer)] = True
    return mask


def _quantise(score: NDArray[np.float32] | np.float32) -> Steps:
    steps: Steps = np.rint(np.asarray(score, np.float32) * np.float32(SCORE_STEPS)).astype(np.int16)
    return steps


def _objects(instances: Instances, which: Ints, valid: Mask, scope: Scope) -> Iterator[_Part]:
    """Paint objects on as few label images as classes overlap, best score first."""
    order = which[np.argsort(-instances.scores[which], kind="stable")]
    planes: list[NDArray[np.int32]] = []
    members: list[list[int]] = []
    cls_of = np.full(len(order) + 1, -1, np.int32)
    for label, i in enumerate(order.tolist(), 1):
        x0, y0, x1, y1 = instances.boxes[i].tolist()
        cls_of[label] = instances.classes[i]
        free = instances.masks[i] & valid[y0:y1, x0:x1]
        home = None
        for k, plane in enumerate(planes):
            view = plane[y0:y1, x0:x1]
            taken = view[free]
            if taken.any():
                if (cls_of[taken] == cls_of[label]).any():
                    free &= cls_of[view] != cls_of[label]
                    taken = view[free]
                if taken.any():
                    continue
            home = k if home is None else home
        if home is None:
            home = len(planes)
            planes.append(np.zeros(scope.read.shape, np.int32))
            members.append([])
        members[home].append(label)
        planes[home][y0:y1, x0:x1][free] = label
    for plane, labels in zip(planes, members, strict=True):
        yield _object_part(plane, np.array(labels), order, instances, scope)


def _object_part(
    plane: NDArray[np.int32], labels: Ints, order: Ints, instances: Instances, scope: Scope
) -> _Part:
    """Number the labels of one image 1..n and sum their scores."""
    lut = np.zeros(len(order) + 1, np.int32)
    lut[labels] = np.arange(1, len(labels) + 1)
    source = order[labels - 1]
    runs = runs_of(plane, (scope.read.x0, scope.read.y0))
    runs["label"] = lut[runs["label"]]
    every = instances.evidence
    if every is None or all(every[i] is None for i in source.tolist()):
        each = _quantise(instances.scores[source]).astype(np.int64)
        area = _pixels(runs, len(labels))
        core = _pixels(clip(runs, scope.core), len(labels))
        return _Part(runs, instances.classes[source].astype(np.int64), area * each, core * each)
    steps = np.zeros(plane.shape, np.int16)
    for label, i in zip(labels.tolist(), source.tolist(), strict=True):
        x0, y0, x1, y1 = instances.boxes[i].tolist()
        mine = plane[y0:y1, x0:x1] == label
        shown = every[i]
        value = _quantise(instances.scores[i] if shown is None else shown)
        steps[y0:y1, x0:x1][mine] = np.broadcast_to(value, mine.shape)[mine]
    total, in_core = (
        _run_sums(steps, part, scope, len(labels)) for part in (runs, clip(runs, scope.core))
    )
    return _Part(runs, instances.classes[source].astype(np.int64), total, in_core)


def _covers(
    instances: Instances, which: Ints, legend: Legend, valid: Mask, scope: Scope
) -> Iterator[_Part]:
    """Label the connected regions of each cover inside the core; keep the halo as testimony."""
    strength: dict[int, Steps] = {}
    for i in which.tolist():
        x0, y0, x1, y1 = instances.boxes[i].tolist()
        shown = instances.evidence[i] if instances.evidence is not None else None
        value = _quantise(instances.scores[i] if shown is None else shown)
        cls = int(instances.classes[i])
        if cls not in strength:
            strength[cls] = np.full(scope.read.shape, -1, np.int16)
        view = strength[cls][y0:y1, x0:x1]
        inside = instances.masks[i] & valid[y0:y1, x0:x1]
        np.copyto(view, np.maximum(view, value), where=inside)
    if legend.exclusive and len(strength) > 1:
        taken = np.full(scope.read.shape, -1, np.int16)
        for cls in sorted(strength):
            np.maximum(taken, strength[cls], out=taken)
        for cls in sorted(strength):
            lost = strength[cls] != taken
            # Who won takes the pixel out of reach of equals that come later in the legend.
            taken[~lost & (taken >= 0)] = np.iinfo(np.int16).max
            strength[cls][lost] = -1
    for cls in sorted(strength):
        yield _cover_part(cls, strength[cls], scope)


def _cover_part(cls: int, steps: Steps, scope: Scope) -> _Part:
    covered = runs_of(steps >= 0, (scope.read.x0, scope.read.y0))
    runs = clip(covered, scope.core)
    n, piece = fragments(runs)
    runs["label"] = piece + 1
    region = fragments(covered)[1]
    # A halo run stands for the first piece of the region it belongs to, 0 if there is none.
    stand_in = np.zeros(int(region.max(initial=-1)) + 1, np.int32)
    nobody = np.zeros(max(len(runs), len(covered)), np.int64)
    shared = overlaps(runs, covered, nobody[: len(runs)], nobody[: len(covered)])
    stand_in[region[shared.b[::-1]]] = runs["label"][shared.a[::-1]]
    covered["label"] = stand_in[region]
    sums = _run_sums(steps, runs, scope, n)
    halo = outside(covered, scope.core)
    return _Part(runs, np.full(n, cls, np.int64), sums, sums, halo, cls)


def _run_sums(steps: Steps, runs: NDArray[np.void], scope: Scope, n: int) -> Ints:
    """Sum per-pixel score steps over the runs of each label."""
    if len(runs) == 0:
        return np.zeros(n, np.int64)
    flat = steps.ravel()
    line = (runs["y"].astype(np.int64) - scope.read.y0) * scope.read.width - scope.read.x0
    order = np.argsort(line + runs["x0"])
    bounds = np.column_stack((line + runs["x0"], line + runs["x1"]))[order].ravel()
    # Every other sum is of what lies between two runs; behind the last pixel there is nothing.
    sums = np.add.reduceat(flat, bounds[bounds < flat.size], dtype=np.int64)[::2]
    return _sum_by(runs["label"][order] - 1, sums, n)


def _number(parts: list[_Part], scope: Scope) -> Labels:
    """Give labels their numbers across images, and state their facts."""
    claimed, halos, facts = [], [], []
    total = sum(len(p.cls) for p in parts)
    offset = 0
    for part in parts:
        n = len(part.cls)
        facts.append(_facts(part, n, scope))
        claimed.append(part.runs.copy())
        claimed[-1]["label"] += offset
        if part.testimony is not None:
            halo = part.testimony.copy()
            known = halo["label"] > 0
            halo["label"] = np.where(known, -(halo["label"] + offset), -(total + 1 + part.halo_cls))
            halos.append(halo)
        offset += n
    if not parts:
        return Labels.empty()
    fact = np.concatenate(facts)
    runs = np.concatenate([*halos, *claimed])
    # A label that lost every pixel to nodata or to better ones says nothing.
    alive = fact["area_px"] > 0
    renumber = np.r_[0, np.cumsum(alive)]
    gone = int((~alive).sum())
    label = runs["label"]
    positive = label > 0
    runs["label"][positive] = renumber[label[positive]]
    stand_in = ~positive & (label >= -total)
    runs["label"][stand_in] = -renumber[-label[stand_in]]
    runs["label"][~positive & (label < -total)] += gone
    return Labels(runs[np.lexsort((runs["x0"], runs["y"], runs["label"]))], fact[alive])


def _facts(part: _Part, n: int, scope: Scope) -> NDArray[np.void]:
    fact = np.zeros(n, FACT)
    fact["cls"] = part.cls
    fact["score_sum"], fact["core_score_sum"] = part.score_sums, part.core_score_sums
    runs, core = part.runs, clip(part.runs, scope.core)
    fact["area_px"], fact["core_px"] = _pixels(runs, n), _pixels(core, n)
    fact["first_y"], fact["first_x"] = _first(runs, n)
    fact["core_first_y"], fact["core_first_x"] = _first(core, n)
    fact["core_x0"] = _extreme(np.minimum, core["label"] - 1, core["x0"], n)
    fact["core_y0"] = _extreme(np.minimum, core["label"] - 1, core["y"], n)
    fact["core_x1"] = _extreme(np.maximum, core["label"] - 1, core["x1"], n)
    fact["core_y1"] = _extreme(np.maximum, core["label"] - 1, core["y"] + 1, n)
    trust, raster = scope.trust, scope.raster
    at_edge = (
        ((runs["x0"] == trust.x0) & (trust.x0 > raster.x0))
        | ((runs["x1"] == trust.x1) & (trust.x1 < raster.x1))
        | ((runs["y"] == trust.y0) & (trust.y0 > raster.y0))
        | ((runs["y"] == trust.y1 - 1) & (trust.y1 < raster.y1))
    )
    fact["cut"][runs["label"][at_edge] - 1] = True
    return fact


def _sum_by(index: NDArray[np.integer], weight: Ints, n: int) -> Ints:
    # float64 holds integers up to 2**53 exactly; a tile's sums stay far below.
    return np.bincount(index, weight, n).astype(np.int64)


def _pixels(runs: NDArray[np.void], n: int) -> Ints:
    return _sum_by(runs["label"] - 1, runs["x1"] - runs["x0"], n)


def _first(runs: NDArray[np.void], n: int) -> tuple[Ints, Ints]:
    """Return (y, x) of each label's first pixel in row-major order; the largest int32 if none."""
    key = runs["y"].astype(np.int64) << 32 | runs["x0"]
    never = np.int64(np.iinfo(np.int32).max)
    first = np.full(n, never << 32 | never)
    np.minimum.at(first, runs["label"] - 1, key)
    return first >> 32, first & 0xFFFFFFFF


def _extreme(ufunc: np.ufunc, index: Ints, value: Ints, n: int) -> Ints:
    out = np.full(n, np.iinfo(np.int32).max if ufunc is np.minimum else -1, np.int64)
    ufunc.at(out, index, value)
    return out
