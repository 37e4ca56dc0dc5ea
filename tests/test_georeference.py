"""Positions: what is doubtful is told in one line, once, and what is usual is not."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from rasterio.control import GroundControlPoint
from rasters import draw

from geoseg.errors import RasterError
from geoseg.geotiff import open_raster

LOCAL = 'LOCAL_CS["site grid",UNIT["metre",1]]'


def at(x, y, px=10.0):
    return Affine(px, 0, x, 0, -px, y)


QUIET = {
    "utm": {},
    "utm_next_zone": {"transform": at(900_000, 5_000_000)},
    "degrees": {"crs": "EPSG:4326", "transform": at(12, 45, 1e-4)},
    "0_to_360": {"crs": "EPSG:4326", "transform": at(190, 10, 1e-3)},
    "ends_at_180": {"crs": "EPSG:4326", "transform": at(180 - 0.07, 10, 1e-3)},
    "mercator_at_the_equator": {"crs": "EPSG:3857", "transform": at(0, 0)},
    "pole": {"crs": "EPSG:3413", "transform": at(-4800, 4000, 100)},
    "feet": {"crs": "EPSG:2227", "transform": at(6e6, 2.1e6, 3)},
    "rotated": {"transform": Affine(8.66, 5, 5e5, 5, -8.66, 5e6)},
}

TOLD = {
    "crosses the antimeridian": {"crs": "EPSG:4326", "transform": at(179.97, 10, 1e-3)},
    "far outside": {"transform": at(1_500_000, 5_000_000)},
    "areas in the plane of": {"crs": "EPSG:3857", "transform": at(1e6, 11_068_715)},
    "is local": {"crs": LOCAL},
    "has no coordinate reference system": {"crs": None},
    "is not georeferenced": {"crs": None, "transform": None},
    "ground control points": {
        "crs": "EPSG:32633",
        "transform": None,
        "gcps": [GroundControlPoint(r, c, 5e5 + c, 5e6 - r) for r in (0, 9) for c in (0, 9)],
    },
}


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("words", TOLD)
def test_doubts_are_told_once(tmp_path, caplog, words):
    raster = open_raster(draw(tmp_path / "a.tif", **TOLD[words]))
    raster.read(raster.frame.window)
    assert sum(words in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("kind", QUIET)
def test_what_is_usual_is_not_told(tmp_path, caplog, kind):
    open_raster(draw(tmp_path / "a.tif", **QUIET[kind]))
    assert not caplog.records


def test_a_number_of_no_crs_is_refused(tmp_path):
    path = draw(tmp_path / "a.tif")
    old, new = (b"\0\x0c\0\0\x01\0" + n.to_bytes(2, "little") for n in (32633, 31000))
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))
    with pytest.raises(RasterError, match=r"coordinate reference system .* no EPSG:31000"):
        open_raster(path)


def test_a_position_that_cannot_be_measured_is_refused(tmp_path):
    nowhere = "+proj=aea +lat_1=10 +lat_2=20 +datum=WGS84"
    path = draw(tmp_path / "a.tif", crs=nowhere)
    data = path.read_bytes()
    old, new = (np.float64(degrees).tobytes() for degrees in (20, -10))
    assert old in data
    # Parallels as far north as south: no cone touches both.
    path.write_bytes(data.replace(old, new))
    with pytest.raises(RasterError, match=r"the position of .* cannot be measured"):
        open_raster(path)


def test_text_that_damage_made_unreadable_is_one_error(tmp_path):
    path = draw(tmp_path / "a.tif", crs=LOCAL)
    path.write_bytes(path.read_bytes().replace(b"site grid", b"site\xad\xc2rid"))
    with pytest.raises(RasterError, match="not a raster that can be opened"):
        open_raster(path)
