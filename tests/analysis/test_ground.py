"""Every pixel is in one class, unmapped or no ground, and its size is that on the ellipsoid."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from drawn import NODATA, drawn, patchwork
from scenes import UTM

from geoseg.analysis.classed import open_classed
from geoseg.analysis.ground import UNMAPPED, census, find_ground, lay, sizes_ha
from geoseg.errors import ConfigError, MapError
from geoseg.frame import Frame, horizontal_wkt
from geoseg.window import Window

IMAGE = patchwork(90, 120, 3)
IMAGE[:, 100:] = NODATA


def opened(path, folder, raster=None):
    found = open_classed(path, "MAP")
    return lay(found, find_ground(found, raster, folder), folder / "burnt.tif")


@pytest.mark.parametrize(
    ("frame", "within"),
    [
        (Frame(300, 200, Affine(10, 3, 5e5, -2, -10, 5e6), horizontal_wkt(UTM)), 1e-8),
        (Frame(900, 700, Affine(0.01, 0, 7, 0, -0.01, 61), horizontal_wkt("EPSG:4326")), 1e-7),
        (Frame(3000, 2000, Affine(0.02, 0, 7, 0, -0.02, 80), horizontal_wkt("EPSG:4326")), 3e-5),
        (Frame(500, 700, Affine(1e4, 0, -2e6, 0, -1e4, 4e6), horizontal_wkt("EPSG:3857")), 1e-5),
    ],
)
def test_sizes_are_those_of_pixels(frame, within):
    window = Window(11, frame.height - 150, frame.width, frame.height - 3)
    found = sizes_ha(frame, window)
    rows, cols = np.mgrid[window.y0 : window.y1, window.x0 : window.x1]
    centres = np.column_stack((cols.ravel(), rows.ravel()))[::97] + 0.5
    assert found.ravel()[::97] == pytest.approx(frame.pixels_m2(centres) / 1e4, rel=within)


def test_sizes_of_all_pixels_of_the_earth_are_its_surface():
    frame = Frame(720, 360, Affine(0.5, 0, -180, 0, -0.5, 90), horizontal_wkt("EPSG:4326"))
    # Surface of the WGS 84 ellipsoid, in km2 (Moritz 2000).
    assert sizes_ha(frame, frame.window).sum() / 100 == pytest.approx(510_065_621.7, rel=1e-8)


def test_every_pixel_is_counted_as_it_was_drawn(tmp_path):
    laid = opened(drawn(tmp_path, IMAGE), tmp_path)
    wanted = np.where(IMAGE == NODATA, 4, np.where(IMAGE == 0, 3, IMAGE - 1))
    assert laid.names == ("c0", "c1", "c2", UNMAPPED)
    assert (laid.numbers(laid.ground.frame.window) == wanted).all()
    sizes, pixels = census(laid)
    assert pixels.tolist() == [(wanted == k).sum() for k in range(4)]
    assert sizes == pytest.approx(pixels / 100, rel=1e-3)
    rows, cols = np.mgrid[-1:91, -1:121]
    at = laid.at(cols.ravel(), rows.ravel()).reshape(rows.shape)
    assert (at == np.pad(wanted, 1, constant_values=4)).all()


def test_outside_the_area_of_interest_is_no_ground(tmp_path):
    area = shapely.box(500_200, 4_999_300, 500_800, 4_999_900)
    gpd.GeoDataFrame(geometry=[area], crs=UTM).to_file(tmp_path / "aoi.gpkg")
    laid = opened(drawn(tmp_path, IMAGE, aoi=str(tmp_path / "aoi.gpkg")), tmp_path)
    numbers = laid.numbers(laid.ground.frame.window)
    inside = np.zeros(IMAGE.shape, bool)
    inside[10:70, 20:80] = True
    assert (numbers[~inside] == laid.nowhere).all()
    assert (numbers[inside] == np.where(IMAGE == 0, 3, IMAGE - 1)[inside]).all()
    (tmp_path / "aoi.gpkg").unlink()
    with pytest.raises(MapError, match=r"aoi\.gpkg.*back to its place"):
        opened(tmp_path / "m.gpkg", tmp_path)


def test_without_its_raster_all_of_the_frame_is_ground_and_that_is_said(tmp_path, caplog):
    path = drawn(tmp_path, IMAGE)
    (tmp_path / "m.tif").rename(tmp_path / "moved.tif")
    laid = opened(path, tmp_path)
    assert "where" in caplog.text
    assert "has no data is not known" in caplog.text
    assert census(laid)[1].sum() == IMAGE.size
    told = opened(path, tmp_path, str(tmp_path / "moved.tif"))
    assert census(told)[1].sum() == (IMAGE != NODATA).sum()


def test_a_layer_from_elsewhere_has_no_ground_but_its_polygons(tmp_path, caplog):
    path = drawn(tmp_path, IMAGE)
    layer = gpd.read_file(path, layer="features")
    laid = opened(layer, tmp_path)
    assert "only ground with a polygon counts" in caplog.text
    sizes, pixels = census(laid)
    assert pixels[-1] == 0
    assert sizes[:-1] == pytest.approx(layer.groupby("class")["area_ha"].sum(), rel=0.01)
    told = opened(layer, tmp_path, str(tmp_path / "m.tif"))
    assert census(told)[1].sum() == (IMAGE != NODATA).sum()


def test_a_class_cannot_be_called_unmapped(tmp_path):
    layer = gpd.GeoDataFrame({"class": [UNMAPPED]}, geometry=[shapely.box(0, 0, 1, 1)], crs=UTM)
    with pytest.raises((MapError, ConfigError), match="which is what has none"):
        opened(layer, tmp_path)
