"""Training and validation are apart: no chips that touch, no object on both sides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import examples, seeds
from scipy import ndimage

from geoseg.errors import ConfigError
from geoseg.export.dataset.split import NEITHER, TRAIN, VAL, Ties, split

NONE = Ties(np.zeros(0, np.int64), np.zeros(0, np.int64))
AROUND = np.ones((3, 3), bool)


@st.composite
def lattices(draw):
    """Draw which chips can be used, and objects that lie in several of them."""
    rows, cols = draw(st.tuples(st.integers(1, 14), st.integers(1, 14)))
    random = draw(seeds)
    usable = random.random((rows, cols)) < draw(st.sampled_from([0.3, 0.9, 1.0]))
    things, chips = [], []
    for thing in range(draw(st.integers(0, 6))):
        many = random.integers(2, 2 + min(5, usable.size))
        mine = random.choice(usable.size, min(many, usable.size), replace=False)
        # Objects lie where they like, on chips that cannot be used as well.
        things += [thing] * len(mine)
        chips += mine.tolist()
    return usable, Ties(np.array(things, np.int64), np.array(chips, np.int64)), random


def apart(side: np.ndarray, ties: Ties, val: np.ndarray) -> np.ndarray:
    """Return what may not be for training, by the words of the rule."""
    near = ndimage.binary_dilation(val, AROUND)
    for thing in np.unique(ties.thing).tolist():
        mine = np.zeros(side.size, bool)
        mine[ties.chip[ties.thing == thing]] = True
        if (mine & val.ravel()).any():
            near |= mine.reshape(side.shape)
    return near


@examples(150)
@given(lattices(), st.sampled_from([0.05, 0.1, 0.2, 0.5, 0.9]), st.integers(0, 3))
def test_sides_are_apart_and_nothing_else_is_lost(lattice, share, seed):
    usable, ties, random = lattice
    try:
        side = split(usable, ties, share, seed)
    except ConfigError:
        # Each chip alone would take all others with it.
        for chip in np.flatnonzero(usable).tolist():
            val = np.zeros(usable.shape, bool)
            val.flat[chip] = True
            assert not (usable & ~apart(usable, ties, val)).any()
        return
    val, train = side == VAL, side == TRAIN
    assert val.any()
    assert train.any()
    assert not (side[~usable] != NEITHER).any()
    lost = apart(side, ties, val)
    assert not (train & lost).any()
    # Who is in neither has a reason.
    assert np.array_equal(usable & ~val & ~train, usable & ~val & lost)
    # Objects in another order, under other numbers: the same split.
    mixed, names = random.permutation(len(ties.thing)), random.permutation(9)
    again = split(usable, Ties(names[ties.thing[mixed]], ties.chip[mixed]), share, seed)
    assert np.array_equal(again, side)


@pytest.mark.parametrize(
    ("shape", "share", "most"),
    [
        ((3, 3), 0.2, 0.45),
        ((1, 9), 0.2, 0.12),
        ((4, 4), 0.1, 0.25),
        ((4, 4), 0.2, 0.32),
        ((8, 8), 0.2, 0.15),
        ((16, 16), 0.2, 0.07),
        ((16, 16), 0.5, 0.13),
        ((3, 70), 0.2, 0.1),
        ((40, 30), 0.2, 0.1),
    ],
)
def test_the_share_is_reached_by_the_last_chip_and_little_is_lost(shape, share, most):
    usable = np.ones(shape, bool)
    for seed in range(8):
        side = split(usable, NONE, share, seed)
        val, train = int((side == VAL).sum()), int((side == TRAIN).sum())
        assert val >= share * (val + train)
        # A chip less, and what it kept from training at most, would not do.
        assert val - 1 < share * (val - 1 + train + 9)
        assert (side == NEITHER).mean() <= most


def test_seeds_move_validation_and_nothing_else_does():
    usable = np.ones((24, 24), bool)
    found = [split(usable, NONE, 0.1, seed) for seed in range(6)]
    assert len({side.tobytes() for side in found}) > 3
    assert np.array_equal(found[0], split(usable, NONE, 0.1, 0))
    # The rule is written down: versions of numpy must not change it.
    assert np.argwhere(found[0] == VAL).mean(0).round(1).tolist() == [3.5, 11.0]


@pytest.mark.parametrize("seed", range(4))
def test_a_chip_that_would_take_more_than_eight_far_ones_with_it_is_passed_over(seed):
    usable = np.ones((24, 24), bool)
    alone = split(usable, NONE, 0.1, seed).ravel()
    given, others = np.flatnonzero(alone == VAL)[0], np.flatnonzero(alone == TRAIN)
    for far, is_given in ((8, True), (9, False)):
        mine = np.append(others[:: len(others) // 10][:far], given)
        assert len(mine) == far + 1
        side = split(usable, Ties(np.zeros(len(mine), np.int64), mine), 0.1, seed).ravel()
        assert (side[given] == VAL) == is_given
        assert (side[mine[:-1]] == (NEITHER if is_given else TRAIN)).all()
    # Those that touch it are lost anyway, and do not count.
    around = given + np.array([0, 1, 24, 25])
    mine = np.union1d(others[:: len(others) // 10][:8], around[around < usable.size])
    side = split(usable, Ties(np.zeros(len(mine), np.int64), mine), 0.1, seed).ravel()
    assert side[given] == VAL


def test_without_validation_all_is_for_training():
    usable = np.random.default_rng(0).random((5, 6)) < 0.7
    assert np.array_equal(split(usable, NONE, 0.0), np.where(usable, TRAIN, NEITHER))


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 2)])
def test_chips_that_all_touch_are_refused(shape):
    with pytest.raises(ConfigError, match=r"^none of \d chips can be .* smaller --chips, or --val"):
        split(np.ones(shape, bool), NONE, 0.2)


def test_an_object_everywhere_is_refused():
    chips = np.arange(100)
    with pytest.raises(ConfigError, match="sharing an object with"):
        split(np.ones((10, 10), bool), Ties(np.zeros(100, np.int64), chips), 0.2)
