"""A map says all that is needed to make it again, and nothing that does not change it."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from rasters import draw
from scenes import ByIdentity

import geoseg
from geoseg.backends.compose import located
from geoseg.errors import MapError
from geoseg.frame import Frame
from geoseg.recipe import Recipe, recipe_text, words_of

LEGEND = geoseg.Legend.parse("water, tree")


def stored(path: Path) -> dict:
    return json.loads(pyogrio.read_info(path, layer="features")["layer_metadata"]["geoseg"])


def recipe(**asked) -> Recipe:
    fingerprint = {"legend": LEGEND.model_dump(mode="json"), "raster.bands": [1]}
    frame = Frame(7, 5, Affine(0.1, 0, 1 / 3, 0, -0.1, 2e6), None)
    return Recipe.parse(recipe_text(fingerprint, [], frame, words_of(**asked)), "map")


def test_a_recipe_comes_back_as_it_went():
    found = recipe(tile=64)
    assert found.frame == Frame(7, 5, Affine(0.1, 0, 1 / 3, 0, -0.1, 2e6), None)
    assert found.legend == LEGEND
    assert found.raster == {"bands": [1]}
    assert found.fingerprint.keys() == {"legend", "raster.bands"}


def test_what_is_asked_for_is_kept_in_words_that_can_be_asked_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = recipe(
        source=["a.tif", Path("/b.tif"), "https://me:pw@host/c.tif?key=SECRET"],
        legend=LEGEND, backend="spectral", boxes="huts.gpkg|layername=b", bands="red=1, nir=2",
        models=geoseg.ModelOptions(gsd=0.3, offline=True, cache="kept", cache_size="1GB"),
        threshold=0.25, sensor=None,
    ).asked  # fmt: skip
    assert asked == {
        "source": [str(tmp_path / "a.tif"), "/b.tif", "https://host/c.tif"],
        "legend": LEGEND.model_dump(mode="json"), "backend": "spectral",
        "boxes": str(tmp_path / "huts.gpkg|layername=b"), "bands": {"nir": 2, "red": 1},
        "models": {"gsd": 0.3}, "threshold": 0.25, "in_memory": [],
    }  # fmt: skip


def test_what_is_no_name_is_said_to_be_lost():
    box = shapely.box(0, 0, 1, 1)
    asked = words_of(
        source=geoseg.ArrayRaster(np.zeros((1, 9, 9), np.uint8)), backend=ByIdentity(()),
        aoi=box, boxes=gpd.GeoDataFrame(geometry=[box]), tile=32,
    )  # fmt: skip
    assert asked == {"tile": 32, "in_memory": ["aoi", "backend", "boxes", "source"]}


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"frame": 3}', '{"frame": {"width": 1}}'])
def test_what_is_no_recipe_is_refused(text):
    with pytest.raises(MapError, match=r"^m\.gpkg says too little of how it was made"):
        Recipe.parse(text, "m.gpkg")


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [("frame", "width", 0), ("frame", "transform", [0, 0, 0, 0, 0, 0]), ("frame", "crs", "moon"),
     ("asked", "tile", "large"), ("asked", "source", "a.tif"), ("asked", "bands", {"red": "x"}),
     ("asked", "trust_input", True), ("legend", "classes", [])],
)  # fmt: skip
def test_what_cannot_be_asked_is_no_recipe(part, key, value):
    facts = json.loads(recipe(tile=64).text)
    facts[part][key] = value
    with pytest.raises(MapError, match="says too little of how it was made"):
        Recipe.parse(json.dumps(facts), "m.gpkg")


def test_weights_that_are_files_have_whole_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.toml").touch()
    whole = str(tmp_path / "net.toml")
    for spec, wanted in (
        ("spectral", "spectral"),
        ("onnx:net.toml", f"onnx:{whole}"),
        ("everything:sam:net.toml", f"everything:sam:{whole}"),
        ("owlv2:net.toml+sam2:some/name@1", f"owlv2:{whole}+sam2:some/name@1"),
        (None, None),
    ):
        assert located(spec) == wanted


def test_a_run_keeps_its_words_and_its_grid_but_not_how_it_was_worked(tmp_path):
    source = draw(tmp_path / "scene.tif")
    out = tmp_path / "map.gpkg"
    geoseg.segment(source, LEGEND, out=out, tile=32, overlap=8, batch=3, trust_input=True)
    found = Recipe.parse(json.dumps(stored(out)), "map")
    assert found.asked == {
        "source": [str(source)], "legend": LEGEND.model_dump(mode="json"), "backend": "spectral",
        "tile": 32, "overlap": 8, "in_memory": [],
    }  # fmt: skip
    assert found.frame == geoseg.open_raster(source).frame
    assert found.raster == json.loads(json.dumps(geoseg.open_raster(source).identity()))
