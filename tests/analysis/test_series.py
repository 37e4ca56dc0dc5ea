"""A drawn history of ponds is told as it was; what is no series is refused in one line."""

import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from drawn import Clouds, write_ids
from scenes import GEOREF, UTM, ByComponent

import geoseg
from geoseg import LandClass, Legend
from geoseg.access import Access
from geoseg.analysis import series
from geoseg.analysis.hydroperiod.given import grid_of
from geoseg.errors import ConfigError, GeosegError, OutputError
from geoseg.frame import Frame, horizontal_wkt

HEIGHT, WIDTH = 60, 80
WATER = Legend(classes=(LandClass(name="water", kind="cover"),))
NODATA, CLOUD = -1, 99
DATES = ("2001", "2003", "2005", "2007")
MODEL = ByComponent((0,), cover=True)
CUT = {"tile": 64, "overlap": 16}


def rows(*places):
    """Return rows and columns, as start and stop, of boxes."""
    return [(slice(a, b), slice(c, d)) for a, b, c, d in places]


WEST, EAST, BOTH = (5, 15, 5, 15), (5, 15, 20, 30), (5, 15, 5, 30)
LAKE, LAKE_W, LAKE_E = (30, 40, 5, 25), (30, 40, 5, 13), (30, 40, 17, 25)
POOL, EDGE = (45, 55, 50, 60), (20, 26, 74, 80)

HISTORY = (
    (WEST, EAST, LAKE, EDGE),
    (BOTH, LAKE_W, LAKE_E, POOL, EDGE),
    (POOL, EDGE),  # rows 0..20 are not seen
    (WEST, EAST, LAKE, EDGE),
)


def images():
    found = []
    for places in HISTORY:
        image = np.zeros((HEIGHT, WIDTH), np.int16)
        for place in rows(*places):
            image[place] = 1
        found.append(image)
    found[2][:20] = NODATA
    return found


def write(path, image, tag=None):
    write_ids(path, image, NODATA)
    if tag is not None:
        with rasterio.open(path, "r+") as target:
            target.update_tags(TIFFTAG_DATETIME=tag)
    return path


def mapped(path, image, legend=WATER, backend=MODEL, **options):
    source = write(path.with_suffix(".tif"), image)
    geoseg.segment(source, legend, backend=backend, out=path, **CUT, **options)
    return path


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    return [mapped(folder / f"y{d}.gpkg", i) for d, i in zip(DATES, images(), strict=True)]


def hectares(*places):
    frame = Frame(WIDTH, HEIGHT, GEOREF, horizontal_wkt(UTM))
    boxes = [shapely.box(c, a, d, b) for a, b, c, d in places]
    return float(frame.measure(np.array(boxes, object))[0].sum()) / 1e4


def story(table, pond):
    mine = table[table["pond"] == pond]
    return mine["event"].fillna("").tolist()


