"""Sparse files: what was never written is known without reading, and is never data."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.windows import Window as RasterioWindow

import geoseg
from geoseg.config import RunConfig
from geoseg.errors import GeosegError
from geoseg.geotiff import GeoTiff, open_raster
from geoseg.raster import sample
from geoseg.status import status
from geoseg.window import Window

SIDE, BLOCK = 160, 16
LAND = geoseg.Legend.parse("land")
PROFILE = {
    "driver": "GTiff", "width": SIDE, "height": SIDE, "count": 2, "dtype": "uint16",
    "crs": "EPSG:32633", "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000), "nodata": 0,
    "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate",
    "sparse_ok": True,
}  # fmt: skip


def draw(path, islands, value=7, **extra):
    """Write a value into windows; all else is never written."""
    profile = {**PROFILE, **extra}
    with rasterio.open(path, "w", **profile) as target:
        for x, y, width, height in islands:
            data = np.full((profile["count"], height, width), value, profile["dtype"])
            target.write(data, window=RasterioWindow(x, y, width, height))
    return path


islands = st.lists(
    st.tuples(*[st.integers(0, SIDE - 30)] * 2, *[st.integers(1, 30)] * 2), max_size=4
)


@given(islands, st.sampled_from(("pixel", "band")), st.data())
@settings(max_examples=40, deadline=None)
def test_what_is_empty_has_no_valid_pixel_and_patches_hold_all(
    tmp_path_factory, where, interleave, data
):
    path = draw(tmp_path_factory.mktemp("sparse") / "a.tif", where, interleave=interleave)
    raster = open_raster(path)
    _, valid = raster.read(raster.frame.window)
    x, y = (data.draw(st.integers(0, SIDE - 1)) for _ in range(2))
    window = Window(x, y, data.draw(st.integers(x + 1, SIDE)), data.draw(st.integers(y + 1, SIDE)))
    blocks = Window(
        x // BLOCK * BLOCK, y // BLOCK * BLOCK,
        min(-(-window.x1 // BLOCK) * BLOCK, SIDE), min(-(-window.y1 // BLOCK) * BLOCK, SIDE),
    )  # fmt: skip
    here = valid[blocks.slices_in(raster.frame.window)]
    assert raster.empty(window) == (not here.any())
    inside = np.zeros_like(valid)
    for x0, y0, x1, y1 in raster.patches().tolist():
        inside[y0:y1, x0:x1] = True
    assert not (valid & ~inside).any()
    assert inside.sum() == BLOCK**2 * sum(
        valid[r : r + BLOCK, c : c + BLOCK].any()
        for r in range(0, SIDE, BLOCK)
        for c in range(0, SIDE, BLOCK)
    )
    assert pickle.loads(pickle.dumps(raster)).empty(window) == raster.empty(window)  # noqa: S301


@pytest.mark.parametrize(
    "extra",
    [{"nodata": None}, {"count": 4, "dtype": "uint8", "photometric": "rgb", "alpha": "yes"}],
)
def test_where_a_hole_may_be_read_as_data_it_is_read(tmp_path, extra):
    raster = open_raster(draw(tmp_path / "a.tif", [(0, 0, 16, 16)], **extra))
    assert not raster.empty(Window(100, 100, 110, 110))
    assert raster.patches().tolist() == [[0, 0, SIDE, SIDE]]


@pytest.mark.parametrize("kept", [600, 1200])
def test_an_index_that_was_cut_off_is_no_sign_of_emptiness(tmp_path, kept):
    path = draw(tmp_path / "a.tif", [(0, 0, SIDE, SIDE)], count=1)
    whole = open_raster(path)
    os.truncate(path, kept)
    try:
        raster = open_raster(path)
    except GeosegError:
        # As if it had been looked at before it was cut.
        raster = whole
    assert not any(raster.empty(Window(k, k, k + 1, k + 1)) for k in range(0, SIDE, BLOCK))


def test_empty_tiles_are_not_read_and_the_map_is_that_of_the_islands(tmp_path, monkeypatch):
    path = draw(tmp_path / "a.tif", [(32, 32, 16, 16), (128, 96, 16, 32)])
    touched = []
    read = GeoTiff.read

    def spy(self, window):
        touched.append(window)
        return read(self, window)

    monkeypatch.setattr(GeoTiff, "read", spy)
    raster = open_raster(path)
    model = Everywhere()
    out = tmp_path / "map.gpkg"
    options = {"tile": 32, "overlap": 0, "keep_run_folder": True}
    run = geoseg.segment(raster, "land", backend=model, out=out, **options)
    tiles = [w for w in touched if w.width == w.height == 32]
    assert run.tiles == 2
    assert len(tiles) == 2
    assert len(list((tmp_path / "map.gpkg.geoseg" / "tiles").iterdir())) == 2
    found = status(out)
    assert (found.state, found.done, found.missing) == ("complete", 2, 0)
    assert geoseg.plan(raster, "land", RunConfig.build(legend=LAND, tile=32, overlap=0)).tiles == 2
    assert run.features().area.tolist() == [16 * 16 * 100, 16 * 32 * 100]


class Everywhere:
    """Finds all that is valid."""

    identity = "everywhere"
    halo_px = 0

    def segment(self, tiles):
        return [
            geoseg.Instances(
                np.array([(0, 0, *tile.valid.shape[::-1])], np.int32),
                [tile.valid],
                np.zeros(1, np.int32),
                np.ones(1, np.float32),
            )
            for tile in tiles
        ]


def test_small_islands_are_found_for_the_statistics(tmp_path):
    size = {"width": 20_000, "height": 15_000, "blockxsize": 64, "blockysize": 64}
    where = [(2944, 9024, 64, 64), (16_960, 1024, 128, 64)]
    raster = open_raster(draw(tmp_path / "a.tif", where, 900, **size))
    found = sample(raster)
    assert [w for w, _, _ in found] == [w for w, _, _ in sample(raster)]
    inside = [Window(x, y, x + w, y + h) for x, y, w, h in where]
    assert all(any(w.intersection(i) == w for i in inside) for w, _, _ in found)
    assert {next(k for k, i in enumerate(inside) if w.intersection(i).area) for w, _, _ in found} \
        == {0, 1}  # fmt: skip
    assert all((data[:, valid] == 900).all() for _, data, valid in found)


def test_a_raster_of_nothing_has_no_samples(tmp_path):
    raster = open_raster(draw(tmp_path / "a.tif", [], width=4000, height=4000))
    assert sample(raster) == []
    assert len(raster.patches()) == 0
