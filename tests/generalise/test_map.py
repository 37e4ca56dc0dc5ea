"""Laws of a map that is generalised: it is the same map, coarser, and two of a class that meet at a
corner pass there (`opened`)."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scenes import blobs, examples, seeds, shapes, voronoi
from scipy import ndimage

from geoseg.features import Drawn
from geoseg.generalise import Map, edge, generalise
from geoseg.generalise.relax import Rules
from geoseg.generalise.saddles import MOVED_PX
from geoseg.polygons import outlines
from geoseg.runs import runs_of
from geoseg.window import Window

SNAP_PX = 1 / 64
"""How far points move to their grid."""

rules = st.builds(Rules, st.sampled_from([0.0, 0.8, 1.5, 2.0, 5.0]), st.sampled_from([0, 0.3, 2.0]))
images = npst.arrays(
    np.int32,
    npst.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12),
    elements=st.one_of(st.integers(0, 1), st.integers(0, 4)),
)


@st.composite
def drawings(draw) -> np.ndarray:
    """Objects of many forms in which single pixels are others."""
    random = draw(seeds)
    layer = draw(st.sampled_from([voronoi, blobs, shapes]))
    ids = layer(draw(st.integers(1, 30)), draw(st.integers(1, 30)), random)
    spoilt = random.random(ids.shape) < draw(st.sampled_from([0, 0.03, 0.2]))
    ids[spoilt] = random.integers(0, 4, int(spoilt.sum()))
    return ids


layers = st.one_of(images, drawings())


@st.composite
def stripes(draw) -> np.ndarray:
    """Diagonal bands, one pixel wide and wider, in which single pixels are others."""
    random, (y, x) = draw(seeds), np.indices((draw(st.integers(2, 24)), draw(st.integers(2, 24))))
    across = y * draw(st.sampled_from([1, 2])) + x * draw(st.sampled_from([1, -1, -2]))
    ids = across // draw(st.integers(1, 4)) % draw(st.integers(2, 5))
    spoilt = random.random(ids.shape) < draw(st.sampled_from([0, 0.05, 0.3]))
    ids[spoilt] = random.integers(0, 4, int(spoilt.sum()))
    return ids.astype(np.int32)


@st.composite
def maps(draw) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and the class of each: regions of an image of classes, or any."""
    image = draw(st.one_of(layers, stripes()))
    if draw(st.booleans()):
        return regions(image)
    return image, draw(seeds).integers(0, 3, int(image.max(initial=0)))


