"""A map that is changed in its place is what the changes say, and every reader agrees."""

from __future__ import annotations

import math
import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scripts import benchmark

from geoseg.errors import ConfigError, MapError, OutputError
from geoseg.export import read as reading
from geoseg.export.edit import Editor, create
from geoseg.export.read import open_map
from geoseg.legend import LandClass, Legend
from geoseg.rerun import rerun

BENCH = benchmark("review")


@pytest.fixture
def path(tmp_path):
    return BENCH.draw_map(tmp_path / "map.gpkg", 12)


def read(path) -> gpd.GeoDataFrame:
    return gpd.read_file(path, layer="features").set_index("id")


def box(x: float, y: float, side: float) -> shapely.Polygon:
    return shapely.box(x, y, x + side, y + side)


# ------------------------------------------------------------------------------------- a law

COORDINATES = st.floats(-1e6, 1e6, allow_nan=False).map(lambda v: round(v, 3))
SHAPES = st.builds(box, COORDINATES, COORDINATES, st.floats(0.5, 1e4))
CHANGES = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(["hut", "tree"]), SHAPES),
    st.tuples(st.just("remove"), st.integers(0, 99), st.none()),
    st.tuples(st.just("move"), st.integers(0, 99), SHAPES),
    st.tuples(st.just("say"), st.integers(0, 99), st.sampled_from(["accepted", None])),
)


@settings(max_examples=25)
@given(changes=st.lists(CHANGES, max_size=12))
def test_any_sequence_of_changes_is_what_a_model_in_memory_says(tmp_path_factory, changes):
    path = BENCH.draw_map(tmp_path_factory.mktemp("law") / "map.gpkg", 3)
    model = {k: (v["class"], None, v.geometry) for k, v in read(path).iterrows()}
    given_ids = set(model)
    with Editor(path) as editor:
        for kind, which, value in changes:
            if kind == "add":
                number = editor.add({"class": which}, value)
                assert number not in given_ids
                given_ids.add(number)
                model[number] = (which, None, shapely.MultiPolygon([value]))
            elif model:
                number = sorted(model)[which % len(model)]
                cls, said, shape = model[number]
                if kind == "remove":
                    editor.remove(number)
                    del model[number]
                elif kind == "move":
                    editor.change(number, geometry=value)
                    model[number] = (cls, said, shapely.MultiPolygon([value]))
                else:
                    editor.change(number, review=value)
                    model[number] = (cls, value, shape)
        assert {r.id: (r.cls, r.review) for r in editor.rows()} == {
            k: (cls, said) for k, (cls, said, _) in model.items()
        }
        assert all(editor.geometry(k).equals(shape) for k, (*_, shape) in model.items())
    agrees_with_every_reader(path, model)


def agrees_with_every_reader(path, model) -> None:
    found = read(path)
    assert set(found.index) == set(model)
    assert all(found.geometry[k].equals(shape) for k, (*_, shape) in model.items())
    info = pyogrio.read_info(path, layer="features")
    assert info["features"] == len(model)
    shapes = np.array([shape for *_, shape in model.values()], object)
    with closing(sqlite3.connect(path)) as db:
        extent = db.execute(
            "SELECT min_x, min_y, max_x, max_y FROM gpkg_contents WHERE table_name = 'features'"
        ).fetchone()
    if model:
        assert extent == pytest.approx(shapely.total_bounds(shapes), rel=1e-12)
    else:
        assert extent == (None,) * 4
    # GDAL looks into the index for this.
    for window in [s.bounds for *_, s in model.values()][:3]:
        hit = pyogrio.read_dataframe(path, layer="features", bbox=window)
        wanted = [k for k, (*_, s) in model.items() if s.intersects(shapely.box(*window))]
        assert set(wanted) <= set(hit["id"])
        assert {k for k in hit["id"] if not model[k][2].intersects(shapely.box(*window))} == set()
    assert BENCH.is_sound(path, len(model)) or not model
    assert open_map(path).count == len(model)
