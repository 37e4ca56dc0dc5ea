"""Files: rasterio is the oracle for what is read, a table for what is refused."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.enums import ColorInterp
from rasterio.shutil import copy as gdal_copy
from rasters import HEIGHT, UTM, WIDTH, draw

from geoseg.access import Access
from geoseg.errors import ConfigError, RasterError, TileFailedError
from geoseg.geotiff import open_raster, warn_of_alpha
from geoseg.raster import finite
from geoseg.window import Window

NAN = float("nan")


def wedge(value):
    def paint(data):
        data[:, :20, :15] = value
        data[0, 30:, 60:] = value  # in one band only: still good

    return paint


def mask(out):
    out.write_mask(np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 3 > 0)


def bgr(out):
    out.colorinterp = [ColorInterp.blue, ColorInterp.green, ColorInterp.red]


TILED = {"tiled": True, "blockxsize": 16, "blockysize": 32, "compress": "deflate"}
FILES: dict[str, dict[str, Any]] = {
    **{d: {"dtype": d} for d in ("uint8", "uint16", "int16", "uint32", "int32", "float64")},
    "float32_tiled": {"dtype": "float32", **TILED},
    "one_band_strips": {"bands": 1, "blockysize": 1},
    "interleaved_by_pixel": {"interleave": "pixel", **TILED},
    "interleaved_by_band": {"interleave": "band", **TILED},
    "nodata_0": {"nodata": 0, "paint": wedge(0)},
    "nodata_negative": {"dtype": "int16", "nodata": -9999, "paint": wedge(-9999)},
    "nodata_nan": {"dtype": "float32", "nodata": NAN, "paint": wedge(NAN)},
    "nan_unsaid": {"dtype": "float32", "paint": wedge(NAN)},
    "internal_mask": {"finish": mask},
    "alpha": {"bands": 4, "alpha": "yes", "paint": wedge(0), "photometric": "rgb"},
    "bgr": {"finish": bgr},
    "one_pixel": {"shape": (1, 1)},
    "one_row": {"shape": (1, 40)},
    "south_up": {"transform": Affine(10, 0, 500_000, 0, 10, 5_000_000)},
    "rotated": {"transform": Affine(8, 3, 500_000, 4, -9, 5_000_000)},
    "lonlat": {"crs": "EPSG:4326", "transform": Affine(0.01, 0, 13, 0, -0.01, 55)},
}


@pytest.fixture(params=FILES)
def path(request, tmp_path):
    return draw(tmp_path / "a.tif", **FILES[request.param])


def oracle_valid(dataset, data: np.ndarray) -> np.ndarray:
    """GDAL's own mask of the dataset; and never what is not a number."""
    return (dataset.dataset_mask() > 0) & finite(data)


def test_reads_equal_rasterios(path):
    raster = open_raster(path)
    with rasterio.open(path) as dataset:
        data = dataset.read()
        valid = oracle_valid(dataset, data)
        assert raster.frame.transform == dataset.transform
        assert (raster.frame.width, raster.frame.height) == (dataset.width, dataset.height)
    full = raster.frame.window
    for x, y, w, h in ((0, 0, 99, 99), (3, 5, 20, 17), (60, 40, 99, 99), (16, 0, 1, 1)):
        window = Window(x, y, x + w, y + h).intersection(full)
        if not window.area:
            continue
        found, good = raster.read(window)
        rows, cols = window.slices_in(full)
        np.testing.assert_array_equal(found, data[:, rows, cols])
        assert found.dtype == data.dtype
        np.testing.assert_array_equal(good, valid[rows, cols])


def test_bands_are_described(path):
    raster = open_raster(path)
    with rasterio.open(path) as dataset:
        assert [b.dtype for b in raster.bands] == list(dataset.dtypes)
        assert [b.interpretation for b in raster.bands] == [c.name for c in dataset.colorinterp]


