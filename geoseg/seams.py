"""Which labels of two neighbouring tiles are the same thing?

Cores decide, halos testify. Two tiles are compared where both can be trusted. No geometry, no
I/O: only row runs.

object  A connected part of one label and a connected part of another, of one class, with
        IoU > 0.5 in the shared zone are the same object.
cover   Labels are regions inside the core; those that touch across a core border are one region.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.instances import Labels, Scope
from geoseg.runs import Runs, clip, fragments, overlaps

Ints = NDArray[np.int64]

SAME_IOU = 0.5
"""Two disjoint parts cannot both exceed this IoU with a third, so links are unambiguous."""

RIVAL_SHARE = 0.5
"""Unlinked labels that share this much of the smaller one contend for the same place."""

PAIR = np.dtype(
    [
        ("a", "<i8"),
        ("b", "<i8"),
        ("inter", "<i8"),
        ("union", "<i8"),
        ("linked", "?"),
        ("rival", "?"),
    ]
)
"""Two labels of different tiles: shared pixels, pixels of either in the shared zone, whether they
are the same thing, and if not, whether they contend for the same place."""

VOICE = np.dtype([("label", "<i8"), ("inter", "<i8"), ("union", "<i8")])
"""What the shared zone says of a label. Cover: pixels that both tiles agree on, and that either
claims. Object: 0, and its pixels; what both show is in the pairs."""


@dataclass(frozen=True, slots=True, eq=False)
class Seam:
    """What two neighbouring tiles say of each other; labels are the tiles' own, 1-based."""

    pairs: NDArray[np.void]
    """(n,) of PAIR: labels that share pixels (objects) or touch (covers)."""
    voices_a: NDArray[np.void]
    """(n,) of VOICE about labels of the first tile."""
    voices_b: NDArray[np.void]
    """(n,) of VOICE about labels of the second tile."""


def link(a: Labels, b: Labels, scope_a: Scope, scope_b: Scope, is_cover: Sequence[bool]) -> Seam:
    """Compare two tiles whose cores touch.

    Args:
        a: Labels of the first tile.
        b: Labels of the second tile.
        scope_a: Windows of the first tile.
        scope_b: Windows of the second tile.
        is_cover: Per class of the legend, whether it is a cover.
    """
    cover = np.asarray(is_cover, bool)
    runs_a, runs_b = a.claimed, b.claimed
    cls_a, cls_b = a.facts["cls"][runs_a["label"] - 1], b.facts["cls"][runs_b["label"] - 1]
    zone = scope_a.trust.intersection(scope_b.trust)
    seen_a, seen_b = clip(runs_a[~cover[cls_a]], zone), clip(runs_b[~cover[cls_b]], zone)
    objects = _link_objects(seen_a, seen_b, a.facts, b.facts)
    covers_a, covers_b = runs_a[cover[cls_a]], runs_b[cover[cls_b]]
    touching = _link_covers(covers_a, covers_b, (a, b), (scope_a, scope_b))
    about_b, own_a = _hear(covers_b, b, a, scope_b, scope_a)
    about_a, own_b = _hear(covers_a, a, b, scope_a, scope_b)
    return Seam(
        np.concatenate([objects, touching]),
        np.concatenate([about_a, own_a, _presence(seen_a)]),
        np.concatenate([about_b, own_b, _presence(seen_b)]),
    )


def _link_objects(
    a: Runs, b: Runs, facts_a: NDArray[np.void], facts_b: NDArray[np.void]
) -> NDArray[np.void]:
    """Link labels by connected parts that agree; the rest of what overlaps is in contention."""
    if len(a) == 0 or len(b) == 0:
        return np.zeros(0, PAIR)
    shared = overlaps(a, b, facts_a["cls"][a["label"] - 1], facts_b["cls"][b["label"] - 1])
    if len(shared.a) == 0:
        return np.zeros(0, PAIR)
    count_a, part_a = fragments(a)
    count_b, part_b = fragments(b)
    size_a = np.bincount(part_a, a["x1"] - a["x0"], count_a).astype(np.int64)
    size_b = np.bincount(part_b, b["x1"] - b["x0"], count_b).astype(np.int64)
    pa, pb, inter = sum_by_pair(part_a[shared.a], part_b[shared.b], shared.px)
    alike = inter > SAME_IOU * (size_a[pa] + size_b[pb] - inter)

    label_a, label_b = np.zeros(count_a, np.int64), np.zeros(count_b, np.int64)
    label_a[part_a], label_b[part_b] = a["label"], b["label"]
    la, lb, px = sum_by_pair(label_a[pa], label_b[pb], inter)
    agreed = sum_by_pair(label_a[pa], label_b[pb], alike.astype(np.int64))[2]
    area_a = np.bincount(a["label"], a["x1"] - a["x0"], len(facts_a) + 1).astype(np.int64)[la]
    area_b = np.bincount(b["label"], b["x1"] - b["x0"], len(facts_b) + 1).astype(np.int64)[lb]
    pairs = np.zeros(len(la), PAIR)
    pairs["a"], pairs["b"], pairs["inter"] = la, lb, px
    pairs["union"] = area_a + area_b - px
    pairs["linked"] = agreed > 0
    pairs["rival"] = (agreed == 0) & (px >= RIVAL_SHARE * np.minimum(area_a, area_b))
    return pairs


