"""VRTs: nothing outside is reached, and nothing that is gone becomes black."""

from __future__ import annotations

import os
import socket
import threading
import time

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.shutil import copy as gdal_copy
from rasters import draw, mosaic

from geoseg import guards, remote
from geoseg.access import Access
from geoseg.errors import RasterError, TileFailedError
from geoseg.geotiff import open_raster
from geoseg.vrt import read
from geoseg.window import Window

TRUSTED = Access(trust_input=True)
SIZE = 32


def part(path):
    return draw(path, bands=1, shape=(SIZE, SIZE), compress="deflate")


@pytest.fixture
def pair(tmp_path):
    part(tmp_path / "a.tif")
    part(tmp_path / "b.tif")
    return mosaic(tmp_path / "m.vrt", ("a.tif", 0), ("b.tif", SIZE))


@pytest.fixture
def listener():
    """Count who knocks at a port of this machine."""
    knocks = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                knocks.append(1)
                connection.close()

        threading.Thread(target=answer, daemon=True).start()
        yield server.getsockname()[1], knocks
        server.shutdown(socket.SHUT_RDWR)


def test_a_mosaic_reads_as_its_parts(pair):
    raster = open_raster(pair)
    with rasterio.open(pair.parent / "b.tif") as dataset:
        want = dataset.read()
    np.testing.assert_array_equal(raster.read(Window(SIZE, 0, 2 * SIZE, SIZE))[0], want)


def test_every_file_is_named_with_its_place(pair):
    a, b = read(pair, Access()).reaches
    assert (a.name, a.window) == (str(pair.parent / "a.tif"), Window(0, 0, SIZE, SIZE))
    assert (b.name, b.window) == (str(pair.parent / "b.tif"), Window(SIZE, 0, 2 * SIZE, SIZE))


@pytest.mark.parametrize("reads_before", [0, 1])
def test_a_source_lost_during_the_run_costs_its_part_and_is_never_black(pair, reads_before):
    left, right = Window(0, 0, SIZE, SIZE), Window(SIZE, 0, 2 * SIZE, SIZE)
    raster = open_raster(pair)
    want = raster.read(left)[0]
    for _ in range(reads_before):
        raster.read(Window(SIZE, 0, SIZE + 4, 4))
    (pair.parent / "b.tif").unlink()
    for _ in range(3):
        for lost in (right, Window(SIZE - 2, 0, SIZE + 2, 4)):
            with pytest.raises(TileFailedError, match=r"missing source .*b\.tif"):
                raster.read(lost)
        np.testing.assert_array_equal(raster.read(left)[0], want)


def test_gdal_alone_reads_a_lost_source_as_black(pair):
    (pair.parent / "b.tif").unlink()
    with rasterio.open(pair, driver="VRT") as dataset:
        with pytest.raises(rasterio.errors.RasterioIOError):
            dataset.read()
        assert not dataset.read()[0, :, SIZE:].any()


def test_a_source_that_fails_fails_every_time(pair):
    raster = open_raster(pair)
    source = pair.parent / "b.tif"
    before = source.stat()
    source.write_bytes(bytes(before.st_size))
    # Nothing shows but the pixels: only reading can tell.
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    for _ in range(4):
        with pytest.raises(TileFailedError):
            raster.read(raster.frame.window)


@pytest.mark.parametrize("change", ["shorter", "newer"])
def test_a_source_changed_during_the_run_is_noticed(pair, change):
    raster = open_raster(pair)
    raster.read(raster.frame.window)
    source = pair.parent / "b.tif"
    if change == "shorter":
        os.truncate(source, 300)
    else:
        time.sleep(0.01)
        os.utime(source)
    with pytest.raises(TileFailedError, match=r"b\.tif was changed since it was opened"):
        raster.read(raster.frame.window)


