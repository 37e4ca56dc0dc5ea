"""The demo and its picture."""

import warnings

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from scenes import ByIdentity, legend, raster

from geoseg import ArrayRaster, LandClass, Legend, segment
from geoseg.demo import LEGEND, run_demo
from geoseg.preview import draw_map


def test_the_demo_makes_a_map_and_a_picture(tmp_path):
    run = run_demo(tmp_path)
    assert run.complete
    found = run.features()
    assert set(found["class"]) == {c.name for c in LEGEND.classes}
    # The land of the scene is about 82 km2, the sea at least 10 km2.
    hectares = found.groupby("class").area_ha.sum()
    assert 1_000 < hectares["water"] < 3_000
    assert hectares["built-up"] > hectares["forest"] > 500
    assert (tmp_path / "demo.png").stat().st_size > 10_000
    again = run_demo(tmp_path)
    assert again.count == run.count


@pytest.mark.parametrize("side", [40, 1700])
def test_a_picture_shows_each_class_in_its_colour(tmp_path, side):
    ids = np.zeros((side, side), np.int32)
    ids[: side // 2, : side // 2] = 1
    scene = raster(ids)
    found = segment(scene, legend("object"), backend=ByIdentity((0,)), tile=2000).features()
    red = Legend(classes=(LandClass(name="c0", kind="object", colour="#ff0000"),))
    grey = ArrayRaster(
        np.full((3, side, side), 100, np.uint8), transform=scene.transform, crs=scene.crs
    )
    draw_map(grey, found, red, tmp_path / "map.png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        picture = rasterio.open(tmp_path / "map.png")
    with picture:
        image = picture.read()
    height, width = image.shape[1:]
    assert image[:, height // 4, width // 4].tolist() == [154, 65, 65]
    assert image[:, 0, width // 4].tolist() == [255, 0, 0]
    assert image[:, 3 * height // 4, width // 4].tolist() == [100, 100, 100]
