"""Dates are read from what users and programs write, and follow each other."""

from datetime import date

import numpy as np
import pytest
import rasterio
from affine import Affine

from geoseg.analysis.hydroperiod.dates import (
    NAME,
    OPTION,
    TAG,
    Taken,
    asked_dates,
    check_order,
    date_of,
    read_date,
)
from geoseg.errors import ConfigError
from geoseg.geotiff import open_raster


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("m_4709963_se_14_1_20090818.tif", "2009-08-18"),
        ("m_4709963_se_14_060_20180716_20190201.tif", "2018-07-16"),
        ("LC08_L1TP_028027_20160816_20170322_02_T1", "2016-08-16"),
        ("S2A_MSIL2A_20200831T172901_N0214", "2020-08-31"),
        ("2016:08:16 10:00:00", "2016-08-16"),
        ("2016-08-16", "2016-08-16"),
        ("wet_2016_08_16.tif", "2016-08-16"),
        ("2016-13-16.tif", "2016"),
        ("20161316.tif", None),
        ("20090230_2012.tif", "2012"),
        ("river_1985.tif", "1985"),
        ("tile12345.tif", None),
        ("page120090818.tif", None),
        ("scene.tif", None),
        ("tile2048_2012.tif", "2012"),
        ("20481231.tif", None),
    ],
)
def test_a_date_is_found_in_a_text(text, found):
    assert read_date(text) == found


def test_dates_may_be_asked_for():
    assert asked_dates("2009-08-18, 2012", 2) == (
        Taken("2009-08-18", OPTION),
        Taken("2012", OPTION),
    )
    assert asked_dates(["2009", "2012"], 2)[1].day is None
    with pytest.raises(ConfigError, match="is no date; give 2009-08-18"):
        asked_dates("18.8.2009", 1)
    with pytest.raises(ConfigError, match="has 1 dates, and there are 2 inputs"):
        asked_dates("2009", 2)


def raster(path, tag=None):
    profile = {"driver": "GTiff", "width": 4, "height": 4, "count": 1, "dtype": "uint8",
               "crs": "EPSG:32633", "transform": Affine(10, 0, 5e5, 0, -10, 5e6)}  # fmt: skip
    with rasterio.open(path, "w", **profile) as target:
        target.write(np.ones((1, 4, 4), np.uint8))
        if tag is not None:
            target.update_tags(TIFFTAG_DATETIME=tag)
    return open_raster(path)


def test_the_tag_goes_before_the_name_and_a_contradiction_is_told(tmp_path):
    tagged = raster(tmp_path / "a_2009.tif", "2009:08:18 00:00:00")
    assert date_of("a_2009.tif", [tagged]) == Taken("2009-08-18", TAG)
    made_later = raster(tmp_path / "b_2009.tif", "2021:01:02 00:00:00")
    found = date_of("b_2009.tif", [made_later])
    assert (found.text, found.day) == ("2021-01-02", date(2021, 1, 2))
    assert found.doubt == (
        "b_2009.tif: TIFFTAG_DATETIME says 2021-01-02, and the file name 2009; --dates decides"
    )
    plain = raster(tmp_path / "c_2009.tif")
    assert date_of("c_2009.tif", [plain]) == Taken("2009", NAME)
    # A map with any name, of a raster with a date in its own.
    assert date_of("pond.gpkg", [plain]) == Taken("2009", NAME)
    # The parts of a mosaic do not agree.
    assert date_of("mosaic_2009", [tagged, made_later]) == Taken("2009", NAME)
    with pytest.raises(ConfigError, match=r"does not say when it was taken .* give --dates"):
        date_of("scene.tif", [])


@pytest.mark.parametrize(
    ("one", "other", "fine"),
    [
        ("2009-08-18", "2009-08-19", True),
        ("2009-08-18", "2009-08-18", False),
        ("2012-01-01", "2009-08-18", False),
        ("2009", "2010-01-01", True),
        ("2009", "2009-12-31", False),
        ("2009", "2009", False),
    ],
)
def test_dates_follow_each_other(one, other, fine):
    dates = Taken(one, NAME), Taken(other, TAG)
    if fine:
        check_order(dates, ("a", "b"))
    else:
        with pytest.raises(ConfigError, match=r"^b \(.*\) is not later than a \(.*--dates$"):
            check_order(dates, ("a", "b"))
