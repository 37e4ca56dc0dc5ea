"""Which band is which? Tables by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.bands import ROLES, SENSORS, Band, parse, resolve
from geoseg.errors import ConfigError

RGB = {"red": 1, "green": 2, "blue": 3}
RGBN = {**RGB, "nir": 4}


def bands(*descriptions: str) -> list[Band]:
    return [Band(d) for d in descriptions]


def colours(*interpretations: str) -> list[Band]:
    return [Band("", i) for i in interpretations]


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        ("red=4,green=3,blue=2,nir=8", {"red": 4, "green": 3, "blue": 2, "nir": 8}),
        ("4,3,2", {"red": 4, "green": 3, "blue": 2}),
        (" RED = 1 , nir=2 ,", {"red": 1, "nir": 2}),
        ("swir1=6", {"swir1": 6}),
    ],
)
def test_bands_are_named_by_hand(text, roles):
    assert parse(text) == roles


@given(st.dictionaries(st.sampled_from(ROLES), st.integers(1, 99), min_size=1))
def test_what_is_written_is_read(roles):
    assert parse(",".join(f"{k}={v}" for k, v in roles.items())) == roles


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "--bands is empty"),
        (" , ", "--bands is empty"),
        ("1,2", "--bands '1,2' has 2 numbers; give three"),
        ("rde=1", "unknown band role 'rde'; did you mean 'red'?"),
        ("purple=1", "unknown band role 'purple'"),
        ("red=0", "'red=0' needs a band number of 1 or more"),
        ("red=-1", "needs a band number"),
        ("red=x", "needs a band number"),
        ("red=", "needs a band number"),
        ("red=1.5", "needs a band number"),
        ("red=\u0663", "needs a band number"),
        ("red=1,red=2", "role 'red' is given twice"),
        ("red=1,2", "unknown band role '2'"),
        ("a,b,c", "'red=a' needs a band number"),
    ],
)
def test_bad_bands_are_refused(text, words):
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("found", "roles"),
    [
        (bands("red", "green", "blue"), RGB),
        (bands("Blue", "GREEN", "Red", "NIR"), {"blue": 1, "green": 2, "red": 3, "nir": 4}),
        (bands("B02", "B03", "B04", "B08", "B11"),
         {"blue": 1, "green": 2, "red": 3, "nir": 4, "swir1": 5}),
        (bands("SR_B2", "SR_B4", "SR_B5"), {"blue": 1, "red": 2, "nir": 3}),
        (bands("B8A", "B12"), {"nir2": 1, "swir2": 2}),
        (bands("red (665 nm)", "near-infrared"), {"red": 1, "nir": 2}),
        (bands("", "red", "red"), {"red": 2}),
        (colours("red", "green", "blue"), RGB),
        (colours("blue", "green", "red"), {"blue": 1, "green": 2, "red": 3}),
        (colours("red", "green", "blue", "alpha"), RGB),
        (colours("red", "green", "blue", "undefined"), RGBN),
        (colours("gray", "undefined", "undefined"), RGB),
        (colours("gray", "undefined", "undefined", "undefined"), RGBN),
        (colours("gray"), {}),
        (colours("gray", "alpha"), {}),
        (colours(*["undefined"] * 7), {}),
    ],
)  # fmt: skip
def test_metadata_says_which_is_which(found, roles):
    assert resolve(found) == roles


@pytest.mark.parametrize("sensor", SENSORS)
def test_sensor_layouts_name_bands_that_exist(sensor):
    for count, layout in SENSORS[sensor].items():
        assert set(layout) <= set(ROLES)
        assert len(set(layout.values())) == len(layout)
        assert max(layout.values()) <= count
        assert resolve([Band()] * count, sensor=sensor) == layout
        # A trailing quality band does not shift the others.
        assert resolve([Band()] * 40, sensor=sensor) == SENSORS[sensor][max(SENSORS[sensor])]


def test_the_users_word_wins():
    stated = bands("red", "green", "blue", "nir")
    assert resolve(stated, {"red": 4, "nir": 1}) == {"red": 4, "nir": 1}
    assert resolve(stated, {"red": 4}, "rgb") == {**RGB, "red": 4}


@pytest.mark.parametrize(
    ("count", "given", "sensor", "words"),
    [
        (3, {"nir": 4}, None, "nir=4, but the raster has bands 1..3"),
        (3, {"nir": 0}, None, "nir=0, but the raster has bands 1..3"),
        (3, None, "naip", "--sensor naip needs 4 bands, the raster has 3"),
        (5, None, "landsat8", "needs 6 or 7 bands, the raster has 5; name them with --bands"),
        (3, None, "spot", "unknown sensor 'spot'; --sensor takes: rgb, naip"),
    ],
)
def test_what_cannot_be_is_refused(count, given, sensor, words):
    with pytest.raises(ConfigError) as caught:
        resolve([Band()] * count, given, sensor)
    assert words in str(caught.value)
