"""The sample tiles are what their README says, and no polygon covers nodata."""

import numpy as np
import pyproj
import pytest
import rasterio.features

import geoseg
from geoseg.demo import sample_tile

SIX = {"blue": 1, "green": 2, "red": 3, "nir": 4, "swir1": 5, "swir2": 6}
RGB = {"red": 1, "green": 2, "blue": 3}
TILES = {
    "rgb_trees_florida.tif": (32617, RGB, "tree"),
    "multispectral_coast_olinda.tif": (31985, SIX, "water, forest, built-up"),
    "multispectral_geographic_great_salt_lake.tif": (4326, SIX, "water, vegetation, bare soil"),
    "rgb_nodata_wedge_bahamas.tif": (32618, RGB, "water, cloud"),
}


@pytest.mark.parametrize("name", TILES)
def test_each_opens_with_its_roles_and_gives_a_map(name):
    epsg, roles, prompt = TILES[name]
    raster = geoseg.open_raster(sample_tile(name))
    assert pyproj.CRS(raster.frame.crs).to_epsg() == epsg
    assert raster.roles == roles
    run = geoseg.segment(raster, prompt, tile=300, overlap=128)
    found = run.features()
    assert run.complete
    assert set(found["class"]) <= {c.name for c in geoseg.Legend.parse(prompt).classes}
    assert found.is_valid.all()
    assert (found.area_ha > 0).all()
    assert found.score.between(0.5, 1).all()


def test_all_are_small():
    folder = sample_tile("rgb_trees_florida.tif").parent
    tiles = sorted(p.name for p in folder.glob("*.tif"))
    assert tiles == sorted(TILES)
    assert sum((folder / name).stat().st_size for name in tiles) < 5e6


def test_no_polygon_covers_the_wedge_without_data():
    raster = geoseg.open_raster(sample_tile("rgb_nodata_wedge_bahamas.tif"))
    window = raster.frame.window
    _, valid = raster.read(window)
    assert 0.2 < 1 - valid.mean() < 0.3
    found = geoseg.segment(raster, "water, cloud", tile=200, overlap=64).features()
    drawn = rasterio.features.rasterize(
        found.geometry, window.shape, transform=raster.frame.transform, dtype="uint8"
    ).astype(bool)
    assert np.count_nonzero(drawn) > 0
    assert not (drawn & ~valid).any()