def test_the_history_of_ponds_is_told(maps, run, tmp_path):  # noqa: PLR0915  one history
    out, csv, gpkg = tmp_path / "h.tif", tmp_path / "p.csv", tmp_path / "p.gpkg"
    arguments = ["series", *maps, "--out", out, "--table", csv, "--ponds", gpkg]
    code, said, err = run(*arguments, "--json", "--quiet")
    assert (code, err) == (0, "")
    facts = json.loads(said)
    seen = np.stack([i != NODATA for i in images()])
    wet = np.stack([i == 1 for i in images()])
    with rasterio.open(out) as source:
        occurrence, observed, wets = source.read()
        assert source.descriptions == ("occurrence", "observed", "wet")
        assert source.transform == GEOREF
        assert source.crs == rasterio.crs.CRS.from_string(UTM)
        assert np.isnan(source.nodata)
        assert source.tags()["dates"] == "2001,2003,2005,2007"
        assert source.tags()["permanent"] == "occurrence >= 0.9"
        assert "Pekel" in source.tags()["occurrence"]
        assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert (observed == seen.sum(axis=0)).all()
    assert (wets == wet.sum(axis=0)).all()
    assert (occurrence == (wet.sum(axis=0) / seen.sum(axis=0)).astype(np.float32)).all()
    with rasterio.open(tmp_path / "h_class.tif") as source:
        assert source.tags(1)["CLASS_3"] == "permanent"
        assert source.colormap(1)[255] == (0, 0, 0, 0)
        assert (source.read(1) == 3)[20:26, 74:80].all()
    # What one date has not seen is wet at three of three, between both at one of three.
    between = (5, 15, 15, 20)
    assert facts["class_ha"]["permanent"] == pytest.approx(hectares(EDGE, WEST, EAST))
    assert facts["class_ha"]["seasonal"] == pytest.approx(hectares(between, LAKE, POOL))
    assert facts["dates"][2]["not_observed_percent"] == pytest.approx(100 * 20 / HEIGHT)
    assert facts["dates"][2]["water_ha"] == pytest.approx(hectares(POOL, EDGE))
    assert facts["ponds"] == 4

    table = pd.read_csv(csv, dtype={"date": str})
    assert table["date"].tolist() == list(DATES) * 4
    north, edge, lake, pool = 1, 2, 3, 4
    assert story(table, north) == ["", "merged", "", "split"]
    assert story(table, edge) == ["", "same", "same", "same"]
    assert story(table, lake) == ["", "split", "gone", "appeared"]
    assert story(table, pool) == ["dry", "appeared", "same", "gone"]
    ha = table.set_index(["pond", "date"])["area_ha"]
    assert ha[north, "2001"] == pytest.approx(hectares(WEST, EAST))
    assert ha[north, "2003"] == pytest.approx(hectares(BOTH))
    assert np.isnan(ha[north, "2005"])
    assert ha[lake, "2005"] == 0
    assert table.set_index(["pond", "date"])["observed"][north, "2005"] == 0
    assert table.groupby("pond")["truncated"].all().tolist() == [False, True, False, False]
    ids = {d: gpd.read_file(m, layer="features").set_index("id")["geometry"]
           for d, m in zip(DATES, maps, strict=True)}  # fmt: skip
    for row in table[table["parts"].notna()].itertuples():
        parts = ids[row.date][[int(k) for k in str(row.parts).split("+")]]
        assert len(parts) == row.n_parts
        assert parts.area.sum() / 1e4 == pytest.approx(row.area_ha, rel=1e-2)
    merger = table[table["event"] == "merged"].iloc[0]
    links = [link.split(">") for link in merger["links"].split()]
    assert len(links) == 2
    assert {b for _, b in links} == {str(merger["parts"])}
    extents = gpd.read_file(gpkg, layer="ponds").set_index("pond").sort_index()
    assert extents.is_valid.all()
    assert extents.crs == UTM
    assert extents["class"].tolist() == ["permanent", "permanent", "seasonal", "seasonal"]
    assert extents["extent_ha"].tolist() == pytest.approx(
        [hectares(p) for p in (BOTH, EDGE, LAKE, POOL)]
    )
    assert extents["min_ha"].tolist() == pytest.approx([hectares(WEST, EAST), hectares(EDGE), 0, 0])
    assert extents["observed"].tolist() == [3, 4, 4, 4]
    assert extents["wet"].tolist() == [3, 4, 3, 2]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["h.tif", "h_class.tif", "p.csv", "p.gpkg"]


def test_the_summary_says_dates_grid_classes_and_gaps(maps, run, tmp_path):
    code, said, err = run("series", *maps, "--out", tmp_path / "h.tif")
    assert (code, said) == (0, "")
    assert "dates by the file name: 2001, 2003, 2005, 2007" in err
    assert "grid: 80 x 60 pixels" in err
    assert "2005: 1.36 ha of water, 33.3% not observed" in err
    assert "no days per year" in err
    assert "4 ponds" in err


