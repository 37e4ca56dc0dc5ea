"""Laws of grids: nothing twice, nothing lost, halos all around."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import examples

from geoseg.errors import ConfigError
from geoseg.grid import Grid
from geoseg.window import Window


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    tile = draw(st.integers(1, 40))
    overlap = draw(st.integers(0, tile - 1 - (tile % 2 == 0)))
    most = 8 * (tile - overlap) + overlap
    width, height = draw(st.integers(1, most)), draw(st.integers(1, most))
    return Grid(Window(0, 0, width, height), tile, overlap)


@examples(500)
@given(grids())
def test_every_pixel_lies_in_exactly_one_core(grid):
    seen = np.zeros(grid.raster.shape, int)
    for tile in grid:
        seen[tile.core.slices_in(grid.raster)] += 1
    assert (seen == 1).all()


@examples(500)
@given(grids())
def test_reads_are_inside_the_raster_and_no_larger_than_a_tile(grid):
    for tile in grid:
        assert tile.core.area > 0
        assert tile.read.intersection(grid.raster) == tile.read
        assert max(tile.read.shape) <= grid.tile_px


@examples(500)
@given(grids())
def test_a_tile_reads_its_halo_on_every_side_that_is_not_the_rasters_edge(grid):
    halo, full = (grid.overlap_px + 1) // 2, grid.raster
    for tile in grid:
        core, read = tile.core, tile.read
        assert read.x0 == max(core.x0 - halo, full.x0)
        assert read.y0 == max(core.y0 - halo, full.y0)
        assert read.x1 == min(core.x1 + halo, full.x1)
        assert read.y1 == min(core.y1 + halo, full.y1)


@examples(200)
@given(grids())
def test_each_two_tiles_that_touch_or_share_pixels_are_named_once(grid):
    owner = np.zeros(grid.raster.shape, int)
    for index, tile in enumerate(grid):
        owner[tile.core.slices_in(grid.raster)] = index
    touching = set()
    for a, b in (
        (owner[:, :-1], owner[:, 1:]),
        (owner[:-1], owner[1:]),
        (owner[:-1, :-1], owner[1:, 1:]),
        (owner[1:, :-1], owner[:-1, 1:]),
    ):
        pairs = np.sort(np.stack((a[a != b], b[a != b])), axis=0)
        touching |= set(map(tuple, pairs.T.tolist()))
    named = [
        (min(index, other), max(index, other))
        for index in range(len(grid))
        for other in grid.neighbours(index)
    ]
    assert len(named) == len(set(named))
    sharing = {
        (i, k)
        for k in range(len(grid))
        for i in range(k)
        if grid[i].read.intersection(grid[k].read).area
    }
    assert touching | sharing <= set(named)
    if 2 * grid.halo_px <= grid.core_px:
        assert set(named) == touching
    assert all(other > index for index in range(len(grid)) for other in grid.neighbours(index))


@given(grids())
def test_tiles_come_row_by_row_under_their_index(grid):
    tiles = list(grid)
    rows, cols = grid.shape
    assert len(tiles) == len(grid) == rows * cols
    assert [(t.row, t.col) for t in tiles] == [(r, c) for r in range(rows) for c in range(cols)]
    assert len({grid.name(i) for i in range(len(grid))}) == len(tiles)
    for index in (-1, len(grid)):
        with pytest.raises(IndexError, match=f"tile {index} of {len(grid)}"):
            grid[index]


@given(grids())
def test_a_raster_no_larger_than_a_tile_is_one_tile(grid):
    fits = max(grid.raster.shape) <= grid.tile_px
    assert not fits or len(grid) == 1
    assert fits or len(grid) > 1


@given(grids())
def test_no_core_is_a_sliver(grid):
    # The remainder joins the last core as long as a read stays within the tile.
    for tile in grid:
        for size, full in zip(tile.core.shape, grid.raster.shape, strict=True):
            assert size >= min(full, grid.halo_px + 1, grid.core_px)


@pytest.mark.parametrize(
    ("tile", "overlap", "words"),
    [
        (0, 0, "tile 0 px is too small; pass --tile"),
        (-5, 0, "tile -5 px is too small"),
        (64, -1, "overlap -1 px is outside 0 <= overlap < tile (64 px)"),
        (64, 64, "overlap 64 px is outside"),
        (64, 63, "leaves no core; lower --overlap or raise --tile"),
    ],
)
def test_impossible_grids_are_refused(tile, overlap, words):
    with pytest.raises(ConfigError) as caught:
        Grid(Window(0, 0, 10, 10), tile, overlap)
    assert words in str(caught.value)


@examples(200)
@given(grids(), st.data())
def test_tiles_are_found_by_place_and_by_window(grid, data):
    width, height = grid.raster.width, grid.raster.height
    owner = np.zeros(grid.raster.shape, int)
    for index, tile in enumerate(grid):
        owner[tile.core.slices_in(grid.raster)] = index
    x0, x1 = sorted(data.draw(st.tuples(*[st.integers(-3, width + 3)] * 2)))
    y0, y1 = sorted(data.draw(st.tuples(*[st.integers(-3, height + 3)] * 2)))
    inside = Window(x0, y0, x1, y1).intersection(grid.raster)
    wanted = np.unique(owner[inside.slices_in(grid.raster)]) if inside.area else []
    assert grid.meeting(Window(x0, y0, x1, y1)) == list(wanted)
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    assert grid.at(x + 0.5, y) == owner[y, x]
    # The far edge belongs to the last tile.
    assert grid.at(width, height) == len(grid) - 1
