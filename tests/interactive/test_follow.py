"""An object that was pointed at is the same in any tiling."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scenes import examples
from scipy import ndimage

from geoseg.backends.outlining import Cutout
from geoseg.grid import Grid
from geoseg.instances import Scope
from geoseg.interactive.follow import ASKS, follow
from geoseg.interactive.pointed import Pointed
from geoseg.window import Window


@dataclass
class Perfect:
    """Tiles in which everything that hangs together, as far as a tile sees, is told apart."""

    ids: np.ndarray
    tile: int
    overlap: int
    margin: int = 0
    by_number: bool = False
    """Whether parts that only hang together outside of the tile are one."""
    asked: list[int] = field(default_factory=list)

    @property
    def grid(self) -> Grid:
        return Grid(Window(0, 0, *self.ids.shape[::-1]), self.tile, self.overlap)

    def scope(self, index: int) -> Scope:
        tile, raster = self.grid[index], self.grid.raster
        return Scope(tile.read, tile.read.trusted(self.margin, raster), tile.core, raster)

    def valid(self, index: int) -> np.ndarray:
        return np.ones(self.grid[index].read.shape, bool)

    def seen(self, index: int) -> np.ndarray:
        return self.ids[self.grid[index].read.slices_in(self.grid.raster)]

    def ask(self, index: int, pointed: Pointed) -> list[Cutout]:
        self.asked.append(index)
        seen, read = self.seen(index), self.grid[index].read
        prompt = pointed.shown(read, read.shape)
        if prompt is None or not prompt.positive.any():
            return []
        x, y = prompt.points[prompt.positive][-1].astype(int)
        number = seen[y, x]
        if not number:
            return []
        mask = seen == number
        if not self.by_number:
            parts, _ = ndimage.label(mask)
            mask = parts == parts[y, x]
        rows, cols = ndimage.find_objects(mask.astype(int))[0]
        box = (cols.start, rows.start, cols.stop, rows.stop)
        # Worse ones follow; the neighbour finds out which is right.
        wrong = Cutout((0, 0, read.width, read.height), np.ones(read.shape, bool), 0.5)
        return [Cutout(box, mask[rows, cols], 0.9), wrong]


def drawn(runs, shape) -> np.ndarray:
    mask = np.zeros(shape, int)
    for _, y, x0, x1 in runs.tolist():
        mask[y, x0:x1] += 1
    assert mask.max(initial=0) <= 1
    return mask > 0


def worms(seed: int, height: int, width: int, smooth: float) -> np.ndarray:
    """Return regions of any shape that hang together: rings, forks, U-turns."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random((height, width)), smooth)
    return ndimage.label(noise > np.quantile(noise, 0.5))[0]


@st.composite
def scenes(draw):
    """Return tiles of worms, and a pixel of one."""
    seed = draw(st.integers(0, 10**6))
    ids = worms(
        seed, *draw(st.tuples(*[st.integers(8, 50)] * 2)), draw(st.sampled_from([0.6, 2, 4]))
    )
    tile, margin = draw(st.integers(8, 60)), draw(st.integers(0, 2))
    overlap = max(2 * (margin + 1), int(draw(st.floats(0, 0.8)) * tile))
    assume(ids.any() and tile > 2 * ((overlap + 1) // 2))
    places = np.argwhere(ids)
    y, x = places[np.random.default_rng(seed).integers(len(places))]
    return Perfect(ids, tile, overlap, margin, draw(st.booleans())), int(x), int(y)


@examples(40)
@given(scenes())
def test_an_object_is_what_it_is_without_tiles(scene):
    tiles, x, y = scene
    ids = tiles.ids
    found = follow(tiles, Pointed().at(x + 0.5, y + 0.5), reach=10**6)
    assert found is not None
    assert np.array_equal(drawn(found.runs, ids.shape), ids == ids[y, x])
    assert not found.ends_early
    assert found.score == pytest.approx(0.9, abs=1e-4)
    assert np.isnan(found.seam_iou) or found.seam_iou == 1 or not tiles.by_number
    assert max(np.bincount(tiles.asked)) <= ASKS


@pytest.mark.parametrize(("tile", "overlap"), [(64, 16), (40, 10), (24, 8), (200, 16)])
def test_an_object_over_four_tiles_is_followed_and_drawn_once(tile, overlap):
    ids = np.zeros((100, 120), int)
    ids[20:80, 30:90], ids[30:70, 40:80] = 1, 0
    tiles = Perfect(ids, tile, overlap)
    found = follow(tiles, Pointed().at(31.5, 21.5), reach=64)
    assert np.array_equal(drawn(found.runs, ids.shape), ids == 1)
    assert found.n_tiles == len(set(tiles.asked))


def test_a_tile_that_sees_all_of_it_is_enough():
    ids = np.zeros((64, 200), int)
    ids[20:30, 40:68] = 1
    # The home of the point sees a part; its neighbour sees the whole, and nobody else is asked.
    tiles = Perfect(ids, 80, 20)
    found = follow(tiles, Pointed().at(62.5, 25.5), reach=64)
    assert np.array_equal(drawn(found.runs, ids.shape), ids == 1)
    assert sorted(tiles.asked) == [0, 1]


def test_an_object_that_its_tile_sees_whole_asks_nobody_else():
    ids = np.zeros((64, 200), int)
    ids[20:30, 55:68] = 1
    tiles = Perfect(ids, 80, 20)
    assert follow(tiles, Pointed().at(62.5, 25.5), reach=64).n_tiles == 1
    assert tiles.asked == [1]


def test_reach_ends_it_and_says_so():
    ids = np.ones((20, 400), int)
    tiles = Perfect(ids, 40, 8)
    found = follow(tiles, Pointed().at(2.5, 2.5), reach=3)
    assert found.ends_early
    assert len(set(tiles.asked)) == 3
    assert drawn(found.runs, ids.shape)[:, :60].all()
    assert not drawn(found.runs, ids.shape)[:, 120:].any()


def test_two_points_far_apart_are_one_object_of_two_parts():
    ids = np.zeros((40, 400), int)
    ids[5:15, 5:15], ids[5:15, 300:330], ids[25:35, 100:120] = 1, 2, 3
    tiles = Perfect(ids, 64, 16)
    found = follow(tiles, Pointed().at(6.5, 6.5).at(310.5, 6.5), reach=64)
    assert np.array_equal(drawn(found.runs, ids.shape), (ids == 1) | (ids == 2))


def test_where_nothing_is_there_is_nothing():
    tiles = Perfect(np.zeros((50, 50), int), 32, 8)
    assert follow(tiles, Pointed().at(3.5, 3.5), reach=64) is None


class Stubborn(Perfect):
    """Answers something else each time: the neighbours never agree."""

    def ask(self, index: int, _pointed: Pointed) -> list[Cutout]:
        self.asked.append(index)
        read = self.grid[index].read
        noise = np.random.default_rng(len(self.asked)).random(read.shape) < 0.5
        return [Cutout((0, 0, read.width, read.height), noise, 0.9)]


def test_tiles_that_never_agree_come_to_an_end():
    tiles = Stubborn(np.zeros((90, 90), int), 40, 12)
    found = follow(tiles, Pointed().at(45.5, 45.5), reach=64)
    assert found is not None
    assert max(np.bincount(tiles.asked)) <= ASKS + 1
    drawn(found.runs, tiles.ids.shape)
