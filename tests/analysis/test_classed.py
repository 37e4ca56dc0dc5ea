"""A layer with classes is the same whoever wrote it, and lies where its CRS says."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio.features
import shapely
from affine import Affine
from scenes import UTM, ByIdentity, apart, legend, raster, shapes

import geoseg
from geoseg.analysis.burnt import burnt_classes, burnt_rows
from geoseg.analysis.classed import open_classed
from geoseg.errors import ConfigError
from geoseg.frame import Frame, horizontal_wkt
from geoseg.window import Window

IDS, COUNT = apart(shapes(70, 90, np.random.default_rng(5)))
CLASSES = tuple(n % 3 for n in range(COUNT))
THINGS = legend("object", "object", "object")


@pytest.fixture
def made(tmp_path):
    pixels = raster(IDS, crs=UTM)
    out = tmp_path / "m.gpkg"
    geoseg.segment(pixels, THINGS, backend=ByIdentity(CLASSES), out=out, tile=40, overlap=8)
    return out, pixels.frame


def everything(found):
    [batch] = found.batches()
    return batch


def test_a_map_and_its_frame_as_a_layer_hold_the_same_polygons(made):
    out, frame = made
    own = open_classed(out, "MAP")
    other = open_classed(gpd.read_file(out, layer="features"), "REFERENCE")
    assert own.frame == frame
    assert other.frame is None
    a, b = everything(own), everything(other)
    assert (a.id == b.id).all()
    assert (a.score == b.score).all()
    assert shapely.equals(a.shape, b.shape).all()
    names = [own.classes[k].name for k in a.cls], [other.classes[k].name for k in b.cls]
    assert names[0] == names[1]
    assert own.count == other.count == COUNT


def test_a_map_is_one_by_the_name_that_qgis_gives_its_layer(made):
    out, frame = made
    assert open_classed(f"{out}|layername=features", "MAP").frame == frame


def test_what_is_burnt_is_the_scene(made, tmp_path):
    out, frame = made
    found = open_classed(out, "MAP")
    rows = burnt_rows(found, frame, tmp_path / "rows.tif").read(frame.window)
    classes = burnt_classes(found, frame, tmp_path / "classes.tif").read(frame.window)
    assert ((rows > 0) == (IDS > 0)).all()
    assert len(np.unique(rows)) == len(np.unique(IDS))
    cls = everything(found).cls
    assert (classes[rows > 0] == cls[rows[rows > 0].astype(int) - 1] + 1).all()
    part = Window(13, 7, 60, 33)
    strips = burnt_rows(found, frame, tmp_path / "rows.tif")
    assert (strips.read(part) == rows[7:33, 13:60]).all()
    assert (np.concatenate([values for _, values in strips.strips()]) == rows).all()


def test_a_layer_in_another_crs_falls_on_the_same_pixels(made, tmp_path):
    out, frame = made
    layer = gpd.read_file(out, layer="features").to_crs(4326)
    # Away from centres of pixels, which lie on the outlines by no more than rounding.
    seen = burnt_rows(open_classed(layer, "REFERENCE"), frame, tmp_path / "a.tif")
    plain = burnt_rows(open_classed(out, "MAP"), frame, tmp_path / "b.tif")
    assert (seen.read(frame.window) == plain.read(frame.window)).all()


def test_pixels_of_another_grid_are_those_that_rasterio_finds(made, tmp_path):
    out, _ = made
    layer = gpd.read_file(out, layer="features")
    x0, _, _, y1 = layer.total_bounds
    size = 7.3
    frame = Frame(50, 60, Affine(size, 0, x0 - 11, 0, -size, y1 + 17), horizontal_wkt(UTM))
    seen = burnt_classes(open_classed(layer, "REFERENCE"), frame, tmp_path / "a.tif")
    number = {name: k for k, name in enumerate(sorted(set(layer["class"])), 1)}
    pairs = zip(layer.geometry, layer["class"].map(number), strict=True)
    wanted = rasterio.features.rasterize(pairs, (60, 50), transform=frame.transform)
    assert (seen.read(frame.window) == wanted).all()


def square(**columns):
    return gpd.GeoDataFrame(columns, geometry=[shapely.box(0, 0, 1, 1)], crs=UTM)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (square(kind=["a"]), r"no column 'class' \(its columns: kind\); REFERENCE takes"),
        (square(**{"class": [None]}), "1 polygons without a class"),
        (square(**{"class": [" "]}), "1 polygons without a class"),
        (square(**{"class": ["a"]}).set_geometry([shapely.Point(0, 0)]), "holds point"),
        (
            square(**{"class": ["a"]}).set_geometry(
                [shapely.from_wkt("POLYGON ((0 0, 1 inf, 1 1, 0 0))")]
            ),
            "no numbers",
        ),
    ],
)
def test_what_is_no_layer_with_classes_is_said(layer, message):
    with pytest.raises(ConfigError, match=message):
        open_classed(layer, "REFERENCE")


def test_another_column_may_hold_the_classes():
    found = open_classed(square(kind=["hut"]), "REFERENCE", column="kind")
    assert [c.name for c in found.classes] == ["hut"]


def test_a_class_that_an_edit_made_up_is_named(made):
    out, _ = made
    layer = gpd.read_file(out, layer="features")
    layer.loc[0, "class"] = "moon"
    found = open_classed(layer, "REFERENCE")
    assert "moon" in [c.name for c in found.classes]
    import sqlite3

    with sqlite3.connect(out) as db:
        triggers = db.execute("select name from sqlite_master where type = 'trigger'").fetchall()
        for (name,) in triggers:
            db.execute(f'drop trigger "{name}"')
        db.execute("update features set class = 'moon' where id = 1")
    db.close()
    own = open_classed(out, "MAP")
    assert own.classes[everything(own).cls[0]].name == "moon"
