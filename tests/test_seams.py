"""Two tiles and what they say of each other, drawn by hand.

The raster has 36 columns and 20 rows. The left tile decides columns 0..16 and sees 0..20; the
right one decides 16..36 and sees 12..36: both see 12..20.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scenes import instances, legend

from geoseg.decide import DROP, PIECE, WHOLE, decide
from geoseg.features import number_labels
from geoseg.flatten import flatten
from geoseg.grid import Grid
from geoseg.instances import Scope
from geoseg.seams import link
from geoseg.window import Window

GRID = Grid(Window(0, 0, 36, 20), 24, 8)
SCOPES = [Scope(t.read, t.read, t.core, GRID.raster) for t in GRID]


def box(x0, x1, y0=5, y1=10):
    return Window(x0, y0, x1, y1)


def stitch(left, right, kinds=("object", "object"), scores=(0.9, 0.9)):
    """Stitch two tiles' answers: boxes (or (box, class)) in raster coordinates."""
    asked, labels = legend(*kinds), []
    for scope, answer, score in zip(SCOPES, (left, right), scores, strict=True):
        found = []
        for entry in answer:
            window, cls = entry if isinstance(entry, tuple) else (entry, 0)
            seen = window.intersection(scope.read)
            place = seen.slices_in(scope.read)
            found.append((place, np.ones(seen.shape, bool), cls))
        valid = np.ones(scope.read.shape, bool)
        labels.append(flatten(instances(found, score), asked, valid, scope))
    covers = [k == "cover" for k in kinds]
    seam = link(*labels, *SCOPES, covers)
    counts = [len(part.facts) for part in labels]
    pairs, voices = number_labels(counts, [(0, 1, seam)])
    facts = np.concatenate([part.facts for part in labels])
    trust = np.array([(s.trust.x0, s.trust.y0, s.trust.x1, s.trust.y1) for s in SCOPES])
    plan = decide(facts, np.repeat([0, 1], counts), pairs, voices, (trust, covers))
    return SimpleNamespace(
        seam=seam,
        plan=plan,
        features=plan.features,
        draw=plan.draw.tolist(),
        feature=plan.feature.tolist(),
        linked=seam.pairs["linked"].tolist(),
    )


def agreement(found) -> list[float]:
    return (found.features["inter"] / found.features["union"]).tolist()


def test_the_grid_is_as_drawn():
    assert [(s.core.x0, s.core.x1, s.read.x0, s.read.x1) for s in SCOPES] == [
        (0, 16, 0, 20),
        (16, 36, 12, 36),
    ]


def test_an_object_that_one_tile_sees_uncut_is_drawn_whole_by_it():
    found = stitch([box(5, 18)], [box(5, 18)])
    assert found.linked == [True]
    assert found.draw == [WHOLE, DROP]
    assert found.features["area_px"].tolist() == [13 * 5]
    assert found.features["n_tiles"].tolist() == [2]
    assert agreement(found) == [1]


def test_of_two_that_see_it_uncut_the_one_with_more_in_its_core_draws_it():
    assert stitch([box(13, 18)], [box(13, 18)]).draw == [WHOLE, DROP]
    assert stitch([box(14, 19)], [box(14, 19)]).draw == [DROP, WHOLE]
    # Equal: the first.
    assert stitch([box(14, 18)], [box(14, 18)]).draw == [WHOLE, DROP]


def test_an_object_that_every_tile_cuts_is_united_from_pieces():
    found = stitch([box(2, 30)], [box(2, 30)])
    assert found.draw == [PIECE, PIECE]
    assert found.feature == [0, 0]
    assert found.features["area_px"].tolist() == [28 * 5]


@pytest.mark.parametrize(
    ("right", "same"),
    [
        (box(14, 18), True),  # equal
        (box(13, 17), True),  # 15 of 25 pixels: 0.6
        (box(16, 18), False),  # 10 of 20 pixels: exactly one half is not more than one half
        (box(17, 20), False),
        (box(14, 18, 11, 16), None),  # nothing shared: nothing said
    ],
)
def test_objects_are_the_same_where_more_than_half_is_shared(right, same):
    found = stitch([box(14, 18)], [right])
    assert found.linked == ([] if same is None else [same])
    assert len(set(found.feature)) == (1 if same else 2)


def test_objects_of_different_classes_are_never_the_same():
    found = stitch([(box(14, 18), 0)], [(box(14, 18), 1)])
    assert found.linked == []
    assert found.features["cls"].tolist() == [0, 1]


def test_the_score_is_the_mean_over_the_drawn_pixels():
    found = stitch([box(2, 30)], [box(2, 30)], scores=(0.9, 0.6))
    assert found.features["score"][0] == pytest.approx((14 * 0.9 + 14 * 0.6) / 28)
    whole = stitch([box(5, 18)], [box(5, 18)], scores=(0.9, 0.6))
    assert whole.features["score"].tolist() == [0.9]


