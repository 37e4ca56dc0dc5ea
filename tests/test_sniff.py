"""What a file is: a table of beginnings, and of names."""

from __future__ import annotations

import os
import zipfile

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.shutil import copy as gdal_copy
from rasters import draw

from geoseg.access import Access
from geoseg.errors import RasterError
from geoseg.geotiff import open_raster
from geoseg.sniff import driver_of, recognise

TRUSTED = Access(trust_input=True)


@given(st.binary(max_size=600))
def test_any_beginning_has_one_driver_or_none(head):
    assert driver_of(head) in {
        None, "GTiff", "JP2OpenJPEG", "PNG", "JPEG", "netCDF", "HFA", "GPKG", "VRT", "MRF", "WMS",
        "AAIGrid",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("driver", "ending"),
    [("PNG", "png"), ("JPEG", "jpg"), ("JP2OpenJPEG", "jp2"), ("netCDF", "nc"), ("HFA", "img"),
     ("ENVI", "dat"), ("AAIGrid", "asc"), ("GPKG", "gpkg"), ("GTiff", "tif"), ("VRT", "vrt")],
)  # fmt: skip
def test_the_driver_is_gdals_own_whatever_the_name(tmp_path, driver, ending):
    source = draw(tmp_path / "a.tif", bands=1)
    made = tmp_path / f"b.{ending}"
    gdal_copy(source, made, driver=driver)
    assert recognise(str(made), Access()).driver == driver
    with rasterio.open(made) as dataset:
        assert dataset.driver == driver
        np.testing.assert_array_equal(
            open_raster(made).read(open_raster(made).frame.window)[0], dataset.read()
        )


HEADS = {
    b"hello\n": "(it is text)",
    b"%PDF-1.7": "(it is a PDF)",
    b"<?xml version='1.0'?><html>": "(it is an XML document)",
    b'<!DOCTYPE x [<!ENTITY a "b">]><VRTDataset>': "(it is a markup document)",
    b"{}": "(it is JSON)",
    b"\x1f\x8b\x08": "(it is a gzip archive; unpack it first)",
    b"\xef\xbb\xbf<html>": "(it is an HTML page",
}


@pytest.mark.parametrize("head", HEADS)
def test_what_is_no_raster_is_named(tmp_path, head):
    path = tmp_path / "a.tif"
    path.write_bytes(head)
    with pytest.raises(RasterError, match="is not a raster that can be opened") as caught:
        recognise(str(path), Access())
    assert HEADS[head] in str(caught.value)


@pytest.mark.parametrize(
    ("head", "driver", "words"),
    [(b"<GDAL_WMS>", "WMS", "asks the network"), (b"<MRF_META>", "MRF", "MRF description"),
     (b"<VRTDataset>", "VRT", "a VRT in spite of its ending")],
)  # fmt: skip
def test_what_reaches_outside_is_opened_for_trusted_input_only(tmp_path, head, driver, words):
    path = tmp_path / "a.tif"
    path.write_bytes(b"<?xml version='1.0'?>\n<!-- a -->" + head)
    with pytest.raises(RasterError, match=words) as caught:
        recognise(str(path), Access())
    assert "--trust-input" in str(caught.value)
    assert recognise(str(path), TRUSTED).driver == driver
    offline = Access(trust_input=True, offline=True)
    if driver == "VRT":
        assert recognise(str(path), offline).driver == driver
    else:
        with pytest.raises(RasterError, match="--offline opens no socket"):
            recognise(str(path), offline)


def test_pipes_loops_and_standard_input_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo.tif")
    (tmp_path / "loop.tif").symlink_to("loop.tif")
    for name, words in (
        (tmp_path / "fifo.tif", "not a regular file"),
        (tmp_path / "loop.tif", "symbolic link"),
        ("/vsistdin/", "standard input"),
        ("-", "standard input"),
        ("a\0b.tif", "null"),
    ):
        with pytest.raises(RasterError, match=words):
            recognise(str(name), Access())


@pytest.mark.parametrize(
    "name", ["GTIFF_DIR:1:x.tif", "-rf.tif", "100%_{id}_%s.tif", "a\nb.tif", "NETCDF:a.nc:b"]
)
def test_names_that_look_like_instructions_are_names(tmp_path, monkeypatch, name):
    draw(tmp_path / "plain.tif").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for given_name in (name, str(tmp_path / name)):
        raster = open_raster(given_name)
        assert raster.read(raster.frame.window)[1].all()


def test_subdatasets_can_be_named(tmp_path):
    source = draw(tmp_path / "two.tif", bands=2)
    gdal_copy(source, tmp_path / "two.nc", driver="netCDF")
    with pytest.raises(RasterError, match="name one subdataset: ") as caught:
        open_raster(tmp_path / "two.nc")
    named = str(caught.value).split("subdataset: ")[1].split(", ")[1]
    raster = open_raster(named)
    with rasterio.open(source) as dataset:
        np.testing.assert_array_equal(raster.read(raster.frame.window)[0][0], dataset.read(2))
    with pytest.raises(RasterError, match="has no subdatasets of NETCDF"):
        open_raster(f"NETCDF:{source}:a")


def test_a_zip_is_looked_into(tmp_path):
    source = draw(tmp_path / "a.tif", compress="deflate")
    for name, members in (("one.zip", ["a.tif"]), ("two.zip", ["a.tif", "b.tif"])):
        with zipfile.ZipFile(tmp_path / name, "w") as out:
            for member in members:
                out.write(source, member)
    with rasterio.open(source) as dataset:
        want = dataset.read()
    for name in (
        f"zip://{tmp_path}/one.zip!a.tif", f"{tmp_path}/one.zip", f"zip://{tmp_path}/two.zip!b.tif",
        f"/vsizip/{tmp_path}/two.zip/a.tif",
    ):  # fmt: skip
        raster = open_raster(name)
        np.testing.assert_array_equal(raster.read(raster.frame.window)[0], want)
    with pytest.raises(RasterError, match="holds 2 files; name one, as zip://"):
        open_raster(tmp_path / "two.zip")


def test_what_a_zip_would_become_is_known_before(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("bomb.tif", b"II*\0\x08\0\0\0" + bytes(70 * 2**20))
    with pytest.raises(RasterError, match=r"would inflate from \d+ to \d+ bytes, .* too large"):
        open_raster(tmp_path / "bomb.zip")
    with zipfile.ZipFile(tmp_path / "page.zip", "w") as out:
        out.writestr("a.vrt", "<VRTDataset/>")
    with pytest.raises(RasterError, match="inside an archive"):
        open_raster(tmp_path / "page.zip")
