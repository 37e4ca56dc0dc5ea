"""COCO, QGIS projects and STAC items, read by their own readers."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import geopandas as gpd
import numpy as np
import pyogrio
import pyproj
import pystac
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from rasters import draw
from scenes import UTM, ByIdentity, apart, examples, legend, raster, shapes

import geoseg
from geoseg.convert import Wishes, export
from geoseg.errors import ConfigError, MapError, MissingDependencyError
from geoseg.export.coco import Images, images_of, run_lengths
from geoseg.export.qgz import Shown, project
from geoseg.export.read import open_map
from geoseg.export.stac import moment, outline_of
from geoseg.export.sweep import runs_down
from geoseg.frame import Frame, horizontal_wkt
from geoseg.window import Window

IDS, COUNT = apart(shapes(80, 90, np.random.default_rng(8)))
CLASSES = tuple(n % 2 for n in range(COUNT))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "map.gpkg"
    things = legend("object", "object")
    geoseg.segment(
        raster(IDS, crs=UTM), things, backend=ByIdentity(CLASSES), out=out, tile=40, overlap=8
    )
    return out


@pytest.fixture
def folder(tmp_path):
    """A raster and its map, as a user has them."""
    place = tmp_path / "work"
    place.mkdir()

    def dated(out):
        out.update_tags(TIFFTAG_DATETIME="2021:06:07 08:09:10")

    draw(place / "scene.tif", bands=4, dtype="uint16", finish=dated, photometric="MINISBLACK")
    geoseg.segment(
        place / "scene.tif", "water, vegetation", out=place / "map.gpkg", threshold=0.2,
        bands="red=3,green=2,blue=1,nir=4",
    )  # fmt: skip
    return place


# -------------------------------------------------------------------------------------- COCO


# Of pycocotools 2.0.11's own, when it decodes.
DECODES = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def opened(path: Path, capsys) -> COCO:
    """Return the labels as pycocotools reads them; it talks while it does."""
    found = COCO(path)
    capsys.readouterr()
    return found


@DECODES
def test_masks_boxes_and_areas_are_those_of_the_objects(tmp_path, made, capsys):
    out = tmp_path / "coco.json"
    export(made, out)
    found = opened(out, capsys)
    rows = gpd.read_file(made, layer="features").set_index("id")
    assert [c["name"] for c in found.loadCats(found.getCatIds())] == ["c0", "c1"]
    labels = found.loadAnns(found.getAnnIds())
    assert len(labels) == COUNT
    seen = np.zeros(IDS.shape, int)
    for label in labels:
        mask = found.annToMask(label)
        number = IDS[mask > 0][0]
        assert np.array_equal(mask > 0, number == IDS)
        assert label["category_id"] == CLASSES[number - 1] + 1
        rows_of, columns = np.nonzero(mask)
        left, top = columns.min(), rows_of.min()
        assert label["bbox"] == [left, top, columns.max() + 1 - left, rows_of.max() + 1 - top]
        assert label["area"] == mask.sum()
        assert label["score"] == rows.loc[label["feature"], "score"]
        seen += mask
    assert np.array_equal(seen, IDS > 0)


@DECODES
def test_chips_together_are_the_whole(tmp_path, made, capsys):
    out = tmp_path / "chips_coco.json"
    export(made, out, Wishes(chips=32))
    found = opened(out, capsys)
    seen = np.zeros(IDS.shape, int)
    for image in found.loadImgs(found.getImgIds()):
        x, y, width, height = image["window"]
        assert (image["width"], image["height"]) == (width, height)
        part = IDS[y : y + height, x : x + width]
        labels = found.loadAnns(found.getAnnIds(imgIds=image["id"]))
        assert len(labels) == len(np.unique(part[part > 0]))
        for label in labels:
            seen[y : y + height, x : x + width] += found.annToMask(label)
    assert np.array_equal(seen, IDS > 0)


@examples(60)
@given(data=st.data())
def test_run_lengths_are_those_of_the_mask(data):
    width, height = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    cells = data.draw(
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=60)
    )
    union = shapely.union_all([shapely.box(x, y, x + 1, y + 1) for x, y in cells])
    window = Window(data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3)), 0, 0)
    window = Window(window.x0, window.y0, window.x0 + width, window.y0 + height)
    wanted = np.zeros(window.shape, np.uint8, order="F")
    for x, y in cells:
        if window.x0 <= x < window.x1 and window.y0 <= y < window.y1:
            wanted[y - window.y0, x - window.x0] = 1
    counts = run_lengths(runs_down(np.array([union])).of(0), window)
    size = list(window.shape)
    packed = coco_mask.frPyObjects({"size": size, "counts": counts}, *size)
    assert packed == coco_mask.encode(wanted)


def test_images_cover_a_raster_once():
    frame = Frame(100, 70, Affine.identity(), None)
    images = Images(frame, 32, "a.tif")
    seen = np.zeros((70, 100), int)
    for number in range(len(images)):
        seen[images.window(number).slices_in(frame.window)] += 1
    assert (seen == 1).all()
    assert set(images.touched((0, 0, 100, 70))) == set(range(len(images)))
    assert list(images.touched((33, 1, 40, 5))) == [1]
    assert len(images_of(frame, None, "a.tif")) == 1


def test_images_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="--chips 3 px is too small; at least 16"):
        images_of(Frame(9, 9, Affine.identity(), None), 3, "a.tif")
    with pytest.raises(ConfigError, match=r"more than COCO can count .* pass --chips 1024"):
        images_of(Frame(2**17, 2**16, Affine.identity(), None), None, "a.tif")


def test_without_pycocotools_the_extra_is_named(tmp_path, made, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "geoseg\[coco\]"'):
        export(made, tmp_path / "coco.json")
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------------------------- QGIS


def layers(path: Path) -> dict[str, ET.Element]:
    with zipfile.ZipFile(path) as packed:
        assert packed.testzip() is None
        [name] = packed.namelist()
        root = ET.fromstring(packed.read(name))  # noqa: S314  made here
    assert name == f"{path.stem}.qgs"
    assert root.find("properties/Paths/Absolute").text == "false"
    ids = [leaf.get("id") for leaf in root.iter("layer-tree-layer")]
    found = {layer.find("id").text: layer for layer in root.iter("maplayer")}
    assert ids == list(found)
    # QGIS makes up ids for layers whose own are shorter.
    assert all(len(key) > 10 for key in ids)
    return {layer.find("layername").text: layer for layer in found.values()}


def test_a_project_finds_its_files_after_the_folder_moved(folder, tmp_path, monkeypatch):
    export(folder / "map.gpkg", folder / "map.qgz")
    moved = folder.rename(tmp_path / "elsewhere")
    found = layers(moved / "map.qgz")
    assert list(found) == ["features", "scene"]
    sources = {name: layer.find("datasource").text for name, layer in found.items()}
    assert sources == {"features": "./map.gpkg|layername=features", "scene": "./scene.tif"}
    monkeypatch.chdir(moved)
    path, _, name = sources["features"].partition("|layername=")
    assert pyogrio.read_info(path, layer=name)["features"] > 0
    with rasterio.open(sources["scene"]) as picture:
        assert picture.count == 4


def test_a_project_shows_what_the_run_saw(folder):
    export(folder / "map.gpkg", folder / "map.qgz")
    found = layers(folder / "map.qgz")
    shown = found["scene"].find("pipe/rasterrenderer")
    assert [shown.get(f"{c}Band") for c in ("red", "green", "blue")] == ["3", "2", "1"]
    limits = [float(shown.find(f"redContrastEnhancement/{m}Value").text) for m in ("min", "max")]
    with rasterio.open(folder / "scene.tif") as picture:
        assert limits == pytest.approx(np.percentile(picture.read(3), (2, 98)))
    classes = [c.get("value") for c in found["features"].iter("category")]
    assert classes == ["water", "vegetation"]
    for layer in found.values():
        assert pyproj.CRS.from_wkt(layer.find("srs/spatialrefsys/wkt").text) == pyproj.CRS(UTM)
        assert layer.find("srs/spatialrefsys/authid").text == UTM


def test_rasters_on_the_network_have_the_names_that_gdal_knows(made):
    found = open_map(made)
    for url, name in (
        ("https://a.org/b.tif", "/vsicurl/https://a.org/b.tif"), ("s3://c/d.tif", "/vsis3/c/d.tif"),
    ):  # fmt: skip
        page = project(Path("/"), found, Shown((url,), None))
        sources = [e.text for e in ET.fromstring(page).iter("datasource")]  # noqa: S314  made here
        assert sources[-1] == name


def test_equal_projects_are_equal_bytes_wherever_they_lie(folder, tmp_path):
    export(folder / "map.gpkg", folder / "map.qgz")
    sub = tmp_path / "sub"
    sub.mkdir()
    export(folder / "map.gpkg", sub / "map.qgz")
    assert layers(sub / "map.qgz")["scene"].find("datasource").text == "../work/scene.tif"
    before = (folder / "map.qgz").read_bytes()
    export(folder / "map.gpkg", folder / "map.qgz", Wishes(overwrite=True))
    assert (folder / "map.qgz").read_bytes() == before


def test_a_project_is_of_a_geopackage(folder):
    export(folder / "map.gpkg", folder / "map.parquet")
    with pytest.raises(MapError, match=r"is of a GeoPackage.*export it to \.gpkg first"):
        export(folder / "map.parquet", folder / "map.qgz")


@pytest.mark.parametrize("name", ["map.qgz", "stac.json"])
def test_a_raster_that_has_gone_is_told(folder, tmp_path, made, name):
    with pytest.raises(MapError, match="was made of a raster in memory; pass --raster FILE"):
        export(made, tmp_path / name)
    gone = (folder / "scene.tif").rename(tmp_path / "other.tif")
    with pytest.raises(MapError, match=r"neither there nor beside the map; pass --raster FILE"):
        export(folder / "map.gpkg", folder / name)
    export(folder / "map.gpkg", folder / name, Wishes(raster=str(gone)))
    assert (folder / name).exists()
    with pytest.raises(MapError, match="pass another --raster"):
        export(folder / "map.gpkg", folder / f"2{name}", Wishes(raster="/no/where.tif"))


def test_a_raster_that_moved_with_its_map_is_found(folder, tmp_path):
    moved = tmp_path / "moved"
    shutil.move(folder, moved)
    export(moved / "map.gpkg", moved / "map.qgz")
    assert layers(moved / "map.qgz")["scene"].find("datasource").text == "./scene.tif"


# -------------------------------------------------------------------------------------- STAC


def test_an_item_says_where_when_and_what(folder):
    export(folder / "map.gpkg", folder / "stac.json")
    item = pystac.Item.from_file(folder / "stac.json")
    assert item.id == "map"
    assert item.datetime == datetime(2021, 6, 7, 8, 9, 10, tzinfo=UTC)
    box = gpd.GeoSeries([shapely.box(5e5, 5e6 - 500, 5e5 + 700, 5e6)], crs=UTM).to_crs(4326)
    assert item.bbox == pytest.approx(box.total_bounds, abs=1e-7)
    outline = shapely.geometry.shape(item.geometry)
    assert outline.is_valid
    assert outline.exterior.is_ccw
    assert outline.bounds == pytest.approx(item.bbox)
    with rasterio.open(folder / "scene.tif") as picture:
        assert item.properties["proj:shape"] == list(picture.shape)
        assert item.properties["proj:transform"] == list(picture.transform)[:6]
        assert item.properties["proj:code"] == str(picture.crs)
    for name, file in (("map", "map.gpkg"), ("raster", "scene.tif")):
        assert Path(item.assets[name].get_absolute_href()) == folder / file
    assert item.assets["map"].media_type == pystac.MediaType.GEOPACKAGE


def test_an_item_is_valid(folder):
    export(folder / "map.gpkg", folder / "stac.json")
    stored = json.loads((folder / "stac.json").read_text())
    validator = JsonSchemaSTACValidator()
    validator.validate_core(stored, pystac.STACObjectType.ITEM, "1.1.0")


@pytest.mark.parametrize(
    ("asked", "tagged", "changed", "found"),
    [
        ("2020-01-02T03:04:05Z", "2021:06:07 08:09:10", 0, "2020-01-02T03:04:05Z"),
        ("2020-01-02T03:04:05+02:00", None, None, "2020-01-02T01:04:05Z"),
        ("2020-01-02", None, None, "2020-01-02T00:00:00Z"),
        (None, "2021:06:07 08:09:10", 7, "2021-06-07T08:09:10Z"),
        ("file", None, 86400.7, "1970-01-02T00:00:00Z"),
    ],
)
def test_the_time_is_that_of_the_picture(asked, tagged, changed, found):
    assert moment(asked, tagged, changed) == found


@pytest.mark.parametrize(
    ("asked", "tagged", "said"),
    [
        ("yesterday", None, "'yesterday' is no time; write 2026-"),
        (None, None, "does not say when it was taken"),
        (None, "2021:13:07 08:09:10", "does not say when it was taken"),
        (None, "last week", "pass --datetime 2026-05-01T10:00:00Z, or --datetime file"),
        ("file", None, "the raster is no file here"),
    ],
)
def test_a_time_is_never_made_up(asked, tagged, said):
    with pytest.raises(ConfigError, match=said):
        moment(asked, tagged, None)


def frame(crs: str, x: float, y: float, step: float, size: int = 100) -> Frame:
    return Frame(size, size, Affine(step, 0, x, 0, -step, y), horizontal_wkt(crs))


def test_an_outline_across_the_antimeridian_is_cut_there():
    found = outline_of(frame("EPSG:4326", 179.5, 10, 0.01))
    assert found.bbox == pytest.approx((179.5, 9, -179.5, 10))
    assert found.shape.geom_type == "MultiPolygon"
    assert found.shape.area == pytest.approx(1)
    assert found.shape.bounds == pytest.approx((-180, 9, 180, 10))
    fiji = outline_of(frame("EPSG:3832", 3_300_000, -1_900_000, 10_000))
    assert fiji.bbox[0] > 0 > fiji.bbox[2]


def test_an_outline_around_a_pole_has_all_longitudes():
    found = outline_of(frame("EPSG:3995", -500_000, 500_000, 10_000))
    assert found.bbox[::2] == (-180, 180)
    assert found.bbox[3] == 90
    assert 80 < found.bbox[1] < 85
    assert outline_of(frame("EPSG:3031", -500_000, 500_000, 10_000)).bbox[1] == -90


def test_longitudes_beyond_180_are_turned_back():
    assert outline_of(frame("EPSG:4326", 200, 10, 0.01)).bbox == pytest.approx((-160, 9, -159, 10))
    world = outline_of(Frame(360, 180, Affine(1, 0, -180, 0, -1, 90), horizontal_wkt("EPSG:4326")))
    assert world.bbox == pytest.approx((-180, -90, 180, 90))


def test_a_map_without_a_crs_is_nowhere(tmp_path):
    draw(tmp_path / "scene.tif", crs=None)
    geoseg.segment(tmp_path / "scene.tif", "water", out=tmp_path / "map.gpkg")
    with pytest.raises(MapError, match="has no CRS, and a STAC item says where on Earth"):
        export(tmp_path / "map.gpkg", tmp_path / "stac.json", Wishes(datetime="file"))
