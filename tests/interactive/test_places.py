"""Coordinates of any CRS become pixels."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from scenes import GEOREF, UTM, examples

from geoseg.errors import ConfigError
from geoseg.frame import Frame, horizontal_wkt
from geoseg.interactive.places import Places

FRAME = Frame(100, 80, GEOREF, horizontal_wkt(UTM))
NOWHERE = Frame(100, 80, Affine.identity(), None)


@examples(50)
@given(st.floats(0.01, 99.9), st.floats(0.01, 79.9), st.sampled_from([None, UTM, "EPSG:3857"]))
def test_a_point_comes_back_to_its_pixel(col, row, crs):
    x, y = FRAME.to_crs(np.array([(col, row)]))[0]
    to_crs = pyproj.Transformer.from_crs(FRAME.crs, crs or "EPSG:4326", always_xy=True)
    assert Places(FRAME).point(*to_crs.transform(x, y), crs) == pytest.approx((col, row), abs=1e-5)


def test_a_raster_without_crs_is_pointed_at_in_its_own_coordinates():
    assert Places(NOWHERE).crs is None
    assert Places(NOWHERE).point(10.25, 20, None) == (10.25, 20)


def test_a_usual_crs_can_be_said_once():
    assert Places(FRAME, UTM).point(500_105, 4_999_995, None) == pytest.approx((10.5, 0.5))


def test_a_box_is_the_box_around_it_and_ends_at_the_raster():
    places = Places(FRAME, UTM)
    wanted = pytest.approx((10, 2, 20, 4))
    assert places.box((500_100, 4_999_960, 500_200, 4_999_980), None) == wanted
    box = shapely.box(500_100, 4_999_960, 500_200, 4_999_980)
    assert places.box(box, None) == wanted
    assert Places(FRAME).box(gpd.GeoSeries([box], crs=UTM), None) == wanted
    # The order of corners is of no account.
    assert places.box((500_200, 4_999_980, 500_100, 4_999_960), None) == wanted
    assert places.box((499_000, 4_999_980, 500_100, 5_001_000), None) == pytest.approx(
        (0, 0, 10, 2)
    )


def test_a_box_may_lie_across_the_date_line():
    frame = Frame(256, 100, Affine(1e-4, 0, 179.99, 0, -1e-4, 10), horizontal_wkt("EPSG:4326"))
    found = Places(frame).box((179.998, 9.991, -179.995, 9.998), None)
    assert found == pytest.approx((80, 20, 150, 90), abs=1e-3)


def test_polygons_bring_their_crs():
    square = shapely.box(500_100, 4_999_960, 500_200, 4_999_980)
    layer = gpd.GeoSeries([square], crs=UTM)
    for given_ in (layer, layer.to_crs(4326), layer.to_crs(3857).to_frame("geometry")):
        found = Places(FRAME).polygon(given_, None)
        assert found.geom_type == "MultiPolygon"
        assert found.bounds == pytest.approx((10, 2, 20, 4), abs=0.01)
    assert Places(FRAME, UTM).polygon(square, None).bounds == pytest.approx((10, 2, 20, 4))


@pytest.mark.parametrize(
    ("frame", "call", "said"),
    [
        (FRAME, lambda p: p.point(0, 0, None), "lies outside the raster, which spans 15.00"),
        (FRAME, lambda p: p.point(1, 2, UTM), "in WGS 84 / UTM zone 33N; say crs="),
        (FRAME, lambda p: p.point(float("nan"), 0, None), r"\(nan, 0\) is no place"),
        (FRAME, lambda p: p.point("a", None, None), r"\('a', None\) is no place"),
        (FRAME, lambda p: p.point(45.15, 15.0, None), r"x comes first, as longitude does"),
        (FRAME, lambda p: p.point(500_105, 5_000_020, UTM), "spans 500000 to 501000 and 4999200 "),
        (FRAME, lambda p: p.point(14.99999, 45.15, None), r"\(14.99999, 45.1500+\) lies outside"),
        (FRAME, lambda p: p.box("abcd", None), "bounds 'abcd' are no box"),
        (FRAME, lambda p: p.polygon(gpd.GeoSeries([shapely.box(15, 45, 16, 46)]), None),
         "the layer does not say its coordinate reference system"),
        (FRAME, lambda p: p.point(15, 45, "nonsense"), "crs 'nonsense' is none"),
        (NOWHERE, lambda p: p.point(15, 45, UTM), "the raster has no coordinate reference system"),
        (NOWHERE, lambda p: p.point(100, 45, None), "in its own coordinates"),
        (FRAME, lambda p: p.box((1, 2, 3), None), "are no box; give x0, y0, x1, y1"),
        (FRAME, lambda p: p.box((1, 2, 1, 5), None), "hold nothing"),
        (FRAME, lambda p: p.box((1, 2, 2, 5), None), "the box does not meet the raster"),
        (FRAME, lambda p: p.polygon("POLYGON EMPTY", None), "str is no polygon"),
        (FRAME, lambda p: p.polygon(shapely.Point(15, 45), None), "the point encloses nothing"),
        (FRAME, lambda p: p.polygon(shapely.box(1, 2, 3, 4), None), "the polygon does not meet"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_in_a_line(frame, call, said):
    with pytest.raises(ConfigError, match=said) as error:
        call(Places(frame))
    assert "\n" not in str(error.value)
