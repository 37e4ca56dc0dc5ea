"""Estimates are the published ones, hold the truth as often as they say, and nothing is hidden."""

import io
import json
import sqlite3

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from affine import Affine
from drawn import NODATA, drawn, patchwork
from scenes import GEOREF

from geoseg.analysis import Plan, accuracy, sample
from geoseg.analysis.assess import AFTERWARDS, BY_CLASS, BY_OTHERS
from geoseg.errors import ConfigError

NAMES = np.array(["unmapped", "c0", "c1", "c2"])
IMAGE = patchwork(90, 120, 3)
IMAGE[:, 100:] = NODATA


def truth_of(image, seed=1, wrong=0.15):
    """Spoil an image: what is really there, in patches."""
    random = np.random.default_rng(seed)
    other = patchwork(*image.shape, 3, seed + 50)
    noise = np.kron(random.random((9, 12)), np.ones((10, 10)))[: image.shape[0], : image.shape[1]]
    return np.where((noise < wrong) & (image != NODATA), other, image)


TRUTH = truth_of(IMAGE)


def looked_at(points, truth, transform=GEOREF):
    """Fill the reference of points."""
    xy = shapely.get_coordinates(points.geometry.to_numpy())
    cols, rows = np.floor((xy - (transform.c, transform.f)) / (transform.a, transform.e)).T
    return points.assign(reference=NAMES[truth[rows.astype(int), cols.astype(int)]])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return drawn(tmp_path_factory.mktemp("maps"), IMAGE)


@pytest.fixture(scope="module")
def filled(made):
    found = sample(made, Plan(n=200))
    return looked_at(found.points, TRUTH), found.design


# Table 8 of Olofsson et al. (2014): deforestation, gain, stable forest, stable non-forest.
COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
PIXELS = (2_000, 1_500, 32_000, 64_500)


def test_olofsson_2014_from_a_map_and_points_to_the_published_digits(tmp_path):
    # Pixels of 9 ha in an equal-area projection: 18,000, 13,500, 288,000 and 580,500 ha.
    image = np.repeat([1, 2, 3, 4], PIXELS).reshape(250, 400).astype(np.int32)
    transform = Affine(300, 0, 0, 0, -300, 600_000)
    path = drawn(tmp_path, image, crs="EPSG:6933", transform=transform)
    random = np.random.default_rng(0)
    cells, reference = [], []
    for k, row in enumerate(COUNTS):
        cells += random.choice(np.flatnonzero(image == k + 1), row.sum(), replace=False).tolist()
        reference += [f"c{j}" for j, count in enumerate(row) for _ in range(count)]
    rows, cols = np.divmod(cells, 400)
    places = shapely.points(300 * cols + 150, 600_000 - 300 * rows - 150)
    points = gpd.GeoDataFrame({"reference": reference}, geometry=places, crs="EPSG:6933")
    found = accuracy(path, points.to_crs(4326))
    assert found.design == AFTERWARDS
    assert (found.counts.to_numpy() == COUNTS).all()
    assert found.classes["map_ha"].tolist() == pytest.approx([18_000, 13_500, 288_000, 580_500])
    assert round(found.overall, 2) == 0.95
    assert round(found.overall_ci95, 2) == 0.02
    rounded = found.classes.round({"area_ha": 0, "area_ci95_ha": 0}).round(2)
    assert rounded["users"].tolist() == [0.88, 0.73, 0.93, 0.96]
    assert rounded["users_ci95"].tolist() == [0.07, 0.10, 0.04, 0.02]
    assert rounded["producers"].tolist() == [0.75, 0.85, 0.93, 0.96]
    assert rounded["producers_ci95"].tolist() == [0.21, 0.25, 0.03, 0.02]
    assert rounded["area_ha"].tolist() == [21_158, 11_686, 285_770, 581_386]
    assert rounded["area_ci95_ha"].tolist() == [6_158, 3_756, 15_510, 16_281]
    assert found.matrix.to_numpy().sum() == pytest.approx(1)


