"""Mosaics: parts of a raster are the raster, and what is no mosaic is refused before the run."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

import geoseg
from geoseg.errors import ConfigError, RasterError, TileFailedError
from geoseg.geotiff import GeoTiff, open_raster
from geoseg.grid import Grid
from geoseg.mosaic import MAX_OPEN, Mosaic, open_rasters
from geoseg.window import Window

GEOREF = Affine(10, 0, 500_000, 0, -10, 5_000_000)
WIDTH, HEIGHT = 90, 70


def scene() -> np.ndarray:
    """Return red, green, blue and near infrared of blobs of two kinds, and a wedge of nodata."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    wet = np.sin(x / 7) * np.cos(y / 9) + 0.3 * np.sin(x / 2) > 0
    colours = np.array([[700, 1100, 600, 3900], [300, 500, 700, 100]], np.uint16)
    data = np.moveaxis(colours[wet.astype(int)], -1, 0).copy()
    data[:, x + y < 25] = 0
    return data


DATA = scene()


def write(path: Path, data: np.ndarray, x: float = 0, y: float = 0, **extra: object) -> Path:
    count, height, width = data.shape
    profile = {
        "driver": "GTiff", "count": count, "height": height, "width": width, "dtype": data.dtype,
        "crs": "EPSG:32633", "transform": GEOREF @ Affine.translation(x, y), "nodata": 0,
    }  # fmt: skip
    with rasterio.open(path, "w", **{**profile, **extra}) as target:
        target.write(data)
        if count == 4:
            for number, role in enumerate(("red", "green", "blue", "nir"), 1):
                target.set_band_description(number, role)
    return path


def cut(window: Window, draw, depth: int = 3) -> list[Window]:
    """Cut a window at random, again and again."""
    way = draw(st.sampled_from("xy-")) if depth else "-"
    if way == "x" and window.width > 1:
        at = draw(st.integers(window.x0 + 1, window.x1 - 1))
        halves = (Window(window.x0, window.y0, at, window.y1),
                  Window(at, window.y0, window.x1, window.y1))  # fmt: skip
    elif way == "y" and window.height > 1:
        at = draw(st.integers(window.y0 + 1, window.y1 - 1))
        halves = (Window(window.x0, window.y0, window.x1, at),
                  Window(window.x0, at, window.x1, window.y1))  # fmt: skip
    else:
        return [window]
    return [part for half in halves for part in cut(half, draw, depth - 1)]


@st.composite
def parts(draw) -> list[Window]:
    """Draw windows that together cover the scene; some reach over others."""
    full = Window(0, 0, WIDTH, HEIGHT)
    grown = [w.grow(draw(st.sampled_from((0, 0, 9))), full) for w in cut(full, draw)]
    return draw(st.permutations(list(dict.fromkeys(grown))))


def write_parts(folder: Path, windows: list[Window]) -> list[Path]:
    return [
        write(folder / f"{k}.tif", DATA[:, w.y0 : w.y1, w.x0 : w.x1], w.x0, w.y0)
        for k, w in enumerate(windows)
    ]


@given(parts())
@settings(max_examples=25, deadline=None)
def test_a_raster_cut_into_parts_gives_the_features_of_the_whole(tmp_path_factory, windows):
    folder = tmp_path_factory.mktemp("parts")
    options = {"tile": 48, "overlap": 16}
    whole = geoseg.segment(write(folder / "whole.tif", DATA), "water, vegetation", **options)
    mosaic = geoseg.segment(write_parts(folder, windows), "water, vegetation", **options)
    assert mosaic.complete
    assert whole.count > 5
    assert mosaic.features().equals(whole.features())


@given(parts(), st.integers(0, 80), st.integers(0, 60), st.integers(1, 90), st.integers(1, 70))
@settings(max_examples=25, deadline=None)
def test_any_window_of_a_mosaic_is_that_of_the_whole(tmp_path_factory, windows, x, y, w, h):
    folder = tmp_path_factory.mktemp("windows")
    mosaic = open_rasters(write_parts(folder, windows))
    assert mosaic.frame.window == Window(0, 0, WIDTH, HEIGHT)
    assert mosaic.frame.transform == GEOREF
    window = Window(x, y, min(x + w, WIDTH), min(y + h, HEIGHT))
    data, valid = mosaic.read(window)
    rows, cols = window.slices_in(Window(0, 0, WIDTH, HEIGHT))
    assert (data == DATA[:, rows, cols]).all()
    assert (valid == (DATA[:, rows, cols] != 0).any(axis=0)).all()


