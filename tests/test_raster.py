"""Laws of rasters in memory, and of the sample that statistics are taken from."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geoseg.bands import Band
from geoseg.errors import RasterError, TileFailedError
from geoseg.raster import ArrayRaster, finite, sample
from geoseg.window import Window

NAN, INF = float("nan"), float("inf")


@given(st.integers(0, 9), st.integers(0, 9), st.integers(1, 6), st.integers(1, 6))
def test_a_window_is_a_slice(x, y, width, height):
    data = np.arange(2 * 15 * 16, dtype=np.uint16).reshape(2, 15, 16)
    valid = data[0] % 7 != 0
    found, good = ArrayRaster(data, valid).read(Window(x, y, x + width, y + height))
    assert (found == data[:, y : y + height, x : x + width]).all()
    assert (good == valid[y : y + height, x : x + width]).all()


@pytest.mark.parametrize(
    ("value", "good"),
    [(0.0, True), (-5e29, True), (NAN, False), (INF, False), (-INF, False), (-3.4e38, False)],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pixels_are_good_where_every_band_is_a_number(value, good, dtype):
    data = np.zeros((2, 1, 2), dtype)
    data[1, 0, 1] = value
    assert finite(data).tolist() == [[True, good]]
    assert ArrayRaster(data).read(Window(0, 0, 2, 1))[1].tolist() == [[True, good]]


def test_integers_are_always_numbers():
    assert finite(np.full((1, 2, 2), 2**31 - 1, np.int32)).all()


def test_the_frame_is_that_of_the_array():
    found = ArrayRaster(np.zeros((3, 4, 5)), transform=Affine.scale(2), crs="EPSG:32633").frame
    assert (found.width, found.height, found.transform) == (5, 4, Affine.scale(2))
    assert "UTM zone 33N" in found.crs
    assert ArrayRaster(np.zeros((1, 2, 2))).frame.crs is None
    assert ArrayRaster(np.zeros((2, 2, 2), "int16")).bands == (Band(dtype="int16"),) * 2


def test_identity_tells_changed_samples_and_masks():
    data = np.zeros((1, 3, 3), np.uint8)
    other = data.copy()
    other[0, 2, 2] = 1
    mask = np.ones((3, 3), bool)
    rasters = [
        ArrayRaster(data), ArrayRaster(other), ArrayRaster(data, mask),
        ArrayRaster(data.astype(np.int8)), ArrayRaster(data.reshape(1, 1, 9)),
    ]  # fmt: skip
    identities = [str(r.identity()) for r in rasters]
    assert len(set(identities)) == 5
    assert ArrayRaster(data.copy()).identity() == rasters[0].identity()
    assert pickle.loads(pickle.dumps(rasters[2])).identity() == rasters[2].identity()  # noqa: S301


def test_a_small_raster_is_sampled_whole():
    (found,) = sample(ArrayRaster(np.zeros((1, 30, 40))))
    assert found[0] == Window(0, 0, 40, 30)


@given(st.integers(1, 300), st.integers(1, 300))
def test_samples_lie_inside_reach_all_edges_and_are_bounded(width, height):
    raster = ArrayRaster(np.zeros((1, height, width), np.uint8))
    windows = [w for w, _, _ in sample(raster, blocks=4, side_px=16)]
    full = raster.frame.window
    assert all(w.intersection(full) == w and w.area for w in windows)
    assert {min(w.x0 for w in windows), min(w.y0 for w in windows)} == {0}
    assert max(w.x1 for w in windows) == width
    assert max(w.y1 for w in windows) == height
    assert len(windows) <= 16
    assert sum(w.area for w in windows) <= 16 * 16**2


def test_blocks_without_valid_or_readable_pixels_are_left_out(caplog):
    data = np.zeros((1, 64, 64), np.uint8)
    valid = np.zeros((64, 64), bool)
    valid[40:, 40:] = True

    class Torn(ArrayRaster):
        def read(self, window):
            if window.x1 == window.y1 == 64:
                raise TileFailedError("torn")
            return super().read(window)

    windows = [w for w, _, good in sample(ArrayRaster(data, valid), 4, 8) if good.any()]
    assert windows == [w for w, _, _ in sample(ArrayRaster(data, valid), 4, 8)]
    assert windows == [Window(x, y, x + 8, y + 8) for y in (37, 56) for x in (37, 56)]
    assert len(sample(Torn(data, valid), 4, 8)) == 3
    assert "torn; left out of the statistics" in caplog.text


def test_a_small_raster_with_a_torn_block_is_sampled_in_parts():
    data = np.ones((1, 64, 64), np.uint8)

    class Torn(ArrayRaster):
        def read(self, window):
            if window.x1 > 60 and window.y1 > 60:
                raise TileFailedError("torn")
            return super().read(window)

    found = sample(Torn(data), 8, 16)
    assert len(found) == 15
    assert all(good.all() for _, _, good in found)
    with pytest.raises(RasterError, match="nothing can be read"):
        sample(AllTorn(data), 8, 16)


class AllTorn(ArrayRaster):
    def read(self, window):
        raise TileFailedError(f"torn at {window}")
