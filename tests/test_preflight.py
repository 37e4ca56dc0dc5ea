"""Damage and bombs are found before the first tile."""

from __future__ import annotations

import struct
import time

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.shutil import copy as gdal_copy
from rasters import UTM, draw

import geoseg
from geoseg import preflight
from geoseg.access import Access
from geoseg.errors import RasterError, TileFailedError
from geoseg.geotiff import open_raster
from geoseg.preflight import check_pixels, tiff_directories
from geoseg.raster import ArrayRaster

KEEP_GOING = Access(keep_going=True)
TILED = {"bands": 1, "shape": (128, 128), "tiled": True, "blockxsize": 32, "blockysize": 32,
         "compress": "deflate"}  # fmt: skip


def with_tags(path, **new):
    """Overwrite numbers in the first directory of a little-endian TIFF."""
    data = bytearray(path.read_bytes())
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    for place in range(at + 2, at + 2 + 12 * count, 12):
        (tag,) = struct.unpack_from("<H", data, place)
        if f"tag{tag}" in new:
            struct.pack_into("<HHII", data, place, tag, 4, 1, new[f"tag{tag}"])
    path.write_bytes(data)
    return path


def cut(path, block):
    """Cut a file in the middle of a block, counted in the order of the file."""
    (page,) = tiff_directories(str(path))
    order = np.argsort(page.offsets)
    at = int(page.offsets[order[block]])
    path.write_bytes(path.read_bytes()[: at + 5])
    return path


def spoil(path, block):
    (page,) = tiff_directories(str(path))
    at, size = int(page.offsets[block]), int(page.sizes[block])
    data = bytearray(path.read_bytes())
    data[at : at + size] = b"\xff" * size
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("block", "lost"), [(15, 1), (8, 8), (0, 16)])
def test_blocks_beyond_the_end_are_counted(tmp_path, block, lost, caplog):
    path = cut(draw(tmp_path / "a.tif", **TILED), block)
    with pytest.raises(RasterError, match=rf"truncated: {lost} of 16 blocks .*--keep-going"):
        open_raster(path)
    assert open_raster(path, access=KEEP_GOING).frame.width == 128
    assert caplog.text.count("truncated") == 1


def test_blocks_without_a_place_are_no_zeros(tmp_path):
    path = with_tags(draw(tmp_path / "tall.tif", **TILED), tag257=4000)
    with pytest.raises(RasterError, match="is damaged: 16 of 500 blocks have a place in it"):
        open_raster(path)


def test_blocks_never_written_are_no_damage(tmp_path):
    path = tmp_path / "sparse.tif"
    size = {"width": 4096, "height": 4096, "count": 1, "dtype": "uint8", "nodata": 0}
    with rasterio.open(path, "w", driver="GTiff", tiled=True, sparse_ok=True, **UTM, **size):
        pass
    assert not open_raster(path).read(geoseg.window.Window(0, 0, 9, 9))[1].any()


def test_a_hundred_thousand_blocks_take_less_than_a_second(tmp_path):
    path = tmp_path / "many.tif"
    side = 16 * 320
    size = {"width": side, "height": side, "count": 1, "dtype": "uint8"}
    tiles = {"tiled": True, "blockxsize": 16, "blockysize": 16}
    with rasterio.open(path, "w", driver="GTiff", **UTM, **tiles, **size) as out:
        out.write(np.ones((1, side, side), np.uint8))
    cut(path, 320 * 320 - 1)
    began = time.monotonic()
    with pytest.raises(RasterError, match="truncated: 1 of 102400 blocks"):
        open_raster(path)
    assert time.monotonic() - began < 1


def test_a_block_that_would_take_all_memory_is_refused(tmp_path):
    tiled = draw(tmp_path / "tile.tif", **{**TILED, "shape": (32, 32)})
    claims = dict.fromkeys(("tag256", "tag257", "tag322", "tag323"), 32768)
    strip = draw(tmp_path / "strip.tif", bands=1, shape=(64, 64), compress="deflate", blockysize=64)
    rows = dict.fromkeys(("tag256", "tag257", "tag278"), 65000)
    for path, tags in ((tiled, claims), (strip, rows)):
        with pytest.raises(RasterError, match=r"has blocks of .* at most 256\); rewrite it tiled"):
            open_raster(with_tags(path, **tags), access=KEEP_GOING)


def test_colours_that_take_the_decoder_down_are_refused(tmp_path):
    jpeg = {**TILED, "bands": 3, "compress": "jpeg", "photometric": "YCBCR"}
    path = with_tags(draw(tmp_path / "jpeg.tif", **jpeg), tag277=1)
    with pytest.raises(RasterError, match=r"YCbCr, which are three samples .* it has 1; fetch"):
        open_raster(path, access=KEEP_GOING)