@given(st.integers(0, 69), st.integers(0, 49), st.integers(1, 70), st.integers(1, 50))
def test_any_window_equals_rasterios(tmp_path_factory, x, y, width, height):
    path = tmp_path_factory.getbasetemp() / "windows.tif"
    if not path.exists():
        draw(path, "uint16", **TILED)
    window = Window(x, y, x + width, y + height).intersection(Window(0, 0, WIDTH, HEIGHT))
    with rasterio.open(path) as dataset:
        want = dataset.read(window=((window.y0, window.y1), (window.x0, window.x1)))
    np.testing.assert_array_equal(open_raster(path).read(window)[0], want)


@pytest.mark.parametrize(
    ("kind", "mask"),
    [("nodata_0", "nodata"), ("internal_mask", "mask"), ("alpha", "alpha"), ("uint8", "none"),
     ("nan_unsaid", "none")],
)  # fmt: skip
def test_where_validity_comes_from(tmp_path, kind, mask):
    raster = open_raster(draw(tmp_path / "a.tif", **FILES[kind]))
    assert raster.mask == mask
    assert raster.read(raster.frame.window)[1].all() == (mask == "none" and kind == "uint8")


def test_roles_come_from_the_file_or_the_user(tmp_path):
    path = draw(tmp_path / "a.tif", **FILES["bgr"])
    assert open_raster(path).roles == {"blue": 1, "green": 2, "red": 3}
    six = draw(tmp_path / "six.tif", "uint16", 6)
    assert open_raster(six, sensor="landsat8").roles["nir"] == 4
    chosen = open_raster(six, {"nir": 6, "red": 2})
    assert chosen.indexes == (2, 6)
    assert chosen.roles == {"red": 1, "nir": 2}
    with rasterio.open(six) as dataset:
        want = dataset.read([2, 6])
    np.testing.assert_array_equal(chosen.read(chosen.frame.window)[0], want)
    with pytest.raises(ConfigError, match=r"nir=7, but the raster has bands 1\.\.6"):
        open_raster(six, {"nir": 7})


def test_a_palette_is_read_as_its_colours(tmp_path):
    colours = {0: (0, 0, 0, 255), 1: (10, 200, 30, 255), 2: (9, 8, 250, 255)}

    def paint(data):
        data %= 3

    def finish(out):
        out.write_colormap(1, colours)

    path = draw(tmp_path / "a.tif", bands=1, paint=paint, finish=finish, photometric="palette")
    raster = open_raster(path)
    with rasterio.open(path) as dataset:
        indices = dataset.read(1)
    want = np.array([colours[k][:3] for k in range(3)], np.uint8)[indices]
    found, _ = raster.read(raster.frame.window)
    np.testing.assert_array_equal(found, np.moveaxis(want, -1, 0))
    assert raster.roles == {"red": 1, "green": 2, "blue": 3}
    assert len(raster.bands) == 3


@pytest.mark.parametrize(("driver", "ending"), [("VRT", "vrt"), ("JP2OpenJPEG", "jp2")])
def test_other_formats_read_as_gdal_reads_them(tmp_path, driver, ending):
    if driver not in rasterio.drivers.raster_driver_extensions().values():
        pytest.skip(f"this GDAL has no {driver}")
    source = draw(tmp_path / "a.tif", "uint8")
    options = {"QUALITY": "100", "REVERSIBLE": "YES"} if ending == "jp2" else {}
    gdal_copy(source, tmp_path / f"b.{ending}", driver=driver, **options)
    raster = open_raster(tmp_path / f"b.{ending}")
    with rasterio.open(source) as dataset:
        np.testing.assert_array_equal(raster.read(raster.frame.window)[0], dataset.read())


def test_overviews_are_not_mistaken_for_pixels(tmp_path):
    path = draw(tmp_path / "a.tif", **TILED)
    with rasterio.open(path, "r+") as dataset:
        want = dataset.read()
        dataset.build_overviews([2, 4])
    raster = open_raster(path)
    np.testing.assert_array_equal(raster.read(raster.frame.window)[0], want)