def flat(path: Path, value: int, x: float = 0, **extra: object) -> Path:
    data = np.full((1, 20, 30), value, np.uint8)
    data[:, :10] = 0 if value == 1 else value
    return write(path, data, x, **extra)


def test_the_first_source_that_is_valid_counts_and_gaps_are_not_valid(tmp_path):
    a, b = flat(tmp_path / "a.tif", 1), flat(tmp_path / "b.tif", 2, 20)
    far = flat(tmp_path / "far.tif", 3, 60)
    data, valid = open_rasters([a, b, far]).read(Window(0, 0, 90, 20))
    want = np.zeros((20, 90), int)
    want[10:, :30], want[10:, 30:50], want[:10, 20:50], want[:, 60:] = 1, 2, 2, 3
    assert (data[0] == want).all()
    assert (valid == (want > 0)).all()
    other, _ = open_rasters([b, a, far]).read(Window(0, 0, 90, 20))
    want[10:, 20:50] = 2
    assert (other[0] == want).all()


def test_a_folder_is_its_rasters_by_name(tmp_path):
    flat(tmp_path / "b.tif", 2, 20)
    flat(tmp_path / "a.TIF", 1)
    (tmp_path / "notes.txt").write_text("no raster")
    (tmp_path / "._a.tif").write_bytes(b"resource fork")
    mosaic = open_rasters([tmp_path])
    assert [Path(s.path).name for s in mosaic.sources] == ["a.TIF", "b.tif"]
    (tmp_path / "b.tif").unlink()
    assert isinstance(open_rasters([tmp_path]), GeoTiff)
    (tmp_path / "a.TIF").unlink()
    with pytest.raises(RasterError, match=r"has no rasters \(\.tif, \.tiff, \.jp2\)"):
        open_rasters([tmp_path])


MISMATCHES = {
    "shifted": ({"x": 20.5}, "20.500 columns and 0.000 rows from it"),
    "coarser": ({"transform": Affine(20, 0, 5e5, 0, -20, 5e6)}, "the pixel differs"),
    "turned": ({"transform": GEOREF @ Affine.rotation(1)}, "the pixel differs"),
    "mirrored": ({"transform": Affine(10, 0, 5e5, 0, 10, 5e6)}, "the pixel differs"),
    "crs": ({"crs": "EPSG:32634"}, "the CRS differs (WGS 84 / UTM zone 33N and"),
    "no_crs": ({"crs": None}, "the CRS differs (WGS 84 / UTM zone 33N and none)"),
    "type": ({"dtype": "uint16"}, "type of samples differs (uint8 and uint16); convert"),
}


@pytest.mark.parametrize("kind", MISMATCHES)
def test_what_is_no_mosaic_is_refused_in_one_line_that_names_two_files(tmp_path, kind):
    extra, words = MISMATCHES[kind]
    a, b = flat(tmp_path / "a.tif", 1), flat(tmp_path / "b.tif", 2, **extra)
    with pytest.raises(RasterError) as caught:
        open_rasters([a, b])
    said = str(caught.value)
    assert words in said
    assert "a.tif" in said
    assert "b.tif" in said
    assert "gdal" in said
    assert "\n" not in said


def test_other_bands_roles_and_repeated_files_are_refused(tmp_path):
    a, four = flat(tmp_path / "a.tif", 1), write(tmp_path / "four.tif", DATA)
    with pytest.raises(RasterError, match=r"number of bands differs \(1 and 4\)"):
        open_rasters([a, four])
    swapped = write(tmp_path / "swapped.tif", DATA)
    with rasterio.open(swapped, "r+") as target:
        target.descriptions = ("nir", "green", "blue", "red")
    with pytest.raises(RasterError, match="order of bands differs"):
        open_rasters([four, swapped])
    assert isinstance(open_rasters([four, swapped], sensor="naip"), Mosaic)
    with pytest.raises(ConfigError, match=r"four\.tif is given twice"):
        open_rasters([four, a, four])
    with pytest.raises(ConfigError, match="no raster is given"):
        open_rasters([])


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_rasters_without_a_place_are_no_mosaic(tmp_path):
    bare = {"crs": None, "transform": Affine.identity()}
    a, b = flat(tmp_path / "a.tif", 1, **bare), flat(tmp_path / "b.tif", 2, **bare)
    with pytest.raises(RasterError, match=r"a\.tif is not georeferenced"):
        open_rasters([a, b])