def test_identity_changes_with_any_source(tmp_path, pair):
    outer = mosaic(tmp_path / "outer.vrt", ("m.vrt", 0))
    before = open_raster(pair).identity(), open_raster(outer).identity()
    assert open_raster(pair).identity() == before[0]
    source = tmp_path / "b.tif"
    stamp = source.stat()
    data = bytearray(source.read_bytes())
    data[-1] ^= 1
    source.write_bytes(data)
    os.utime(source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert open_raster(pair).identity() != before[0]
    assert open_raster(outer).identity() != before[1]


def test_a_missing_source_is_named_before_the_run(tmp_path):
    part(tmp_path / "a.tif")
    path = mosaic(tmp_path / "m.vrt", ("a.tif", 0), ("gone.tif", SIZE))
    for access in (Access(), TRUSTED):
        with pytest.raises(RasterError, match=r"missing source: .*gone\.tif"):
            open_raster(path, access=access)


def test_what_lies_outside_the_folder_is_for_trusted_input(tmp_path):
    (tmp_path / "in").mkdir()
    outside = part(tmp_path / "secret.tif")
    (tmp_path / "in" / "link.tif").symlink_to(outside)
    for source, relative in (("../secret.tif", "1"), (str(outside), "0"), ("link.tif", "1")):
        path = mosaic(tmp_path / "in" / "m.vrt", (source, 0), relative=relative)
        with pytest.raises(RasterError, match=r"reaches outside its folder.*--trust-input"):
            open_raster(path)
        assert open_raster(path, access=TRUSTED).read(Window(0, 0, 4, 4))[1].all()


def test_nothing_is_asked_of_the_network(tmp_path, listener, monkeypatch):
    monkeypatch.setattr(remote, "PAUSES_S", ())
    port, knocks = listener
    url = f"/vsicurl/http://127.0.0.1:{port}/a.tif"
    path = mosaic(tmp_path / "m.vrt", (url, 0), relative="0")
    with pytest.raises(RasterError, match="reaches over the network"):
        open_raster(path)
    with pytest.raises(RasterError, match="--offline"):
        open_raster(path, access=Access(trust_input=True, offline=True))
    # The second line of defence, should the first have a hole.
    with (
        rasterio.Env(**guards.options(network=False, trusted=False)),
        pytest.raises(rasterio.errors.RasterioError),
    ):
        rasterio.open(url)
    assert not knocks
    with pytest.raises(TileFailedError, match="over the network"):
        open_raster(path, access=TRUSTED).read(Window(0, 0, 4, 4))
    assert knocks


PYTHON = (
    "<PixelFunctionType>f</PixelFunctionType><PixelFunctionLanguage>{}</PixelFunctionLanguage>"
    "<PixelFunctionCode>def f(*a, **k): pass</PixelFunctionCode>"
)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"inside": PYTHON.format("Python"), "band": 'subClass="VRTDerivedRasterBand"'}, "python"),
     ({"inside": PYTHON.format("C").replace("PixelFunctionC", "PIXELFUNCTIONC")}, "python")],
)  # fmt: skip
def test_code_is_never_run(tmp_path, options, words):
    part(tmp_path / "a.tif")
    path = mosaic(tmp_path / "m.vrt", ("a.tif", 0), **options)
    for access in (Access(), TRUSTED):
        with pytest.raises(RasterError, match=words):
            open_raster(path, access=access)


def test_functions_that_gdal_has_itself_are_welcome(tmp_path):
    part(tmp_path / "a.tif")
    path = mosaic(tmp_path / "m.vrt", ("a.tif", 0), band='subClass="VRTDerivedRasterBand"',
                  inside="<PixelFunctionType>inv</PixelFunctionType>")  # fmt: skip
    open_raster(path).read(Window(0, 0, 4, 4))


