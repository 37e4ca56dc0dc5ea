"""What is a run, and which settings cannot be?"""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import ByIdentity, legend, raster

import geoseg
from geoseg.config import ModelOptions, RunConfig, difference
from geoseg.errors import ConfigError, GeosegError
from geoseg.legend import LandClass, Legend

FOREST = Legend.parse("forest, water")
NAN = float("nan")
GONE = [f"legend.classes[1].{key}" for key in ("colour", "kind", "name", "prompts[0]")]

BAD = [
    ({"tile": 0}, "--tile 0: "),
    ({"tile": -5}, "--tile -5: "),
    ({"tile": 1.5}, "--tile 1.5: "),
    ({"tile": 64.0}, "--tile 64.0: "),
    ({"tile": 15}, "greater than or equal to 16"),
    ({"tile": 2**21}, "less than or equal to 1048576"),
    ({"tile": "64"}, "--tile '64': "),
    ({"overlap": -1}, "overlap -1 is outside 0 <= overlap < tile (1024); lower --overlap"),
    ({"tile": 64, "overlap": 64}, "overlap 64 is outside 0 <= overlap < tile (64)"),
    ({"tile": 64, "overlap": 1000}, "overlap 1000 is outside"),
    ({"tile": 64, "overlap": 63}, "leaves no core"),
    ({"tile": 64}, "overlap 128 is outside"),
    ({"tile": NAN}, "--tile nan: "),
    ({"tile": 10**9}, "--tile 1000000000: "),
    ({"tile": True}, "--tile True: "),
    ({"overlap": -0.5}, "--overlap -0.5: "),
    ({"overlap": 1.0}, "--overlap 1.0: "),
    ({"overlap": float("inf")}, "--overlap inf: "),
    ({"overlap": "10%"}, "--overlap '10%': "),
    ({"overlap": True}, "--overlap True: "),
    ({"overlap": NAN}, "--overlap nan: "),
    ({"overlap": 2.5}, "--overlap 2.5: "),
    ({"threshold": -0.1}, "--threshold -0.1: "),
    ({"threshold": 1.1}, "--threshold 1.1: "),
    ({"threshold": NAN}, "--threshold nan: "),
    ({"threshold": 30}, "--threshold 30: "),
    ({"threshold": "0,3"}, "--threshold '0,3': "),
    ({"threshold": "0.3 "}, "--threshold '0.3 ': "),
    ({"threshold": True}, "--threshold True: "),
    ({"workers": -1}, "--workers -1: "),
    ({"workers": 10**6}, "--workers 1000000: "),
    ({"batch": -1}, "--batch -1: "),
    ({"workers": 0}, "--workers 0: "),
    ({"workers": 1.0}, "--workers 1.0: "),
    ({"workers": 5000}, "--workers 5000: "),
    ({"batch": 0}, "--batch 0: "),
    ({"memory": "much"}, "--memory 'much': "),
    ({"memory": "0GB"}, "--memory '0GB': "),
    ({"scheduler": "host:8786"}, "--scheduler 'host:8786': "),
    ({"batch": 257}, "less than or equal to 256"),
    ({"batch": 2.0}, "--batch 2.0: "),
]


@pytest.mark.parametrize(("settings", "words"), BAD)
def test_bad_settings_are_refused_by_name(settings, words):
    with pytest.raises(ConfigError) as caught:
        RunConfig.build(legend=FOREST, **settings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("settings", "words"), BAD)
def test_the_public_door_refuses_them_too_and_writes_nothing(settings, words, tmp_path):
    import numpy as np

    source = raster(np.ones((4, 4), np.int32))
    with pytest.raises(GeosegError) as caught:
        geoseg.segment(
            source,
            legend("object"),
            backend=ByIdentity((0,)),
            out=tmp_path / "map.gpkg",
            **settings,
        )
    assert words in str(caught.value)
    assert caught.value.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_an_unknown_setting_is_refused():
    with pytest.raises(ConfigError, match="--tiles"):
        RunConfig.build(legend=FOREST, tiles=4)


@given(st.integers(16, 4096), st.integers(0, 5000))
def test_exactly_the_overlaps_that_leave_a_core_are_accepted(tile, overlap):
    good = overlap < tile and tile - 2 * ((overlap + 1) // 2) >= 1
    try:
        RunConfig.build(legend=FOREST, tile=tile, overlap=overlap)
    except ConfigError:
        assert not good
    else:
        assert good


def test_settings_survive_json_and_are_frozen():
    config = RunConfig.build(legend=FOREST, tile=512, overlap=64, threshold=0.25, workers=3)
    assert RunConfig.model_validate_json(config.model_dump_json()) == config
    with pytest.raises(ValueError, match="frozen"):
        config.tile = 4


def test_the_runs_threshold_fills_what_classes_leave_open():
    classes = (LandClass(name="a"), LandClass(name="b", threshold=0.125))
    config = RunConfig.build(legend=Legend(classes=classes), threshold=0.75)
    assert [c.threshold for c in config.filled().classes] == [0.75, 0.125]
    assert [c.threshold for c in config.legend.classes] == [None, 0.125]


ID = {"path": "/a.tif", "bytes": 7}


@pytest.mark.parametrize(
    ("change", "raster_id", "backend", "keys"),
    [
        ({}, ID, "b1", []),
        ({"workers": 8}, ID, "b1", []),
        ({"batch": 8}, ID, "b1", []),
        ({"tile": 512}, ID, "b1", ["tile"]),
        ({"overlap": 64}, ID, "b1", ["overlap"]),
        ({"threshold": 0.4}, ID, "b1", [f"legend.classes[{i}].threshold" for i in (0, 1)]),
        ({"legend": Legend.parse("forest")}, ID, "b1", [*GONE, "legend.classes[1].threshold"]),
        ({}, ID, "b2", ["backend"]),
        ({}, {**ID, "bytes": 8}, "b1", ["raster.bytes"]),
        ({}, {"path": "/a.tif"}, "b1", ["raster.bytes"]),
    ],
)
def test_the_fingerprint_changes_with_what_changes_tiles(change, raster_id, backend, keys):
    old = RunConfig.build(legend=FOREST).fingerprint(ID, "b1")
    new = RunConfig.build(**{"legend": FOREST, **change}).fingerprint(raster_id, backend)
    assert [line.split(":")[0] for line in difference(old, new)] == keys
    assert json.loads(json.dumps(new)) == new


def test_a_difference_names_both_values():
    assert difference({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 5, "d": 4}) == [
        "b: 2 -> 5",
        "c: 3 -> None",
        "d: None -> 4",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cache": " "}, "--cache ' ': give a folder, or auto for your own cache"),
        ({"cache": "a\0b"}, "give a folder, or auto"),
        ({"cache": "auto", "cache_size": "much"}, "--cache-size 'much': give a size on disk"),
        ({"cache": "auto", "cache_size": 0}, "--cache-size 0: give a size on disk, as 4GB"),
        ({"cache_size": "1GB"}, "--cache-size says how much --cache may hold; give that too"),
    ],
)
def test_a_cache_has_a_place_and_a_size(options, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        ModelOptions.build(**options)


def test_the_folder_of_a_cache_is_the_same_wherever_a_worker_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert ModelOptions(cache="kept").cache == str(tmp_path / "kept")
    assert ModelOptions(cache="~/kept").cache == str(tmp_path / "home" / "kept")
    assert ModelOptions(cache="auto", cache_size="1GB").cache_size == 10**9
    assert ModelOptions.build(**ModelOptions(cache="kept").model_dump()).cache_size == 4 * 10**9
