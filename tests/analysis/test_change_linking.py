"""Things of two dates are linked by shared pixels, whatever the strips."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scenes import blobs, examples, seeds, shapes, voronoi

from geoseg.analysis.changes.linking import Strip, shared
from geoseg.analysis.changes.objects import STATUS, statuses

STYLES = st.sampled_from([blobs, shapes, voronoi])


def found_in(before, after, compared, rows, m2=None):
    """Count in strips of so many rows."""
    m2 = np.ones(before.shape) if m2 is None else m2
    strips = [
        Strip(before[y : y + rows], after[y : y + rows], compared[y : y + rows], m2[y : y + rows])
        for y in range(0, len(before), rows)
    ]
    return shared(strips, (int(before.max()), int(after.max())))


@examples(60)
@given(
    size=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    styles=st.tuples(STYLES, STYLES), random=seeds, rows=st.integers(1, 50), hidden=st.booleans(),
)  # fmt: skip
def test_what_things_share_is_what_their_pixels_share(size, styles, random, rows, hidden):
    before, after = (style(*size, random) for style in styles)
    compared = random.random(size) < (0.7 if hidden else 2)
    m2 = random.random(size)
    found = found_in(before, after, compared, rows, m2)
    for extent, things in ((found.before, before), (found.after, after)):
        for number in range(1, int(things.max()) + 1):
            mask = things == number
            assert extent.whole_px[number] == mask.sum()
            assert extent.px[number] == (mask & compared).sum()
            np.testing.assert_allclose(extent.m2[number], m2[mask & compared].sum())
    pairs = {(a, b): px for a, b, px in zip(found.a, found.b, found.px, strict=True)}
    wanted = {}
    for a, b in zip(before[compared], after[compared], strict=True):
        if a and b:
            wanted[a, b] = wanted.get((a, b), 0) + 1
    assert pairs == wanted
    for a, b, linked, related in zip(found.a, found.b, found.linked, found.related, strict=True):
        one, other = (before == a) & compared, (after == b) & compared
        both = (one & other).sum()
        assert linked == (both / (one | other).sum() > 0.5)
        assert related == (linked or both >= min(one.sum(), other.sum()) / 2)


@examples(30)
@given(size=st.tuples(st.integers(1, 40), st.integers(1, 40)), style=STYLES, random=seeds)
def test_nothing_changed_is_all_the_same(size, style, random):
    things = style(*size, random)
    rows = statuses(found_in(things, things, np.ones(size, bool), 7), 0.0)
    numbers = np.unique(things[things > 0])
    assert (rows["before"] == numbers).all()
    assert (rows["after"] == numbers).all()
    assert (rows["status"] == STATUS.index("same")).all()


@examples(40)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    styles=st.tuples(STYLES, STYLES), random=seeds,
)  # fmt: skip
def test_what_appears_is_gone_when_time_runs_backwards(size, styles, random):
    one, other = (style(*size, random) for style in styles)
    compared = random.random(size) < 0.9
    mirrored = {"gone": "appeared", "split": "merged"}
    mirrored |= {v: k for k, v in mirrored.items()}
    seen = []
    for before, after in ((one, other), (other, one)):
        rows = statuses(found_in(before, after, compared, 11), 0.1)
        seen.append([(STATUS[s], a, b) for s, a, b in
                     zip(rows["status"], rows["before"], rows["after"], strict=True)])  # fmt: skip
        # Everything of which a pixel was compared has its row.
        for things, key in ((before, "before"), (after, "after")):
            numbers = np.unique(things[compared])
            assert set(numbers[numbers > 0]) == set(rows[key][rows[key] > 0])
    # Growing by a tenth is not shrinking by a tenth: sizes are left out.
    sizes = {"grown", "shrunk", "same", "moved"}
    back = {("one" if s in sizes else mirrored.get(s, s), b, a) for s, a, b in seen[1]}
    assert {("one" if s in sizes else s, a, b) for s, a, b in seen[0]} == back
