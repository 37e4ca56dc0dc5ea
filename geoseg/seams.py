"""Which labels of different tiles are the same thing, and who draws it?

Cores decide, halos testify. `link` compares two neighbouring tiles where both can be trusted;
`decide` joins all links into features and says how each is drawn. No geometry, no I/O: only row
runs and one row of facts per label.

object  A connected part of one label and a connected part of another, of one class, with
        IoU > 0.5 in the shared zone are the same object. A label that its tile saw uncut, from a
        window that holds every other member's part, is drawn whole; an object that every tile
        cut is united from the pieces inside the cores.
cover   Labels are regions inside the core; those that touch across a core border are one region.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geoseg.instances import FACT, SCORE_STEPS, Labels, Scope
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
    """(n,) of VOICE about covers of the first tile."""
    voices_b: NDArray[np.void]
    """(n,) of VOICE about covers of the second tile."""


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
    pa, pb, inter = _total(part_a[shared.a], part_b[shared.b], shared.px)
    alike = inter > SAME_IOU * (size_a[pa] + size_b[pb] - inter)

    label_a, label_b = np.zeros(count_a, np.int64), np.zeros(count_b, np.int64)
    label_a[part_a], label_b[part_b] = a["label"], b["label"]
    la, lb, px = _total(label_a[pa], label_b[pb], inter)
    agreed = _total(label_a[pa], label_b[pb], alike.astype(np.int64))[2]
    area_a = np.bincount(a["label"], a["x1"] - a["x0"], len(facts_a) + 1).astype(np.int64)[la]
    area_b = np.bincount(b["label"], b["x1"] - b["x0"], len(facts_b) + 1).astype(np.int64)[lb]
    pairs = np.zeros(len(la), PAIR)
    pairs["a"], pairs["b"], pairs["inter"] = la, lb, px
    pairs["union"] = area_a + area_b - px
    pairs["linked"] = agreed > 0
    pairs["rival"] = (agreed == 0) & (px >= RIVAL_SHARE * np.minimum(area_a, area_b))
    return pairs


def _total(
    a: NDArray[np.integer], b: NDArray[np.integer], weight: NDArray[np.integer]
) -> tuple[Ints, Ints, Ints]:
    """Sum weights by (a, b)."""
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
    la, lb, _ = _total(a["label"][touch.a], b["label"][touch.b], touch.px)
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


FEATURE = np.dtype(
    [
        ("cls", "<i4"),
        ("score", "<f8"),
        ("area_px", "<i8"),
        ("n_tiles", "<i4"),
        ("inter", "<i8"),
        ("union", "<i8"),
    ]
)
"""One feature: class, mean score 0..1, pixels, tiles that saw it, and how far they agreed."""

DROP, PIECE, WHOLE = 0, 1, 2
"""How a label is drawn: not at all, its part inside the core, or all of it."""


@dataclass(frozen=True, slots=True, eq=False)
class SeamPlan:
    """How every label of every tile is drawn; labels are numbered through all tiles, 0-based."""

    feature: NDArray[np.int32]
    """(n,) the 0-based feature each label belongs to, or -1."""
    draw: NDArray[np.uint8]
    """(n,) DROP, PIECE or WHOLE."""
    features: NDArray[np.void]
    """(m,) of FEATURE, sorted by first pixel in row-major order, then class."""
    erase: Ints
    """(k, 2) labels: the first gives up the pixels that the second draws."""
    broken: int
    """Links that were cut because they would have joined two objects one tile saw apart."""


def decide(
    facts: NDArray[np.void],
    tile_of: NDArray[np.integer],
    pairs: NDArray[np.void],
    voices: NDArray[np.void],
    windows: tuple[NDArray[np.int64], Sequence[bool]],
) -> SeamPlan:
    """Join labels into features.

    Args:
        facts: (n,) of FACT, all tiles' one after the other.
        tile_of: (n,) the tile of each label.
        pairs: of PAIR, labels 0-based into `facts`.
        voices: of VOICE, labels 0-based into `facts`.
        windows: (tiles, 4) trusted window of each tile; and, per class, whether it is a cover.
    """
    trust, covers = windows
    is_cover = np.asarray(covers, bool)[facts["cls"]] if len(facts) else np.zeros(0, bool)
    linked = pairs[pairs["linked"]]
    linked, broken = _break_chains(linked, facts, tile_of, is_cover)
    group = _groups(len(facts), linked["a"], linked["b"])
    draw = _drawing(facts, tile_of, group, trust, is_cover)
    contested = pairs[~pairs["linked"]]
    _drop_beaten(draw, facts, group, contested)
    _drop_lonely(draw, facts, linked)
    feature, features = _features(facts, tile_of, group, draw, pairs, voices)
    erase = _erasures(contested, draw, feature, features)
    return SeamPlan(feature, draw, features, erase, broken)


def _groups(n: int, a: Ints, b: Ints) -> Ints:
    graph = coo_array((np.ones(len(a), np.int8), (a, b)), (n, n))
    group: Ints = connected_components(graph, directed=False)[1]
    return group


def _break_chains(
    linked: NDArray[np.void],
    facts: NDArray[np.void],
    tile_of: NDArray[np.integer],
    is_cover: NDArray[np.bool_],
) -> tuple[NDArray[np.void], int]:
    """Leave out the weakest links of groups that hold two uncut objects of one tile."""
    group = _groups(len(facts), linked["a"], linked["b"])
    apart = np.flatnonzero(~facts["cut"] & ~is_cover)
    if len(apart) == 0:
        return linked, 0
    key = group[apart].astype(np.int64) * (int(tile_of.max()) + 1) + tile_of[apart]
    value, count = np.unique(key, return_counts=True)
    torn = np.unique(value[count > 1] // (int(tile_of.max()) + 1))
    in_doubt = np.isin(group[linked["a"]], torn)
    if not in_doubt.any():
        return linked, 0
    doubtful = linked[in_doubt]
    iou = doubtful["inter"] / np.maximum(doubtful["union"], 1)
    kept = np.zeros(len(doubtful), bool)
    uncut_tiles = {int(n): {int(tile_of[n])} for n in apart[np.isin(group[apart], torn)]}
    parent: dict[int, int] = {}

    def root(n: int) -> int:
        while parent.setdefault(n, n) != n:
            n = parent[n]
        return n

    for k in np.lexsort((doubtful["b"], doubtful["a"], -iou)).tolist():
        a, b = root(int(doubtful["a"][k])), root(int(doubtful["b"][k]))
        tiles_a, tiles_b = uncut_tiles.get(a, set()), uncut_tiles.get(b, set())
        if a != b and tiles_a & tiles_b:
            continue
        kept[k] = True
        if a != b:
            parent[b] = a
            uncut_tiles[a] = tiles_a | tiles_b
    return np.concatenate([linked[~in_doubt], doubtful[kept]]), int((~kept).sum())


def _drawing(
    facts: NDArray[np.void],
    tile_of: NDArray[np.integer],
    group: Ints,
    trust: NDArray[np.int64],
    is_cover: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """Choose, for every group of objects, the member to draw whole, else the pieces."""
    draw = np.where(facts["core_px"] > 0, PIECE, DROP).astype(np.uint8)
    count = int(group.max(initial=-1)) + 1
    none = np.iinfo(np.int64).max
    box = [np.full(count, none), np.full(count, none), np.full(count, -1), np.full(count, -1)]
    some = facts["core_px"] > 0
    for side, name in enumerate(("core_x0", "core_y0", "core_x1", "core_y1")):
        ufunc = np.minimum if side < 2 else np.maximum
        ufunc.at(box[side], group[some], facts[name][some])
    window = trust[tile_of]
    sees_all = (
        (window[:, 0] <= box[0][group])
        & (window[:, 1] <= box[1][group])
        & (window[:, 2] >= box[2][group])
        & (window[:, 3] >= box[3][group])
    )
    able = np.flatnonzero(sees_all & ~facts["cut"] & ~is_cover)
    # The best comes last and is the one that stays: most pixels in its core, then the first.
    order = able[np.lexsort((-able, facts["core_px"][able]))]
    chosen = np.full(count, -1)
    chosen[group[order]] = order
    has_whole = chosen[group] >= 0
    draw[has_whole] = DROP
    draw[chosen[chosen >= 0]] = WHOLE
    return draw


def _quality(facts: NDArray[np.void], group: Ints, draw: NDArray[np.uint8]) -> tuple[Ints, Ints]:
    """Return each group's drawn pixels, and its rank: 0 for the best seen."""
    count = int(group.max(initial=-1)) + 1
    px = np.where(draw == WHOLE, facts["area_px"], facts["core_px"]) * (draw != DROP)
    total = np.bincount(group, px, count).astype(np.int64)
    whole = np.bincount(group, draw == WHOLE, count) > 0
    in_core = np.bincount(group, facts["core_px"] * (draw != DROP), count)
    share = in_core / np.maximum(total, 1)
    rank = np.empty(count, np.int64)
    rank[np.lexsort((np.arange(count), -total, -share, ~whole))] = np.arange(count)
    return total, rank


