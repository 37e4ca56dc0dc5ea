"""Every edit of a scene is found, to the hectare; what cannot be compared is refused or told."""

import inspect
import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio
import shapely
from drawn import Clouds, write_ids
from scenes import GEOREF, UTM, ByIdentity

import geoseg
from geoseg import LandClass, Legend, cli_change
from geoseg.analysis import change
from geoseg.analysis.changes.polygons import Transitions
from geoseg.errors import ConfigError, GeosegError, OutputError
from geoseg.export.read import open_map

HEIGHT, WIDTH = 120, 150
LEGEND = Legend(
    classes=(
        LandClass(name="forest"),
        LandClass(name="bare soil", kind="cover"),
        LandClass(name="hut", kind="object"),
    )
)
FOREST, BARE = 1, 2
CLASSES = (0, 1, *[2] * 20)


CUT = {"tile": 64, "overlap": 16}


def mapped(path, ids, legend=LEGEND, classes=CLASSES, **options):
    place = {k: options.pop(k) for k in ("nodata", "crs", "transform") if k in options}
    source = write_ids(path.with_suffix(".tif"), ids, **place)
    geoseg.segment(source, legend, backend=ByIdentity(classes), out=path, **CUT, **options)
    return path


def scene():
    """Draw a scene and what was done to it: forest, clearings and huts by number."""
    before = np.zeros((HEIGHT, WIDTH), np.int16)
    before[:, :100] = FOREST
    before[60:80, 10:40] = BARE
    after = before.copy()
    after[10:40, 20:60] = BARE  # cleared
    after[60:80, 10:25] = FOREST  # regrown
    huts = [
        # before, after: rows and columns
        ((5, 15, 110, 120), (5, 15, 110, 120)),  # 3 same
        ((5, 15, 130, 140), None),  # 4 gone
        (None, (25, 35, 110, 120)),  # 5 appeared
        ((25, 35, 130, 140), (25, 35, 130, 144)),  # 6 grown
        ((45, 55, 105, 115), (45, 55, 125, 135)),  # 7 moved far: gone and appeared
        ((65, 75, 105, 125), (65, 75, 105, 114)),  # 8 split, with 9
        (None, (65, 75, 116, 125)),  # 9
        ((85, 95, 105, 114), (85, 95, 105, 125)),  # 10 merged, with 11
        ((85, 95, 116, 125), None),  # 11
        ((105, 115, 110, 120), (105, 111, 110, 120)),  # 12 shrunk
        ((105, 115, 130, 140), (105, 115, 134, 144)),  # 13 moved by less than half
    ]
    for number, both in enumerate(huts, 3):
        for image, place in zip((before, after), both, strict=True):
            if place is not None:
                image[place[0] : place[1], place[2] : place[3]] = number
    return before, after


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    before, after = scene()
    return mapped(folder / "y1.gpkg", before), mapped(folder / "y2.gpkg", after)


def crosstab(before, after, seen=None, transform=GEOREF, crs=UTM):
    """Return hectares by class, `unmapped` last."""
    seen = np.ones(before.shape, bool) if seen is None else seen
    frame = geoseg.ArrayRaster(before[None], None, transform, crs).frame
    y, x = np.nonzero(seen)
    area = frame.pixels_m2(np.column_stack((x, y)) + 0.5) / 1e4
    lookup = np.array([3, *CLASSES])
    ha = np.zeros((4, 4))
    np.add.at(ha, (lookup[before[seen]], lookup[after[seen]]), area)
    return ha


def statuses(path):
    found = gpd.read_file(path, layer="objects")
    counts = found["status"].value_counts().to_dict()
    return found, counts


WANTED = {"same": 1, "gone": 2, "appeared": 2, "grown": 1, "split": 2, "merged": 2, "shrunk": 1,
          "moved": 1}  # fmt: skip


