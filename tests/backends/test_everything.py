"""Segments do not depend on tiles; the lattice is the raster's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import geoseg
from geoseg.backends import Backend
from geoseg.backends.everything import SPACING_PX, Everything, _line
from geoseg.backends.outlining import Cutout
from geoseg.backends.pictures import View
from geoseg.errors import BackendError
from geoseg.legend import Legend


@dataclass
class Perfect:
    """Sees squares that are brighter than their ground, if a point lies on them."""

    identity: str = "perfect"

    def ready(self):
        return self

    def facts(self):
        return [{"family": "perfect"}]

    def propose(self, pictures, points, shapes):
        return [self.see(*each) for each in zip(pictures, points, shapes, strict=True)]

    def see(self, picture, points, shape):
        assert picture.shape[:2] == shape
        labels, _ = ndimage.label(picture[..., 0] > 128)
        x, y = points.astype(int).T
        found = []
        for label in sorted(set(labels[y, x].tolist()) - {0}):
            rows, cols = ndimage.find_objects((labels == label).astype(int))[0]
            box = (cols.start, rows.start, cols.stop, rows.stop)
            found.append(Cutout(box, labels[rows, cols] == label, 0.95))
        return found


def squares():
    data = np.zeros((3, 300, 340), np.uint8)
    for k, (y, x) in enumerate([(10, 10), (90, 70), (100, 150), (200, 30), (180, 250)]):
        data[:, y : y + 50 + 5 * k, x : x + 50] = 255
    return data


@pytest.mark.parametrize(("tile", "overlap"), [(512, 128), (160, 64), (128, 48)])
def test_what_lies_on_seams_is_found_once(tile, overlap):
    raster = geoseg.ArrayRaster(squares())
    backend = Everything(Perfect())
    assert isinstance(backend, Backend)
    run = geoseg.segment(raster, "segment", backend=backend, tile=tile, overlap=overlap)
    found = run.features()
    assert sorted(found.geometry.area) == [50 * (50 + 5 * k) for k in range(5)]
    assert set(found["class"]) == {"segment"}
    np.testing.assert_allclose(found["score"], 0.95, atol=1e-4)


def test_two_classes_cannot_be_told_apart():
    backend = Everything(Perfect())
    with pytest.raises(BackendError, match=r"cannot tell 2 classes \(boat, tree\) apart; name one"):
        backend.fit(geoseg.ArrayRaster(squares()), Legend.parse("boat, tree"))


def test_it_says_what_it_is():
    backend = Everything(Perfect(), View(0.5))
    assert backend.identity == "everything perfect every 32 px at 0.5 m"
    assert backend.facts() == [{"family": "perfect"}]
    assert [c.name for c in backend.words().classes] == ["segment"]
    assert (backend.halo_px, backend.usual_tile_px) == (16, 1024)


@given(st.integers(0, 500), st.integers(1, 400), st.integers(0, 60), st.sampled_from([1, 0.5, 3]))
def test_every_tile_asks_about_the_same_places(start, length, shift, scale):
    step = SPACING_PX / scale
    here = _line(start, start + length, step) + start
    there = _line(start + shift, start + shift + length, step) + start + shift
    both = (here >= start + shift) & (here < start + length)
    np.testing.assert_allclose(here[both], there[there < start + length])
    assert len(here) in (int(length / step), int(length / step) + 1)
    assert ((here >= start) & (here < start + length)).all()