def _drop_beaten(
    draw: NDArray[np.uint8], facts: NDArray[np.void], group: Ints, contested: NDArray[np.void]
) -> None:
    """Drop groups that better-seen rivals cover for at least half of their area."""
    rivals = contested[contested["rival"]]
    rivals = rivals[group[rivals["a"]] != group[rivals["b"]]]
    if len(rivals) == 0:
        return
    total, rank = _quality(facts, group, draw)
    a, b = group[rivals["a"]], group[rivals["b"]]
    loser, winner = np.where(rank[a] > rank[b], a, b), np.where(rank[a] > rank[b], b, a)
    key, inverse = np.unique(loser.astype(np.int64) * len(rank) + winner, return_inverse=True)
    # Several tiles may report the same contested pixels: the largest report counts.
    most = np.zeros(len(key), np.int64)
    np.maximum.at(most, inverse, rivals["inter"])
    beaten_by: dict[int, list[tuple[int, int]]] = {}
    for k, px in zip(key.tolist(), most.tolist(), strict=True):
        beaten_by.setdefault(k // len(rank), []).append((k % len(rank), px))
    gone: set[int] = set()
    for group_id in sorted(beaten_by, key=lambda g: int(rank[g])):
        lost = sum(px for better, px in beaten_by[group_id] if better not in gone)
        if lost and lost >= RIVAL_SHARE * total[group_id]:
            gone.add(group_id)
    if gone:
        draw[np.isin(group, list(gone))] = DROP


def _drop_lonely(
    draw: NDArray[np.uint8], facts: NDArray[np.void], linked: NDArray[np.void]
) -> None:
    """Drop labels outside their own core that no other tile confirms."""
    alone = np.ones(len(facts), bool)
    alone[linked["a"]] = alone[linked["b"]] = False
    draw[alone & (facts["core_px"] == 0)] = DROP


def _features(
    facts: NDArray[np.void],
    tile_of: NDArray[np.integer],
    group: Ints,
    draw: NDArray[np.uint8],
    pairs: NDArray[np.void],
    voices: NDArray[np.void],
) -> tuple[NDArray[np.int32], NDArray[np.void]]:
    """Number the drawn groups by first pixel and class, and sum up what is known of them."""
    count = int(group.max(initial=-1)) + 1
    drawn = draw != DROP
    whole = draw == WHOLE
    first = np.full(count, np.iinfo(np.int64).max)
    y = np.where(whole, facts["first_y"], facts["core_first_y"]).astype(np.int64)
    x = np.where(whole, facts["first_x"], facts["core_first_x"]).astype(np.int64)
    np.minimum.at(first, group[drawn], (y << 32 | x)[drawn])
    cls = np.zeros(count, np.int64)
    cls[group] = facts["cls"]
    alive = np.flatnonzero(np.bincount(group, drawn, count) > 0)
    alive = alive[np.lexsort((cls[alive], first[alive]))]
    number = np.full(count, -1, np.int32)
    number[alive] = np.arange(len(alive))

    def total(index: Ints, weight: Ints) -> Ints:
        return np.bincount(index, weight, count).astype(np.int64)[alive]

    features = np.zeros(len(alive), FEATURE)
    features["cls"] = cls[alive]
    features["area_px"] = total(group, np.where(whole, facts["area_px"], facts["core_px"]) * drawn)
    steps = total(group, np.where(whole, facts["score_sum"], facts["core_score_sum"]) * drawn)
    mean = steps / np.maximum(features["area_px"], 1) / SCORE_STEPS
    features["score"] = np.round(mean, 4)
    tiles = np.unique(group.astype(np.int64) * (int(tile_of.max(initial=0)) + 1) + tile_of)
    features["n_tiles"] = np.bincount(tiles // (int(tile_of.max(initial=0)) + 1), minlength=count)[
        alive
    ]
    both = pairs[group[pairs["a"]] == group[pairs["b"]]]
    agreed = total(group[both["a"]], both["inter"])
    features["inter"] = total(group[voices["label"]], voices["inter"]) + agreed
    features["union"] = total(group[voices["label"]], voices["union"]) - agreed
    return np.where(group >= 0, number[group], -1).astype(np.int32), features


def _erasures(
    contested: NDArray[np.void],
    draw: NDArray[np.uint8],
    feature: NDArray[np.int32],
    features: NDArray[np.void],
) -> Ints:
    """List which drawn labels give up pixels to which others, so that nothing is drawn twice."""
    a, b = contested["a"], contested["b"]
    both = (draw[a] != DROP) & (draw[b] != DROP) & (feature[a] != feature[b])
    a, b = a[both], b[both]
    if len(a) == 0:
        return np.zeros((0, 2), np.int64)
    score, area = features["score"], features["area_px"]
    best_first = np.lexsort((np.arange(len(features)), -area, -score))
    rank = np.empty(len(features), np.int64)
    rank[best_first] = np.arange(len(features))
    a_loses = rank[feature[a]] > rank[feature[b]]
    return np.column_stack((np.where(a_loses, a, b), np.where(a_loses, b, a)))


def empty_facts() -> NDArray[np.void]:
    """Return no facts: the table of a run in which nothing was found."""
    return np.zeros(0, FACT)
