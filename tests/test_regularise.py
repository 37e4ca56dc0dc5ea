"""Right-angled outlines are valid, of the same area and topology, and near the pixels."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import shapely
import shapely.affinity
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.features import rasterize
from scenes import blobs, examples, seeds, shapes, sizes

from geoseg.frame import Frame
from geoseg.polygons import outlines
from geoseg.regularise import LEAST_IOU, regularise
from geoseg.runs import runs_of

PLAIN = Frame(200, 200, Affine.identity(), None)


def drawn(ids):
    return outlines(runs_of(ids.astype(np.int32), (0, 0)), int(ids.max()))


def pixels_of(shape, size=200):
    return drawn(rasterize([shape], (size, size)))


def angles(shape):
    """Return the angle between the edges of every corner, 0..180."""
    found = []
    for ring in shapely.get_rings(shapely.get_parts(shape)):
        edge = np.diff(shapely.get_coordinates(ring), axis=0)
        after = np.roll(edge, -1, axis=0)
        cross = edge[:, 0] * after[:, 1] - edge[:, 1] * after[:, 0]
        found += np.degrees(np.abs(np.arctan2(cross, (edge * after).sum(axis=1)))).tolist()
    return np.array(found)


def iou(one, other):
    shared = one.intersection(other).area
    return shared / (one.area + other.area - shared)


def topology(shape):
    return sorted(len(part.interiors) for part in shape.geoms)


@examples(60)
@given(seeds, sizes, st.sampled_from([blobs, shapes]))
def test_what_is_changed_keeps_area_and_topology(random, size, draw):
    ids = draw(*size, random)
    pixels = drawn(ids)
    frame = Frame(size[1], size[0], Affine.identity(), None)
    for before, after in zip(pixels, regularise(pixels, frame), strict=True):
        if after is before:
            continue
        assert after.is_valid
        assert after.area == pytest.approx(before.area, rel=1e-7)
        assert topology(after) == topology(before)
        assert iou(after, before) >= LEAST_IOU - 1e-9
        np.testing.assert_allclose(angles(after), 90, atol=1e-3)
        assert shapely.box(0, 0, size[1], size[0]).covers(after)


@pytest.mark.parametrize("turn", [0, 7, 30, 45, 61.5, 89])
@pytest.mark.parametrize("kind", ["box", "L", "court"])
def test_buildings_are_found_again(turn, kind):
    shape = shapely.box(60, 70, 140, 120)
    if kind == "L":
        shape -= shapely.box(100, 90, 140, 120)
    if kind == "court":
        shape -= shapely.box(80, 85, 120, 105)
    shape = shapely.affinity.rotate(shape, turn)
    (pixels,) = pixels_of(shape)
    (found,) = regularise(np.array([pixels]), PLAIN)
    assert iou(found, shape) > max(0.98, iou(pixels, shape) - 1e-9)
    assert shapely.get_num_coordinates(found) == shapely.get_num_coordinates(shape)
    np.testing.assert_allclose(angles(found), 90, atol=1e-6)


def test_angles_are_those_on_the_ground():
    """At 60 degrees north a pixel of equal degrees is half as wide as it is high."""
    frame = Frame(400, 400, Affine(1e-5, 0, 10, 0, -1e-5, 60), pyproj.CRS("EPSG:4326").to_wkt())
    local = pyproj.Proj(proj="aeqd", lat_0=59.998, lon_0=10.002, ellps="WGS84")
    square = shapely.affinity.rotate(shapely.box(-40, -70, 40, 70), 25)
    lonlat = shapely.transform(
        square, lambda xy: np.column_stack(local(xy[:, 0], xy[:, 1], inverse=True))
    )
    (pixels,) = pixels_of(shapely.transform(lonlat, frame.to_pixels), 400)
    (found,) = regularise(np.array([pixels]), frame)
    ground = shapely.transform(
        shapely.transform(found, frame.to_crs),
        lambda xy: np.column_stack(local(xy[:, 0], xy[:, 1])),
    )
    assert shapely.get_num_coordinates(found) == 5
    # Degrees are longer by a third of a percent than on a sphere, in a different ratio.
    np.testing.assert_allclose(angles(ground), 90, atol=0.3)
    assert iou(ground, square) > 0.98


def test_a_mirrored_and_sheared_raster_has_a_ground_too():
    shape = shapely.affinity.rotate(shapely.box(60, 70, 140, 120), 20)
    frame = Frame(400, 400, Affine(0.5, 0.2, 0, 0.1, 0.7, 0), None)
    (pixels,) = pixels_of(shapely.transform(shape, frame.to_pixels), 400)
    (found,) = regularise(np.array([pixels]), frame)
    ground = shapely.transform(found, frame.to_crs)
    np.testing.assert_allclose(angles(ground), 90, atol=1e-6)
    assert iou(ground, shape) > 0.985


@examples(20)
@given(seeds)
def test_each_depends_on_itself_only(random):
    pixels = drawn(shapes(80, 80, random))
    together = regularise(pixels, PLAIN)
    alone = [regularise(pixels[k : k + 1], PLAIN)[0] for k in range(len(pixels))]
    assert shapely.to_wkb(together).tolist() == shapely.to_wkb(alone).tolist()


def test_what_no_right_angle_fits_stays():
    disc, speck = shapely.Point(100, 100).buffer(60), shapely.Polygon([(5, 5), (45, 25), (5, 25)])
    for shape in (disc, speck):
        pixels = pixels_of(shape)
        assert regularise(pixels, PLAIN)[0] is pixels[0]


def test_what_would_leave_the_raster_stays():
    shape = shapely.affinity.rotate(shapely.box(-60, 70, 140, 120), 15)
    pixels = pixels_of(shape)
    found = regularise(pixels, PLAIN)[0]
    assert found is pixels[0]


def test_nothing_is_nothing():
    empty = np.array([shapely.MultiPolygon()], object)
    assert regularise(empty, PLAIN)[0].is_empty
    assert len(regularise(empty[:0], PLAIN)) == 0
