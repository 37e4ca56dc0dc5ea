"""Points are drawn in proportion to ground, the same in every tiling, and as many as planned."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from drawn import NODATA, drawn, patchwork
from scenes import GEOREF, UTM
from scipy import stats as distributions

from geoseg.analysis import Plan, sample
from geoseg.analysis.classed import open_classed
from geoseg.analysis.design import draw
from geoseg.analysis.form import design_in
from geoseg.analysis.ground import lay, sizes_ha, whole
from geoseg.errors import ConfigError, MapError
from geoseg.frame import Frame, horizontal_wkt

IMAGE = patchwork(90, 120, 3)
IMAGE[:, 100:] = NODATA


def places(found):
    return set(zip(found.points.geometry.x, found.points.geometry.y, strict=True))


def pixels(found):
    xy = shapely.get_coordinates(found.points.geometry.to_numpy())
    cols, rows = ((xy - (GEOREF.c, GEOREF.f)) / (GEOREF.a, GEOREF.e)).T
    return np.floor(cols).astype(int), np.floor(rows).astype(int)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return drawn(tmp_path_factory.mktemp("maps"), IMAGE)


def test_points_lie_in_their_stratum_and_fit_the_design(made):
    found = sample(made, Plan(n=200))
    cols, rows = pixels(found)
    names = np.array(["unmapped", "c0", "c1", "c2"])
    assert (names[IMAGE[rows, cols]] == found.points["stratum"]).all()
    assert (found.points["stratum"] == found.points["map_class"]).all()
    strata = found.design.strata
    assert found.points["stratum"].value_counts().to_dict() == dict(
        zip(strata["stratum"], strata["points"], strict=True)
    )
    assert strata["share"].sum() == pytest.approx(1)
    assert strata["pixels"].sum() == (IMAGE != NODATA).sum()
    assert len(places(found)) == 200
    assert found.points["id"].tolist() == list(range(1, 201))
    assert found.points["reference"].isna().all()
    lonlat = gpd.points_from_xy(found.points["lon"], found.points["lat"], crs=4326).to_crs(UTM)
    assert lonlat.distance(found.points.geometry.to_numpy()).max() < 1e-3


def test_the_order_of_points_tells_nothing_of_their_stratum(made):
    strata = sample(made, Plan(n=400)).points["stratum"]
    runs = 1 + (strata.to_numpy()[1:] != strata.to_numpy()[:-1]).sum()
    share = strata.value_counts(normalize=True)
    expected = 1 + 399 * (1 - (share**2).sum())
    assert abs(runs - expected) < 4 * np.sqrt(expected)


def test_the_same_seed_draws_the_same_points_in_every_tiling(made, tmp_path):
    other = drawn(tmp_path, IMAGE, tile=48, overlap=16)
    one, two = sample(made, Plan(n=100, seed=3)), sample(other, Plan(n=100, seed=3))
    assert one.points.drop(columns="geometry").equals(two.points.drop(columns="geometry"))
    assert one.points.geometry.geom_equals(two.points.geometry).all()
    assert one.design.digest == two.design.digest
    assert places(sample(made, Plan(n=100, seed=4))) != places(one)


def test_more_points_of_the_same_seed_hold_the_fewer(made):
    assert places(sample(made, Plan(n=100))) < places(sample(made, Plan(n=300)))


def square(frame, folder):
    """Lay one class over all of a frame."""
    corners = frame.to_crs(
        np.array([[0, 0], [frame.width, 0], [frame.width, frame.height], [0, frame.height]])
    )
    layer = gpd.GeoDataFrame({"class": ["all"]}, geometry=[shapely.Polygon(corners)], crs=frame.crs)
    return lay(open_classed(layer, "MAP"), whole(frame), folder / "burnt.tif")


@pytest.mark.parametrize(
    "frame",
    [
        Frame(300, 300, Affine(10, 0, 5e5, 0, -10, 5e6), horizontal_wkt(UTM)),
        # From the equator to 80 degrees north a pixel shrinks to a sixth.
        Frame(200, 800, Affine(0.1, 0, 10, 0, -0.1, 80), horizontal_wkt("EPSG:4326")),
        Frame(400, 400, Affine(1e4, 0, 0, 0, -1e4, 8e6), horizontal_wkt("EPSG:3857")),
    ],
)
def test_points_are_uniform_on_the_ground(frame, tmp_path):
    drawn_pixels = draw(square(frame, tmp_path), np.array([4000, 0]), seed=1)
    cells = 10
    ground = sizes_ha(frame, frame.window)
    parts = [np.array_split(np.arange(size), cells) for size in (frame.height, frame.width)]
    wanted = np.array([[ground[np.ix_(r, c)].sum() for c in parts[1]] for r in parts[0]])
    row = np.searchsorted([p[-1] for p in parts[0]], drawn_pixels[:, 1])
    col = np.searchsorted([p[-1] for p in parts[1]], drawn_pixels[:, 0])
    seen = np.zeros((cells, cells))
    np.add.at(seen, (row, col), 1)
    chance = distributions.chisquare(seen.ravel(), (wanted / wanted.sum() * 4000).ravel()).pvalue
    assert 0.01 < chance < 0.99
    # A draw by pixels would be found out where they differ in size.
    flat = distributions.chisquare(seen.sum(axis=1), np.full(cells, 400)).pvalue
    assert (flat < 1e-6) == (ground.max() / ground.min() > 1.5)


def test_where_polygons_overlap_the_last_one_counts(made):
    frame = open_classed(made, "MAP").frame
    boxes = [shapely.box(500_000, 4_999_500, 500_500, 5_000_000), *2 * [None]]
    boxes[1] = shapely.box(500_200, 4_999_500, 500_500, 5_000_000)
    boxes[2] = shapely.box(500_400, 4_999_500, 500_500, 5_000_000)
    layer = gpd.GeoDataFrame({"class": ["a", "b", "a"]}, geometry=boxes, crs=UTM)
    raster = str(made.with_suffix(".tif"))
    strata = sample(layer, Plan(n=100), raster=raster).design.strata.set_index("stratum")
    assert strata["pixels"].to_dict() == {
        "a": 50 * 30,
        "b": 50 * 20,
        "unmapped": (IMAGE != NODATA).sum() - 50 * 50,
    }
    assert frame.width == 120


def test_strata_may_be_another_layer(made, tmp_path):
    half = shapely.box(500_000, 4_999_100, 500_400, 5_000_000)
    gpd.GeoDataFrame({"class": ["west"]}, geometry=[half], crs=UTM).to_file(tmp_path / "s.gpkg")
    found = sample(made, Plan(n=100), strata=str(tmp_path / "s.gpkg"))
    cols, rows = pixels(found)
    assert ((cols < 40) == (found.points["stratum"] == "west")).all()
    names = np.array(["unmapped", "c0", "c1", "c2"])
    assert (names[IMAGE[rows, cols]] == found.points["map_class"]).all()
    assert found.design.strata["pixels"].tolist() == [90 * 40, 90 * 60]
    assert not found.design.by_class


def test_small_strata_are_taken_whole_or_left_out(tmp_path, caplog):
    image = np.ones((40, 50), np.int32)
    image[3, 3:10], image[20, 20] = 2, 3
    found = sample(drawn(tmp_path, image), Plan(n=100))
    assert found.design.strata["points"].tolist() == [93, 7]
    assert "stratum 'c1' has 7 pixels only: all of them are points" in caplog.text
    assert "stratum 'c2' has only 1 pixel, and is left out" in caplog.text


def test_without_a_crs_shares_are_told(tmp_path):
    image = np.ones((40, 50), np.int32)
    image[:, 30:] = 2
    strata = sample(drawn(tmp_path, image, crs=None), Plan(n=50)).design.strata
    assert strata["share"].tolist() == pytest.approx([0.6, 0.4])
    assert strata["area_ha"].isna().all()


def test_plans():
    sizes = {"a": 800.0, "b": 190.0, "c": 10.0}
    assert Plan(n=300, min_per_class=50).counts(sizes) == {"a": 200, "b": 50, "c": 50}
    assert Plan(n=300, allocation="equal").counts(sizes) == dict.fromkeys(sizes, 100)
    assert Plan(n=1000, min_per_class=2).counts(sizes) == {"a": 800, "b": 190, "c": 10}
    neyman = Plan(n=1000, allocation="neyman", expected={"a": 0.99, "": 0.5}, min_per_class=2)
    spread = np.array([800 * 0.99 * 0.1005, 190 * 0.5, 10 * 0.5])
    assert list(neyman.counts(sizes).values()) == pytest.approx(1000 * spread / spread.sum(), abs=5)
    # 0.8464 x 0.1536 / 0.02^2 units, of which a rare class gets 50.
    planned = Plan(target_se=0.02, expected=0.8464, min_per_class=50).counts(sizes)
    assert sum(planned.values()) == 326
    assert planned["c"] == 50


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (lambda: Plan(n=1), "--n 1 is too few"),
        (lambda: Plan(n=9, target_se=0.1), "both say how many points"),
        (lambda: Plan(allocation="best"), "'best' is none of: proportional, equal, neyman"),
        (lambda: Plan(target_se=0.1), "need --expected"),
        (lambda: Plan(expected=0.5), "leave it out"),
        (lambda: Plan(min_per_class=1), "no standard error"),
        (lambda: Plan(seed=-1), "below 0"),
        (lambda: Plan(n=100, min_per_class=60).counts({"a": 1, "b": 1}), "100 points are too few"),
        (
            lambda: Plan(target_se=0.1, expected={"x": 1}).counts({"a": 1}),
            r"names 'x', which is no stratum \(strata: a\)",
        ),
        (
            lambda: Plan(target_se=0.1, expected={"a": 1}).counts({"a": 1, "b": 1}),
            "does not say how right 'b' will be",
        ),
    ],
)
def test_plans_that_cannot_be_met_are_said(plan, message):
    with pytest.raises(ConfigError, match=message):
        plan()


def test_without_ground_nothing_is_drawn(tmp_path):
    layer = gpd.GeoDataFrame({"class": ["a"]}, geometry=[shapely.box(0, 0, 1, 1)], crs=UTM)
    image = np.full((5, 5), NODATA, np.int32)
    image[2, 2] = 1
    raster = str(drawn(tmp_path, image).with_suffix(".tif"))
    with pytest.raises(MapError, match="no ground to draw points from"):
        sample(layer, raster=raster)


def test_the_command_writes_points_with_their_design_and_a_form(made, tmp_path, run):
    import sqlite3

    out = tmp_path / "points.gpkg"
    code, _, err = run("sample", made, "--out", out, "--n", 80, "--seed", 5)
    assert code == 0
    assert "80 points in" in err
    wanted = sample(made, Plan(n=80, seed=5))
    points = gpd.read_file(out, layer="points")
    assert points["id"].tolist() == wanted.points["id"].tolist()
    assert points.geometry.geom_equals(wanted.points.geometry).all()
    assert points["reference"].isna().all()
    design = design_in(out)
    assert design.strata.equals(wanted.design.strata)
    assert (design.digest, design.seed, design.by_class) == (wanted.design.digest, 5, True)
    with sqlite3.connect(out) as db:
        [[form]] = db.execute("select styleQML from layer_styles where f_table_name = 'points'")
        assert db.execute("select sum(points) from strata").fetchone() == (80,)
    db.close()
    assert '<Option name="none of these" type="QString" value="unmapped"' in form
    assert '<field name="map_class"><editWidget type="Hidden">' in form
    first = out.read_bytes()
    assert run("sample", made, "--out", out, "--n", 80, "--seed", 5)[0] == 2
    assert run("sample", made, "--out", out, "--n", 80, "--seed", 5, "--overwrite")[0] == 0
    assert out.read_bytes() == first
    code, _, err = run("sample", made, "--out", tmp_path / "p.csv")
    assert (code, "takes .gpkg" in err) == (2, True)
    code, _, err = run("sample", made, "--out", tmp_path / "p.gpkg", "--target-se", 0.05,
                       "--expected", "c0=0.9, 0.8")  # fmt: skip
    assert code == 0
    code, _, err = run("sample", made, "--out", tmp_path / "q.gpkg", "--expected", "high")
    assert (code, "is no list of accuracies" in err) == (2, True)


@pytest.mark.filterwarnings("error:'crs' was not provided")
def test_a_map_without_a_crs_gives_points_without_a_warning(tmp_path, run):
    path = drawn(tmp_path, np.ones((30, 30), np.int32), crs=None)
    assert run("sample", path, "--out", tmp_path / "p.gpkg", "--n", 20)[0] == 0