def test_rasters_at_the_ends_of_the_world_are_refused(tmp_path):
    a, b = flat(tmp_path / "a.tif", 1, crs=None), flat(tmp_path / "b.tif", 2, 1e12, crs=None)
    with pytest.raises(RasterError, match="too far apart"):
        open_rasters([a, b])


def test_rounded_coordinates_are_the_same_grid(tmp_path):
    a = flat(tmp_path / "a.tif", 1)
    b = flat(tmp_path / "b.tif", 2, transform=Affine(10.0001, 0, 500_300.04, 0, -10, 5_000_000))
    assert open_rasters([a, b]).places.tolist() == [[0, 0, 30, 20], [30, 0, 60, 20]]


def test_a_source_that_goes_missing_fails_the_tiles_that_touch_it_only(tmp_path):
    data = np.tile(DATA, (1, 4, 4))
    left = write(tmp_path / "left.tif", data[..., :180])
    right = write(tmp_path / "right.tif", data[..., 180:], 180)
    raster = open_rasters([left, right])
    out = tmp_path / "map.gpkg"

    def lose(step: str, *_: int) -> None:
        if step == "detect":
            right.unlink(missing_ok=True)

    run = geoseg.segment(raster, "water", out=out, tile=120, overlap=20, progress=lose)
    with pytest.raises(TileFailedError, match=r"right\.tif"):
        raster.read(Window(170, 0, 190, 9))
    grid = Grid(raster.frame.window, 120, 20)
    assert set(run.failed) == {grid.name(i) for i, t in enumerate(grid) if t.read.x1 > 180}
    assert 0 < len(run.failed) < run.tiles
    assert all("right.tif" in reason for reason in run.failed.values())
    assert run.count > 0
    with pytest.raises(RasterError, match=r"no such file: .*right\.tif"):
        geoseg.segment([left, right], "water", out=out, overwrite=True)


def test_identity_is_of_every_source_and_its_order(tmp_path):
    a, b = flat(tmp_path / "a.tif", 1), flat(tmp_path / "b.tif", 2, 20)
    mosaic = open_rasters([a, b])
    first = mosaic.identity()
    again = pickle.loads(pickle.dumps(mosaic))  # noqa: S301
    assert again.identity() == first
    assert (again.read(Window(0, 0, 50, 20))[0] == mosaic.read(Window(0, 0, 50, 20))[0]).all()
    assert open_rasters([b, a]).identity() != first
    os.utime(b, ns=(1, 1))
    assert open_rasters([a, b]).identity() != first


def handles() -> int:
    """Return how many files this process holds open, where the system tells."""
    listing = Path("/proc/self/fd")
    return sum(1 for _ in listing.iterdir()) if listing.is_dir() else 0


def test_few_files_are_open_at_once_and_little_is_sent_to_workers(tmp_path):
    count = 3 * MAX_OPEN
    paths = [flat(tmp_path / f"{k:04d}.tif", 2, 30 * k) for k in range(count)]
    mosaic = open_rasters(paths)
    before = handles()
    for _ in range(2):
        data, valid = mosaic.read(mosaic.frame.window)
        assert valid.all()
        assert (data == 2).all()
    assert handles() <= before + MAX_OPEN
    assert len(pickle.dumps(mosaic)) < 1000 * count


def test_a_part_of_a_mosaic_is_read_as_the_file_reads_it(tmp_path):
    a = write(tmp_path / "a.tif", DATA)
    b = write(tmp_path / "b.tif", DATA, 200, 300)
    mosaic = open_rasters([a, b])
    data, valid = mosaic.read(Window(200, 300, 290, 370))
    want, good = open_raster(b).read(Window(0, 0, 90, 70))
    assert (data == want).all()
    assert (valid == good).all()
    assert mosaic.empty(Window(90, 0, 200, 370))
    assert not mosaic.empty(Window(80, 60, 200, 370))
    assert mosaic.patches().tolist() == [[0, 0, 90, 70], [200, 300, 290, 370]]