def test_every_edit_is_found_to_the_hectare(maps, run, tmp_path):
    out, table = tmp_path / "c.gpkg", tmp_path / "m.csv"
    code, said, err = run("change", *maps, "--out", out, "--matrix", table, "--json", "--quiet")
    assert (code, err) == (0, "")
    first, *_, facts = map(json.loads, said.splitlines())
    assert (first["event"], facts["event"]) == ("hello", "result")
    ha = crosstab(*scene())
    names = ["forest", "bare soil", "hut", "unmapped"]
    found = pd.read_csv(table, index_col="before")
    assert found.columns.tolist() == found.index.tolist() == [*names, "total"]
    np.testing.assert_allclose(found.loc[names, names], ha, rtol=1e-6)
    np.testing.assert_allclose(found["total"][names], ha.sum(axis=1), rtol=1e-6)
    np.testing.assert_allclose(found.loc["total", "total"], ha.sum(), rtol=1e-6)
    assert facts["matrix_ha"]["forest"]["bare soil"] == pytest.approx(ha[0, 1])
    moved = ha * (1 - np.eye(4))
    assert list(facts["lost_ha"]) == list(facts["gained_ha"]) == names[:3]
    assert [*facts["lost_ha"].values()] == pytest.approx(moved.sum(axis=1)[:3])
    assert [*facts["gained_ha"].values()] == pytest.approx(moved.sum(axis=0)[:3])
    assert facts["not_compared_ha"] == 0
    assert facts["objects"] == WANTED
    assert facts["coregistration"] is not None
    features = gpd.read_file(out, layer="features")
    sums = features.groupby(["before", "after"])["area_ha"].sum()
    for a, b in zip(*np.nonzero(ha * (1 - np.eye(4))), strict=True):
        assert sums.pop((names[a], names[b])) == pytest.approx(ha[a, b])
    assert len(sums) == 0
    assert (features["class"] == features["before"] + " -> " + features["after"]).all()
    assert not (tmp_path / "c.gpkg.geoseg").exists()


def test_a_geopackage_holds_the_matrix_and_can_be_exported(maps, run, tmp_path):
    done = change(*maps, out=tmp_path / "c.gpkg")
    rows = pyogrio.read_dataframe(done.path, layer="transitions")
    ha = rows.pivot_table(index="before", columns="after", values="ha", fill_value=0)
    for before in ha.index:
        for after in ha.columns:
            assert ha.loc[before, after] == pytest.approx(done.matrix.loc[before, after])
    assert rows["px"].sum() == HEIGHT * WIDTH
    for name in ("e.parquet", "e.tif", "e.qgz", "e.fgb"):
        code, _, err = run("export", done.path, "--to", tmp_path / name)
        assert code == 0, err
    copied = gpd.read_parquet(tmp_path / "e.parquet")
    assert {"before", "after"} <= set(copied.columns)


def test_objects_have_their_ids_and_outlines(maps, tmp_path):
    done = change(*maps, out=tmp_path / "c.gpkg")
    found, counts = statuses(done.path)
    assert counts == dict(done.objects) == WANTED
    layers = {side: gpd.read_file(path, layer="features").set_index("id")
              for side, path in zip(("before", "after"), maps, strict=True)}  # fmt: skip
    for row in found.itertuples():
        for side, number, ha in (("before", row.id_before, row.before_ha),
                                 ("after", row.id_after, row.after_ha)):  # fmt: skip
            assert np.isnan(number) == np.isnan(ha)
            if not np.isnan(number):
                thing = layers[side].loc[number]
                assert thing["class"] == row[2] == "hut"
                assert thing["area_ha"] == pytest.approx(ha, rel=1e-6)
        side, number = "after", row.id_after
        if np.isnan(number):
            side, number = "before", row.id_before
        assert shapely.equals(layers[side].loc[number].geometry, row.geometry)
    grown = found[found["status"] == "grown"].iloc[0]
    assert grown["iou"] == pytest.approx(100 / 140)
    assert not found["partial"].any()
    assert len(change(*maps).object_features()) == len(found)
    with pytest.raises(ConfigError, match="holds no objects"):
        change(*maps, out=tmp_path / "c.fgb").object_features()
    # With more tolerance, growth and shrinking are no news.
    calm = change(*maps, out=tmp_path / "d.gpkg", tolerance=0.5)
    assert calm.objects["same"] == 3


