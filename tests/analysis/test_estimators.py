"""Estimates are those of the published examples, and intervals hold what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.analysis.estimators import allocate, estimate, plan_size
from geoseg.errors import ConfigError

CLASSES = ("deforestation", "gain", "stable forest", "stable non-forest")
COUNTS = ((66, 0, 5, 4), (0, 55, 8, 12), (1, 0, 153, 11), (2, 1, 9, 313))
PIXELS = (200_000, 150_000, 3_200_000, 6_450_000)
HA_PER_PIXEL = 0.09


def olofsson():
    """Table 8 of Olofsson et al. (2014)."""
    mapped, reference = [], []
    for i, row in enumerate(COUNTS):
        for j, count in enumerate(row):
            mapped += [CLASSES[i]] * count
            reference += [CLASSES[j]] * count
    sizes = {c: n * HA_PER_PIXEL for c, n in zip(CLASSES, PIXELS, strict=True)}
    return estimate(mapped, mapped, reference, sizes)


def test_olofsson_2014_to_its_published_digits():
    found = olofsson()
    assert found.classes == CLASSES
    assert (found.counts == np.array(COUNTS)).all()
    assert np.round(found.overall.value, 2) == 0.95
    assert np.round(found.overall.half_width, 2) == 0.02
    assert np.round(found.users.value, 2).tolist() == [0.88, 0.73, 0.93, 0.96]
    assert np.round(found.users.half_width, 2).tolist() == [0.07, 0.10, 0.04, 0.02]
    assert np.round(found.producers.value, 2).tolist() == [0.75, 0.85, 0.93, 0.96]
    assert np.round(found.producers.half_width, 2).tolist() == [0.21, 0.25, 0.03, 0.02]
    assert np.round(found.area.value).tolist() == [21158, 11686, 285770, 581386]
    assert np.round(found.area.half_width).tolist() == [6158, 3756, 15510, 16281]


def stehman():
    """Table 2 of Stehman (2014)."""
    strata = [*"A" * 10, *"B" * 10, *"C" * 10, *"D" * 10]
    mapped = [*"AAAAAAABBB", *"ABBBBBBBBB", *"BBCCCCCCBB", *"DDDDDDDDDD"]
    reference = [*"AAAAACBABC", *"ABBBBBAABB", *"CCCCCDDBBA", *"DDDDDDDCCB"]
    units = {"A": 40_000, "B": 30_000, "C": 20_000, "D": 10_000}
    return estimate(strata, mapped, reference, units, units=units)


def test_stehman_2014_to_its_published_digits():
    found = stehman()
    a, b, c = (found.classes.index(name) for name in "ABC")
    assert np.round(found.share.value[[a, c]], 2).tolist() == [0.35, 0.20]
    assert np.round(found.share.se[[a, c]], 3).tolist() == [0.082, 0.064]
    assert np.round(found.overall.value, 2) == 0.63
    assert np.round(found.overall.se, 3) == 0.085
    assert np.round([found.users.value[b], found.users.se[b]], 3).tolist() == [0.574, 0.125]
    assert np.round([found.producers.value[b], found.producers.se[b]], 3).tolist() == [0.794, 0.117]
    assert np.round(found.matrix[b, c], 2) == 0.08


def test_intervals_hold_the_truth_as_often_as_they_say():
    random = np.random.default_rng(0)
    # What a unit of a stratum, which is its map class, really is.
    truth = np.array([[0.8, 0.15, 0.05], [0.1, 0.85, 0.05], [0.02, 0.04, 0.94]])
    size = np.array([0.15, 0.25, 0.6])
    share = size @ truth
    held = []
    for _ in range(400):
        strata = np.repeat(np.arange(3), (75, 75, 150))
        drawn = np.array([random.choice(3, p=truth[s]) for s in strata])
        found = estimate(strata, strata, drawn, dict(enumerate(size)))
        held.append(np.abs(found.share.value - share) <= found.share.half_width)
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


def test_sizes_are_those_of_the_published_plan():
    # Olofsson et al. (2014), section 5.1.1: 641 units for a standard error of 0.01.
    shares = {"deforestation": 0.020, "gain": 0.015, "forest": 0.320, "non-forest": 0.645}
    expected = {"deforestation": 0.7, "gain": 0.6, "forest": 0.9, "non-forest": 0.95}
    assert plan_size(shares, expected, 0.01) == 641
    # Their table 5: 75 to each rare class, and the rest by area.
    found = allocate(shares, 641, 75)
    assert found == {"deforestation": 75, "gain": 75, "forest": 163, "non-forest": 328}


@given(
    st.lists(st.floats(1e-9, 1), min_size=1, max_size=9),
    st.integers(0, 60),
    st.integers(0, 999),
)
def test_every_unit_is_given_and_no_stratum_is_forgotten(weights, least, more):
    strata = dict(enumerate(weights))
    count = least * len(strata) + more
    found = allocate(strata, count, least)
    assert sum(found.values()) == count
    assert min(found.values()) >= least
    rich = [k for k in strata if found[k] > least + 1]
    for k in rich:
        for other in rich:
            # Among those that are not rare, by weight, to within rounding.
            assert abs(found[k] * strata[other] - found[other] * strata[k]) <= (
                strata[k] + strata[other]
            ) * (1 + 1e-9)


def test_a_stratum_gives_no_more_units_than_it_has():
    found = allocate({"A": 1, "B": 1, "C": 2}, 100, 20, {"A": 7, "B": 24, "C": 500})
    assert found == {"A": 7, "B": 24, "C": 69}
    assert allocate({"A": 1, "B": 1}, 100, 20, {"A": 7, "B": 24}) == {"A": 7, "B": 24}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: estimate("AAB", "AAB", "AAB", {"A": 1, "B": 1}), "stratum 'B' has 1 units"),
        (lambda: estimate("AA", "AA", "AA", {"A": 1, "B": 1}), "stratum 'B' has 0 units"),
        (lambda: estimate("AAC", "AAC", "AAC", {"A": 1}), "stratum 'C' of the sample has no area"),
        (lambda: plan_size({"A": 0.0}, {"A": 1}, 0.1), "stratum 'A' has no area"),
        (lambda: plan_size({"A": 1.0}, {"A": 2}, 0.1), "accuracy 2 of 'A' is outside 0..1"),
        (lambda: allocate({"A": 1, "B": 1}, 99, 50), "99 points are too few for 2 strata of 50"),
        (lambda: plan_size({"A": 1.0}, {"A": 1}, 2), "outside 0..1"),
    ],
)
def test_bad_samples_are_named(call, words):
    with pytest.raises(ConfigError, match=words):
        call()
