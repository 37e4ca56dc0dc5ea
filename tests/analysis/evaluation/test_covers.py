"""Covers are compared as whole arrays would be, whatever the windows they are read in."""

from __future__ import annotations

import math

import geopandas as gpd
import numpy as np
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from scenes import UTM, areas, classes_image, examples, seeds, sizes, truth
from scipy.spatial.distance import cdist

from geoseg.analysis.evaluation import covers
from geoseg.analysis.evaluation.covers import NONE, compare_covers
from geoseg.analysis.evaluation.layers import open_pair
from geoseg.analysis.evaluation.zones import MEMBERS, OUTSIDE, ZONES, Seams, survey
from geoseg.frame import Frame, horizontal_wkt
from geoseg.grid import Grid
from geoseg.window import Window

PLACE = Affine(10, 0, 500_000, 0, -10, 5_000_000)
NAMES = ("forest", "water", "sand", "snow")


def layer(image, names):
    kept = [k for k in range(1, len(names) + 1) if (image == k).any()]
    shapes = truth(image, len(names), PLACE)[[k - 1 for k in kept]]
    return gpd.GeoDataFrame({"class": [names[k - 1] for k in kept]}, geometry=shapes, crs=UTM)


def edges_of(image, cls, zone):
    """Return the (n, 2) boundary pixels of a class, found one by one."""
    height, width = image.shape
    found = []
    for y, x in np.argwhere((image == cls) & (zone != OUTSIDE)).tolist():
        for b, a in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            inside = 0 <= b < height and 0 <= a < width
            if inside and zone[b, a] != OUTSIDE and image[b, a] != cls:
                found.append((y, x))
                break
    return np.array(found).reshape(-1, 2)


def share_near(own, other, tolerance, zone, members):
    within = [members[0] <= zone[y, x] <= members[1] for y, x in own.tolist()]
    own = own[np.array(within, bool)]
    if not len(own):
        return math.nan
    if not len(other):
        return 0.0
    return float((cdist(own, other).min(axis=1) <= tolerance).mean())


@given(sizes, seeds, st.sampled_from((0.0, 1.0, 1.5, 2.0, 4.3)), st.sampled_from((5, 17, 1024)))
@examples(25)
def test_pixels_and_boundaries_are_those_of_whole_arrays(
    monkeypatch, tmp_path_factory, size, random, tolerance, side
):
    monkeypatch.setattr(covers, "READ_PX", side)
    mapped = classes_image(*size, random, 3)
    right = np.roll(mapped, random.integers(-2, 3, 2), (0, 1))
    right[random.random(size) < 0.02] = int(random.integers(0, 4))
    mine, theirs = NAMES[:3], (*NAMES[:2], NAMES[3])
    if not {1, 2} & set(np.unique(mapped)) & set(np.unique(right)):
        return
    folder = tmp_path_factory.mktemp("x")
    frame = Frame(size[1], size[0], PLACE, horizontal_wkt(UTM))
    seams = Seams.of(Grid(frame.window, 24, 4), float(random.integers(1, 9)))
    drawn = areas(frame.window, random)
    area = None if drawn is None else drawn.polygons
    ground, _ = survey(
        folder / "c.tif", frame, seams, area=area, failed=np.empty(0, object), raster=None
    )
    pair = open_pair(layer(mapped, mine), layer(right, theirs))
    seen = compare_covers(pair, ground, tolerance, folder)
    zone = ground.read(Window(0, 0, size[1], size[0]))
    number = {name: k for k, name in enumerate(seen.labels)}
    assert seen.labels[0] == NONE
    a = np.array([0, *(number.get(n, 0) for n in mine)])[mapped]
    b = np.array([0, *(number.get(n, 0) for n in theirs)])[right]
    for name in ZONES:
        low, high = MEMBERS[name]
        here = (zone >= low) & (zone <= high)
        table = np.zeros((len(seen.labels), len(seen.labels)), int)
        np.add.at(table, (a[here], b[here]), 1)
        assert (seen.confusion(name) == table).all()
        for one in pair.of_kind("cover"):
            k = number[one]
            sides = edges_of(a, k, zone), edges_of(b, k, zone)
            precision = share_near(*sides, tolerance, zone, (low, high))
            recall = share_near(*sides[::-1], tolerance, zone, (low, high))
            found = seen.edges(name, one)
            assert np.array_equal(found[:2], (precision, recall), equal_nan=True)
            counts = seen.counts(name, one)
            assert counts.right == (here & (a == k) & (b == k)).sum()
            assert counts.false == (here & (a == k) & (b != k)).sum()
            assert counts.missed == (here & (a != k) & (b == k)).sum()


def test_a_boundary_that_is_one_pixel_off_is_right_within_two_and_wrong_within_none(tmp_path):
    image = np.zeros((20, 30), np.int32)
    image[:, 10:] = 1
    moved = np.roll(image, 1, 1)
    moved[:, 0] = 0
    frame = Frame(30, 20, PLACE, horizontal_wkt(UTM))
    ground, _ = survey(
        tmp_path / "c.tif", frame, Seams.of(None, 1), area=None, failed=np.empty(0, object),
        raster=None,
    )  # fmt: skip
    pair = open_pair(layer(image, ("water",)), layer(moved, ("water",)))
    assert compare_covers(pair, ground, 2, tmp_path).edges("whole", "water") == (1, 1, 1)
    assert compare_covers(pair, ground, 0, tmp_path).edges("whole", "water") == (0, 0, 0)
    assert compare_covers(pair, ground, 1, tmp_path).counts("whole", "water").iou == 380 / 400
