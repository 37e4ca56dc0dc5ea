"""Sizes mean what a surveyor reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import ConfigError
from geoseg.units import Size, parse_area, parse_length


@pytest.mark.parametrize(
    ("parse", "text", "size"),
    [
        (parse_length, "2px", Size(2, on_ground=False)),
        (parse_length, " 1.5 m ", Size(1.5, on_ground=True)),
        (parse_length, "0.1km", Size(100, on_ground=True)),
        (parse_area, "500m2", Size(500, on_ground=True)),
        (parse_area, "500 m²", Size(500, on_ground=True)),
        (parse_area, "0.5ha", Size(5000, on_ground=True)),
        (parse_area, "1e-2km2", Size(1e4, on_ground=True)),
        (parse_area, "20 PX", Size(20, on_ground=False)),
    ],
)
def test_sizes(parse, text, size):
    assert parse(text) == size


@pytest.mark.parametrize(
    "text", ["", "2", "px", "-2px", "2 ft", "2m2", "1.2.3px", "nan px", "2 m m"]
)
def test_what_is_no_length(text):
    with pytest.raises(ValueError, match=r"give a length, as 2px or 1\.5m"):
        parse_length(text)


def test_what_is_no_area():
    with pytest.raises(ValueError, match=r"give an area, as 500m2, 0\.5ha or 20px"):
        parse_area("5m")


@given(st.floats(0, 1e6), st.floats(0.01, 1000))
def test_ground_sizes_are_pixels_times_their_size(value, gsd_m):
    assert Size(value, on_ground=False).in_pixels(None, 1) == value
    assert Size(value, on_ground=True).in_pixels(gsd_m, 2) * gsd_m**2 == pytest.approx(value)


def test_without_a_crs_there_is_no_ground():
    with pytest.raises(ConfigError, match="500 m2 cannot be told in a raster without a CRS"):
        Size(500, on_ground=True).in_pixels(None, 2)
