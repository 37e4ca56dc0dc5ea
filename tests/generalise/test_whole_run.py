"""A run that generalises: its map does not depend on the tiling, and nothing stays behind."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given
from scenes import (
    GEOREF,
    ByComponent,
    canonical,
    classes_image,
    cuts,
    examples,
    legend,
    raster,
    seeds,
    sizes,
)

import geoseg
from geoseg.errors import ConfigError, WriteFailedError
from geoseg.generalise.growing import Growing

COVERS = legend("cover", "cover", "cover")
MODEL = ByComponent((0, 1, 2), cover=True)
IDS = classes_image(70, 90, np.random.default_rng(5), 3)
FULL = np.maximum(IDS, 1)
CUT = {"tile": 40, "overlap": 16}
FULL_DISK = Path("/dev/full")
GENERALISED = {"simplify": "2px", "smooth": True}


def segment(image=IDS, **options):
    return geoseg.segment(raster(image), COVERS, backend=MODEL, **{**CUT, **GENERALISED, **options})


def drawn(run) -> list[tuple[str, bytes]]:
    found = run.features()
    return [(c, g.wkb) for c, g in zip(found["class"], found.geometry, strict=True)]


@examples(6)
@given(sizes, cuts(), seeds)
def test_a_generalised_map_does_not_depend_on_the_tiling(size, cut, random):
    image = classes_image(*size, random, 3)
    tiled = segment(image, **cut.settings)
    whole = segment(image, tile=128, overlap=2)
    assert drawn(tiled) == drawn(whole)
    assert shapely.is_valid(tiled.features().geometry.to_numpy()).all()


def test_workers_do_not_change_the_map(tmp_path):
    files = []
    for workers in (1, 2):
        out = tmp_path / f"{workers}.parquet"
        geoseg.segment(
            raster(IDS), COVERS, backend=MODEL, out=out, workers=workers, **CUT, **GENERALISED
        )
        files.append(out.read_bytes())
    assert files[0] == files[1]


def test_areas_are_those_of_what_is_drawn():
    found = segment(simplify="3px", smooth=False).features()
    ratio = found["area_ha"] * 1e4 / found.area
    assert ratio.between(1 / 0.9996**2 - 1e-3, 1 / 0.9996**2 + 1e-3).all()
    before = segment(simplify=None, smooth=False).features()
    assert (found.area != before.area).any()
    assert found["n_tiles"].equals(before["n_tiles"])


@pytest.mark.parametrize(("least", "ha"), [("12px", None), ("900m2", 0.09), ("0.2ha", 0.2)])
def test_nothing_is_drawn_smaller_than_the_minimum_mapping_unit(least, ha):
    found = segment(FULL, min_area=least, simplify="3px").features()
    # A pixel has 100 square metres in the raster's CRS.
    area, limit = (found.area / 100, 12) if ha is None else (found["area_ha"], ha)
    assert len(found) > 5
    assert (area >= limit - 1e-9).all()
    unbound = segment(FULL, simplify="3px").features()
    assert unbound["area_ha"].min() < found["area_ha"].min()


@pytest.mark.parametrize(
    "aoi",
    [
        shapely.Polygon([(7.3, 5.1), (80.9, 20.7), (60.2, 66.6), (12.4, 51.3)]),
        shapely.Point(45, 35).buffer(25).difference(shapely.Point(47, 33).buffer(9.3)),
    ],
)
def test_a_map_that_is_cut_covers_its_area_exactly(aoi):
    on_ground = shapely.transform(aoi, lambda xy: np.column_stack(GEOREF @ xy.T))
    found = segment(FULL, aoi=on_ground).features()
    # Vertices of areas lie on a grid of 1/256 px.
    assert found.area.sum() == pytest.approx(on_ground.area, rel=2e-4)
    cut = shapely.union_all(found.geometry)
    assert cut.area == pytest.approx(found.area.sum(), rel=1e-9)
    assert cut.symmetric_difference(on_ground).area < 2e-4 * on_ground.area


def test_lengths_on_the_ground_are_pixels_times_their_size():
    # 10 m per pixel.
    on_ground, in_px = (segment(simplify=by, smooth=False) for by in ("20.01m", "2.001px"))
    assert [canonical(g) for g in on_ground.features().geometry] == [
        canonical(g) for g in in_px.features().geometry
    ]


@dataclass(frozen=True)
class NeverAsked(ByComponent):
    identity: str = "never-asked"

    def segment(self, tiles):
        raise AssertionError(tiles)


def test_lengths_on_the_ground_without_a_crs_are_refused_before_any_tile(tmp_path):
    out = tmp_path / "map.gpkg"
    for options in ({"simplify": "2m"}, {"simplify": "2m", "smooth": True}):
        with pytest.raises(ConfigError, match="without a CRS; give it in px") as caught:
            geoseg.segment(
                raster(IDS, crs=None), COVERS, backend=NeverAsked((0,)), out=out, **options
            )
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
    assert geoseg.segment(
        raster(IDS, crs=None), COVERS, backend=MODEL, out=out, smooth=True, **CUT
    ).complete


def test_nothing_stays_behind_and_the_recipe_tells(tmp_path):
    steps = []
    out = tmp_path / "map.parquet"
    segment(out=out, progress=lambda *told: steps.append(told))
    assert [p.name for p in tmp_path.iterdir()] == ["map.parquet"]
    recipe = json.loads(pq.read_schema(out).metadata[b"geoseg"])
    assert GENERALISED.items() <= recipe["asked"].items()
    told = [s[1:] for s in steps if s[0] == "generalise"]
    assert told[-1][0] == told[-1][1] > 0
    segment(out=out, overwrite=True, simplify=None, smooth=False)
    assert "simplify" not in json.loads(pq.read_schema(out).metadata[b"geoseg"])["asked"]


@pytest.mark.skipif(not FULL_DISK.exists(), reason="no device here that is full")
def test_a_disk_that_is_full_is_told_in_one_line_and_the_run_continues(tmp_path, monkeypatch):
    out = tmp_path / "map.parquet"
    with monkeypatch.context() as broken:
        broken.setattr("geoseg.generalise.network.Growing", lambda _p, *a: Growing(FULL_DISK, *a))
        with pytest.raises(WriteFailedError) as caught:
            segment(out=out)
    assert "No space left on device; make room there" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["map.parquet.geoseg"]
    assert not list(tmp_path.rglob("writing"))
    assert segment(out=out).complete
    assert [p.name for p in tmp_path.iterdir()] == ["map.parquet"]


def test_other_outlines_need_no_other_tiles(tmp_path):
    out = tmp_path / "map.parquet"
    segment(out=out, keep_run_folder=True)
    first = drawn(segment(out=out, overwrite=True, keep_run_folder=True, simplify="4px"))
    assert first == drawn(segment(simplify="4px"))


def test_an_empty_map_is_one(tmp_path):
    run = segment(np.zeros((20, 20), np.int32), out=tmp_path / "map.gpkg")
    assert run.count == 0
