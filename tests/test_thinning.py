"""A thinned window is every n-th pixel, or what an overview says, and lies where it is."""

import tracemalloc

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasters import draw
from scenes import examples, seeds

from geoseg import ArrayRaster
from geoseg.bands import Band
from geoseg.frame import Frame
from geoseg.geotiff import open_raster
from geoseg.mosaic import open_rasters
from geoseg.overview import overview, part
from geoseg.stretch import Stretch
from geoseg.thinning import thin
from geoseg.window import Window


def copies(path, value=7, factors=(2, 4), **options):
    """Write a raster of noise whose overviews hold one value, so that it shows what is read."""

    options.setdefault("shape", (150, 230))
    draw(
        path,
        paint=lambda data: data.fill(value),
        finish=lambda out: out.build_overviews(factors),
        **options,
    )
    noise = np.random.default_rng(0).integers(10, 250, (3, *options["shape"])).astype(np.uint8)
    with rasterio.open(path, "r+") as out:
        out.write(noise[: out.count])
    return noise


def test_without_overviews_it_is_every_nth_pixel(tmp_path):
    path = draw(tmp_path / "a.tif", shape=(150, 230), nodata=3)
    raster = open_raster(path)
    window = Window(13, 20, 200, 149)
    found = thin(raster, window, 7, (2, 0, 0))
    data, valid = raster.read(window)
    assert (found.data == data[[2, 0, 0], ::7, ::7]).all()
    assert (found.valid == valid[::7, ::7]).all()
    assert (found.across, found.down) == (7, 7)


