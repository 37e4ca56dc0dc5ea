"""How does a backend's answer become labels?

Instances may overlap and reach into nodata or beyond what a tile can be trusted on. Labels are
disjoint per class and inside the trusted window; covers are split into connected regions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.errors import BackendError
from geoseg.instances import FACT, SCORE_STEPS, Instances, Labels, Mask, Scope
from geoseg.legend import Legend
from geoseg.runs import clip, fragments, outside, overlaps, runs_of
from geoseg.window import Window

Ints = NDArray[np.int64]
Steps = NDArray[np.int16]


def flatten(
    instances: Instances, legend: Legend, valid: Mask, scope: Scope, area: Mask | None = None
) -> Labels:
    """Turn a backend's answer into disjoint runs per class and facts per label.

    Instances that score below the threshold of their class are left out. Pixels of nodata and
    outside the trusted window belong to nothing. Of two instances of one class `object`, the
    better-scored one keeps a shared pixel (ties: the earlier one). Covers of an exclusive legend
    leave each pixel to the one with the most evidence (ties: legend order).

    Pixels outside an area of interest belong to nothing either. Parts of an object that are
    connected outside of it only are objects of their own: what connects them may not be read.

    Args:
        instances: In pixels of `scope.read`.
        legend: Gives each class its kind.
        valid: (row, col) of `scope.read`, True where data is good.
        scope: Windows of the tile.
        area: (row, col) of `scope.read`, True in the area of interest; everywhere where None.

    Raises:
        BackendError: A class index or a box that cannot be, or a mask unlike its box.
    """
    _check(instances, legend, scope)
    instances = _scored(instances, legend)
    valid = valid & _inside(scope.trust, scope.read)
    kinds = np.array([c.kind == "cover" for c in legend.classes])
    if area is not None:
        instances = _parted(instances, kinds, valid, (area, scope))
        valid &= area
    is_cover = kinds[instances.classes] if len(instances) else np.zeros(0, bool)
    parts = [
        *_objects(instances, np.flatnonzero(~is_cover), valid, scope),
        *_covers(instances, np.flatnonzero(is_cover), legend, valid, scope),
    ]
    return replace(_number(parts, scope), notes=instances.notes)


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


def _scored(instances: Instances, legend: Legend) -> Instances:
    """Leave out what scores below the threshold of its class; evidence per pixel has passed it."""
    least = np.array([c.threshold or 0.0 for c in legend.classes], np.float32)
    shown = instances.evidence or [None] * len(instances)
    pixelwise = np.array([e is not None for e in shown], bool)
    keep = np.flatnonzero(pixelwise | (instances.scores >= least[instances.classes]))
    if len(keep) == len(instances):
        return instances
    return replace(
        instances,
        boxes=instances.boxes[keep],
        masks=[instances.masks[i] for i in keep.tolist()],
        classes=instances.classes[keep],
        scores=instances.scores[keep],
        evidence=None if instances.evidence is None else [shown[i] for i in keep.tolist()],
    )


def _parted(
    instances: Instances, kinds: Mask, valid: Mask, limits: tuple[Mask, Scope]
) -> Instances:
    """Take apart objects that reach beyond the area, or beyond what the tile can tell of it."""
    area, scope = limits
    t = scope.trust
    inner = Window(
        t.x0 + (t.x0 > scope.raster.x0), t.y0 + (t.y0 > scope.raster.y0),
        t.x1 - (t.x1 < scope.raster.x1), t.y1 - (t.y1 < scope.raster.y1),
    )  # fmt: skip
    beyond = valid & ~(area & _inside(inner, scope.read))
    within = valid & area
    evidence = instances.evidence or [None] * len(instances)
    boxes, masks, shown, source = [], [], [], []
    for i, (x0, y0, x1, y1) in enumerate(instances.boxes.tolist()):
        mask = instances.masks[i]
        places = [(slice(0, y1 - y0), slice(0, x1 - x0))]
        labels, n = np.zeros(0), 0
        if not kinds[instances.classes[i]] and (mask & beyond[y0:y1, x0:x1]).any():
            labels, n = ndimage.label(mask & within[y0:y1, x0:x1])
            places = ndimage.find_objects(labels) if n > 1 else places
        for number, (rows, cols) in enumerate(places, 1):
            boxes.append((x0 + cols.start, y0 + rows.start, x0 + cols.stop, y0 + rows.stop))
            masks.append(labels[rows, cols] == number if n > 1 else mask)
            scores = evidence[i]
            shown.append(None if scores is None else scores[rows, cols])
            source.append(i)
    return replace(
        instances,
        boxes=np.array(boxes, np.int32).reshape(-1, 4),
        masks=masks,
        classes=instances.classes[source],
        scores=instances.scores[source],
        evidence=None if instances.evidence is None else shown,
    )


def _inside(window: Window, outer: Window) -> Mask:
    mask = np.zeros(outer.shape, bool)
    mask[window.slices_in(outer)] = True
    return mask


def _quantise(score: NDArray[np.float32] | np.float32) -> Steps:
    steps = np.asarray(score, np.float32) * np.float32(SCORE_STEPS)
    rounded: Steps = np.rint(steps).astype(np.int16)
    return rounded


def _objects(instances: Instances, which: Ints, valid: Mask, scope: Scope) -> Iterator[_Part]:
    """Paint objects on as few label images as classes overlap, best score first."""
    order = which[np.argsort(-instances.scores[which], kind="stable")]
    # A byte per pixel for up to 255 objects: most of the time goes into walking over these.
    kind = np.min_scalar_type(len(order))
    planes: list[NDArray[np.integer]] = []
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
            planes.append(np.zeros(scope.read.shape, kind))
            members.append([])
        members[home].append(label)
        planes[home][y0:y1, x0:x1][free] = label
    for plane, labels in zip(planes, members, strict=True):
        yield _object_part(plane, np.array(labels), order, instances, scope)


def _object_part(
    plane: NDArray[np.integer], labels: Ints, order: Ints, instances: Instances, scope: Scope
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
            np.copyto(taken, np.iinfo(np.int16).max, where=~lost)
            np.copyto(strength[cls], -1, where=lost)
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
    fact["runs"] = np.bincount(runs["label"] - 1, minlength=n)
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
