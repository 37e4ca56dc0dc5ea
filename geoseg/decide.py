"""Which labels make up a feature, and who draws it? From facts and links alone.

A label that its tile saw uncut, from a window that holds every other member's part, is drawn
whole; an object that every tile cut is united from the pieces inside the cores, and a cover always.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geoseg.instances import FACT, SCORE_STEPS
from geoseg.seams import RIVAL_SHARE

Ints = NDArray[np.int64]

FEATURE = np.dtype(
    [
        ("cls", "<i4"),
        ("score", "<f8"),
        ("area_px", "<i8"),
        ("runs", "<i8"),
        ("n_tiles", "<i4"),
        ("inter", "<i8"),
        ("union", "<i8"),
    ]
)
"""One feature: class, mean score 0..1, pixels, runs to draw (at most), tiles that saw it, and how
far they agreed."""

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
    features["runs"] = total(group, facts["runs"] * drawn)
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