@examples(60)
@given(
    seeds,
    st.sampled_from(["uint8", "uint16", "float32"]),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.integers(1, 70),
    st.integers(1, 3000),
)
def test_in_whatever_parts_it_is_read_it_is_every_nth_pixel(seed, dtype, size, step, most):
    random = np.random.default_rng(seed)
    data = random.integers(0, 250, (4, 64, 64)).astype(dtype)
    raster = ArrayRaster(data, random.random((64, 64)) < 0.8)
    x, y = random.integers(0, 64 - size[1] + 1), random.integers(0, 64 - size[0] + 1)
    window = Window(int(x), int(y), int(x) + size[1], int(y) + size[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geoseg.thinning._STRIP_ROWS", int(random.integers(1, 64)))
        patch.setattr("geoseg.thinning._MOST_BYTES", most)
        found = thin(raster, window, step, (2, 0, 0))
    whole, valid = raster.read(window)
    assert found.data.dtype == whole.dtype
    assert np.array_equal(found.data, whole[[2, 0, 0], ::step, ::step])
    assert np.array_equal(found.valid, valid[::step, ::step])


class Wide:
    """A raster of nothing, far wider than memory; tells how much was asked for at once."""

    def __init__(self, width, height):
        self.frame = Frame(width, height, Affine.identity(), None)
        self.bands, self.roles, self.most = (Band(dtype="uint16"),) * 4, {}, 0

    def read(self, window):
        self.most = max(self.most, window.width * window.height)
        return np.zeros((4, *window.shape), np.uint16), np.ones(window.shape, bool)


def test_memory_grows_with_neither_side(monkeypatch):
    monkeypatch.setattr("geoseg.thinning._MOST_BYTES", 2**20)
    for width, height in ((100_000, 300), (300, 100_000)):
        raster = Wide(width, height)
        tracemalloc.start()
        found = thin(raster, raster.frame.window, 100, (0, 1, 2))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found.valid.all()
        assert raster.most * (4 * 2 + 1) <= 2**20
        # Two parts meet: one is let go when the next has come.
        assert peak < 3 * 2**20


def test_overviews_are_read_where_they_are_fine_enough(tmp_path):
    noise = copies(tmp_path / "a.tif")
    raster = open_raster(tmp_path / "a.tif")
    whole = raster.frame.window
    assert (thin(raster, whole, 1, (0, 1, 2)).data == noise).all()
    for step in (2, 3, 5, 40):
        found = thin(raster, whole, step, (0, 1, 2))
        assert (found.data == 7).all()
        assert found.valid.shape == (-(-150 // step), -(-230 // step))
        rows, cols = found.valid.shape
        assert (found.down * rows, found.across * cols) == pytest.approx((150, 230))


def test_coarser_overviews_do_not_stand_for_finer_pictures(tmp_path):
    noise = copies(tmp_path / "a.tif", factors=(8,))
    found = thin(open_raster(tmp_path / "a.tif"), Window(0, 0, 230, 150), 4, (1,))
    assert (found.data == noise[1:2, ::4, ::4]).all()


def test_overviews_say_where_data_is_good(tmp_path):
    def paint(data):
        data[:, :40] = 0

    path = draw(
        tmp_path / "a.tif",
        shape=(160, 240),
        nodata=0,
        paint=paint,
        finish=lambda out: out.build_overviews([4], rasterio.enums.Resampling.nearest),
    )
    found = thin(open_raster(path), Window(0, 0, 240, 160), 8, (0, 1, 2))
    assert not found.valid[:5].any()
    assert found.valid[5:].mean() > 0.9


def test_colours_of_a_palette_are_thinned_too(tmp_path):
    def finish(out):
        out.write_colormap(1, {k: (k, 255 - k, 9, 255) for k in range(256)})
        out.build_overviews([2])

    path = draw(tmp_path / "a.tif", bands=1, shape=(60, 80), photometric="palette", finish=finish)
    found = thin(open_raster(path), Window(0, 0, 80, 60), 2, (1, 0, 2))
    assert found.data.shape == (3, 30, 40)
    assert (found.data[0] == 255 - found.data[1]).all()
    assert (found.data[2] == 9).all()


def test_a_picture_of_a_part_lies_where_the_part_is(tmp_path):
    noise = copies(tmp_path / "a.tif")
    raster = open_raster(tmp_path / "a.tif")
    stretch = Stretch((0, 1, 2), (0, 0, 0), (255, 255, 255))
    seen = part(raster, stretch, Window(30, 40, 130, 90), 1)
    assert (seen.image == np.moveaxis(noise[:, 40:90, 30:130], 0, -1)).all()
    assert seen.transform == raster.frame.transform @ Affine.translation(30, 40)
    far = overview(raster, 50)
    height, width = far.valid.shape
    assert far.transform @ (width, height) == pytest.approx(raster.frame.transform @ (230, 150))


def test_of_a_mosaic_the_overviews_of_its_sources_are_read(tmp_path):
    ramp = np.indices((96, 128))[1].astype(np.uint8)
    for k, (x, y) in enumerate(((0, 0), (100, 0), (40, 90))):
        path = draw(
            tmp_path / f"{k}.tif",
            shape=(96, 128),
            transform=Affine(10, 0, 500_000 + 10 * x, 0, -10, 5_000_000 - 10 * y),
            paint=lambda data, x=x: np.copyto(data, ramp + x),
            finish=lambda out: out.build_overviews([2], rasterio.enums.Resampling.nearest),
        )
        # What overviews say is not what is there, so that it shows which are read.
        with rasterio.open(path, "r+") as out:
            out.write(np.zeros((3, 96, 128), np.uint8))
    both = open_rasters([tmp_path])
    whole = both.frame.window
    for step in (2, 3, 7):
        found = thin(both, whole, step, (0, 2))
        rows, cols = np.nonzero(found.valid)
        x, y = (cols + 0.5) * found.across, (rows + 0.5) * found.down
        assert (np.abs(found.data[:, rows, cols] - x) <= 2 * step).all()
        inside = both.read(whole)[1][y.astype(int), x.astype(int)]
        assert inside.all()
        assert found.valid.mean() == pytest.approx(both.read(whole)[1].mean(), abs=0.05)
    assert not thin(both, whole, 1, (0,)).data.any()
    with rasterio.open(tmp_path / "0.tif") as source:
        assert source.overviews(1) == [2]


def test_of_a_mosaic_with_one_source_without_overviews_all_is_read(tmp_path):
    draw(tmp_path / "0.tif", shape=(96, 128), finish=lambda out: out.build_overviews([2]))
    draw(tmp_path / "1.tif", shape=(96, 128), transform=Affine(10, 0, 501_000, 0, -10, 5_000_000))
    both = open_rasters([tmp_path])
    found = thin(both, both.frame.window, 4, (1,))
    assert (found.data == both.read(both.frame.window)[0][1:2, ::4, ::4]).all()