def test_a_table_is_json_too_and_equals_that_of_the_function(maps, tmp_path):
    done = series(maps, out=tmp_path / "h.tif", table=tmp_path / "p.json", min_observed=1)
    read = json.loads((tmp_path / "p.json").read_text())
    table = done.table()
    assert [list(row) for row in read] == [table.columns.tolist()] * len(table)
    assert [row["area_ha"] for row in read] == [None if pd.isna(a) else pytest.approx(a)
                                                for a in table["area_ha"]]  # fmt: skip
    assert done.complete
    with pytest.raises(OutputError, match="already there; pass --overwrite"):
        series(maps, out=tmp_path / "h.tif")
    (tmp_path / "h.tif").unlink()
    with pytest.raises(OutputError, match=r"h_class\.tif is already there"):
        series(maps, out=tmp_path / "h.tif")


def test_no_water_at_all_is_no_ponds(tmp_path):
    dry = np.zeros((HEIGHT, WIDTH), np.int16)
    both = [mapped(tmp_path / f"y{d}.gpkg", dry) for d in ("2001", "2002")]
    done = series(both, out=tmp_path / "h.tif", table=tmp_path / "p.csv", ponds=tmp_path / "p.gpkg")
    assert done.ponds == 0
    assert done.table().empty
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 1
    assert done.class_ha["never wet"] == pytest.approx(hectares((0, HEIGHT, 0, WIDTH)))


def test_rasters_are_segmented_once_and_a_date_may_be_added(run, tmp_path):
    sources, tags = [], ("2001:05:01 10:00:00", "2002:05:01 10:00:00", "2003:05:01 10:00:00")
    for k, tag in enumerate(tags):
        bands = np.full((4, HEIGHT, WIDTH), 120, np.uint8)
        bands[3] = 200
        place = (slice(10, 40), slice(10, 30 + 10 * k))
        for band, value in enumerate((30, 60, 60, 8)):
            bands[band][place] = value
        path = tmp_path / f"scene{k}.tif"
        profile = {"driver": "GTiff", "width": WIDTH, "height": HEIGHT, "count": 4,
                   "dtype": "uint8", "crs": UTM, "transform": GEOREF}  # fmt: skip
        with rasterio.open(path, "w", **profile) as target:
            target.write(bands)
            target.update_tags(TIFFTAG_DATETIME=tag)
        sources.append(path)
    folder = tmp_path / "maps"
    folder.mkdir()
    options = ["--prompt", "water", "--sensor", "naip", "--maps", folder, "--json", "-q"]
    code, said, err = run("series", *sources[:2], "--out", tmp_path / "a.tif", *options)
    assert (code, [d["date"] for d in json.loads(said)["dates"]]) == (
        0,
        ["2001-05-01", "2002-05-01"],
    )
    made = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    assert set(made) == {"series_2001-05-01.gpkg", "series_2002-05-01.gpkg"}
    code, said, err = run("series", *sources, "--out", tmp_path / "b.tif", *options)
    assert code == 0, err
    facts = json.loads(said)
    assert {n: (folder / n).stat().st_mtime_ns for n in made} == made
    assert [d["water_ha"] for d in facts["dates"]] == pytest.approx(
        # The model rounds corners.
        [hectares((10, 40, 10, 30 + 10 * k)) for k in range(3)],
        rel=0.01,
    )
    # The same folder, and other words.
    code, _, err = run(
        "series", *sources, "--out", tmp_path / "c.tif", *options[2:], "--prompt", "forest"
    )
    assert code == 2
    assert "is no map of" in err


def test_dates_on_other_grids_are_counted_on_that_of_the_last(maps, tmp_path):
    # Two pixels to the east and one down: what the others have not seen is not observed.
    moved = tmp_path / "z2009.gpkg"
    source = write(moved.with_suffix(".tif"), images()[0])
    with rasterio.open(source, "r+") as target:
        target.transform = GEOREF @ rasterio.Affine.translation(2, 1)
    geoseg.segment(source, WATER, backend=MODEL, out=moved, **CUT)
    done = series([*maps[:2], moved], out=tmp_path / "h.tif")
    with rasterio.open(done.path) as result:
        _, observed, wet = result.read()
    assert result.transform == target.transform
    assert (observed[:-1, :-2] == 3).all()
    assert (observed[-1] == 1).all()
    assert (observed[:, -2:] == 1).all()
    old = np.stack([i == 1 for i in images()[:2]])[:, 1:, 2:].sum(axis=0)
    assert (wet[:-1, :-2] == old + (images()[0] == 1)[:-1, :-2]).all()
    assert any("on other grids" in n and "2001, 2003" in n for n in done.notes)
    assert any("outside of the grid, and not counted" in n for n in done.notes)
    first = series([*maps[:2], moved], out=tmp_path / "i.tif", grid=maps[0])
    assert first.grid.transform == GEOREF
    with rasterio.open(tmp_path / "i.tif") as result:
        assert (result.read(2)[1:, 2:] == 3).all()


