"""A mask becomes polygons, and readers of polygons get the same pixels."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from scenes import blobs, examples, seeds, shapes, voronoi
from scipy import ndimage
from yolo import supervision, ultralytics

from geoseg.export.coco import Images
from geoseg.export.dataset.labels import _places, polygons
from geoseg.export.dataset.pieces import pieces_of
from geoseg.export.dataset.rings import walks
from geoseg.export.sweep import runs_down
from geoseg.frame import Frame
from geoseg.polygons import outlines
from geoseg.runs import RUN, runs_of

NOWHERE = Affine.identity()


def noise(height: int, width: int, random: np.random.Generator) -> np.ndarray:
    """Draw pixels that meet at corners, and holes of a pixel, of one object or two."""
    return (random.random((height, width)) < random.uniform(0.1, 0.97)) * random.integers(1, 3)


def cut(ids: np.ndarray, side: int):
    """Return chips, and the pieces of objects 1, 2, ... in them."""
    height, width = ids.shape
    images = Images(Frame(width, height, NOWHERE, None), side, "scene.tif")
    found = outlines(runs_of(ids.astype(np.int32), (0, 0)), int(ids.max()))
    return images, pieces_of(runs_down(found), images)


def parts(mask: np.ndarray) -> list[bytes]:
    labels, count = ndimage.label(mask)
    return sorted((labels == k).tobytes() for k in range(1, count + 1))


@examples(150)
@given(
    st.tuples(st.integers(1, 41), st.integers(1, 41)),
    st.integers(1, 50),
    seeds,
    st.sampled_from([noise, blobs, shapes, voronoi]),
)
def test_every_reader_gets_the_pixels_of_every_part_back(size, side, random, draw):
    ids = draw(*size, random)
    images, pieces = cut(ids, side)
    lines: list[list[str]] = [[] for _ in range(len(pieces))]
    for piece, text in polygons(pieces, images):
        lines[piece].append(f"7 {text}")
    told = np.zeros(ids.shape, np.int32)
    for (owner, chip), mine in zip(pieces, lines, strict=True):
        window = images.window(chip)
        inside = window.slices_in(images.frame.window)
        mask = ids[inside] == owner + 1
        for read in (ultralytics, supervision):
            found = [read(line, window.width, window.height) for line in mine]
            assert {number for number, _ in found} == {7}
            # Each part once, and nothing else.
            assert sorted(m.tobytes() for _, m in found) == parts(mask)
        told[inside][mask] = owner + 1
    assert np.array_equal(told, ids)


@examples(60)
@given(st.tuples(st.integers(1, 30), st.integers(1, 30)), seeds)
def test_a_ring_stays_in_its_part_step_by_step(size, random):
    mask = noise(*size, random) > 0
    found = walks(runs_of(mask, (0, 0)))
    for start, stop in zip(found.stops[:-1].tolist(), found.stops[1:].tolist(), strict=True):
        ring = found.xy[start:stop]
        assert len(ring) >= 4
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            assert x0 == x1 or y0 == y1
            assert mask[min(y0, y1) : max(y0, y1) + 1, min(x0, x1) : max(x0, x1) + 1].all()


def test_nothing_is_no_ring():
    found = walks(np.zeros(0, RUN))
    assert (len(found.xy), found.stops.tolist(), len(found.owner)) == (0, [0], 0)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 97, 333, 1000, 1023, 1024, 4099, 8192])
def test_numbers_have_the_digits_that_tell_pixels_apart(size):
    read = _places(size).astype(np.float32) * np.float32(size)
    assert read.astype(np.int32).tolist() == list(range(size))
    assert np.round(read).tolist() == list(range(size))
