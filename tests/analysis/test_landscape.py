"""Every bit of ground is counted once, in its class and its zone, whatever the zones' CRS."""

import io
import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import pytest
import shapely
from affine import Affine
from drawn import FailingAtTheLeft, drawn, patchwork
from hypothesis import given
from hypothesis import strategies as st
from scenes import UTM, ByIdentity, apart, examples, legend, raster, shapes
from scipy import ndimage

import geoseg
from geoseg import ArrayRaster
from geoseg.analysis import sample, stats
from geoseg.errors import ConfigError

IDS, COUNT = apart(shapes(60, 80, np.random.default_rng(5)))
CLASSES = tuple(n % 3 for n in range(COUNT))
KIND = np.append(-1, CLASSES)[IDS]
THINGS = legend("object", "object", "object")
FRAME = raster(IDS, crs=UTM).frame


def to_map(frame, *polygons):
    return shapely.transform(np.array(polygons, object), frame.to_crs)


def zones(*polygons, names=None, crs=UTM, **columns):
    names = [f"z{k}" for k in range(len(polygons))] if names is None else names
    return gpd.GeoDataFrame({"name": names, **columns}, geometry=list(polygons), crs=crs)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("maps") / "m.gpkg"
    pixels = raster(IDS, crs=UTM)
    geoseg.segment(pixels, THINGS, backend=ByIdentity(CLASSES), out=out, tile=40, overlap=8)
    return out


def test_figures_of_a_map_are_those_counted_in_pixels(made):
    found = stats(made).set_index("class")
    pixels = FRAME.pixels_m2(np.argwhere(np.ones(IDS.shape))[:, ::-1] + 0.5).reshape(IDS.shape)
    assert found.index.tolist() == ["c0", "c1", "c2"]
    for k, row in enumerate(found.itertuples()):
        patches = [n == IDS for n in np.unique(IDS[k == KIND])]
        areas = np.array([pixels[p].sum() for p in patches])
        assert row.count == row.patches == len(patches)
        assert row.area_ha == pytest.approx(areas.sum() / 1e4)
        assert row.mean_patch_ha == pytest.approx(areas.mean() / 1e4)
        assert row.largest_patch_pct == pytest.approx(100 * areas.max() / pixels.sum())
        edges = sum(
            (np.diff(np.pad(p, 1).astype(int), axis=axis) != 0).sum()
            for p in patches
            for axis in (0, 1)
        )
        assert row.perimeter_m == pytest.approx(edges * 10, rel=1e-3)
        hectares = pixels.sum() / 1e4
        assert row.edge_density_m_ha == pytest.approx(row.perimeter_m / hectares)
        assert row.landscape_ha == pytest.approx(hectares)
        assert row.share_pct == pytest.approx(100 * row.area_ha / hectares)


def test_zones_along_pixels_hold_what_their_pixels_hold(made):
    x, y = 33, 21
    boxes = [shapely.box(0, 0, x, y), shapely.box(x, 0, 80, y), shapely.box(0, y, x, 60)]
    found = stats(made, zones(*to_map(FRAME, *boxes), names=["a", "b", "a"]))
    zone = np.full(IDS.shape, "(outside)", object)
    zone[:y, :x] = zone[y:, :x] = "a"
    zone[:y, x:] = "b"
    assert set(found["zone"]) == {"a", "b", "(outside)"}
    for row in found.itertuples():
        here = (zone == row.zone) & (int(row[1][1]) == KIND)
        assert row.count == len(np.unique(IDS[here]))
        labels = [ndimage.label(here & (n == IDS))[1] for n in np.unique(IDS[here])]
        assert row.patches == sum(labels)
        assert row.area_ha == pytest.approx(here.sum() / 100, rel=1e-3)
        assert row.landscape_ha == pytest.approx((zone == row.zone).sum() / 100, rel=1e-3)
    assert found.crs == UTM
    assert shapely.area(found.geometry).sum() == pytest.approx(3 * 60 * 80 * 100)


