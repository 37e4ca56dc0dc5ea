"""Laws of outlines, against unions of unit squares (shapely) and GDAL's polygonize."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio.features
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scenes import blobs, examples, seeds
from scipy import ndimage

from geoseg.polygons import outlines
from geoseg.runs import RUN, runs_of

ORIGIN = (5, -3)
images = npst.arrays(
    np.int32,
    npst.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14),
    elements=st.one_of(st.integers(0, 1), st.integers(0, 3)),
)
speckle = st.builds(
    lambda random, shape, share: (random.random(shape) < share).astype(np.int32),
    seeds,
    st.tuples(st.integers(1, 14), st.integers(1, 14)),
    st.floats(0.2, 0.9),
)


def squares(image: np.ndarray, label: int) -> shapely.Geometry:
    y, x = np.nonzero(image == label)
    x, y = x + ORIGIN[0], y + ORIGIN[1]
    return shapely.union_all(shapely.box(x, y, x + 1, y + 1))


@examples(400)
@given(st.one_of(images, speckle))
def test_the_outline_is_the_union_of_the_pixels_squares(image):
    count = max(int(image.max()), 1) + 1
    found = outlines(runs_of(image, ORIGIN), count)
    assert len(found) == count
    for label, outline in enumerate(found, 1):
        want = squares(image, label)
        assert outline.geom_type == "MultiPolygon"
        assert outline.is_empty == want.is_empty
        assert shapely.is_valid(outline)
        assert want.is_empty or shapely.equals(outline, want)
        assert outline.area == (image == label).sum()


@examples(200)
@given(st.one_of(images, speckle))
def test_parts_and_holes_are_4_connected(image):
    outline = outlines(runs_of((image == 1).astype(np.int32), ORIGIN), 1)[0]
    labels, count = ndimage.label(image == 1)
    # Around one part, a gap that meets another gap or the outside at a corner is a hole.
    gaps = [
        ndimage.label(np.pad(labels != part, 1, constant_values=True))[1] - 1
        for part in range(1, count + 1)
    ]
    rings = shapely.get_num_interior_rings(shapely.get_parts(outline))
    assert sorted(rings.tolist()) == sorted(gaps)


@examples(150)
@given(st.one_of(images, speckle), seeds)
def test_outlines_do_not_depend_on_how_pixels_are_cut_into_runs(image, random):
    whole = runs_of(image, ORIGIN)
    pieces = []
    for run in whole.tolist():
        label, y, x0, x1 = run
        cut = random.integers(x0, x1 + 1)
        pieces += [(label, y, a, b) for a, b in ((x0, cut), (cut, x1)) if a < b]
    parts = np.array(pieces, RUN)
    random.shuffle(parts)
    count = max(int(image.max()), 1)
    for a, b in zip(outlines(whole, count), outlines(parts, count), strict=True):
        assert a.wkb == b.wkb


@examples(20)
@given(seeds)
def test_large_blobs_equal_gdals_polygons(random):
    image = blobs(120, 130, random)
    found = outlines(runs_of(image, (0, 0)), int(image.max()))
    for outline, label in rasterio.features.shapes(image, image > 0, connectivity=4):
        assert shapely.equals(found[int(label) - 1], shapely.geometry.shape(outline))
    assert shapely.is_valid(found).all()


@examples(100)
@given(st.one_of(images, speckle))
def test_no_corner_lies_in_the_middle_of_an_edge(image):
    outline = outlines(runs_of((image > 0).astype(np.int32), ORIGIN), 1)[0]
    for ring in shapely.get_rings(outline):
        step = np.diff(shapely.get_coordinates(ring), axis=0)
        assert ((step == 0).sum(axis=1) == 1).all()
        turns = np.vstack((step, step[:1]))
        assert ((turns[1:] != 0) != (turns[:-1] != 0)).all()


@pytest.mark.parametrize(
    ("rows", "parts", "holes"),
    [
        (["#"], 1, 0),
        (["#.", ".#"], 2, 0),  # a corner joins no parts
        (["##", "##"], 1, 0),
        (["###", "#.#", "###"], 1, 1),
        (["####", "#.##", "##.#", "####"], 1, 2),  # holes that meet at a corner stay two
        ([".##", "#.#", "###"], 1, 1),  # so does one that meets the outside at a corner
        (["#####", "#...#", "#.#.#", "#...#", "#####"], 2, 1),  # an island in a lake
        (  # a lake on an island in a lake
            ["#######", "#.....#", "#.###.#", "#.#.#.#", "#.###.#", "#.....#", "#######"],
            2,
            2,
        ),
        (["..", ".."], 0, 0),
    ],
)
def test_parts_and_holes(rows, parts, holes):
    image = np.array([[c == "#" for c in row] for row in rows]).astype(np.int32)
    outline = outlines(runs_of(image, (0, 0)), 1)[0]
    assert shapely.is_valid(outline)
    assert shapely.get_num_geometries(outline) == parts
    inner = shapely.get_num_interior_rings(shapely.get_parts(outline)).sum() if parts else 0
    assert outline.area == image.sum()
    assert inner == holes


def test_no_runs_give_empty_outlines():
    found = outlines(np.zeros(0, RUN), 3)
    assert [g.is_empty for g in found] == [True] * 3
