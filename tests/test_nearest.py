"""The distance to the nearest polygon of the class is what comparing all with all finds."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from scenes import ByIdentity, blobs, examples, legend, raster, seeds, voronoi

import geoseg
from geoseg import nearest
from geoseg.features import Features
from geoseg.frame import Frame, horizontal_wkt
from geoseg.nearest import with_nearest
from geoseg.polygons import outlines
from geoseg.runs import runs_of

REST = ("extra", "filled")
"""What features need not have."""

UTM = Frame(400, 400, Affine(10, 0, 5e5, 0, -10, 5e6), horizontal_wkt("EPSG:32633"))


def features(pixels, cls, frame=UTM):
    n = len(pixels)
    ones = np.ones(n)
    shapes = shapely.set_coordinates(pixels.copy(), frame.to_crs(shapely.get_coordinates(pixels)))
    number = np.arange(n) + 1
    return Features(number, cls, ones, ones, ones, number, ones, shapes)


def cut(found, cuts):
    for a, b in pairwise(sorted({0, len(found.number), *(c % len(found.number) for c in cuts)})):
        columns = (getattr(found, name)[a:b] for name in Features.__slots__ if name not in REST)
        yield Features(*columns)


def measured(found, cuts=(), frame=UTM):
    with tempfile.TemporaryDirectory() as folder:
        parts = with_nearest(cut(found, cuts), frame, Path(folder), lambda *_: None)
        return np.concatenate([part.extra["nearest_m"] for part in parts])


def brute_force(found):
    """Return planar distances: UTM near its centre is off by less than 0.05 %."""
    apart = shapely.distance(found.geometry[:, None], found.geometry[None])
    other = (found.cls[:, None] == found.cls[None]) & ~np.eye(len(found.cls), dtype=bool)
    return np.where(other, apart, np.inf).min(axis=1)


def drawn(random, layer, classes):
    ids = layer(int(random.integers(2, 60)), int(random.integers(2, 60)), random)
    ids[random.random(ids.shape) < random.choice([0, 0.2, 0.9])] = 0
    pixels = outlines(runs_of(ids, (0, 0)), int(ids.max(initial=0)))
    pixels = pixels[~shapely.is_empty(pixels)]
    return features(pixels, random.integers(0, classes, len(pixels)))


@examples(80)
@given(
    seeds,
    st.sampled_from([voronoi, blobs]),
    st.integers(1, 3),
    st.lists(st.integers(0, 99), max_size=3),
    st.sampled_from([(1, 1), (3, 2), (2**12, 2**15)]),
)
def test_all_with_all_finds_the_same(random, layer, classes, cuts, portions):
    found = drawn(random, layer, classes)
    if len(found.number) == 0:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "MINE", portions[0])
        patch.setattr(nearest, "OTHERS", portions[1])
        patch.setattr(nearest, "PIECE_EDGES", 1 + portions[0] % 7)
        got = measured(found, cuts)
    want = brute_force(found)
    alone = np.isinf(want)
    assert np.isnan(got[alone]).all()
    assert got[~alone] == pytest.approx(want[~alone], rel=1e-3, abs=1e-6)


def test_it_is_the_geodesic_in_degrees_too():
    frame = Frame(9000, 900, Affine(1e-3, 0, 10, 0, -1e-3, 61), horizontal_wkt("EPSG:4326"))
    boxes = [(100, 100, 110, 110), (130, 100, 140, 110), (8000, 100, 8100, 300)]
    pixels = np.array([shapely.MultiPolygon([shapely.box(*b)]) for b in boxes])
    got = measured(features(pixels, np.zeros(3, np.int64), frame), frame=frame)
    geod = pyproj.Geod(ellps="WGS84")

    def between(x0, x1):
        return min(
            geod.inv(10 + x0 / 1e3, 61 - y / 1e3, 10 + x1 / 1e3, 61 - y / 1e3)[2]
            for y in np.linspace(100, 110, 100)
        )

    assert got == pytest.approx(
        [between(110, 130), between(110, 130), between(140, 8000)], rel=2e-3
    )


def test_without_a_crs_or_a_second_polygon_nothing_is_told():
    nowhere = Frame(9, 9, Affine.identity(), None)
    pixels = np.array([shapely.MultiPolygon([shapely.box(k, 0, k + 1, 1)]) for k in (0, 5)])
    for frame, cls in ((nowhere, [0, 0]), (UTM, [0, 1])):
        assert np.isnan(measured(features(pixels, np.array(cls), frame), frame=frame)).all()
    with tempfile.TemporaryDirectory() as folder:
        assert list(with_nearest([], UTM, Path(folder) / "new", lambda *_: None)) == []


@pytest.mark.parametrize("coarse", [{}, {"simplify": "2px"}])
def test_a_run_has_the_column_and_it_does_not_depend_on_tiles(tmp_path, coarse):
    ids = blobs(90, 100, np.random.default_rng(5))
    model = ByIdentity((0,) * int(ids.max()))
    maps = [
        geoseg.segment(
            raster(ids), legend("object"), backend=model, columns="nearest, compactness",
            out=tmp_path / f"{tile}.gpkg", tile=tile, overlap=8, **coarse,
        ).features()
        for tile in (40, 200)
    ]  # fmt: skip
    assert maps[0].nearest_m.equals(maps[1].nearest_m)
    want = brute_force(
        Features(*[maps[0].index.to_numpy()] + [np.zeros(len(maps[0]), np.int64)] * 6,
                 maps[0].geometry.to_numpy())
    )  # fmt: skip
    assert maps[0].nearest_m.to_numpy() == pytest.approx(want, rel=1e-3, abs=1e-6)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["200.gpkg", "40.gpkg"]