def test_what_was_not_seen_is_not_compared(tmp_path):
    before, after = scene()
    hidden = np.zeros(before.shape, bool)
    hidden[:60, 90:118] = True
    maps = [mapped(tmp_path / "y1.gpkg", np.where(hidden, -9, before), nodata=-9),
            mapped(tmp_path / "y2.gpkg", after)]  # fmt: skip
    done = change(*maps, out=tmp_path / "c.gpkg")
    ha = crosstab(before, after, ~hidden)
    np.testing.assert_allclose(done.matrix.iloc[:4, :4], ha, rtol=1e-6)
    assert done.not_compared_ha == pytest.approx(crosstab(before, after, hidden).sum())
    assert done.objects_not_compared == (0, 0)
    found, _ = statuses(done.path)
    # Huts 3 and 5 are seen in part.
    assert sorted(found[found["partial"]]["status"]) == ["appeared", "same"]
    # Without its raster, ground without polygons is taken as seen, and that is said.
    (tmp_path / "y1.tif").unlink()
    blind = change(*maps, out=tmp_path / "d.gpkg")
    assert blind.not_compared_ha == 0
    assert any("has no data is not known" in note for note in blind.notes)
    again = write_ids(tmp_path / "moved.tif", np.where(hidden, -9, before), -9)
    told = change(*maps, out=tmp_path / "e.gpkg", before_raster=str(again))
    pd.testing.assert_frame_equal(told.matrix, done.matrix)


def test_an_area_of_interest_and_that_of_a_map_are_heeded(maps, tmp_path):
    before, after = scene()
    rows = np.zeros(before.shape, bool)
    rows[20:70] = True
    area = gpd.GeoDataFrame(
        geometry=[shapely.transform(shapely.box(0, 20, WIDTH, 70),
                                    lambda xy: np.column_stack(GEOREF @ xy.T))], crs=UTM
    )  # fmt: skip
    done = change(*maps, out=tmp_path / "c.gpkg", aoi=area)
    np.testing.assert_allclose(done.matrix.iloc[:4, :4], crosstab(before, after, rows), rtol=1e-6)
    assert done.not_compared_ha == 0
    area.to_file(tmp_path / "aoi.gpkg")
    part = mapped(tmp_path / "part.gpkg", before, aoi=tmp_path / "aoi.gpkg")
    seen = change(part, maps[1], out=tmp_path / "d.gpkg")
    np.testing.assert_allclose(seen.matrix, done.matrix, rtol=1e-6)
    assert seen.not_compared_ha == pytest.approx(crosstab(before, after, ~rows).sum())


def test_failed_tiles_are_not_compared_and_the_exit_code_says_so(maps, run, tmp_path):
    class Fails(ByIdentity):
        def answer(self, tile):
            if tile.window.x0 == 0 and tile.window.y0 == 0:
                raise ValueError("no")
            return super().answer(tile)

    before, _ = scene()
    raster = write_ids(tmp_path / "y1.tif", before)
    out = tmp_path / "y1.gpkg"
    geoseg.segment(raster, LEGEND, backend=Fails(CLASSES), out=out, tile=64, overlap=16)
    code, _, err = run("change", out, maps[1], "--out", tmp_path / "c.gpkg")
    assert code == 1
    assert "error: 1 tiles are missing in a map" in err
    assert "before r00000_c00000" in err
    failed = open_map(tmp_path / "c.gpkg").failed()
    assert [name for name, *_ in failed] == ["before r00000_c00000"]
    assert "not compared: 0.00 ha" not in err
    found = gpd.read_file(tmp_path / "c.gpkg", layer="features")
    assert not found.intersects(failed[0][2].buffer(-1)).any()


def test_layers_of_others_are_compared_on_the_grid_of_a_map(maps, tmp_path):
    whole = change(*maps, out=tmp_path / "a.gpkg")
    layer = gpd.read_file(maps[0], layer="features")[["class", "geometry"]]
    layer = layer.rename(columns={"class": "kind"})
    other = gpd.read_file(maps[1], layer="features").rename(columns={"class": "kind"})
    with pytest.raises(ConfigError, match=r"neither .* has a pixel grid"):
        change(layer, other, out=tmp_path / "b.gpkg", column="kind")
    found = change(layer, other, out=tmp_path / "b.gpkg", column="kind",
                   after_raster=str(maps[1].with_suffix(".tif")))  # fmt: skip
    order = whole.matrix.index
    np.testing.assert_allclose(found.matrix.loc[order, order], whole.matrix, rtol=1e-9)
    assert found.objects == whole.objects
    assert any("names no raster" in note for note in found.notes)


