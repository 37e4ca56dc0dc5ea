"""Rings become one as if whoever walks them changes from one to the other where they meet."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from scenes import examples, seeds

from geoseg.generalise.links import joined


def forest(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Arcs per ring, and pairs of arcs at which rings meet: never so that they enclose others."""
    per_ring = random.integers(1, 6, random.integers(1, 12))
    stop = np.cumsum(per_ring)
    free = [list(range(b - n, b)) for b, n in zip(stop, per_ring, strict=True)]
    group, pairs = list(range(len(free))), []
    for _ in range(random.integers(0, 20)):
        one, other = random.integers(0, len(free), 2)
        if group[one] != group[other] and free[one] and free[other]:
            group = [group[one] if g == group[other] else g for g in group]
            pairs.append([v.pop(random.integers(len(v))) for v in (free[one], free[other])])
    return per_ring, np.array(pairs, int).reshape(-1, 2)


@examples(100)
@given(seeds)
def test_rings_that_meet_are_walked_as_one(random):
    per_ring, pairs = forest(random)
    stop = np.cumsum(per_ring)
    following = {}
    for b, n in zip(stop, per_ring, strict=True):
        following |= {i: i + 1 if i + 1 < b else b - n for i in range(b - n, b)}
    change = {i: j for one, other in pairs.tolist() for i, j in ((one, other), (other, one))}
    following = {i: change.get(j, j) for i, j in following.items()}
    walked, count = joined(per_ring, pairs)
    assert sorted(walked) == list(range(stop[-1]))
    assert np.count_nonzero(count) == len(per_ring) - len(pairs)
    for ring in np.split(walked, np.cumsum(count)[:-1]):
        assert [following[i] for i in ring] == np.roll(ring, -1).tolist()
    ring_of = np.repeat(np.arange(len(per_ring)), per_ring)[walked]
    firsts = [part.min() for part in np.split(ring_of, np.cumsum(count)[:-1]) if len(part)]
    assert firsts == np.flatnonzero(count).tolist()