def test_intervals_hold_the_truth_as_often_as_they_say(made):
    ground = IMAGE != NODATA
    right = (IMAGE == TRUTH)[ground].mean()
    share = {name: (TRUTH[ground] == k).mean() for k, name in enumerate(NAMES)}
    held, guesses = [], []
    for seed in range(40):
        drawn_points = sample(made, Plan(n=150, seed=seed))
        found = accuracy(made, looked_at(drawn_points.points, TRUTH), design=drawn_points.design)
        assert found.design == BY_CLASS
        assert not found.notes
        classes = found.classes
        wanted = classes["class"].map(share)
        held += (abs(classes["share"] - wanted) <= classes["share_ci95"]).tolist()
        held.append(abs(found.overall - right) <= found.overall_ci95)
        guesses.append(found.overall)
    assert np.mean(held) == pytest.approx(0.95, abs=0.035)
    assert np.mean(guesses) == pytest.approx(right, abs=0.01)


def test_a_map_that_is_right_is_told_to_be(made):
    found = sample(made, Plan(n=100))
    result = accuracy(made, looked_at(found.points, IMAGE), design=found.design)
    assert (result.overall, result.overall_ci95) == (1, 0)
    assert result.classes["area_ha"].tolist() == pytest.approx(result.classes["map_ha"].tolist())


def test_a_newer_map_is_judged_by_the_points_of_the_old_one(made, filled, tmp_path):
    points, design = filled
    new = drawn(tmp_path, TRUTH)
    found = accuracy(new, points, design=design)
    assert found.design == BY_OTHERS
    assert "is not the map that the points were drawn from" in found.notes[0]
    assert found.overall == 1
    # Its strata are still the old map's, so the areas are as unsure as before.
    old = accuracy(made, points, design=design).classes
    assert found.classes["share"].tolist() == pytest.approx(old["share"].tolist())
    assert found.classes["share_ci95"].tolist() == pytest.approx(old["share_ci95"].tolist())
    ground = IMAGE != NODATA
    wanted = [(TRUTH[ground] == list(NAMES).index(n)).sum() / 100 for n in found.classes["class"]]
    assert found.classes["map_ha"].tolist() == pytest.approx(wanted, rel=1e-3)


def test_strata_of_another_layer_weigh_the_points(made):
    half = shapely.box(500_000, 4_999_100, 500_400, 5_000_000)
    strata = gpd.GeoDataFrame({"class": ["west"]}, geometry=[half], crs="EPSG:32633")
    found = sample(made, Plan(n=400, allocation="equal"), strata=strata)
    result = accuracy(made, looked_at(found.points, TRUTH), design=found.design)
    assert result.design == BY_OTHERS
    right = (IMAGE == TRUTH)[IMAGE != NODATA].mean()
    assert abs(result.overall - right) <= result.overall_ci95 * 1.5
    sides = found.points.assign(right=looked_at(found.points, TRUTH)["reference"]
                                == found.points["map_class"])  # fmt: skip
    by_hand = 0.4 * sides[sides["stratum"] == "west"]["right"].mean()
    by_hand += 0.6 * sides[sides["stratum"] != "west"]["right"].mean()
    assert result.overall == pytest.approx(by_hand, rel=1e-4)


def test_points_without_a_reference_are_left_out_and_told(made, filled):
    points, design = filled
    some = points.assign(reference=points["reference"].where(points["id"] > 3, " "))
    found = accuracy(made, some, design=design)
    assert (found.points, found.empty) == (197, 3)
    assert "3 of 200 points have no reference yet (id 1, 2, 3)" in found.notes[0]
    fewer = points[points["id"] > 5]
    found = accuracy(made, fewer, design=design)
    assert found.empty == 5
    assert "5 points of the sample are not in the layer of points any more" in found.notes[0]
    kept = points["reference"].where(points["stratum"] != "c1", None)
    with pytest.raises(ConfigError, match="stratum 'c1' has 0 units"):
        accuracy(made, points.assign(reference=kept), design=design)