def sum_by_pair(
    a: NDArray[np.integer], b: NDArray[np.integer], weight: NDArray[np.integer]
) -> tuple[Ints, Ints, Ints]:
    """Return each (a, b) once, in order, and the sum of its weights."""
    width = int(b.max(initial=0)) + 1
    key, inverse = np.unique(a.astype(np.int64) * width + b, return_inverse=True)
    total = np.bincount(inverse, weight, len(key)).astype(np.int64)
    return key // width, key % width, total


def _link_covers(
    a: Runs, b: Runs, labels: tuple[Labels, Labels], scopes: tuple[Scope, Scope]
) -> NDArray[np.void]:
    """Link regions whose pixels are 4-adjacent across the border of two cores."""
    core_a, core_b = scopes[0].core, scopes[1].core
    if core_a.x1 == core_b.x0 and core_a.y0 == core_b.y0:
        a, b = a[a["x1"] == core_a.x1], b[b["x0"] == core_b.x0].copy()
        a = a.copy()
        a["x0"], a["x1"], b["x1"] = core_a.x1, core_a.x1 + 1, core_b.x0 + 1
    elif core_a.y1 == core_b.y0 and core_a.x0 == core_b.x0:
        a, b = a[a["y"] == core_a.y1 - 1].copy(), b[b["y"] == core_b.y0]
        a["y"] += 1
    else:
        return np.zeros(0, PAIR)
    cls_a = labels[0].facts["cls"][a["label"] - 1]
    cls_b = labels[1].facts["cls"][b["label"] - 1]
    touch = overlaps(a, b, cls_a, cls_b)
    la, lb, _ = sum_by_pair(a["label"][touch.a], b["label"][touch.b], touch.px)
    pairs = np.zeros(len(la), PAIR)
    pairs["a"], pairs["b"], pairs["linked"] = la, lb, True
    return pairs


def _hear(
    decided: Runs, decider: Labels, witness: Labels, scope: Scope, witness_scope: Scope
) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Compare a tile's covers with what its neighbour's halo says of the same pixels.

    Returns:
        Voices about the decider's labels (agreed, claimed by the decider), and about the
        witness's own (what it claimed there and the decider denies).
    """
    zone = scope.core.intersection(witness_scope.trust)
    n = len(witness.facts)
    runs, told = clip(decided, zone), clip(witness.testimony, zone)
    if len(runs) == 0 and len(told) == 0:
        return np.zeros(0, VOICE), np.zeros(0, VOICE)
    own = -told["label"].astype(np.int64)
    known = own <= n
    cls_told = own - n - 1
    cls_told[known] = witness.facts["cls"][own[known] - 1]
    shared = overlaps(runs, told, decider.facts["cls"][runs["label"] - 1], cls_told)
    about = _voice(
        runs["label"], np.bincount(shared.a, shared.px, len(runs)), runs["x1"] - runs["x0"]
    )
    denied = (told["x1"] - told["x0"]) - np.bincount(shared.b, shared.px, len(told))
    return about, _voice(own[known], np.zeros(int(known.sum())), denied[known])


def _presence(seen: Runs) -> NDArray[np.void]:
    """Count what each object shows in the shared zone; `decide` subtracts what both show."""
    return _voice(seen["label"], np.zeros(len(seen)), seen["x1"] - seen["x0"])


def _voice(label: NDArray[np.integer], inter: NDArray[np.number], union: Ints) -> NDArray[np.void]:
    which, inverse = np.unique(label, return_inverse=True)
    voice = np.zeros(len(which), VOICE)
    voice["label"] = which
    voice["inter"] = np.bincount(inverse, inter, len(which))
    voice["union"] = np.bincount(inverse, union, len(which))
    return voice
