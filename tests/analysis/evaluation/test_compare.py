"""A map is judged where it and the reference are known, and what is judged is said."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from scenes import GEOREF, UTM, ByIdentity, apart, legend, raster, shapes, truth

import geoseg
from geoseg.analysis import evaluate
from geoseg.analysis.evaluation import layers
from geoseg.errors import ConfigError, MissingDependencyError
from geoseg.grid import Grid
from geoseg.window import Window

pytest.importorskip("pycocotools", reason="pycocotools is not installed")

IDS, COUNT = apart(shapes(70, 90, np.random.default_rng(5)))
KINDS = legend("object", "cover")
CLASSES = tuple(n % 2 for n in range(COUNT))
GRID = Grid(Window(0, 0, 90, 70), 40, 8)


@dataclass(frozen=True)
class Failing(ByIdentity):
    """Fails in one tile."""

    bad: int = -1

    def answer(self, tile):
        if self.bad >= 0 and tile.window == GRID[self.bad].read:
            raise RuntimeError("out of luck")
        return super().answer(tile)


def mapped(tmp_path, **options):
    out = tmp_path / "map.gpkg"
    bad = options.pop("bad", -1)
    geoseg.segment(
        raster(IDS), KINDS, backend=Failing(CLASSES, bad=bad), out=out, tile=40, overlap=8,
        **options,
    )  # fmt: skip
    return out


def right(crs=UTM):
    outlines = truth(IDS, COUNT)
    names = [f"c{c}" for c in CLASSES]
    return gpd.GeoDataFrame({"class": names}, geometry=outlines, crs=UTM).to_crs(crs)


def row(found, zone="whole", name="c0"):
    table = found.table
    return table[(table["zone"] == zone) & (table["class"] == name)].iloc[0]


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326"])
def test_a_right_map_is_perfect_whatever_the_crs_of_the_reference(tmp_path, crs):
    found = evaluate(mapped(tmp_path), right(crs), seam_px=3)
    objects, covers = (found.table[found.table["kind"] == k] for k in ("object", "cover"))
    for measure in ("AP", "AP50", "AP75", "precision", "recall", "F1"):
        values = objects[measure].dropna()
        assert len(values) >= 3
        # COCO's own precision is 1 - 2e-16.
        assert np.allclose(values, 1, atol=1e-12, rtol=0)
    assert (objects["PQ"].dropna() > 0.99).all()
    for measure in ("IoU", "precision", "recall", "F1", "boundary_F1"):
        assert (covers[measure].dropna() == 1).all()
    assert row(found)["right"] == CLASSES.count(0)
    assert row(found, name="c1")["right"] == np.isin(IDS, np.flatnonzero(CLASSES) + 1).sum()
    assert found.complete
    assert found.facts["seam_px"] == 3


def test_zones_of_polygons_and_pixels_add_up(tmp_path):
    wrong = right()
    wrong.geometry = wrong.geometry.translate(20, 10)
    found = evaluate(mapped(tmp_path), wrong, seam_px=3)
    for name in ("c0", "c1"):
        for what in ("right", "false", "missed"):
            whole, seam, interior = (row(found, z, name)[what] for z in geoseg_zones())
            assert whole == seam + interior
    assert row(found)["AP"] < 1
    assert row(found, name="c1")["IoU"] < 1


def geoseg_zones():
    return ("whole", "seam", "interior")


def test_a_tile_that_failed_does_not_count_and_is_told(tmp_path):
    bad = 4
    found = evaluate(mapped(tmp_path, bad=bad, overwrite=True), right())
    core = GRID[bad].core
    inside = (IDS > 0)[core.slices_in(GRID.raster)]
    assert inside.any()
    assert not found.complete
    assert found.failed_tiles == 1
    note = next(note for note in found.notes if "tiles failed" in note)
    assert f"their {core.width * core.height} pixels do not count" in note
    pixels = found.confusion.query("zone == 'whole'")["pixels"].sum()
    assert pixels == 70 * 90 - core.width * core.height
    assert row(found, name="c1")["recall"] == 1


def test_only_what_lies_in_an_area_counts(tmp_path):
    t = GEOREF
    half = shapely.box(t.c, t.f - 700, t.c + 450, t.f)
    aoi = gpd.GeoDataFrame(geometry=[half], crs=UTM)
    reference = right()
    kept = reference[reference.geometry.centroid.within(half) | (reference["class"] == "c1")]
    found = evaluate(mapped(tmp_path), kept, aoi=aoi)
    assert found.confusion.query("zone == 'whole'")["pixels"].sum() == 70 * 45
    assert row(found)["precision"] == row(found)["recall"] == 1
    assert row(found)["right"] == reference[reference["class"] == "c0"].centroid.within(half).sum()
    everything = evaluate(tmp_path / "map.gpkg", kept)
    assert row(everything)["false"] > 0


def scene(tmp_path, holes=0):
    """Write a lake in a meadow, with so many columns without data at its right edge."""
    data = np.empty((4, 60, 80), np.uint8)
    data[:] = np.array([70, 110, 60, 190], np.uint8)[:, None, None]
    data[:, 20:40, 20:60] = np.array([30, 50, 60, 10], np.uint8)[:, None, None]
    if holes:
        data[:, :, -holes:] = 0
    path = tmp_path / "scene.tif"
    place = {"crs": UTM, "transform": GEOREF, "driver": "GTiff", "photometric": "MINISBLACK"}
    size = {"count": 4, "height": 60, "width": 80, "dtype": "uint8", "nodata": 0}
    with rasterio.open(path, "w", **place, **size) as target:
        target.write(data)
    return path


def lakes(name="water"):
    t = GEOREF
    shapes_ = [
        shapely.box(t.c + 200, t.f - 400, t.c + 600, t.f - 200),
        shapely.box(t.c + 700, t.f - 600, t.c + 800, t.f),
    ]
    return gpd.GeoDataFrame({"class": [name] * 2}, geometry=shapes_, crs=UTM)


def test_where_the_raster_has_no_data_nothing_is_missed(tmp_path):
    out = tmp_path / "map.gpkg"
    path = scene(tmp_path, holes=10)
    geoseg.segment(path, "water", out=out, sensor="naip")
    found = evaluate(out, lakes())
    # The backend rounds corners.
    corners = row(found, name="water")["missed"]
    assert corners <= 4
    assert found.confusion.query("zone == 'whole'")["pixels"].sum() == 60 * 70
    assert found.notes == ()
    path.unlink()
    blind = evaluate(out, lakes())
    assert row(blind, name="water")["missed"] == 600 + corners
    assert any("has no data is not known" in note for note in blind.notes)


def test_the_area_of_interest_of_the_map_is_that_of_the_judgement(tmp_path):
    out, aoi = tmp_path / "map.gpkg", tmp_path / "area.gpkg"
    lakes().iloc[:1].buffer(50).to_frame("geometry").to_file(aoi)
    geoseg.segment(scene(tmp_path), "water", out=out, sensor="naip", aoi=aoi)
    found = evaluate(out, lakes())
    assert row(found, name="water")["IoU"] > 0.99
    assert any(str(aoi) in note for note in found.notes)
    aoi.unlink()
    lost = evaluate(out, lakes())
    assert row(lost, name="water")["IoU"] < 0.9
    assert any("pass --aoi" in note for note in lost.notes)


def test_a_map_that_was_cut_to_its_area_is_held_against_what_lies_in_it(tmp_path):
    t, aoi = GEOREF, tmp_path / "area.gpkg"
    half = shapely.box(t.c, t.f - 700, t.c + 450, t.f)
    gpd.GeoDataFrame(geometry=[half], crs=UTM).to_file(aoi)
    out = mapped(tmp_path, aoi=aoi)
    assert gpd.read_file(out, layer="features").clipped.any()
    found = evaluate(out, right())
    assert row(found)["AP"] == pytest.approx(1, abs=1e-12)
    assert row(found)["PQ"] == pytest.approx(1, abs=1e-6)
    assert row(found, name="c1")["IoU"] == 1


def test_another_layer_is_judged_as_a_whole_and_without_scores(monkeypatch):
    monkeypatch.setattr(layers, "_GRID_PIXELS", 2**18)
    layer, reference = (right(crs).replace({"c1": "water"}) for crs in (UTM, "EPSG:4326"))
    found = evaluate(layer, reference)
    assert set(found.table["zone"]) == {"whole"}
    assert math.isnan(row(found)["AP"])
    assert row(found)["F1"] == 1
    assert row(found)["PQ"] > 0.999
    assert row(found, name="water")["IoU"] > 0.999
    assert any("does not say how it was made" in note for note in found.notes)
    assert any("no score" in note for note in found.notes)
    scored = evaluate(layer.assign(score=0.5), reference)
    assert row(scored)["AP"] == 1


def test_a_reference_without_classes_is_of_one_and_names_may_differ(tmp_path):
    out = mapped(tmp_path)
    plain = right()[right()["class"] == "c0"][["geometry"]]
    with pytest.raises(ConfigError, match=r"no column 'class'.*--class-column, or --class NAME"):
        evaluate(out, plain)
    found = evaluate(out, plain, class_name="c0")
    assert row(found)["AP"] == 1
    assert any("not judged: c1" in note for note in found.notes)
    renamed = right().replace({"c0": "hut", "c1": "lake"})
    with pytest.raises(ConfigError, match="the map has c0, c1, the reference hut, lake"):
        evaluate(out, renamed)
    both = evaluate(out, renamed, match={"hut": "c0", "lake": "c1"})
    assert row(both)["AP50"] == row(both, name="c1")["IoU"] == 1
    other = renamed.rename(columns={"class": "what"})
    assert row(evaluate(out, other, column="what", match={"hut": "c0"}))["AP"] == 1
    with pytest.raises(ConfigError, match="no class 'barn'; it has hut, lake"):
        evaluate(out, renamed, match={"barn": "c0"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iou": 0}, "--iou 0 is outside"),
        ({"iou": 1.1}, "--iou 1.1 is outside"),
        ({"iou": math.nan}, "--iou nan is outside"),
        ({"seam_px": 0}, "--seam 0 is not above 0"),
        ({"boundary": "wide"}, "--boundary 'wide': give a length"),
        ({"boundary": "9km"}, "--boundary 9km is 900 pixels"),
        ({"aoi": "nowhere.gpkg"}, "no such file: nowhere.gpkg"),
    ],
)
def test_wrong_settings_are_one_line(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        evaluate(mapped(tmp_path), right(), **options)


def test_without_the_evaluator_objects_are_refused_and_covers_are_not(tmp_path, monkeypatch):
    out = mapped(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "pycocotools.cocoeval", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "geoseg\[coco\]"'):
        evaluate(out, right())
    covers = right()
    assert row(evaluate(out, covers[covers["class"] == "c1"]), name="c1")["IoU"] == 1


def test_a_reference_of_another_place_or_without_place_is_refused(tmp_path):
    out = mapped(tmp_path)
    far = right()
    far.geometry = far.geometry.translate(1e5, 0)
    with pytest.raises(ConfigError, match=r"nothing of .* lies in .*: is the CRS of either wrong"):
        evaluate(out, far)
    near = right()
    covers = near["class"] == "c1"
    near.loc[~covers, "geometry"] = near[~covers].translate(1e5, 0)
    found = evaluate(out, near)
    assert math.isnan(row(found)["recall"])
    assert row(found)["false"] == CLASSES.count(0)
    assert "no object of the reference lies in the map" in found.notes
    with pytest.raises(ConfigError, match="has no coordinate reference system, the other has one"):
        evaluate(out, right().set_crs(None, allow_override=True))


def test_a_map_of_nothing_has_missed_everything(tmp_path):
    out = tmp_path / "map.gpkg"
    nothing = np.zeros_like(IDS)
    geoseg.segment(raster(nothing), KINDS, backend=ByIdentity(CLASSES), out=out, tile=40, overlap=8)
    found = evaluate(out, right())
    assert row(found)["AP"] == row(found)["recall"] == row(found)["PQ"] == 0
    assert row(found)["missed"] == CLASSES.count(0)
    assert math.isnan(row(found)["precision"])
    assert math.isnan(row(found)["SQ"])
    assert row(found, name="c1")["IoU"] == row(found, name="c1")["boundary_F1"] == 0


# ------------------------------------------------------------------------------- command


@pytest.fixture
def files(tmp_path):
    reference = tmp_path / "reference.gpkg"
    right().to_file(reference)
    return mapped(tmp_path), reference


def test_the_command_prints_a_table_for_people_and_one_for_machines(run, files, tmp_path):
    code, out, err = run("evaluate", *files, "--seam", 3)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("zone,class,kind,AP,AP50,AP75,PQ,SQ,RQ,IoU,precision")
    assert lines[1].startswith("whole,c0,object,1,1,1,1,1,1,,1,1,1,,,,")
    assert "objects" in err
    assert "covers" in err
    code, out, _ = run("evaluate", *files, "--json", "-q")
    found = json.loads(out)
    assert code == 0
    assert found["complete"]
    assert found["zones"]["whole"]["classes"]["c0"]["AP"] == 1
    assert found["zones"]["whole"]["classes"]["c1"]["IoU"] == 1
    assert found["zones"]["whole"]["mean"]["cover"]["IoU"] == 1
    assert "IoU" not in found["zones"]["whole"]["classes"]["c0"]
    csv, file = tmp_path / "t.csv", tmp_path / "t.json"
    for path in (csv, file):
        assert run("evaluate", *files, "--out", path, "-q") == (0, "", "")
    assert len(pd.read_csv(csv)) == 3 * 6
    assert {**json.loads(file.read_text()), "event": "result"} == found
    code, _, err = run("evaluate", *files, "--out", csv)
    assert code == 2
    assert "is already there; pass --overwrite" in err
    assert run("evaluate", *files, "--out", csv, "--overwrite", "-q")[0] == 0
    assert not list(tmp_path.glob("*.geoseg"))


def test_what_has_no_value_is_null_and_not_nothing(run, files):
    _, out, _ = run("evaluate", *files, "--json", "-q", "--seam", 9999)
    interior = json.loads(out)["zones"]["interior"]["classes"]
    assert interior["c0"]["AP"] is None
    assert interior["c0"]["precision"] is None
    assert interior["c0"]["right"] == 0
    assert interior["c1"]["IoU"] is None
    assert interior["c1"]["boundary_F1"] is None


def test_an_incomplete_map_ends_with_1(run, tmp_path):
    reference = tmp_path / "reference.gpkg"
    right().to_file(reference)
    code, out, err = run("evaluate", mapped(tmp_path, bad=4), reference)
    assert code == 1
    assert out.startswith("zone,")
    assert "error: 1 tiles of the map failed" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--out", "t.xlsx"), "takes .csv, .json"),
        (("--match", "c0"), "--match 'c0' is no pair"),
        (("--class", "barn"), "no class of the map is in the reference"),
        (("--class-column", "kind"), "no column 'kind'"),
        (("--boundary", "2"), "--boundary '2': give a length"),
        (("--aoi", "no.gpkg"), "no such file: no.gpkg"),
    ],
)
def test_bad_input_is_one_line_and_ends_with_2(run, files, options, message):
    code, out, err = run("evaluate", *files, *options)
    assert code == 2
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1


def test_layers_that_cannot_be_used_are_named(run, files, tmp_path):
    for pair in (("no.gpkg", files[1]), (files[0], "no.gpkg")):
        code, _, err = run("evaluate", *pair)
        assert code == 2
        assert "no such file: no.gpkg" in err
    points = tmp_path / "points.gpkg"
    gpd.GeoDataFrame({"class": ["c0"]}, geometry=[shapely.Point(5e5, 5e6)], crs=UTM).to_file(points)
    for more in ((), ("--class", "c0")):
        code, _, err = run("evaluate", files[0], points, *more)
        assert code == 2
        assert f"{points} holds point; REFERENCE takes polygons" in err