def test_a_coarser_later_date_gives_the_grid(maps, tmp_path):
    _, after = scene()
    path = tmp_path / "coarse.tif"
    coarse = np.stack([after[::2, ::2], *[np.full((60, 75), n, np.int16) for n in (60, 75)]])
    twice = rasterio.Affine(20, 0, 500_000, 0, -20, 5_000_000)
    profile = {"driver": "GTiff", "width": 75, "height": 60, "count": 3, "dtype": "int16",
               "crs": UTM, "transform": twice}  # fmt: skip
    with rasterio.open(path, "w", **profile) as target:
        target.write(coarse)
    out = tmp_path / "coarse.gpkg"
    geoseg.segment(path, LEGEND, backend=ByIdentity(CLASSES), out=out, tile=64, overlap=16)
    done = change(maps[0], out, out=tmp_path / "c.gpkg")
    assert any("resampled on the later grid (75 x 60 pixels)" in note for note in done.notes)
    assert done.not_compared_ha == 0
    assert open_map(done.path).made_by().frame.width == 75


def test_longitudes_and_latitudes_have_hectares_and_objects(tmp_path):
    before, after = scene()
    place = {"crs": "EPSG:4326", "transform": rasterio.Affine(0.001, 0, 179.9, 0, -0.001, 60)}
    maps = [mapped(tmp_path / "y1.gpkg", before, **place),
            mapped(tmp_path / "y2.gpkg", after, **place)]  # fmt: skip
    done = change(*maps, out=tmp_path / "c.gpkg")
    np.testing.assert_allclose(done.matrix.iloc[:4, :4], crosstab(before, after, **place), 1e-6)
    found, counts = statuses(done.path)
    assert counts == WANTED
    assert not found["partial"].any()


def test_an_object_that_reaches_beyond_the_later_grid_is_seen_in_part(maps, tmp_path):
    _, after = scene()
    cut = mapped(tmp_path / "cut.gpkg", after[:, :115])
    done = change(maps[0], cut, out=tmp_path / "c.gpkg")
    found, counts = statuses(done.path)
    partial = found[found["partial"]]
    layer = gpd.read_file(maps[0], layer="features").set_index("id")
    edge = 500_000 + 115 * 10
    across = [n for n, g in layer.geometry.items()
              if g.bounds[0] < edge < g.bounds[2] and layer.loc[n, "class"] == "hut"]  # fmt: skip
    assert sorted(partial["id_before"].dropna()) == sorted(across)
    assert counts["same"] == 2
    assert done.objects_not_compared[0] == 4
    assert any("outside of the later grid" in note for note in done.notes)


def test_small_changes_go_but_the_matrix_stays(maps, tmp_path):
    every = change(*maps, out=tmp_path / "a.gpkg")
    few = change(*maps, out=tmp_path / "b.gpkg", min_area="2ha", small="drop")
    assert 0 < few.count < every.count
    pd.testing.assert_frame_equal(few.matrix, every.matrix)
    assert few.features()["area_ha"].min() >= 2
    both = change(*maps, out=tmp_path / "c.parquet", unchanged=True, columns="compactness")
    assert {"forest -> forest", "forest -> bare soil"} <= set(both.features()["class"])
    assert both.features()["compactness"].notna().all()


def test_nothing_changed_is_a_map_of_nothing(maps, tmp_path):
    copy = tmp_path / "copy.gpkg"
    copy.write_bytes(maps[0].read_bytes())
    (tmp_path / "y1.tif").write_bytes(maps[0].with_suffix(".tif").read_bytes())
    done = change(maps[0], copy, out=tmp_path / "c.gpkg")
    assert done.count == 0
    assert set(done.objects) == {"same"}


def test_a_run_that_was_stopped_goes_on(maps, tmp_path, monkeypatch):
    whole = change(*maps, out=tmp_path / "whole.gpkg", tile=32)
    asked = []
    answer = Transitions._of
    monkeypatch.setattr(Transitions, "_of", lambda s, tile: asked.append(tile) or answer(s, tile))

    def stop(step, done, _total):
        if step == "change detect" and done >= 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        change(*maps, out=tmp_path / "c.gpkg", tile=32, progress=stop)
    assert not (tmp_path / "c.gpkg").exists()
    first = len(asked)
    done = change(*maps, out=tmp_path / "c.gpkg", tile=32)
    assert len(asked) - first <= 20 - 7
    assert done.count == whole.count
    same = (done.features().geometry.normalize() == whole.features().geometry.normalize()).all()
    assert same
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.gpkg", "whole.gpkg"]


