"""What a map looked at is found where its recipe says, or a line says what is not known."""

import geopandas as gpd
import pytest
import rasterio
import shapely
from affine import Affine
from drawn import NODATA, drawn, patchwork
from scenes import GEOREF, UTM

from geoseg.analysis.looked import area_if_known, area_of, failed_of, raster_of
from geoseg.errors import MapError
from geoseg.export.read import open_map

IMAGE = patchwork(60, 80, 2)
IMAGE[:, 70:] = NODATA


def cut(folder, *box):
    place = folder / "aoi.gpkg"
    gpd.GeoDataFrame(geometry=[shapely.box(*box)], crs=UTM).to_file(place)
    return place


def test_raster_area_and_tiles_are_those_of_the_recipe(tmp_path):
    aoi = cut(tmp_path, 500_100, 4_999_500, 500_600, 4_999_900)
    found = open_map(drawn(tmp_path, IMAGE, aoi=str(aoi)))
    raster, notes = raster_of(found)
    assert notes == []
    _, valid = raster.read(raster.frame.window)
    assert (valid == (IMAGE != NODATA)).all()
    assert shapely.equals(shapely.union_all(area_of(found).polygons), shapely.box(10, 10, 60, 50))
    assert area_if_known(found)[1] == []
    assert len(failed_of(found)) == 0


def test_a_map_that_was_not_cut_has_no_area(tmp_path):
    assert area_if_known(open_map(drawn(tmp_path, IMAGE))) == (None, [])


def test_an_area_that_is_another_by_now_is_not_taken(tmp_path):
    aoi = cut(tmp_path, 500_100, 4_999_500, 500_600, 4_999_900)
    found = open_map(drawn(tmp_path, IMAGE, aoi=str(aoi)))
    aoi.unlink()
    cut(tmp_path, 500_100, 4_999_500, 500_610, 4_999_900)
    with pytest.raises(MapError, match=r"not what .* was cut to any more"):
        area_of(found)
    area, [note] = area_if_known(found)
    assert area is None
    assert note.endswith("what lies outside of it counts as unmapped; pass --aoi")
    assert "put that back" not in note


@pytest.mark.parametrize("knob", ["", "--raster FILE"])
def test_a_raster_on_another_grid_by_now_is_not_taken(tmp_path, knob):
    found = open_map(drawn(tmp_path, IMAGE))
    with rasterio.open(tmp_path / "m.tif", "r+") as raster:
        raster.transform = GEOREF @ Affine.translation(1, 0)
    raster, [note] = raster_of(found, knob)
    assert raster is None
    assert "is not on the pixel grid" in note
    assert note.endswith(f"unmapped; pass {knob}" if knob else "unmapped")