def test_what_lies_under_clouds_is_not_dry(tmp_path):
    cloudy = images()[0]
    cloudy[28:42, 3:27] = CLOUD
    sources = [write(tmp_path / f"s{d}.tif", i)
               for d, i in zip(("2001", "2002"), (images()[0], cloudy), strict=True)]  # fmt: skip
    done = series(
        sources, WATER, out=tmp_path / "h.tif", backend=MODEL, mask_clouds=Clouds(), **CUT
    )
    with rasterio.open(done.path) as source:
        occurrence, observed, _ = source.read()
    assert (observed == np.where(cloudy == CLOUD, 1, 2)).all()
    assert set(np.unique(occurrence)) == {0, 1}
    lake = done.table().set_index(["pond", "date"]).loc[4]
    assert lake["area_ha"].isna().tolist() == [False, True]
    maps = [tmp_path / f"h_{d}.gpkg" for d in ("2001", "2002")]
    again = series(maps, out=tmp_path / "i.tif")
    assert again.gap == done.gap == (0, pytest.approx(14 * 24 / (HEIGHT * WIDTH)))
    # Without the map of clouds, they would count as dry.
    (tmp_path / "h_2002_clouds.gpkg").unlink()
    with pytest.raises(ConfigError, match=r"h_2002_clouds\.gpkg.* would count as dry"):
        series(maps, out=tmp_path / "j.tif")


def test_failed_tiles_are_not_observed_and_the_exit_code_says_so(maps, run, tmp_path):
    class Fails(ByComponent):
        def answer(self, tile):
            if tile.window.x0 == 0 and tile.window.y0 == 0:
                raise ValueError("no")
            return super().answer(tile)

    lost = mapped(tmp_path / "z2009.gpkg", images()[0], backend=Fails((0,), cover=True))
    code, _, err = run(
        "series", *maps, lost, "--out", tmp_path / "h.tif", "--table", tmp_path / "p.csv"
    )
    assert code == 1
    assert "error: 1 tiles are missing in maps and count as not observed" in err
    table = pd.read_csv(tmp_path / "p.csv", dtype={"date": str})
    last = table[(table["pond"] == 1) & (table["date"] == "2009")].iloc[0]
    assert np.isnan(last["area_ha"])
    assert last["observed"] == 0


def test_an_area_of_interest_is_all_there_is(maps, tmp_path):
    corner = GEOREF @ (0, 42), GEOREF @ (40, 28)
    aoi = gpd.GeoDataFrame(geometry=[shapely.box(*corner[0], *corner[1])], crs=UTM)
    done = series(maps, out=tmp_path / "h.tif", aoi=aoi)
    assert done.ponds == 1
    assert sum(done.class_ha.values()) == pytest.approx(hectares((28, 42, 0, 40)))
    with rasterio.open(done.path) as source:
        observed = source.read(2)
    assert observed.sum() == 4 * 14 * 40


def test_layers_of_others_need_dates_and_a_grid(maps, tmp_path):
    layers = [gpd.read_file(m, layer="features")[["class", "geometry"]] for m in maps[:2]]
    with pytest.raises(ConfigError, match=r"has no pixel grid.*name a raster with --grid"):
        series(layers, out=tmp_path / "h.tif", dates="2001,2003")
    grid = maps[0].with_suffix(".tif")
    with pytest.raises(ConfigError, match="give --dates"):
        series(layers, out=tmp_path / "h.tif", grid=grid)
    done = series(layers, out=tmp_path / "h.tif", grid=grid, dates="2001,2003")
    whole = series(maps[:2], out=tmp_path / "i.tif")
    assert done.class_ha == whole.class_ha
    assert any("names no raster" in note for note in done.notes)


