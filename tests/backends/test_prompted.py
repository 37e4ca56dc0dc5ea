"""A detector and a segmenter as one backend: exact at seams, and nothing is done in vain."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from prompts import Boxes, Outlines, bright, coloured
from scenes import GEOREF, canonical, examples, truth

import geoseg
from geoseg import LandClass, Legend
from geoseg.backends import Backend, Fittable
from geoseg.backends.prompted import MODEL_HALO_PX, Prompted
from geoseg.backends.searching import Searching
from geoseg.errors import BackendError
from geoseg.grid import Grid

THINGS = Legend(classes=[LandClass(name="thing"), LandClass(name="other")])


def squares(size: int = 200, step: int = 40) -> np.ndarray:
    ids = np.zeros((size, size), np.int32)
    corners = [(y, x) for y in range(4, size, step) for x in range(4, size, step)]
    for number, (y, x) in enumerate(corners, 1):
        ids[y : y + 20, x : x + 20] = number
    return ids


def engine(detector, segmenter=None, **options) -> Prompted:
    return Prompted(Searching(detector), segmenter, **options)


def test_it_is_a_backend_that_is_fitted():
    made = engine(Boxes((0,)), Outlines())
    assert isinstance(made, Backend)
    assert isinstance(made, Fittable)
    assert made.identity == "boxes + outlines"


@st.composite
def huts(draw: st.DrawFn) -> np.ndarray:
    """Draw rectangles that do not touch, from specks to larger than a tile."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = np.cumsum(random.integers(4, draw(st.sampled_from([20, 60, 200])), 5))
    cols = np.cumsum(random.integers(4, draw(st.sampled_from([20, 60, 200])), 5))
    ids, number = np.zeros((rows[-1], cols[-1]), np.int32), 0
    for y0, y1 in pairwise([0, *rows.tolist()]):
        for x0, x1 in pairwise([0, *cols.tolist()]):
            if random.random() < 0.7:
                number += 1
                top, left = (
                    random.integers(0, (y1 - y0) // 2 + 1),
                    random.integers(0, (x1 - x0) // 2 + 1),
                )
                ids[y0 + top : y1 - 1, x0 + left : x1 - 1] = number
    return ids


@examples(25)
@given(huts(), st.integers(0, 40), st.booleans())
def test_a_perfect_pair_gives_the_untiled_truth_for_any_tiling(ids, more, cover):
    count = int(ids.max())
    if not count:
        return
    kind = "cover" if cover else "object"
    legend = Legend(classes=[LandClass(name="thing", kind=kind)])
    overlap = 2 * (MODEL_HALO_PX + 1) + more
    made = engine(Boxes((0,) * count), Outlines())
    run = geoseg.segment(coloured(ids), legend, backend=made, tile=2 * overlap, overlap=overlap)
    found = run.features()
    assert sorted(map(canonical, found.geometry)) == sorted(map(canonical, truth(ids, count)))
    assert found.score.tolist() == pytest.approx([0.9] * count, abs=1e-3)


def test_only_what_a_tile_decides_is_decoded_and_only_tiles_with_boxes_are_encoded():
    ids = squares()
    ids[:, 100:] = 0
    count = int(ids.max())
    outlines = Outlines()
    made = engine(Boxes((0,) * count), outlines)
    source = coloured(ids)
    run = geoseg.segment(source, THINGS, backend=made, tile=96, overlap=60)
    grid = Grid(source.frame.window, 96, 60)
    wanted = 0
    for tile in grid:
        rows, cols = tile.core.slices_in(source.frame.window)
        wanted += len(np.unique(ids[rows, cols][ids[rows, cols] > 0]))
    assert sum(outlines.decoded) == wanted
    assert len(outlines.encoded) < len(grid)
    assert run.count == len(np.unique(ids)) - 1


def test_aliases_and_near_equal_boxes_are_decoded_once_and_every_class_gets_its_outline():
    ids = squares()
    count = int(ids.max())
    outlines = Outlines()
    made = engine(Boxes((0,) * count, twice=True), outlines)
    found = geoseg.segment(coloured(ids), THINGS, backend=made, tile=256).features()
    assert sum(outlines.decoded) == count
    for name, score in (("thing", 0.9), ("other", 0.7)):
        mine = found[found["class"] == name]
        assert sorted(map(canonical, mine.geometry)) == sorted(map(canonical, truth(ids, count)))
        assert mine.score.tolist() == pytest.approx([score] * count, abs=1e-3)


def test_thresholds_are_heeded_before_decoding_and_default_to_the_detectors_own():
    ids = squares(120, 60)
    count = int(ids.max())
    scores = tuple(0.2 + 0.1 * k for k in range(count))
    outlines = Outlines()
    made = engine(Boxes((0,) * count, scores), outlines)
    run = geoseg.segment(coloured(ids), THINGS, backend=made, tile=256)
    assert run.count == sum(outlines.decoded) == sum(s >= 0.25 for s in scores)
    run = geoseg.segment(coloured(ids), THINGS, backend=made, tile=256, threshold=0.45)
    assert run.count == sum(s >= 0.45 for s in scores)


def test_a_detector_alone_draws_its_boxes():
    ids = squares()
    run = geoseg.segment(coloured(ids), THINGS, backend=engine(Boxes((0,) * int(ids.max()))))
    found = run.features()
    assert sorted(map(canonical, found.geometry)) == sorted(map(canonical, truth(ids, ids.max())))


def test_an_object_that_mostly_repeats_better_ones_of_its_class_is_left_out():
    ids = np.zeros((64, 64), np.int32)
    ids[10:30, 10:30] = 1

    class Twice(Boxes):
        def one(self, numbers):
            found = super().one(numbers)
            box = found.boxes[0]
            # One box twice as wide, less sure: SAM outlines the same object in it.
            wide = np.array([box, box + np.array([0, 0, 20, 0], np.float32)])
            return type(found)(wide, np.zeros(2, np.int32), np.array([0.9, 0.5], np.float32))

    outlines = Outlines()
    run = geoseg.segment(coloured(ids), THINGS, backend=engine(Twice((0,)), outlines))
    assert outlines.decoded == [2]
    assert run.count == 1
    assert run.features().score[0] == pytest.approx(0.9, abs=1e-3)


@pytest.mark.parametrize("factor", [2, 4])
def test_a_coarser_ground_size_shows_smaller_pictures_and_draws_on_the_rasters_own_pixels(factor):
    ids = np.kron(squares(96, 32), np.ones((factor, factor), np.int32))
    count = int(ids.max())
    outlines = Outlines(see=bright)
    gsd = float(GEOREF.a)  # UTM: the scale of the projection is within 0.1 % of one
    made = engine(Boxes((0,) * count, see=bright), outlines, gsd_m=gsd * factor)
    source = coloured(np.where(ids > 0, 255, 0))
    found = geoseg.segment(source, THINGS, backend=made).features()
    assert outlines.encoded == [(96, 96)]
    assert len(found) == count
    whole = truth(ids, count)
    for geometry in found.geometry:
        best = max(whole, key=lambda g: g.intersection(geometry).area)
        assert geometry.intersection(best).area / geometry.union(best).area > 0.9


def test_the_usual_tile_fills_the_models_picture():
    ids = np.kron(squares(80, 40), np.ones((4, 4), np.int32))
    made = engine(Boxes((0,) * int(ids.max())), Outlines(), gsd_m=4 * float(GEOREF.a))
    fitted = made.fit(coloured(ids), THINGS)
    assert fitted.usual_tile_px == pytest.approx(4096, rel=0.01)
    assert fitted.halo_px == pytest.approx(4 * MODEL_HALO_PX, abs=1)


@pytest.mark.parametrize(
    ("source", "gsd", "words"),
    [
        (coloured(squares(), crs=None), 1.0, "--gsd needs a raster with a coordinate reference"),
        (coloured(squares()), 1000.0, "--gsd 1000 m is 100 times the raster's own 10 m; between"),
        (coloured(squares(), Affine.scale(1000)), 1.0, "--gsd 1 m is"),
    ],
)
def test_an_impossible_ground_size_is_refused(source, gsd, words):
    with pytest.raises(BackendError) as caught:
        geoseg.segment(source, THINGS, backend=engine(Boxes((0,) * 25), gsd_m=gsd))
    assert words in str(caught.value)


@given(st.booleans())
def test_notes_of_a_crowded_tile_are_kept(cover):
    class Full(Boxes):
        def one(self, numbers):
            found = super().one(numbers)
            return type(found)(found.boxes, found.classes, found.scores, full=True)

    kind = "cover" if cover else "object"
    legend = Legend(classes=[LandClass(name="thing", kind=kind)])
    run = geoseg.segment(coloured(squares()), legend, backend=engine(Full((0,) * 25)))
    (notes,) = run.notes.values()
    assert notes[0] == "more objects than the model can answer: searched in parts"
