"""What is drawn on any map lands where it was drawn."""

from __future__ import annotations

from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from scenes import examples

from geoseg.errors import ConfigError
from geoseg.frame import Frame
from geoseg.reviewing.redrawn import redrawn

UTM = pyproj.CRS("EPSG:32633").to_wkt()
FRAME = Frame(400, 300, Affine(2, 0, 500_000, 0, -2, 5_000_000), UTM)
DEGREES = Frame(400, 300, Affine(1e-4, 0, 15.0, 0, -1e-4, 45.0), pyproj.CRS(4326).to_wkt())


def move(shape: shapely.Geometry, one: str, other: str) -> shapely.Geometry:
    to = pyproj.Transformer.from_crs(one, other, always_xy=True)
    return shapely.transform(shape, lambda xy: np.column_stack(to.transform(*xy.T)))


@examples(30)
@given(x=st.floats(90, 700), y=st.floats(90, 500), side=st.floats(1, 80))
def test_a_shape_drawn_in_degrees_or_web_mercator_is_that_shape(x, y, side):
    shape = shapely.Point(500_000 + x, 5_000_000 - y).buffer(side)
    assert redrawn(shape, None, FRAME).equals(shapely.multipolygons([shape]))
    for crs in ("EPSG:4326", 3857):
        there = move(shape, UTM, f"EPSG:{str(crs)[-4:]}")
        back = redrawn(there, crs, FRAME)
        assert back.symmetric_difference(shape).area < 1e-6 * shape.area


def test_a_map_in_degrees_takes_it_once():
    shape = shapely.box(15.001, 44.99, 15.002, 44.991)
    assert redrawn(shape, "EPSG:4326", DEGREES).equals(shape)
    there = move(shape, "EPSG:4326", "EPSG:32633")
    assert redrawn(there, "EPSG:32633", DEGREES).symmetric_difference(shape).area < 1e-9 * 1e-6


def test_layers_and_outlines_bring_their_crs():
    whole = shapely.box(500_010, 4_999_900, 500_050, 4_999_950)
    parts = [shapely.box(500_010, 4_999_900, 500_030, 4_999_950),
             shapely.box(500_030, 4_999_900, 500_050, 4_999_950)]  # fmt: skip
    series = gpd.GeoSeries([*parts, None], crs=UTM)
    for layer in (series, series.to_frame("geometry")):
        assert redrawn(layer, None, FRAME).equals(whole)
        assert redrawn(layer, "EPSG:4326", FRAME).equals(whole), "what it brings counts"
        elsewhere = redrawn(layer.to_crs(4326), None, FRAME)
        assert elsewhere.symmetric_difference(whole).area < 1e-6 * whole.area
        assert redrawn(layer.set_crs(None, allow_override=True), None, FRAME).equals(whole)
    outline = SimpleNamespace(geometry=shapely.multipolygons([whole]), crs=UTM)
    assert redrawn(outline, None, FRAME).equals_exact(outline.geometry, 0, normalize=True)


def test_several_parts_and_holes_stay():
    parts = shapely.MultiPolygon([
        shapely.box(500_010, 4_999_900, 500_050, 4_999_950)
        - shapely.box(500_020, 4_999_910, 500_030, 4_999_920),
        shapely.box(500_100, 4_999_900, 500_110, 4_999_950),
    ])  # fmt: skip
    found = redrawn(parts, None, FRAME)
    assert found.equals(parts)
    assert [len(p.interiors) for p in found.geoms] == [1, 0]
    again = redrawn(move(parts, UTM, "EPSG:4326"), "EPSG:4326", FRAME)
    assert [len(p.interiors) for p in again.geoms] == [1, 0]


def test_a_line_that_crosses_itself_is_mended():
    x, y = 500_010, 4_999_900
    bow = shapely.Polygon([(x, y), (x + 10, y + 10), (x + 10, y), (x, y + 10)])
    assert redrawn(bow, None, FRAME).area == pytest.approx(50)


@pytest.mark.parametrize(
    ("shape", "crs", "said"),
    [
        (shapely.box(500_010, 4_999_900, 500_050, 4_999_950), "EPSG:4326", "brought|encloses"),
        (shapely.box(0, 0, 1, 1), None, "encloses no ground of the map's raster"),
        (shapely.box(20, 45, 20.1, 45.1), "EPSG:4326", "encloses no ground of the map's raster"),
        (shapely.LineString([(500_010, 4_999_900), (500_050, 4_999_950)]), None, "no ground"),
        (shapely.Polygon(), None, "no ground"),
        (shapely.Polygon([(0, 0), (float("inf"), 1), (1, 1)]), None, "that are no numbers"),
        (gpd.GeoSeries([], crs=UTM), None, "no ground"),
        (gpd.GeoDataFrame({"a": [1]}), None, "GeoDataFrame is no polygon; give one of shapely"),
        ("POINT (1 1)", None, "str is no polygon"),
        (None, None, "NoneType is no polygon"),
        (shapely.box(15, 44, 16, 45), "EPSG:1", "Invalid projection: EPSG:1"),
    ],
)  # fmt: skip
def test_what_is_nowhere_on_the_raster_is_refused_in_one_line(shape, crs, said):
    with pytest.raises(ConfigError, match=said) as caught:
        redrawn(shape, crs, FRAME)
    assert "\n" not in str(caught.value)


def test_a_map_without_a_crs_takes_its_own_coordinates_only():
    plain = Frame(400, 300, Affine.identity(), None)
    shape = shapely.box(10, 10, 20, 20)
    assert redrawn(shape, None, plain).equals(shape)
    with pytest.raises(ConfigError, match="the map has none; leave crs out"):
        redrawn(shape, "EPSG:4326", plain)


def test_what_reaches_beyond_the_raster_is_cut():
    ground = shapely.box(500_000, 4_999_400, 500_800, 5_000_000)
    shape = shapely.Point(500_780, 4_999_990).buffer(60)
    found = redrawn(shape, None, FRAME)
    assert found.symmetric_difference(shape & ground).area < 1e-6
    # A hair beyond the edge is none: what was outlined on the raster is not moved.
    whole = shapely.box(500_000, 4_999_400, 500_800.0005, 5_000_000)
    assert redrawn(whole, None, FRAME).equals_exact(shapely.multipolygons([whole]), 0)