@pytest.mark.filterwarnings("ignore")
def test_classes_may_differ_in_nothing_but_capitals():
    boxes = [shapely.box(0, 0, 100, 100), shapely.box(100, 0, 200, 100)]
    layer = gpd.GeoDataFrame({"class": ["Forest", "forest"]}, geometry=boxes, crs=32632)
    x = np.linspace(5, 195, 20)
    points = gpd.GeoDataFrame(
        {"reference": np.where(x < 100, "Forest", "forest")},
        geometry=shapely.points(x, 50),
        crs=32632,
    )
    assert accuracy(layer, points).overall == pytest.approx(1)


def test_words_that_are_no_class_are_classes_of_their_own(made, filled):
    points, design = filled
    words = points["reference"].replace({"c0": " C0 ", "c1": "c11", "unmapped": "UNMAPPED"})
    found = accuracy(made, points.assign(reference=words), design=design)
    assert found.classes["class"].tolist() == ["c0", "c1", "c11", "c2", "unmapped"]
    count = (words == "c11").sum()
    [note] = found.notes
    assert f"the reference has 'c11' at {count} points, which is no class of the map" in note
    assert note.endswith("a class of its own; did you mean 'c1'?")
    row = found.classes.set_index("class").loc["c11"]
    assert row["map_ha"] == row["map_points"] == row["producers"] == 0
    assert np.isnan(row["users"])


def test_points_that_were_moved_are_refused(made, filled):
    points, design = filled
    moved = points.copy()
    wrong = moved["map_class"].to_numpy() != moved["map_class"].to_numpy()[0]
    moved.loc[0, "geometry"] = points.geometry[np.flatnonzero(wrong)[0]]
    with pytest.raises(ConfigError, match=r"1 points of .* \(id 1\) were moved to another class"):
        accuracy(made, moved, design=design)


def test_points_from_elsewhere_are_weighted_by_the_map(made, caplog):
    random = np.random.default_rng(2)
    xy = random.uniform((500_000, 4_999_100), (501_300, 5_000_000), (400, 2))
    points = gpd.GeoDataFrame(geometry=shapely.points(xy), crs="EPSG:32633")
    inside = xy[:, 0] < 501_000
    known = looked_at(points[inside], TRUTH)
    points = points.assign(truth=known["reference"]).fillna({"truth": "c0"})
    found = accuracy(made, points, reference_column="truth")
    assert found.design == AFTERWARDS
    assert found.points == inside.sum()
    assert f"{(~inside).sum()} points (id " in found.notes[0]
    right = (IMAGE == TRUTH)[IMAGE != NODATA].mean()
    assert abs(found.overall - right) <= found.overall_ci95 * 1.5
    few = known[IMAGE[rows_of(known), cols_of(known)] != 2]
    partly = accuracy(made, few)
    assert "no point lies in c1: estimates are of the rest, without" in partly.notes[0]
    assert not caplog.records or "raster" not in caplog.text


def rows_of(points):
    return np.floor((5_000_000 - points.geometry.y) / 10).astype(int)


def cols_of(points):
    return np.floor((points.geometry.x - 500_000) / 10).astype(int)


def test_a_map_of_one_class_can_be_judged(tmp_path):
    path = drawn(tmp_path, np.ones((30, 30), np.int32))
    found = sample(path, Plan(n=40))
    points = found.points.assign(reference=["c0"] * 30 + ["bog"] * 10)
    result = accuracy(path, points, design=found.design)
    assert result.overall == pytest.approx(0.75)
    # A simple random sample of 40 of 900 pixels.
    error = np.sqrt((1 - 40 / 900) * 0.75 * 0.25 / 39)
    assert result.overall_ci95 == pytest.approx(1.96 * error, rel=1e-3)


