"""A session asks networks, and what they saw is shared with later sessions and with segment."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from scenes import GEOREF, UTM

import geoseg
from geoseg.backends.models.sam2 import Sam2
from geoseg.backends.prompts import Prompt


@pytest.fixture
def scene(tmp_path):
    """Write a raster of one tile."""
    data = np.random.default_rng(4).integers(0, 256, (3, 64, 80), dtype=np.uint8)
    path = tmp_path / "scene.tif"
    profile = {"driver": "GTiff", "width": 80, "height": 64, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", crs=UTM, transform=GEOREF, **profile) as target:
        target.write(data)
    return path, np.moveaxis(data, 0, -1)


@pytest.fixture
def pictures(monkeypatch):
    """Count what goes through the encoder."""
    counted, encode = [], Sam2.encode

    def counting(self, pictures):
        counted.extend(pictures)
        return encode(self, pictures)

    monkeypatch.setattr(Sam2, "encode", counting)
    return counted


def test_clicks_after_the_first_encode_nothing_nor_do_others(
    scene, saved, ready, tmp_path, pictures
):
    path, picture = scene
    model = f"sam2:{saved('sam2')}"
    options = geoseg.ModelOptions(device="cpu", cache=str(tmp_path / "kept"))
    x, y = GEOREF @ (30.5, 22.5)
    with geoseg.Session(path, model, models=options, out=tmp_path / "a.gpkg", crs=UTM) as session:
        found = session.click(x, y)
        assert (session.encoded, len(pictures)) == (1, 1)
        for _ in range(3):
            session.click(x + 100, y - 100)
            session.undo()
        session.box((*(GEOREF @ (10, 40)), *(GEOREF @ (50, 8))))
        assert (session.encoded, len(pictures)) == (1, 1)
    # The mask is the segmenter's own.
    segmenter = ready("sam2")
    told = Prompt(np.array([(30.5, 22.5)], np.float32), np.array([True]))
    best = segmenter.ask(segmenter.look(picture), told, (64, 80))[0]
    pictures.clear()
    assert round(found.geometry.area / 100) == np.count_nonzero(best.mask)
    assert found.score == pytest.approx(best.quality, abs=1e-4)

    with geoseg.Session(path, model, models=options, out=tmp_path / "b.gpkg", crs=UTM) as session:
        assert session.click(x, y).geometry.equals_exact(found.geometry, 0)
        assert (session.encoded, len(pictures)) == (0, 0)
    boxes = gpd.GeoDataFrame(geometry=[shapely.Point(x, y)], crs=UTM)
    run = geoseg.segment(path, backend=model, models=options, boxes=boxes)
    assert pictures == []
    assert run.features().geometry[0].equals(found.geometry)
    geoseg.segment(path, backend=model, models=geoseg.ModelOptions(device="cpu"), boxes=boxes)
    assert len(pictures) == 1


def test_what_segment_saw_a_session_need_not_look_at(scene, saved, tmp_path, pictures):
    path, _ = scene
    model = f"sam2:{saved('sam2')}"
    options = geoseg.ModelOptions(device="cpu", cache=str(tmp_path / "kept"))
    x, y = GEOREF @ (30.5, 22.5)
    boxes = gpd.GeoDataFrame(geometry=[shapely.Point(x, y)], crs=UTM)
    geoseg.segment(path, backend=model, models=options, boxes=boxes)
    assert len(pictures) == 1
    with geoseg.Session(path, model, models=options, out=tmp_path / "a.gpkg", crs=UTM) as session:
        session.click(x, y)
        assert (session.encoded, len(pictures)) == (0, 1)