def test_no_crs_is_a_warning(tmp_path, caplog):
    raster = open_raster(draw(tmp_path / "a.tif", crs=None))
    assert raster.frame.crs is None
    assert "has no coordinate reference system" in caplog.text


def test_eight_threads_read_what_one_reads(tmp_path):
    raster = open_raster(draw(tmp_path / "a.tif", "uint16", **TILED))
    want, _ = raster.read(raster.frame.window)
    windows = [Window(x, y, x + 9, y + 11) for x in range(0, 60, 3) for y in range(0, 39, 3)]
    with ThreadPoolExecutor(8) as pool:
        for window, (found, _) in zip(windows, pool.map(raster.read, windows), strict=True):
            rows, cols = window.slices_in(raster.frame.window)
            np.testing.assert_array_equal(found, want[:, rows, cols])


def test_a_raster_can_be_pickled_after_it_was_read(tmp_path):
    raster = open_raster(draw(tmp_path / "a.tif", **FILES["nodata_0"]))
    window = Window(0, 0, 30, 30)
    data, valid = raster.read(window)
    again = pickle.loads(pickle.dumps(raster))  # noqa: S301
    assert again.frame == raster.frame
    assert again.identity() == raster.identity()
    np.testing.assert_array_equal(again.read(window)[0], data)
    np.testing.assert_array_equal(again.read(window)[1], valid)


def test_identity_changes_with_the_file(tmp_path):
    path = draw(tmp_path / "a.tif")
    first = open_raster(path).identity()
    assert open_raster(tmp_path / "." / "a.tif").identity() == first
    draw(path, "uint16")
    assert open_raster(path).identity() != first
    assert open_raster(path, {"red": 1}).identity() != open_raster(path).identity()


def text(content: bytes):
    return lambda p: p.write_bytes(content)


def vrt_of_missing_file(p):
    p.write_text('<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand></VRTDataset>')