def regions(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label the 4-connected regions of each class but 0."""
    ids, cls = np.zeros(image.shape, np.int32), [np.zeros(0, np.int64)]
    for one in range(1, int(image.max(initial=0)) + 1):
        found, count = ndimage.label(image == one)
        ids[found > 0] = found[found > 0] + sum(map(len, cls))
        cls.append(np.full(count, one))
    return ids, np.concatenate(cls)


def opened(image: np.ndarray, cls: np.ndarray) -> np.ndarray:
    """Draw a map four times as large, in which two of a class that meet at a corner share a side.

    Of two such pairs it is that with the smallest region.
    """
    size = np.zeros(image.shape, int)
    for label in range(1, len(cls) + 1):
        part, count = ndimage.label(image == label)
        size += np.where(part > 0, np.bincount(part.ravel(), minlength=count + 1)[part], 0)
    large = np.kron(image, np.ones((4, 4), np.int32))
    for y, x in np.ndindex(image.shape[0] - 1, image.shape[1] - 1):
        (a, b), (c, d) = image[y : y + 2, x : x + 2].tolist()
        sizes = size[y : y + 2, x : x + 2]
        if a in (b, c) or d in (b, c):
            continue
        may_fall, may_rise = (
            0 < u != w > 0 and cls[u - 1] == cls[w - 1] for u, w in ((a, d), (c, b))
        )
        smaller = min(sizes[0, 0], sizes[1, 1]) < min(sizes[1, 0], sizes[0, 1])
        notch = large[4 * y + 3 : 4 * y + 5, 4 * x + 3 : 4 * x + 5]
        if may_fall and (smaller or not may_rise):
            notch[:] = [[a, a], [d, d]]
        elif may_rise:
            notch[:] = [[b, b], [c, c]]
    return large


def spiral(size: int) -> np.ndarray:
    """Two arms, one pixel wide, around each other."""
    image = np.ones((size, size), np.int32)
    x, y, dx, dy = 0, 0, 1, 0
    for _ in range(size * size):
        image[y, x] = 2
        ahead = (y + 2 * dy, x + 2 * dx)
        inside = all(0 <= v < size for v in ahead)
        next_free = 0 <= y + dy < size and 0 <= x + dx < size and image[y + dy, x + dx] == 1
        if not next_free or (inside and image[ahead] == 2):
            dx, dy = -dy, dx
            if not (0 <= y + dy < size and 0 <= x + dx < size) or image[y + dy, x + dx] == 2:
                break
        x, y = x + dx, y + dy
    return image


def river(size: int) -> np.ndarray:
    """A river, one pixel wide, that goes down in steps, with an island beside it."""
    image = np.ones((size, size), np.int32)
    x = 0
    for y in range(size):
        step = (y * 7) % 4
        image[y, x : x + step + 1] = 2
        x = min(x + step, size - 1)
    image[size // 2, :2] = 3
    return image


def island_in_a_bay() -> np.ndarray:
    """A bay that is simplified away as a whole, and an island in it that meets no shore."""
    image = np.ones((30, 30), np.int32)
    image[:, :15] = 2
    image[12:15, 15:19] = 2
    image[13, 16] = 3
    return image


def hole_in_a_corner() -> np.ndarray:
    """Holes, one pixel from corners of which more than that is rounded off."""
    image = np.pad(np.ones((40, 40), np.int32), 3)
    image[[4, 41], [4, 41]] = 2, 3
    return image


ADVERSE = {
    "chessboard": np.indices((9, 9)).sum(axis=0) % 2 + 1,
    "half a chessboard": np.indices((9, 9)).sum(axis=0) % 2,
    "spiral": spiral(24),
    "river": river(30),
    "island in a bay": island_in_a_bay(),
    "hole in a corner": hole_in_a_corner(),
    "nested": np.maximum(*(np.abs(np.indices((17, 17)) - 8))) % 3 + 1,
    "nested on nothing": np.maximum(*(np.abs(np.indices((17, 17)) - 8))) % 2,
    "diagonals": (np.indices((20, 20)).sum(axis=0) // 2) % 3,
    "nothing": np.zeros((3, 3)),
    "one pixel": np.ones((1, 1)),
}  # fmt: skip


def outlined(image: np.ndarray) -> np.ndarray:
    return outlines(runs_of(image.astype(np.int32), (0, 0)), int(image.max(initial=0)))


def batches(found: np.ndarray, cls: np.ndarray, cuts: tuple[int, ...] = ()):
    for a, b in pairwise(sorted({0, len(found), *(c for c in cuts if c < len(found))})):
        one = np.ones(b - a)
        yield Drawn(np.arange(a, b) + 1, cls[a:b], one, one.astype(int), one, found[a:b])


def coarser(  # noqa: PLR0913  what a map is made of
    found: np.ndarray,
    shape: tuple[int, int],
    how: Rules,
    *,
    side: int = 512,
    cuts: tuple[int, ...] = (),
    cls: np.ndarray | None = None,
    apart: bool = False,
    still: tuple[int, ...] = (),
    least: float | None = None,
) -> np.ndarray:
    """Generalise outlines; all are of other classes, or those given, whose coverages may differ."""
    extent = Window(0, 0, shape[1], shape[0])
    cls = np.arange(len(found)) if cls is None else cls
    count = int(cls.max(initial=0)) + 1
    is_still = np.array([one in still for one in range(count)])
    coverage = np.arange(count) * apart
    size = None if least is None else lambda part: np.full(len(part.number), least)
    whole = Map(extent, edge(extent, None), coverage, is_still, how, side, size)
    with tempfile.TemporaryDirectory() as folder:
        done = generalise(batches(found, cls, cuts), whole, Path(folder), lambda _a, _b: None)
        return np.concatenate([np.zeros(0, object), *(d.outline for d in done)])


def check_topology(before: np.ndarray, after: np.ndarray) -> None:
    """Every polygon is valid, has its holes and orientation, and lies to all others as it did."""
    assert shapely.is_valid(after).all()
    parts, new = shapely.get_parts(before), shapely.get_parts(after)
    assert shapely.get_num_geometries(before).tolist() == shapely.get_num_geometries(after).tolist()
    holes = [shapely.get_num_interior_rings(p).tolist() for p in (parts, new)]
    assert holes[0] == holes[1]
    turns = [shapely.is_ccw(shapely.get_rings(p)).tolist() for p in (parts, new)]
    assert turns[0] == turns[1]
    i, j = np.triu_indices(len(before), 1)
    assert (
        shapely.relate(before[i], before[j]).tolist() == shapely.relate(after[i], after[j]).tolist()
    )


def check_promise(before: np.ndarray, after: np.ndarray, how: Rules) -> None:
    """No outline moves farther than it may, and no area changes by more than that allows."""
    most = how.tolerance + how.rounding + SNAP_PX
    for one, other in ((before, after), (after, before)):
        dense = shapely.segmentize(shapely.boundary(one), 0.25)
        xy, which = shapely.get_coordinates(dense, return_index=True)
        assert (shapely.distance(shapely.points(xy), shapely.boundary(other)[which]) <= most).all()
    drift = np.abs(shapely.area(after) - shapely.area(before))
    assert (drift <= most * shapely.length(before)).all()


@examples(150)
@given(maps(), rules)
def test_a_map_keeps_its_topology_and_its_promise(drawn, how):
    image, cls = drawn
    before = outlined(image)
    after = coarser(before, image.shape, how, cls=cls)
    opens = how.tolerance >= MOVED_PX
    check_topology(outlined(opened(image, cls)) if opens else before, after)
    check_promise(before, after, how)
    parts = shapely.get_parts(after)
    assert shapely.coverage_is_valid(parts)
    assert shapely.area(parts).sum() == pytest.approx(shapely.union_all(parts).area, abs=1e-9)


@examples(150)
@given(maps(), rules, st.sampled_from([1.0, 4.0, 9.0, 25.0, 1000.0]), st.integers(3, 30))
def test_features_keep_their_least_area(drawn, how, least, side):
    image, _ = drawn
    before = outlined(image)
    # Of other classes all of them: no corner is opened, which may take a bit of what is beside it.
    after = coarser(before, image.shape, how, least=least)
    large = shapely.area(before) >= least
    assert (shapely.area(after)[large] >= least - 1e-9).all()
    assert (shapely.area(after)[~large] >= 0).all()
    check_topology(before, after)
    check_promise(before, after, how)
    assert shapely.coverage_is_valid(shapely.get_parts(after))
    again = coarser(before, image.shape, how, least=least, side=side)
    assert shapely.to_wkb(again).tolist() == shapely.to_wkb(after).tolist()


@examples(150)
@given(st.one_of(images, stripes()), rules.filter(lambda how: how.tolerance >= MOVED_PX))
def test_no_two_of_a_class_meet_in_points_only(image, how):
    ids, cls = regions(image)
    after = coarser(outlined(ids), image.shape, how, cls=cls)
    one, other = shapely.STRtree(after).query(after, "touches")
    one, other = (v[(one < other) & (cls[one] == cls[other])] for v in (one, other))
    assert (shapely.length(shapely.intersection(after[one], after[other])) > 0).all()


@examples(80)
@given(layers, rules, seeds)
def test_a_map_without_gaps_has_none_and_ends_at_the_rasters_edge(image, how, random):
    before = outlined(image + 1)
    cls = random.integers(0, 2, len(before))
    after = coarser(before, image.shape, how, cls=cls)
    height, width = image.shape
    assert shapely.area(after).sum() == pytest.approx(image.size, abs=1e-9)
    assert shapely.union_all(after).normalize().equals(shapely.box(0, 0, width, height))


@examples(80)
@given(maps(), rules)
def test_what_lies_on_the_rasters_edge_stays_there(drawn, how):
    image, cls = drawn
    height, width = image.shape
    border = shapely.box(0, 0, width, height).boundary
    before = outlined(image)
    after = coarser(before, image.shape, how, cls=cls)
    on_edge = [shapely.intersection(shapely.boundary(g), border) for g in (before, after)]
    assert shapely.equals(*on_edge).all()


@examples(80)
@given(layers, layers, rules)
def test_lines_that_cross_in_one_coverage_still_cross_there_and_nowhere_else(one, other, how):
    shape = np.maximum(one.shape, other.shape)
    before = np.concatenate([outlined(one), outlined(other)])
    check_topology(before, coarser(before, shape, how))
    of_one_class = coarser(before, shape, how, cls=np.zeros(len(before), int))
    assert shapely.is_valid(of_one_class).all()
    check_promise(before, of_one_class, how)


@examples(60)
@given(layers, layers, rules)
def test_coverages_do_not_know_of_each_other(one, other, how):
    shape = np.maximum(one.shape, other.shape)
    first, second = outlined(one), outlined(other)
    cls = np.repeat([0, 1], [len(first), len(second)])
    both = coarser(np.concatenate([first, second]), shape, how, cls=cls, apart=True)
    alone = [coarser(f, shape, how, cls=np.zeros(len(f), int)) for f in (first, second)]
    assert shapely.to_wkb(both).tolist() == shapely.to_wkb(np.concatenate(alone)).tolist()


@examples(40)
@given(layers, layers, rules)
def test_what_is_to_stay_as_it_is_does(one, other, how):
    shape = np.maximum(one.shape, other.shape)
    first, second = outlined(one), outlined(other)
    cls = np.repeat([0, 1], [len(first), len(second)])
    both = np.concatenate([first, second])
    found = coarser(both, shape, how, cls=cls, apart=True, still=(1,))
    # With points where others end on them.
    assert shapely.equals(found[len(first) :], second).all()
    assert shapely.to_wkb(found[: len(first)]).tolist() == (
        shapely.to_wkb(coarser(first, shape, how, cls=cls[: len(first)])).tolist()
    )


@examples(40)
@given(maps(), rules)
def test_what_is_to_stay_as_it_is_does_so_among_others(drawn, how):
    image, cls = drawn
    before = outlined(image)
    found = coarser(before, image.shape, how, cls=cls, still=(1,))
    assert shapely.is_valid(found).all()
    assert shapely.equals(found[cls == 1], before[cls == 1]).all()


@examples(80)
@given(maps(), rules, st.integers(2, 40), st.lists(st.integers(0, 9), max_size=3))
def test_neither_windows_nor_batches_change_the_result(drawn, how, side, cuts):
    image, cls = drawn
    before = outlined(image)
    whole = coarser(before, image.shape, how, cls=cls)
    parts = coarser(before, image.shape, how, cls=cls, side=side, cuts=tuple(cuts))
    assert shapely.to_wkb(parts).tolist() == shapely.to_wkb(whole).tolist()


@pytest.mark.parametrize("name", ADVERSE)
@pytest.mark.parametrize(
    "how", [Rules(2, 0), Rules(1.5, 0.5), Rules(5, 0), Rules(0, 9), Rules(9, 9)], ids=str
)
def test_adverse_maps(name, how):
    image = ADVERSE[name]
    before = outlined(image)
    check_topology(before, coarser(before, image.shape, how, side=7))
    ids, cls = regions(image)
    before = outlined(ids)
    after = coarser(before, image.shape, how, cls=cls, side=7)
    check_topology(outlined(opened(ids, cls)) if how.tolerance else before, after)
    check_promise(before, after, how)


def test_arcs_of_any_length_are_cut_alike_on_both_sides(monkeypatch):
    monkeypatch.setattr("geoseg.generalise.arcs.MOST_CORNERS", 3)
    monkeypatch.setattr("geoseg.generalise.network.PORTION", 5)
    for image in ADVERSE.values():
        ids, cls = regions(image)
        after = coarser(outlined(ids), image.shape, Rules(2, 0.5), cls=cls, side=7)
        check_topology(outlined(opened(ids, cls)), after)
        assert shapely.coverage_is_valid(shapely.get_parts(after))


def test_a_river_of_one_pixel_is_there_from_end_to_end():
    image = river(30)
    after = coarser(outlined(image), image.shape, Rules(5, 0))[1]
    assert len(after.geoms) == 1
    assert after.bounds[1::2] == (0, 30)
    assert after.area > 10


def test_steps_become_lines_and_corners_round():
    size = 60
    image = (np.subtract.outer(np.arange(size), np.arange(size)) // 2 > 0).astype(np.int32)
    stairs, turned = outlined(image), outlined(np.pad(np.ones((20, 20)), 20))
    straight = coarser(stairs, image.shape, Rules(1.5, 0))
    assert shapely.get_num_coordinates(straight[0]) <= 7
    round_ = coarser(turned, (60, 60), Rules(1.5, 0.5))[0]
    # A quarter of the diagonal of the cut at each of four corners.
    assert round_.distance(shapely.Point(20, 20)) == pytest.approx(0.5, abs=0.05)
    assert 20 * 20 - 8 < round_.area < 20 * 20


def test_a_diagonal_of_single_pixels_is_a_band_of_one_width():
    image = np.eye(20, dtype=np.int32) + 1
    ids, cls = regions(image)
    found = coarser(outlined(ids), image.shape, Rules(1.5, 0.5), cls=cls)
    pixels = found[cls == 2][1:-1]
    assert len(pixels) == 18
    # A rectangle that is a diagonal long, and as large as a pixel.
    assert shapely.area(pixels) == pytest.approx(1)
    assert shapely.area(shapely.oriented_envelope(pixels)) == pytest.approx(1)
    assert shapely.length(pixels) == pytest.approx(2 * (2**0.5 + 0.5**0.5))
    assert shapely.union_all(found[cls == 2]).geom_type == "Polygon"


def test_where_lines_may_hardly_move_points_stay():
    image = np.eye(8, dtype=np.int32) + 1
    ids, cls = regions(image)
    for how in (Rules(0.35, 0), Rules(0, 5)):
        check_topology(outlined(ids), coarser(outlined(ids), image.shape, how, cls=cls))


def test_regions_of_one_label_need_not_be_connected():
    image = ndimage.zoom(np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]]), 4, order=0)
    before = outlined(image)
    assert len(before) == 1
    check_topology(before, coarser(before, image.shape, Rules(2, 0.5)))