def test_another_comparison_that_was_stopped_is_in_nobodys_way(maps, tmp_path):
    def stop(step, done, _total):
        if step == "change detect" and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        change(*maps, out=tmp_path / "c.gpkg", tile=32, progress=stop)
    done = change(*maps, out=tmp_path / "c.gpkg", unchanged=True)
    assert "forest -> forest" in set(done.features()["class"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.gpkg"]


def test_the_command_has_the_defaults_of_the_function():
    mine, own = (inspect.signature(f).parameters for f in (cli_change.change, change))
    for name in ("tolerance", "column", "small", "columns", "workers"):
        assert (mine[name].default or None) == (own[name].default or None), name


def colours(path, image):
    """Write a picture in which spectral tells water, plants and soil."""
    bands = {"blue": (60, 40, 90), "green": (70, 60, 100), "red": (40, 40, 120),
             "nir": (10, 180, 140)}  # fmt: skip
    data = np.stack([np.array(values, np.uint8)[image] for values in bands.values()])
    data += np.random.default_rng(0).integers(0, 4, data.shape, np.uint8)
    profile = {"driver": "GTiff", "width": image.shape[1], "height": image.shape[0], "count": 4,
               "dtype": "uint8", "crs": UTM, "transform": GEOREF}  # fmt: skip
    with rasterio.open(path, "w", **profile) as target:
        target.write(data)
    return path


def test_two_rasters_are_segmented_alike_and_their_maps_are_kept(run, caplog, tmp_path):
    image = np.ones((90, 100), int)
    image[:30] = 0
    later = image.copy()
    later[50:70, 20:60] = 2
    a, b = colours(tmp_path / "a.tif", image), colours(tmp_path / "b.tif", later)
    words = ["--prompt", "vegetation, water", "--bands", "blue=1,green=2,red=3,nir=4"]
    out = tmp_path / "loss.gpkg"
    code, _, err = run("change", a, b, *words, "--out", out)
    assert code == 0, err
    assert "co-registration: 0.0" in err
    assert "polygons of change in" in err
    kept = [tmp_path / "loss_before.gpkg", tmp_path / "loss_after.gpkg"]
    assert all(open_map(path).count for path in kept)
    found = gpd.read_file(out, layer="features")
    cleared = found[found["class"] == "vegetation -> unmapped"]
    assert cleared["area_ha"].sum() == pytest.approx(8, rel=0.02)
    asked = open_map(out).made_by().facts["change"]
    assert asked["source"] == [str(a), str(b)]
    assert [c["name"] for c in asked["legend"]["classes"]] == ["vegetation", "water"]
    # Asked again, with other polygons: the maps are taken as they are.
    before = [path.stat().st_mtime_ns for path in kept]
    code, _, err = run("change", a, b, *words, "--out", out, "--min-area", "1ha", "--overwrite")
    assert code == 0
    assert "taken as it is" in caplog.text
    assert [path.stat().st_mtime_ns for path in kept] == before
    # Other words: they are not.
    words[1] = "water"
    code, _, err = run("change", a, b, *words, "--out", tmp_path / "loss.parquet")
    assert code == 2
    assert "is no map of" in err
    code, _, err = run("rerun", out)
    assert code == 2
    assert "geoseg change" in err


def test_ground_under_clouds_is_not_compared(tmp_path):
    before, after = scene()
    cloudy = np.zeros(before.shape, bool)
    cloudy[15:50, 5:90] = True
    sources = [write_ids(tmp_path / "a.tif", np.where(cloudy, 99, before)),
               write_ids(tmp_path / "b.tif", after)]  # fmt: skip
    options = {"backend": ByIdentity(CLASSES + (0,) * 99), "tile": 64, "overlap": 16}
    done = change(*sources, LEGEND, out=tmp_path / "c.gpkg", mask_clouds=Clouds(), **options)
    clear = crosstab(before, after, ~cloudy)
    np.testing.assert_allclose(done.matrix.iloc[:4, :4], clear, rtol=1e-6)
    assert done.not_compared_ha == pytest.approx(crosstab(before, after, cloudy).sum())
    assert not any("clouds" in note for note in done.notes)
    # A map alone does not say where clouds were.
    maps = [tmp_path / f"c_{side}.gpkg" for side in ("before", "after")]
    told = change(*maps, out=tmp_path / "d.gpkg")
    assert told.not_compared_ha == 0
    assert sum("--mask-clouds" in note for note in told.notes) == 2
    # Of a model in memory nobody knows if it is the same.
    done.path.unlink()
    with pytest.raises(OutputError, match="is no map of"):
        change(*sources, LEGEND, out=done.path, **options)


def far(layer):
    return layer.set_geometry(layer.geometry.translate(1e5, 0))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a, _b: (a, a), "is given as both dates"),
        (lambda a, b: (a, b.with_suffix(".tif")), "is a map and .* is a raster"),
        (lambda a, _b: (a, a.with_name("none.gpkg")), "no such file"),
        (lambda a, b: (a, far(gpd.read_file(b, layer="features"))), "does not lie on the grid"),
    ],
)
def test_what_cannot_be_compared_is_refused(maps, tmp_path, spoil, message):
    with pytest.raises(GeosegError, match=message):
        change(*spoil(*maps), out=tmp_path / "c.gpkg")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"legend": "forest, hut"}, r"--legend \(or --prompt\) is for rasters"),
        ({"threshold": 0.3}, "--threshold is for rasters"),
        ({"tolerance": 1.5}, "--tolerance 1.5 is outside 0..1"),
        ({"columns": "means"}, "--columns: 'means'"),
        ({"columns": "ndvi"}, "--columns: 'ndvi'"),
        ({"small": "drop"}, "--small drop says"),
        ({"min_area": "many"}, "min-area"),
    ],
)
def test_options_that_cannot_be_heeded_are_refused(maps, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        change(*maps, out=tmp_path / "c.gpkg", **options)


def test_maps_of_other_legends_or_places_are_refused(maps, tmp_path):
    before, _ = scene()
    other = Legend(classes=(LandClass(name="forest"), LandClass(name="water")))
    strange = mapped(tmp_path / "s.gpkg", np.minimum(before, 2), other, (0, 1))
    with pytest.raises(ConfigError, match=r"different legends .*: bare soil, hut, water\)"):
        change(maps[0], strange, out=tmp_path / "c.gpkg")
    away = geoseg.ArrayRaster(
        np.stack([before, np.full_like(before, HEIGHT), np.full_like(before, WIDTH)]), None,
        rasterio.Affine(10, 0, 700_000, 0, -10, 5_000_000), UTM,
    )  # fmt: skip
    for name, raster, message in (
        ("far", away, "do not overlap"),
        ("nowhere", geoseg.ArrayRaster(away.data), "no coordinate reference system"),
    ):
        out = tmp_path / f"{name}.gpkg"
        geoseg.segment(raster, LEGEND, backend=ByIdentity(CLASSES), out=out, tile=256, overlap=16)
        with pytest.raises(ConfigError, match=message):
            change(maps[0], out, out=tmp_path / "c.gpkg")
    (tmp_path / "c.gpkg").touch()
    with pytest.raises(OutputError, match="already there"):
        change(*maps, out=tmp_path / "c.gpkg")
    with pytest.raises(ConfigError, match="--after-raster is for maps"):
        change(maps[0].with_suffix(".tif"), maps[1].with_suffix(".tif"), "water",
               out=tmp_path / "d.gpkg", after_raster="x.tif")  # fmt: skip
    with pytest.raises(ConfigError, match="say what to look for"):
        change(maps[0].with_suffix(".tif"), maps[1].with_suffix(".tif"), out=tmp_path / "d.gpkg")


def test_a_table_that_could_not_be_written_is_refused_first(maps, run, tmp_path):
    for name, message in (("m.xlsx", "takes .csv, .json"), ("no/m.csv", "does not exist")):
        code, _, err = run("change", *maps, "--out", tmp_path / "c.gpkg", "--matrix",
                           tmp_path / name)  # fmt: skip
        assert code == 2
        assert message in err
    code, _, _ = run("change", *maps, "--out", tmp_path / "c.gpkg", "--matrix",
                     tmp_path / "m.json")  # fmt: skip
    assert code == 0
    rows = json.loads((tmp_path / "m.json").read_text())
    assert [row["before"] for row in rows] == ["forest", "bare soil", "hut", "unmapped", "total"]
