"""A widget shows the polygons where they are, asks nobody, and trusts no name."""

import base64
import dataclasses
import json

import numpy as np
import pytest
from affine import Affine
from rasterio.io import MemoryFile
from scenes import UTM, ByIdentity, raster

import geoseg
from geoseg import LandClass, Legend
from geoseg.analysis import explore
from geoseg.errors import MapError
from geoseg.webmap import _described

IDS = np.zeros((60, 90), np.int32)
IDS[5:30, 10:40], IDS[40:55, 60:85] = 1, 2
EVIL = "<script>alert(1)</script>"
LEGEND = Legend(classes=(LandClass(name=EVIL, kind="object"), LandClass(name="b", kind="object")))


def made(**options):
    out = options.pop("out", None)
    scene = dataclasses.replace(raster(IDS), **options)
    backend = ByIdentity((0, 1))
    return geoseg.segment(scene, LEGEND, backend=backend, tile=40, overlap=8, out=out)


def layers(widget, kind):
    return [layer for layer in widget.layers if type(layer).__name__ == kind]


def test_each_class_is_a_layer_with_its_polygons():
    run = made(crs=UTM)
    widget = run.explore()
    shown = layers(widget, "GeoJSON")
    assert [len(layer.data["features"]) for layer in shown] == [1, 1]
    lonlat = run.features().to_crs(4326)
    [(x0, y0, x1, y1)] = lonlat.bounds.iloc[:1].to_numpy().tolist()
    xy = np.array(shown[0].data["features"][0]["geometry"]["coordinates"][0][0])
    assert [*xy.min(axis=0), *xy.max(axis=0)] == pytest.approx([x0, y0, x1, y1], abs=1e-9)


def test_nothing_is_fetched_and_names_are_no_markup():
    widget = made(crs=UTM).explore()
    assert not layers(widget, "TileLayer")
    said = [layer.name for layer in widget.layers] + [
        getattr(control.widget, "value", "")
        for control in widget.controls
        if hasattr(control, "widget")
    ]
    assert not any("<script" in text for text in said)
    assert "&lt;script&gt;" in "".join(said)
    assert "<script" not in _described({"class": EVIL, "id": 1, "score": 0.5, "area_ha": 1.0})
    [picture] = layers(widget, "ImageOverlay")
    assert picture.url.startswith("data:image/png;base64,")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_the_raster_lies_where_it_is():
    run = made(crs="EPSG:4326", transform=Affine(0.001, 0, 10, 0, -0.001, 60))
    [picture] = layers(run.explore(), "ImageOverlay")
    (south, west), (north, east) = picture.bounds
    assert (west, north) == pytest.approx((10, 60), abs=1e-6)
    assert (east, south) == pytest.approx((10.09, 59.94), abs=1e-6)
    png = base64.b64decode(picture.url.partition(",")[2])
    with MemoryFile(png) as file, file.open() as source:
        assert source.count == 4
        assert source.read(4).all()


def test_of_many_polygons_the_largest_are_shown_and_it_is_said():
    run = made(crs=UTM)
    widget = run.explore(most=1)
    [shown] = layers(widget, "GeoJSON")
    largest = run.features().nlargest(1, "area_ha")["id"].tolist()
    assert [f["properties"]["id"] for f in shown.data["features"]] == largest
    assert any(
        "the 1 largest of 2 polygons" in control.widget.value
        for control in widget.controls
        if hasattr(control, "widget")
    )


def test_a_map_without_a_place_is_refused():
    with pytest.raises(MapError, match=r"plot\(\) draws it"):
        made(crs=None, transform=Affine.identity()).explore()


def test_a_map_on_the_disk_is_shown_as_its_run(tmp_path):
    run = made(crs=UTM, out=tmp_path / "m.gpkg")
    a = layers(run.explore(raster=False), "GeoJSON")
    b = layers(explore(run.path, raster=False), "GeoJSON")
    assert [json.dumps(x.data) for x in a] == [json.dumps(x.data) for x in b]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("crs", "place"),
    [
        ("EPSG:4326", Affine(0.01, 0, 179.6, 0, -0.01, -17)),
        ("EPSG:4326", Affine(0.01, 0, 359.6, 0, -0.01, -17)),
        ("EPSG:32660", Affine(1000, 0, 725_000, 0, -1000, 4e6)),
        ("EPSG:32601", Affine(1000, 0, 190_000, 0, -1000, 4e6)),
    ],
)
def test_across_the_date_line_raster_and_polygons_lie_together(crs, place):
    ids = np.ones((60, 90), np.int32)
    widget = made(crs=crs, transform=place, data=raster(ids).data).explore()
    [picture] = layers(widget, "ImageOverlay")
    (south, west), (north, east) = picture.bounds
    assert east - west < 1.1
    assert widget.center == pytest.approx(((south + north) / 2, (west + east) / 2), abs=0.05)
    png = base64.b64decode(picture.url.partition(",")[2])
    with MemoryFile(png) as file, file.open() as source:
        assert source.read(4).mean() > 0.8 * 255
    for layer in layers(widget, "GeoJSON"):
        for feature in layer.data["features"]:
            xy = np.array(feature["geometry"]["coordinates"][0][0])
            assert west - 1e-6 <= xy[:, 0].min() <= xy[:, 0].max() <= east + 1e-6


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_of_the_whole_earth_is_shown_what_the_web_has_room_for():
    run = made(crs="EPSG:4326", transform=Affine(4, 0, -180, 0, -3, 90))
    [picture] = layers(run.explore(), "ImageOverlay")
    assert np.abs(picture.bounds) == pytest.approx(np.array([[85.0511, 180]] * 2), abs=1e-3)
