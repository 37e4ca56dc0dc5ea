"""Boxes and points of a layer land on the pixels they are drawn over."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given as law
from hypothesis import strategies as st
from prompts import Outlines, coloured
from scenes import GEOREF, UTM, canonical, examples, truth

import geoseg
from geoseg import LandClass, Legend
from geoseg.backends.given import given
from geoseg.backends.prompted import POINT_CUT, Prompted
from geoseg.errors import BackendError, GeosegError
from geoseg.grid import Grid
from geoseg.pixels import Pixels

IDS = np.zeros((120, 140), np.int32)
for number, (y, x, h, w) in enumerate(
    [(5, 5, 20, 30), (50, 40, 30, 60), (100, 120, 20, 20), (90, 5, 8, 8)], 1
):
    IDS[y : y + h, x : x + w] = number
COUNT = int(IDS.max())
ROTATED = GEOREF @ Affine.rotation(30)


def layer(shapes, crs=UTM, **columns) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(columns, geometry=list(shapes), crs=crs)


def run(prompts, legend=None, transform=GEOREF, **options):
    engine = Prompted(given(prompts), Outlines())
    asked = legend or engine.words()
    source = coloured(IDS, transform)
    settings = {"tile": 64, "overlap": 40, **options}
    return geoseg.segment(source, asked, backend=engine, **settings).features()


@pytest.mark.parametrize("transform", [GEOREF, ROTATED])
@pytest.mark.parametrize("crs", [UTM, "EPSG:4326", "EPSG:3857"])
@pytest.mark.parametrize("kind", ["boxes", "points"])
def test_each_prompt_gives_its_object_whatever_the_crs_and_tiling(transform, crs, kind):
    outlines = truth(IDS, COUNT, transform)
    prompts = outlines if kind == "boxes" else shapely.centroid(outlines)
    # A point is seen by fewer tiles than its object: those must hold the object.
    cut = {} if kind == "boxes" else {"tile": 128, "overlap": 100}
    found = run(layer(prompts).to_crs(crs), transform=transform, **cut)
    assert sorted(map(canonical, found.geometry)) == sorted(map(canonical, outlines))
    assert set(found["class"]) == {"object"}
    assert found.score.tolist() == pytest.approx([0.7] * COUNT)


def test_an_outline_that_outgrows_the_tiles_of_its_point_is_told():
    centre = shapely.centroid(truth(IDS, COUNT)[1])
    engine = Prompted(given(layer([centre])), Outlines())
    made = geoseg.segment(coloured(IDS), backend=engine, tile=64, overlap=40)
    assert {n for said in made.notes.values() for n in said} == {POINT_CUT}
    engine = Prompted(given(layer([centre])), Outlines())
    assert not geoseg.segment(coloured(IDS), backend=engine, tile=256).notes


def test_classes_come_from_the_layer():
    prompts = layer(truth(IDS, COUNT), **{"class": ["hut", "barn", "hut", "shed"]})
    found = run(prompts)
    assert sorted(found["class"]) == ["barn", "hut", "hut", "shed"]
    barns = run(prompts, Legend(classes=[LandClass(name="Barn"), LandClass(name="shed")]))
    assert sorted(barns["class"]) == ["Barn", "shed"]
    homes = Legend(classes=[LandClass(name="home", prompts=("hut", "house"))])
    assert list(run(prompts, homes)["class"]) == ["home"] * 2


def test_names_that_are_none_or_alike_make_one_class_each():
    named = layer(truth(IDS, COUNT), **{"class": ["Hut", None, "hut", " "]})
    assert [c.name for c in given(named).words().classes] == ["Hut", "object"]
    assert sorted(run(named)["class"]) == ["Hut", "Hut", "object", "object"]


def test_every_box_is_meant_however_much_it_resembles_another():
    box = truth(IDS, COUNT)[1]
    (x0, y0, x1, y1) = box.bounds
    wide = shapely.box(x0, y0, x1 + 120, y1)
    outlines = Outlines()
    engine = Prompted(given(layer([box, wide])), outlines)
    geoseg.segment(coloured(IDS), backend=engine, tile=256)
    assert outlines.decoded == [2]


def test_a_point_in_the_corner_is_in_the_raster_and_a_line_is_a_thin_box():
    fitted = given(layer([shapely.Point(GEOREF @ (0, 0))])).fit(coloured(IDS), THING)
    assert len(fitted.boxes) == 1
    line = shapely.LineString([GEOREF @ (5, 10), GEOREF @ (30, 10)])
    fitted = given(layer([line])).fit(coloured(IDS), THING)
    assert fitted.boxes.tolist() == [[5, 9.5, 30, 10.5]]


@examples(30)
@law(st.integers(0, 2**32 - 1))
def test_boxes_are_cut_to_the_tiles_that_see_them(seed):
    random = np.random.default_rng(seed)
    low = random.uniform(-20, 130, (6, 2))
    high = low + random.uniform(0.5, 60, (6, 2))
    boxes = shapely.box(*np.column_stack((low, high)).T)
    to_map = shapely.transform(boxes, GEOREF_APPLY)
    source = coloured(IDS)
    legend = Legend(classes=[LandClass(name="a")])
    try:
        fitted = given(layer(to_map)).fit(source, legend)
    except BackendError:
        assert not shapely.intersects(boxes, shapely.box(0, 0, 140, 120)).any()
        return
    stretch = None
    window = Grid(source.frame.window, 64, 20)[0].read
    tile = Pixels(window, None, np.ones(window.shape, bool), stretch, window, window)
    (found,) = fitted.prompt([tile], [np.zeros((*window.shape, 3), np.uint8)])
    want = shapely.intersection(fitted_boxes := shapely.box(*fitted.boxes.T),
                                shapely.box(0, 0, window.x1, window.y1))  # fmt: skip
    seen = shapely.area(want) > 0
    assert len(found) == int(seen.sum()) <= len(fitted_boxes)
    assert np.allclose(found.boxes, shapely.bounds(want[seen]), atol=1e-4)


def GEOREF_APPLY(xy):  # noqa: N802
    return np.column_stack((GEOREF.a * xy[:, 0] + GEOREF.c, GEOREF.e * xy[:, 1] + GEOREF.f))


POINT = shapely.Point(GEOREF @ (10, 10))
THING = Legend(classes=[LandClass(name="thing")])

BAD = {
    "elsewhere": (lambda: run(layer([shapely.Point(0, 0)])), "none of the 1 features"),
    "no crs": (lambda: run(layer([POINT], crs=None)), "the layer of boxes has no coordinate"),
    "empty": (lambda: run(layer([])), "has no features; --boxes takes boxes or points"),
    "no geometry": (lambda: run(layer([shapely.Point()])), "has no features"),
    "other classes": (
        lambda: run(layer([POINT] * 2, **{"class": ["a", "b"]}), Legend.parse("c, d")),
        "no feature of the layer of boxes is of a class of the legend; its column 'class' has a, b",
    ),
    "a class that cannot be": (
        lambda: run(layer([POINT], **{"class": ["x" * 300]})),
        "column 'class' of the layer of boxes holds what cannot be a class: String should have",
    ),
    "another class": (
        lambda: run(layer([POINT], **{"class": ["a"]}), Legend.parse("house")),
        "no feature of the layer of boxes is of a class of the legend",
    ),
    "no classes": (
        lambda: run(layer([POINT]), Legend.parse("c, d")),
        "has no column 'class' to tell the 2 classes of the legend apart; ask for one class",
    ),
    "no file": (lambda: given("nowhere.gpkg"), "no such file: nowhere.gpkg (--boxes takes"),
    "no layer": (lambda: given(__file__), "is no vector layer that can be read: "),
}


@pytest.mark.parametrize("case", BAD)
def test_prompts_that_cannot_be_used_are_refused_in_one_line(case):
    call, words = BAD[case]
    with pytest.raises(GeosegError) as caught:
        call()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_identity_is_that_of_geometry_classes_and_crs():
    one = given(layer([POINT], **{"class": ["a"]})).identity
    assert one == given(layer([POINT], **{"class": ["a"]}, other=[1])).identity
    assert one != given(layer([POINT], **{"class": ["b"]})).identity
    assert one != given(layer([POINT], crs="EPSG:32634", **{"class": ["a"]})).identity