def test_which_class_is_water_must_be_said(maps, tmp_path):
    legend = Legend(classes=(*WATER.classes, LandClass(name="sand", kind="cover")))
    model = ByComponent((0, 1), cover=True)
    image = images()[0]
    image[50:, :10] = 2
    both = [mapped(tmp_path / f"y{d}.gpkg", image, legend, model) for d in ("2001", "2002")]
    with pytest.raises(ConfigError, match=r"2 classes \(water, sand\); say with --class"):
        series(both, out=tmp_path / "h.tif")
    with pytest.raises(ConfigError, match="--class 'mud' is none of the classes: water, sand"):
        series(both, out=tmp_path / "h.tif", water="mud")
    assert series(both, out=tmp_path / "h.tif", water="sand").ponds == 1
    with pytest.raises(ConfigError, match="different legends"):
        series([maps[0], both[1]], out=tmp_path / "i.tif")
    # Of rasters, before any is segmented.
    rasters = [m.with_suffix(".tif") for m in both]
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="2 classes"):
        series(rasters, legend, out=tmp_path / "j.tif", backend=model)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        (lambda m: m[:1], [], "1 input is no series"),
        (lambda m: [m[0], m[1], m[0]], [], "is given as both dates"),
        (lambda m: m[::-1], [], "is not later than"),
        (lambda m: m[:2], ["--dates", "2009"], "has 1 dates, and there are 2 inputs"),
        (lambda m: m[:2], ["--dates", "2009,2009"], "is not later than"),
        (lambda m: m[:2], ["--dates", "2009,soon"], "'soon' is no date"),
        (lambda m: m[:2], ["--permanent", "0.2"], "are not in order"),
        (lambda m: m[:2], ["--min-observed", "90"], "is outside 0..1"),
        (lambda m: m[:2], ["--prompt", "water"], "--prompt is for rasters"),
        (lambda m: m[:2], ["--tile", "64"], "--tile is for rasters"),
        (lambda m: m[:2], ["--table", "p.xls"], "takes .csv, .json"),
        (lambda m: [m[0], m[1].with_suffix(".tif")], [], "is a map and .* is a raster"),
        (lambda m: [m[0], m[0].with_name("none.gpkg")], [], "no such file"),
    ],
)
def test_what_is_no_series_is_refused(maps, run, tmp_path, spoil, options, message):
    code, said, err = run("series", *spoil(maps), "--out", tmp_path / "h.tif", *options)
    assert (code, said) == (2, "")
    assert len(err.strip().splitlines()) == 1
    assert pd.Series([err]).str.contains(message).all(), err
    assert list(tmp_path.iterdir()) == []


def test_rasters_far_apart_are_refused(maps, tmp_path):
    far = write(tmp_path / "far_2009.tif", images()[0])
    with rasterio.open(far, "r+") as target:
        target.transform = GEOREF @ rasterio.Affine.translation(9999, 0)
    with pytest.raises(GeosegError, match=r"y2001\.tif and the grid do not overlap"):
        series([maps[0].with_suffix(".tif"), far], WATER, out=tmp_path / "h.tif", backend=MODEL)
    with pytest.raises(OutputError, match=r"has no known ending; it takes \.tif, \.tiff"):
        series(maps, out=tmp_path / "h.gpkg")


def test_the_bands_of_the_grid_need_not_say_what_they_are(tmp_path):
    path = tmp_path / "six.tif"
    profile = {"driver": "GTiff", "width": 8, "height": 6, "count": 6, "dtype": "uint8"}
    with rasterio.open(path, "w", crs=UTM, transform=GEOREF, **profile) as target:
        target.write(np.ones((6, 6, 8), np.uint8))
    assert (grid_of(path, Access()).width, grid_of(path, Access()).height) == (8, 6)
