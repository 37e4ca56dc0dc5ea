"""Files beside a raster: what changes what is read is told and remembered."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasters import HEIGHT, WIDTH, draw

from geoseg.errors import RasterError
from geoseg.geotiff import open_raster
from geoseg.sidecars import overrides

NODATA = (
    "<PAMDataset><PAMRasterBand band='1'><NoDataValue>{}</NoDataValue></PAMRasterBand></PAMDataset>"
)
STATISTICS = (
    "<PAMDataset><PAMRasterBand band='1'><Metadata><MDI key='STATISTICS_MEAN'>{}</MDI></Metadata>"
    "</PAMRasterBand></PAMDataset>"
)


@pytest.fixture
def path(tmp_path):
    return draw(tmp_path / "a.tif")


def test_an_aux_xml_that_overrides_is_told_once_and_remembered(path, caplog):
    before = open_raster(path).identity()
    aux = path.with_name("a.tif.aux.xml")
    aux.write_text(NODATA.format(7))
    raster = open_raster(path)
    assert caplog.text.count("a.tif.aux.xml beside the raster overrides") == 1
    assert "NoDataValue 7" in caplog.text
    assert raster.nodata[0] == 7
    known = raster.identity()
    assert known != before
    aux.write_text(NODATA.format(8))
    assert open_raster(path).identity() != known


def test_statistics_change_nothing(path, caplog):
    before = open_raster(path).identity()
    path.with_name("a.tif.aux.xml").write_text(STATISTICS.format(5))
    assert open_raster(path).identity() == before
    assert not caplog.text


@pytest.mark.parametrize("ending", ["tfw", "wld", "tifw", "TFW"])
def test_a_world_file_that_disagrees_is_told(path, caplog, ending):
    world = path.with_suffix("." + ending)
    world.write_text("10\n0\n0\n-10\n500005\n4999995\n")
    open_raster(path)
    assert not caplog.text
    world.write_text("10\n0\n0\n-10\n501005\n4999995\n")
    assert open_raster(path).frame.transform.c == 500_000
    assert caplog.text.count(f"the world file a.{ending} disagrees") == 1


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_world_file_that_is_used_is_not_told_but_remembered(tmp_path, caplog):
    path = draw(tmp_path / "a.tif", transform=None, crs="EPSG:32633")
    path.with_suffix(".tfw").write_text("10\n0\n0\n-10\n501005\n4999995\n")
    raster = open_raster(path)
    known = raster.identity()
    assert raster.frame.transform.c == 501_000
    assert "world file" not in caplog.text
    path.with_suffix(".tfw").write_text("10\n0\n0\n-10\n501006\n4999995\n")
    assert open_raster(path).identity() != known


def test_a_mask_beside_it_is_remembered(path):
    before = open_raster(path).identity()
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as out:
        out.write_mask(np.zeros((HEIGHT, WIDTH), bool))
    assert path.with_name("a.tif.msk").exists()
    known = open_raster(path).identity()
    assert ".msk" in known
    assert ".msk" not in before


def test_a_side_car_with_entities_is_refused(path):
    path.with_name("a.tif.aux.xml").write_text("<!DOCTYPE x [<!ENTITY a 'b'>]><PAMDataset/>")
    with pytest.raises(RasterError, match="document type"):
        overrides(str(path))