def test_agreement_counts_what_both_show_in_the_shared_zone():
    found = stitch([box(13, 18)], [box(14, 18)])
    assert agreement(found) == [4 / 5]
    # Columns 12..20 count; what lies left of them only one could see.
    assert agreement(stitch([box(3, 18)], [box(3, 17)])) == [5 / 6]


def test_what_the_other_tile_denies_lowers_the_agreement():
    found = stitch([box(10, 18)], [])
    assert found.draw == [WHOLE]
    assert agreement(found) == [0]
    assert found.features["n_tiles"].tolist() == [1]


def test_what_a_tile_cuts_and_nobody_continues_ends_at_its_core():
    found = stitch([box(5, 20)], [])
    assert found.draw == [PIECE]
    assert found.features["area_px"].tolist() == [11 * 5]


def test_outside_its_core_a_tile_alone_is_not_believed():
    assert stitch([box(17, 19)], []).draw == [DROP]
    assert stitch([], [box(13, 15)]).draw == [DROP]
    # But two tiles are.
    assert stitch([box(17, 19)], [box(17, 19)]).draw == [DROP, WHOLE]


def test_a_rival_that_is_mostly_covered_by_a_better_seen_one_is_dropped():
    # Half of what left shows in the shared zone: not the same, but in the same place.
    found = stitch([box(8, 18)], [box(15, 18)])
    assert found.linked == [False]
    assert found.seam.pairs["rival"].tolist() == [True]
    assert found.draw == [WHOLE, DROP]
    assert found.features["area_px"].tolist() == [50]


def test_half_of_a_rival_is_enough_to_drop_it_and_less_is_not():
    # 15 of its 25 pixels; the left one is as well seen, and larger.
    assert stitch([box(8, 18)], [box(15, 20)]).draw[1] == DROP
    # 15 of its 45 pixels.
    found = stitch([box(8, 18)], [box(15, 24)])
    assert found.draw == [WHOLE, WHOLE]
    assert len(found.plan.erase) == 1


def test_what_remains_contested_is_given_to_one_of_them():
    found = stitch([box(6, 18)], [box(15, 30, 9, 19)], scores=(0.9, 0.6))
    assert found.linked == [False]
    assert DROP not in found.draw
    assert found.plan.erase.tolist() == [[1, 0]]
    swapped = stitch([box(6, 18)], [box(15, 30, 9, 19)], scores=(0.6, 0.9))
    assert swapped.plan.erase.tolist() == [[0, 1]]


def test_two_objects_that_one_tile_sees_apart_are_not_joined():
    # Left sees one object; right sees two, each more than half of... only the larger can match.
    found = stitch([box(13, 19)], [box(13, 17), box(17, 19)])
    assert sum(found.linked) == 1
    assert found.plan.broken == 0


@pytest.mark.parametrize(
    ("left", "right", "features"),
    [
        ([box(3, 20)], [box(12, 30)], 1),
        ([box(3, 16)], [box(16, 30)], 1),  # the core's edge is enough
        ([box(3, 15)], [box(16, 30)], 2),
        ([box(3, 16)], [box(16, 30, 10, 15)], 2),  # only corners meet
        ([box(3, 16)], [box(16, 30, 9, 15)], 1),
        ([box(3, 16, 0, 3), box(3, 16, 6, 9)], [box(16, 30, 0, 9)], 1),
        ([(box(3, 16), 0)], [(box(16, 30), 1)], 2),
    ],
)
def test_covers_are_one_where_they_touch_across_the_cores_border(left, right, features):
    found = stitch(left, right, ("cover", "cover"))
    assert len(found.features) == features
    assert set(found.draw) == {PIECE}


def test_covers_are_cut_to_cores_and_agree_in_halos():
    found = stitch([box(3, 20)], [box(12, 30)], ("cover",))
    assert found.features["area_px"].tolist() == [27 * 5]
    assert found.features["n_tiles"].tolist() == [2]
    assert agreement(found) == [1]
    # Right would not have claimed columns 12..16: 20 of the 40 pixels that both see.
    denied = stitch([box(3, 20)], [box(16, 30)], ("cover",))
    assert agreement(denied) == [0.5]


def test_features_are_numbered_from_the_top_then_from_the_left_then_by_class():
    found = stitch([box(2, 5, 8, 9), (box(2, 5, 3, 4), 1), box(2, 5, 3, 4)], [box(25, 28, 3, 4)])
    table = [tuple(row) for row in found.features[["cls", "area_px"]].tolist()]
    assert table == [(0, 3), (1, 3), (0, 3), (0, 3)]
    assert found.feature[-1] == 2


def test_nothing_to_stitch():
    found = stitch([], [])
    assert len(found.features) == 0
    assert found.plan.erase.shape == (0, 2)