def test_one_large_strip_is_told_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(preflight, "LARGE_BLOCK_BYTES", 2**20)
    place = {"transform": Affine(0.1, 0, 5e5, 0, -0.1, 5e6)}
    wide = {"bands": 1, "shape": (8, 200_000), "blockysize": 8, **place}
    open_raster(draw(tmp_path / "packed.tif", compress="deflate", **wide))
    assert caplog.text.count("has blocks of 200000 x 8 pixels (2 MiB each)") == 1
    caplog.clear()
    # What is not compressed can be read by rows.
    open_raster(draw(tmp_path / "plain.tif", **wide))
    assert "blocks" not in caplog.text


def test_a_corrupt_block_of_a_small_raster_is_found_and_named(tmp_path):
    path = spoil(draw(tmp_path / "a.tif", **TILED), 6)
    raster = open_raster(path)
    with pytest.raises(RasterError, match=r"columns 64\.\.65, rows 32\.\.33 of .* block") as caught:
        check_pixels(raster)
    assert "--keep-going" in str(caught.value)
    check_pixels(raster, keep_going=True)


def test_where_nothing_can_be_read_there_is_nothing_to_keep(tmp_path):
    path = draw(tmp_path / "a.tif", **TILED)
    for block in range(16):
        spoil(path, block)
    with pytest.raises(RasterError, match="nothing can be read"):
        check_pixels(open_raster(path), keep_going=True)


@given(
    st.integers(0, 7),
    st.integers(1, 7),
    st.sampled_from([" ", "\n", "\r\n", "\t "]),
    st.integers(1, 40),
    st.integers(-2, 2),
)
def test_samples_of_an_ascii_grid_are_counted(tmp_path_factory, rows, cols, space, part, extra):
    path = tmp_path_factory.getbasetemp() / "grid.asc"
    samples = space.join(["nan", "-1.5e3", "7"] * 20).split(space)[: max(rows * cols + extra, 0)]
    text = f"NCOLS {cols}\nnrows {rows}\nxllcorner 5\nyllcorner 5\ncellsize 1\nNODATA_value -9\n"
    path.write_text(text + space.join(samples), newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preflight, "_LINE_BYTES", 40 + part)
        if len(samples) >= rows * cols:
            preflight.check_ascii_grid(str(path))
            return
        with pytest.raises(RasterError, match=f"has {len(samples)} of {rows * cols} samples"):
            preflight.check_ascii_grid(str(path))


def test_an_ascii_grid_cut_short_is_refused(tmp_path):
    path = tmp_path / "a.asc"
    gdal_copy(draw(tmp_path / "a.tif", bands=1), path, driver="AAIGrid")
    open_raster(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(RasterError, match=r"a\.asc is truncated"):
        open_raster(path, access=KEEP_GOING)


class Bright:
    identity = "bright"
    halo_px = 0

    def segment(self, tiles):
        return [self.one(tile) for tile in tiles]

    def one(self, tile):
        mask = tile.data[0] > 100
        box = np.array([[0, 0, mask.shape[1], mask.shape[0]]], np.int32)
        return geoseg.Instances(box, [mask], np.zeros(1, np.int32), np.ones(1, np.float32))


LEGEND = geoseg.Legend(classes=[geoseg.LandClass(name="bright", kind="cover")])


@pytest.mark.parametrize("damage", [cut, spoil])
def test_a_damaged_raster_leaves_no_map_unless_told_to_keep_going(tmp_path, damage):
    path = damage(draw(tmp_path / "a.tif", **TILED), 15)
    out = tmp_path / "map.gpkg"
    ask = {"out": out, "backend": Bright(), "tile": 32, "overlap": 0}
    with pytest.raises(RasterError, match="--keep-going"):
        geoseg.segment(path, LEGEND, **ask)
    assert list(tmp_path.iterdir()) == [path]
    run = geoseg.segment(path, LEGEND, keep_going=True, **ask)
    assert (len(run.failed), run.tiles) == (1, 16)
    assert run.count > 0


def test_no_valid_pixels_is_told(caplog):
    data = np.zeros((1, 8, 8), np.uint8)
    check_pixels(ArrayRaster(data, np.ones((8, 8), bool)))
    assert not caplog.text
    check_pixels(ArrayRaster(data, np.zeros((8, 8), bool)))
    assert "no valid pixels" in caplog.text


def test_large_rasters_are_not_read_whole():
    class Large(ArrayRaster):
        def read(self, window):
            raise TileFailedError(f"{window} was read")

    check_pixels(Large(np.broadcast_to(np.zeros(1, np.uint8), (1, 10_000, 10_000))))
    with pytest.raises(RasterError, match="was read"):
        check_pixels(Large(np.zeros((1, 2, 2), np.uint8)))