def test_bytes_of_any_file_are_for_trusted_input(tmp_path):
    (tmp_path / "a.bin").write_bytes(bytes(range(64)))
    path = tmp_path / "m.vrt"
    path.write_text(
        '<VRTDataset rasterXSize="8" rasterYSize="8">'
        '<VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand">'
        '<SourceFilename relativeToVRT="1">a.bin</SourceFilename><ImageOffset>0</ImageOffset>'
        "<PixelOffset>1</PixelOffset><LineOffset>8</LineOffset></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(RasterError, match="bytes of any file"):
        open_raster(path)
    found = open_raster(path, access=TRUSTED).read(Window(0, 0, 8, 8))[0]
    np.testing.assert_array_equal(found[0], np.arange(64).reshape(8, 8))


def test_sources_are_judged_as_rasters_of_their_own(tmp_path):
    (tmp_path / "page.tif").write_text("<html>")
    (tmp_path / "reach.mrf").write_text("<MRF_META>")
    cut = part(tmp_path / "cut.tif")
    cut.write_bytes(cut.read_bytes()[:-200])
    for source, words in (
        ("page.tif", "an HTML page"), ("reach.mrf", "MRF"), ("cut.tif", "truncated"),
        ("m.vrt", "leads to itself"), ("NETCDF:x.nc:y", "missing source"),
    ):  # fmt: skip
        with pytest.raises(RasterError, match=words):
            open_raster(mosaic(tmp_path / "m.vrt", (source, 0)))
    with pytest.raises(RasterError, match="outside its folder"):
        open_raster(mosaic(tmp_path / "m.vrt", ("NETCDF:x.nc:y", 0), relative="0"))


def test_a_vrt_inside_a_vrt_is_looked_at_too(tmp_path):
    (tmp_path / "in").mkdir()
    part(tmp_path / "secret.tif")
    mosaic(tmp_path / "in" / "inner.vrt", ("../secret.tif", 0))
    outer = mosaic(tmp_path / "in" / "outer.vrt", ("inner.vrt", 0))
    with pytest.raises(RasterError, match="outside its folder"):
        open_raster(outer)
    raster = open_raster(outer, access=TRUSTED)
    raster.read(Window(0, 0, 4, 4))
    (tmp_path / "secret.tif").unlink()
    with pytest.raises(TileFailedError, match=r"missing source .*secret\.tif"):
        raster.read(Window(0, 0, 4, 4))


def test_entities_and_strange_elements_are_refused(tmp_path):
    path = tmp_path / "m.vrt"
    for text, words in (
        ("<VRTDataset rasterXSize='1'><!DOCTYPE x></VRTDataset>", "document type"),
        ("<VRTDataset><Group name='/'/></VRTDataset>", "the element <Group>"),
        ("<VRTDataset><VRTRasterBand></VRTDataset>", "not a raster that can be opened"),
        ("<VRTDatasets/>", "not a VRT"),
    ):
        path.write_text(text)
        with pytest.raises(RasterError, match=words):
            open_raster(path)


def test_what_gdal_writes_itself_is_understood(tmp_path):
    source = draw(tmp_path / "a.tif", nodata=0)
    gdal_copy(source, tmp_path / "copy.vrt", driver="VRT")
    with (
        rasterio.open(source) as dataset,
        rasterio.vrt.WarpedVRT(dataset, crs="EPSG:4326") as warped,
    ):
        gdal_copy(warped, tmp_path / "warped.vrt", driver="VRT")
        want = warped.read()
    for name in ("copy.vrt", "warped.vrt"):
        raster = open_raster(tmp_path / name)
        assert len(raster.stamps) >= 2
    np.testing.assert_array_equal(raster.read(raster.frame.window)[0], want)
    page = (tmp_path / "warped.vrt").read_text()
    (tmp_path / "dem.vrt").write_text(page.replace("AREA_OF_INTEREST", "RPC_DEM"))
    with pytest.raises(RasterError, match="the option RPC_DEM"):
        open_raster(tmp_path / "dem.vrt")


@given(st.text(alphabet='<>/ab"= VRTDataset!-?[]CDATA&;', max_size=60))
def test_any_page_is_read_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.vrt"
    path.write_text("<VRTDataset>" + text + "</VRTDataset>")
    try:
        read(path, Access())
    except RasterError as error:
        assert str(path) in str(error)  # noqa: PT017