def test_points_lie_on_the_map_whatever_turn_of_the_globe_they_count_from(tmp_path):
    # Around the date line, in longitudes from 0 to 360.
    transform = Affine(0.01, 0, 179.5, 0, -0.01, 10)
    image = patchwork(80, 100, 3)
    path = drawn(tmp_path, image, crs="EPSG:4326", transform=transform)
    found = sample(path, Plan(n=90))
    points = looked_at(found.points, image, transform)
    west = shapely.points(points["lon"] - 360 * (points["lon"] > 180), points["lat"])
    for places in (points, points.set_geometry(west), points.to_crs(3832)):
        assert accuracy(path, places).overall == 1
        assert accuracy(path, places, design=found.design).overall == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.drop(columns="reference"), "no column 'reference' .*--reference-column"),
        (lambda p: p.assign(reference=None), "no point of .* has a reference yet"),
        (lambda p: p.set_geometry(p.buffer(9)), "holds polygon; POINTS takes points"),
        (lambda p: p.set_crs(None, allow_override=True), "no coordinate reference system"),
        (lambda p: p.set_geometry(p.translate(1e5)), "no point of .* lies on the map"),
    ],
)
def test_what_are_no_points_is_said(made, filled, change, message):
    with pytest.raises(ConfigError, match=message):
        accuracy(made, change(filled[0]))


def test_points_that_were_added_to_a_sample_are_refused(made, filled):
    points, design = filled
    more = pd.concat([points, points.iloc[:1].assign(stratum=None)], ignore_index=True)
    with pytest.raises(ConfigError, match="points without a stratum"):
        accuracy(made, more, design=design)


def edit(path, sql):
    """Change a GeoPackage as QGIS does."""
    with sqlite3.connect(path) as db:
        triggers = db.execute("select name from sqlite_master where type = 'trigger'").fetchall()
        for (name,) in triggers:
            db.execute(f'drop trigger "{name}"')
        db.execute(sql)
    db.close()


def test_the_command_reads_the_design_from_the_file(made, tmp_path, run):
    path, to = tmp_path / "points.gpkg", tmp_path / "classes.json"
    assert run("sample", made, "--out", path, "--n", 120)[0] == 0
    code, _, err = run("accuracy", made, path)
    assert (code, "has a reference yet" in err) == (2, True)
    edit(path, "update points set reference = map_class where id > 1")
    code, out, err = run("accuracy", made, path)
    assert code == 1
    assert "1 of 120 points have no reference yet (id 1)" in err
    assert pd.read_csv(io.StringIO(out))["users"].tolist() == [1, 1, 1, 1]
    edit(path, "update points set reference = 'c0' where id = 1")
    code, out, err = run("accuracy", made, path, "--json", "--out", to)
    assert code == 0
    assert BY_CLASS in err
    facts = json.loads(out)
    assert facts == json.loads(to.read_text())
    assert facts["points"] == sum(sum(row.values()) for row in facts["counts"].values()) == 120
    code, _, err = run("accuracy", made, path, "--out", tmp_path / "c.csv", "--quiet")
    assert (code, err) == (0, "")
    assert len(pd.read_csv(tmp_path / "c.csv")) == 4
    edit(path, "update gpkg_metadata set metadata = replace(metadata, 'digest', 'd')")
    code, _, err = run("accuracy", made, path)
    assert (code, "of its sample is damaged" in err) == (2, True)


def test_the_design_outlives_a_script_that_fills_the_points(made, tmp_path, run):
    path, other = tmp_path / "points of may.gpkg", tmp_path / "other.gpkg"
    code, _, err = run("sample", made, "--out", path, "--n", 120)
    assert (code, f"then geoseg accuracy {made} '{path}'" in err) == (0, True)
    points = gpd.read_file(path, layer="points")
    points["reference"] = points["map_class"]
    points.to_file(path, layer="points")
    code, _, err = run("accuracy", made, path)
    assert (code, BY_CLASS in err) == (0, True)
    points.to_file(other, layer="points")
    code, _, err = run("accuracy", made, other)
    assert (code, AFTERWARDS in err) == (0, True)
    assert "has the strata of a sample, but not its design" in err


def test_the_matrix_is_printed_whole(tmp_path, run):
    image = np.repeat(np.arange(1, 13), 300).reshape(60, 60).astype(np.int32)
    path = drawn(tmp_path, image)
    points = sample(path, Plan(n=200)).points
    points.assign(reference=points["map_class"] + " with a long name").to_file(tmp_path / "p.gpkg")
    code, _, err = run("accuracy", path, tmp_path / "p.gpkg")
    assert code == 0
    assert "..." not in err
    assert all(f"c{k} with a long name" in err.split("overall")[0] for k in range(12))