@st.composite
def mosaics(draw):
    """Draw zones that share borders but no ground: pieces of some cut by lines."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lines = [
        shapely.linestrings(random.uniform((-20, -20), (100, 80), (2, 2)) * (1, 1))
        for _ in range(draw(st.integers(1, 6)))
    ]
    hull = shapely.box(*random.uniform(-30, 20, 2), *random.uniform(40, 120, 2))
    pieces = shapely.get_parts(shapely.polygonize([shapely.union_all([*lines, hull.exterior])]))
    return [piece for piece in pieces if random.random() < 0.8 and piece.intersects(FULL)]


FULL = shapely.box(1, 1, 79, 59)


@given(mosaics(), st.sampled_from([UTM, "EPSG:4326", "EPSG:3035"]))
@examples(40)
def test_sums_over_zones_are_the_maps(made, pieces, crs):
    if not pieces:
        return
    layer = zones(*to_map(FRAME, *pieces)).to_crs(crs)
    whole = stats(made).set_index("class")
    found = stats(made, layer)
    sums = found.groupby("class")["area_ha"].sum()
    assert sums.to_numpy() == pytest.approx(whole["area_ha"].to_numpy(), rel=1e-7)
    by_zone = stats(made, layer, by="zone")
    assert by_zone["area_ha"].sum() == pytest.approx(whole["area_ha"].sum(), rel=1e-7)
    assert by_zone["landscape_ha"].sum() == pytest.approx(whole["landscape_ha"].max(), rel=1e-7)
    assert (by_zone["share_pct"].dropna() <= 100 + 1e-6).all()


def test_a_border_that_is_straight_elsewhere_is_a_curve_here():
    # Over 4,000 columns of a polar projection a parallel bends by many pixels.
    transform = Affine(500, 0, -1_000_000, 0, -500, -1_000_000)
    pixels = np.ones((200, 4000), np.uint8)[None]
    frame = ArrayRaster(pixels, None, transform, "EPSG:3413").frame
    layer = gpd.GeoDataFrame(
        {"class": ["all"]}, geometry=to_map(frame, shapely.box(0, 0, 4000, 200)), crs="EPSG:3413"
    )
    south = zones(shapely.box(-100, 60, 100, 79), crs="EPSG:4326")
    inside = stats(layer, south).set_index("zone")["area_ha"]
    rows, cols = np.mgrid[:200, :4000]
    centres = np.column_stack((cols.ravel(), rows.ravel())) + 0.5
    to_lonlat = pyproj.Transformer.from_crs("EPSG:3413", "EPSG:4326", always_xy=True)
    xy = frame.to_crs(centres)
    lon, lat = to_lonlat.transform(xy[:, 0], xy[:, 1])
    under = (lat >= 60) & (lat <= 79) & (abs(lon) <= 100)
    wanted = frame.pixels_m2(centres[under]).sum() / 1e4
    assert 0.1 < under.mean() < 0.9
    assert inside["z0"] == pytest.approx(wanted, rel=1e-3)


def test_zones_that_overlap_are_counted_twice_and_said(made, caplog):
    twice = zones(*to_map(FRAME, shapely.box(0, 0, 50, 60), shapely.box(30, 0, 80, 60)))
    found = stats(made, twice, by="zone").set_index("zone")
    assert "zones overlap (by 25 % of the raster)" in caplog.text
    assert found["area_ha"].sum() > stats(made)["area_ha"].sum()
    assert found.loc["(outside)", "count"] == 0
    assert np.isnan(found.loc["(outside)", "share_pct"])


def test_without_a_crs_shares_and_counts_are_told(made):
    layer = gpd.read_file(made, layer="features").set_crs(None, allow_override=True)
    found = stats(layer)
    assert found["area_ha"].isna().all()
    box = shapely.box(*shapely.total_bounds(layer.geometry))
    assert found["share_pct"].sum() == pytest.approx(100 * layer.area.sum() / box.area)
    assert found["count"].sum() == COUNT


@pytest.mark.parametrize(
    ("layer", "options", "message"),
    [
        (zones(shapely.box(0, 0, 1, 1)), {}, "does not overlap .*m.gpkg"),
        (zones(shapely.box(0, 0, 1, 1), crs=None), {}, "no coordinate reference system"),
        (zones(shapely.Point(0, 0)), {}, "holds point; --zones takes polygons"),
        (zones(FULL, names=[None]), {}, "1 zones without a name"),
        (zones(FULL, names=["(outside)"]), {}, "which is what is in none"),
        (zones(FULL), {"zone_column": "town"}, r"no column 'town' \(its columns: name\)"),
        (
            zones(FULL, a=["x"], b=["y"]).drop(columns="name"),
            {},
            r"which column names its zones \(its columns: a, b\); pass --zone-column",
        ),
        (zones(FULL), {"by": "class"}, "does not look at --zones"),
        (None, {"by": "zone"}, "needs --zones LAYER"),
        (zones(FULL), {"by": "town"}, "is none of: class; zone; class,zone"),
    ],
)
def test_what_are_no_zones_is_said(made, layer, options, message):
    with pytest.raises(ConfigError, match=message):
        stats(made, layer, **options)


def test_the_only_column_of_text_names_zones(made):
    layer = zones(*to_map(FRAME, FULL), number=[7]).rename(columns={"name": "ort"})
    assert set(stats(made, layer)["zone"]) == {"z0", "(outside)"}
    numbered = stats(made, layer, zone_column="number", by="zone")
    assert numbered["zone"].tolist() == ["7", "(outside)"]


def test_the_command_writes_what_the_function_returns(made, tmp_path, run):
    path = tmp_path / "zones.gpkg"
    zones(*to_map(FRAME, shapely.box(0, 0, 80, 60))).to_file(path)
    wanted = stats(made, path)
    code, out, _ = run("stats", made, "--zones", path)
    assert code == 0
    assert len(pd.read_csv(io.StringIO(out))) == len(wanted)
    code, out, _ = run("stats", made, "--zones", path, "--json")
    rows = json.loads(out)["rows"]
    assert rows[0]["area_ha"] == wanted["area_ha"][0]
    assert next(r for r in rows if not r["patches"])["mean_patch_ha"] is None
    for ending in ("csv", "json", "gpkg"):
        to = tmp_path / f"areas.{ending}"
        assert run("stats", made, "--zones", path, "--out", to)[0] == 0
        assert run("stats", made, "--zones", path, "--out", to)[0] == 2
        assert run("stats", made, "--zones", path, "--out", to, "--overwrite")[0] == 0
    layer = gpd.read_file(tmp_path / "areas.gpkg", layer="areas")
    assert layer["area_ha"].tolist() == wanted["area_ha"].tolist()
    assert layer.geometry.geom_equals(wanted.geometry).all()
    csv = pd.read_csv(tmp_path / "areas.csv")
    assert csv["area_ha"].to_numpy() == pytest.approx(wanted["area_ha"].to_numpy())
    code, _, err = run("stats", made, "--out", tmp_path / "areas.gpkg", "--overwrite")
    assert (code, "takes .csv, .json" in err) == (2, True)
    assert len(list(tmp_path.iterdir())) == 4


def test_commands_say_that_a_map_lacks_tiles(tmp_path, run):
    path = drawn(tmp_path, patchwork(60, 150, 2), model=FailingAtTheLeft)
    points = tmp_path / "points.gpkg"
    gpd.GeoDataFrame(
        {"reference": ["c0", "c1"] * 30},
        geometry=gpd.points_from_xy(500_705 + np.arange(60) * 10, np.full(60, 4_999_705)),
        crs=UTM,
    ).to_file(points)
    for command, *more in (["stats"], ["sample", "--out", tmp_path / "s.gpkg"], ["accuracy"]):
        given = [points] if command == "accuracy" else []
        code, out, err = run(command, path, *given, *more)
        assert code == 1
        assert "error: 1 tiles failed and are missing" in err
        assert out or command == "sample"


def test_a_map_without_polygons_is_no_special_case(tmp_path):
    image = np.zeros((30, 40), np.int32)
    path = drawn(tmp_path, image)
    box = shapely.box(500_000, 4_999_900, 500_200, 5_000_000)
    found = stats(path, zones(box))
    assert found["count"].tolist() == found["area_ha"].tolist() == [0, 0]
    assert found["mean_patch_ha"].isna().all()
    strata = sample(path).design.strata
    assert strata["stratum"].tolist() == ["unmapped"]


def test_a_map_that_was_cut_says_what_its_shares_are_of(tmp_path, caplog):
    aoi = tmp_path / "aoi.gpkg"
    zones(shapely.box(500_000, 4_999_400, 500_400, 5_000_000)).to_file(aoi)
    path = drawn(tmp_path, patchwork(60, 80, 2), aoi=str(aoi))
    caplog.clear()
    whole = stats(path)
    assert "was cut to an area of interest, and shares are of its whole raster" in caplog.text
    caplog.clear()
    area = stats(path, aoi).iloc[:2]
    assert "area of interest" not in caplog.text
    assert area["area_ha"].tolist() == pytest.approx(whole["area_ha"].tolist())
    assert area["share_pct"].tolist() == pytest.approx((2 * whole["share_pct"]).tolist(), rel=1e-3)


def test_failed_tiles_beside_a_format_that_cannot_say_what_made_it_are_seen(tmp_path, run):
    path = drawn(tmp_path, patchwork(60, 150, 2), model=FailingAtTheLeft)
    run("export", str(path), "--to", str(tmp_path / "m.geojson"))
    code, _, err = run("stats", str(tmp_path / "m.geojson"))
    assert code == 1
    assert "tiles failed and are missing" in err
