"""Lines become coarser as Douglas and Peucker say, against shapely, and rounder by no more than is
allowed."""

from __future__ import annotations

import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st
from scenes import examples, seeds

from geoseg.generalise.lines import DROPPED, GRID, Lines, corners, curves, refined, simplified


def walk(random: np.random.Generator, count: int) -> np.ndarray:
    """A line along pixel edges."""
    way = np.array([(1, 0), (0, 1), (0, -1)])
    # No step goes back.
    return np.cumsum([(0, 0), *way[random.integers(0, 3, count)]], axis=0)


def as_lines(*found: np.ndarray) -> Lines:
    start = np.r_[0, np.cumsum([len(f) for f in found])]
    xy = np.concatenate(found) * GRID
    return Lines(xy, start, np.zeros(len(xy), np.uint8), np.zeros(len(found), bool))


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """The farthest that two lines are from each other."""
    pair = [shapely.segmentize(shapely.LineString(xy), 0.1) for xy in (one, other)]
    return float(shapely.hausdorff_distance(*pair))


walks = st.builds(walk, seeds, st.integers(1, 60))
open_walks = walks.filter(lambda line: (line[0] != line[-1]).any())
tolerances = st.sampled_from([0.5, 0.8, 1.5, 3.0])


@examples(150)
@given(st.lists(walks, min_size=1, max_size=4), tolerances)
def test_lines_are_those_of_douglas_and_peucker(found, tolerance):
    lines = simplified(as_lines(*found), tolerance)
    for k, line in enumerate(found):
        kept = line[lines.state[lines.start[k] : lines.start[k + 1]] != DROPPED]
        want = shapely.simplify(shapely.LineString(line), tolerance, preserve_topology=False)
        assert kept.tolist() == shapely.get_coordinates(want).tolist()


@examples(100)
@given(open_walks, tolerances, st.sampled_from([0.0, 0.3, 1.0, 4.0]), seeds)
def test_lines_move_no_farther_than_they_may(line, tolerance, rounding, random):
    lines = simplified(as_lines(line), tolerance)
    for _ in range(3):
        drawn = curves(lines, corners(lines, rounding)).xy / GRID
        assert distance(line, drawn) <= tolerance + rounding + 1 / GRID
        assert drawn[[0, -1]].tolist() == line[[0, -1]].tolist()
        # A chord that gets a corner somewhere may be too far from others then.
        lines = refined(lines, 2 * random.integers(0, len(line), 2), tolerance)


@examples(60)
@given(walks)
def test_what_is_refined_again_and_again_is_the_line(line):
    lines, steps = simplified(as_lines(line), 99), 0
    while (lines.state == DROPPED).any():
        lines = refined(lines, 2 * np.flatnonzero(lines.state), 99)
        steps += 1
    assert steps <= len(line)
    drawn = curves(refined(lines, 2 * np.arange(len(line)) + 1, 99), corners(lines, 0))
    assert (drawn.xy / GRID).tolist() == line.tolist()