BAD: dict[str, tuple[Any, str]] = {
    "missing": (lambda _: None, "no such file: "),
    "empty": (text(b""), "is empty (0 bytes)"),
    "folder": (lambda p: p.mkdir(), "is a folder, not a file"),
    "html": (text(b"\n<!DOCTYPE html><p>404"), "(it is an HTML page, perhaps"),
    "lfs": (text(b"version https://git-lfs.github.com/spec/v1"), "run git lfs pull"),
    "text": (text(b"hello"), "is not a raster that can be opened"),
    "cut_short": (text(b"II*\x00\x08\x00\x00\x00"), "is not a raster that can be opened"),
    "broken_vrt": (vrt_of_missing_file, "is a VRT in spite of its ending"),
    "complex": (lambda p: draw(p, "complex64"), "complex samples (complex64)"),
    "many_bands": (lambda p: draw(p, bands=65, shape=(2, 2)), "has 65 bands, at most 64"),
    "degenerate": (
        lambda p: draw(p, transform=Affine(0, 0, 5, 0, 0, 7)), "is degenerate"),
    "not_finite": (
        lambda p: draw(p, transform=Affine(NAN, 0, 5, 0, -1, 7)), "not finite"),
    "beyond_the_pole": (
        lambda p: draw(p, crs="EPSG:4326", transform=Affine(1, 0, 0, 0, -1, 130)),
        "outside -90..90; are its axes swapped?"),
    "geocentric": (lambda p: draw(p, crs="EPSG:4978"), "cannot be used"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_usable_raster_is_refused_in_one_line(tmp_path, kind):
    path = tmp_path / "bad.tif"
    make, words = BAD[kind]
    make(path)
    with pytest.raises(RasterError) as caught:
        open_raster(path)
    assert words in str(caught.value)
    assert "bad.tif" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_huge_block_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "bad.tif"
    shape = dict.fromkeys(("width", "height", "blockxsize", "blockysize"), 20000)
    options = {
        "tiled": True,
        "driver": "GTiff",
        "count": 1,
        "dtype": "uint8",
        "sparse_ok": True,
        **UTM,
    }
    with rasterio.open(path, "w", **shape, **options):
        pass
    with pytest.raises(RasterError, match=r"has blocks of 20000 x 20000 pixels .*TILED=YES"):
        open_raster(path)


def test_a_torn_file_fails_where_it_is_torn(tmp_path):
    path = draw(tmp_path / "a.tif", "uint16", 1, compress="deflate", blockysize=5)
    path.write_bytes(path.read_bytes()[: path.stat().st_size - 900])
    with pytest.raises(RasterError, match=r"truncated: \d of 10 blocks .* --keep-going"):
        open_raster(path)
    raster = open_raster(path, access=Access(keep_going=True))
    whole = rasterio.open(path)
    bad = 0
    for y in range(0, 50, 5):
        try:
            data, _ = raster.read(Window(0, y, 70, y + 5))
        except TileFailedError as error:
            bad += 1
            assert f"rows {y}..{y + 5} of {path}: " in str(error)  # noqa: PT017
        else:
            np.testing.assert_array_equal(data, whole.read(window=((y, y + 5), (0, 70))))
    whole.close()
    assert 0 < bad < 10


def test_an_alpha_band_that_looks_like_an_image_is_told(tmp_path, caplog):
    shades = np.random.default_rng(0).integers(0, 255, (4, 40, 50)).astype(np.uint8)
    mask = shades.copy()
    mask[3] = 255 * (shades[3] > 100)
    for data, told in ((shades, True), (mask, False)):
        path = tmp_path / f"{told}.tif"
        size = {"count": 4, "height": 40, "width": 50, "dtype": "uint8"}
        place = {"crs": "EPSG:32633", "transform": Affine(10, 0, 5e5, 0, -10, 5e6)}
        with rasterio.open(path, "w", driver="GTiff", alpha="YES", **size, **place) as target:
            target.write(data)
        caplog.clear()
        warn_of_alpha(open_raster(path))
        assert ("--sensor naip" in caplog.text) is told


@pytest.mark.parametrize("layout", [{"tiled": True, "blockxsize": 16, "blockysize": 16}, {}])
def test_what_was_decoded_for_a_tile_is_kept_for_the_next(tmp_path, layout):
    path = draw(tmp_path / "a.tif", compress="deflate", interleave="pixel", **layout)
    raster = open_raster(path)
    first, _ = raster.read(Window(0, 0, 40, 40))
    # Whoever goes back to the file finds nothing, though it looks the same.
    before = path.stat()
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    again, _ = raster.read(Window(8, 8, 32, 32))
    assert (again == first[:, 8:32, 8:32]).all()


@pytest.mark.parametrize(
    ("width", "layout", "mb"),
    [
        (40, {}, 64),
        (20_000, {"blockysize": 1}, 3 * 20_000 * 1025 * 9 / 8 / 2**20),
        (90_000, {}, 256),
    ],
)
def test_blocks_of_a_row_of_tiles_are_kept_within_bounds(tmp_path, width, layout, mb):
    path = draw(tmp_path / "a.tif", shape=(16, width), interleave="pixel", **layout)
    assert open_raster(path).cache_bytes(1024) == int(mb * 2**20)


def test_bands_that_are_not_decoded_need_no_room(tmp_path):
    layout = {"shape": (16, 90_000), "bands": 4, "blockysize": 1}
    for interleave, decoded in (("pixel", 4), ("band", 3)):
        path = draw(tmp_path / f"{interleave}.tif", interleave=interleave, **layout)
        assert open_raster(path, {"red": 1, "green": 2, "blue": 3}).row_bytes == decoded * 90_000
