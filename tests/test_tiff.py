"""Directories of TIFFs: rasterio is the oracle, and damage of any kind is one error."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasters import draw

from geoseg.tiff import DamagedTiffError, directories

LAYOUTS = {
    "strips": {"blockysize": 7},
    "tiles": {"tiled": True, "blockxsize": 16, "blockysize": 32},
    "by_band": {"interleave": "band", "compress": "deflate"},
    "big": {"bigtiff": "yes", "tiled": True, "blockxsize": 16, "blockysize": 16},
    "big_endian": {"endianness": "big", "compress": "lzw"},
    "sixteen_bits": {"dtype": "uint16", "compress": "deflate", "blockysize": 50},
    "bits": {"nbits": 1, "paint": lambda data: data.__ifloordiv__(249), "bands": 1},
}


def read(path):
    with path.open("rb") as file:
        return directories(file, path.stat().st_size)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_blocks_lie_where_gdal_finds_them(tmp_path, layout):
    path = draw(tmp_path / "a.tif", **LAYOUTS[layout])
    (page,) = read(path)
    with rasterio.open(path) as dataset:
        rows, cols = dataset.block_shapes[0]
        across, down = -(-dataset.width // cols), -(-dataset.height // rows)
        planes = dataset.indexes if dataset.interleaving.name == "band" else [1]
        want = [
            tuple(
                int(dataset.get_tag_item(f"BLOCK_{what}_{x}_{y}", "TIFF", bidx=band))
                for what in ("OFFSET", "SIZE")
            )
            for band in planes
            for y in range(down)
            for x in range(across)
        ]
        samples = dataset.count // len(planes)
        bits = 1 if layout == "bits" else 8 * np.dtype(dataset.dtypes[0]).itemsize
    assert list(zip(page.offsets.tolist(), page.sizes.tolist(), strict=True)) == want
    assert page.block_px == (cols, rows)
    assert page.block_bytes == cols * rows * samples * bits // 8
    assert page.is_page
    assert page.placed
    assert page.geokey(3072) == 32633


def test_pages_overviews_and_masks_are_told_apart(tmp_path):
    path = draw(tmp_path / "a.tif", shape=(600, 600))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(np.ones((600, 600), bool))
        dataset.build_overviews([2])
    draw(path, append_subdataset=True)
    found = read(path)
    assert sum(d.is_page for d in found) == 2
    assert sum(d.is_full_mask for d in found) == 1
    assert len(found) == 5


def test_a_chain_that_loops_ends(tmp_path):
    path = draw(tmp_path / "a.tif")
    data = bytearray(path.read_bytes())
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    struct.pack_into("<I", data, at + 2 + 12 * count, at)
    assert len(directories(io.BytesIO(bytes(data)), len(data))) == 1


@given(st.data())
def test_any_damage_is_one_kind_of_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "whole.tif"
    if not path.exists():
        draw(path, bands=1, shape=(40, 40), tiled=True, blockxsize=16, blockysize=16)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, 600))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(8, len(content)))]
    if content[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return
    try:
        found = directories(io.BytesIO(bytes(content)), len(content))
    except DamagedTiffError:
        return
    for directory in found:
        assert directory.block_bytes >= 0
        directory.geokey(3072)


@pytest.mark.parametrize("tag", [256, 277, 324, 325])
def test_a_number_that_is_typed_as_text_is_not_taken_for_one(tmp_path, tag):
    content = bytearray(draw(tmp_path / "a.tif", **LAYOUTS["tiles"]).read_bytes())
    first = int.from_bytes(content[4:8], "little") + 2
    mark = tag.to_bytes(2, "little")
    at = next(k for k in range(first, len(content), 12) if content[k : k + 2] == mark)
    content[at + 2] = 2
    with io.BytesIO(content) as file:
        found = directories(file, len(content))
    numbers = [found[0].offsets, found[0].sizes, *found[0].values.values()]
    assert all(values.dtype.kind == "u" for values in numbers)
