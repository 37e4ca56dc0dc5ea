"""One map in every format: what another reader finds is what was there."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import rasterio.features
import shapely
from affine import Affine
from rio_cogeo import cog_validate
from scenes import GEOREF, UTM, ByIdentity, apart, legend, raster, shapes

import geoseg
from geoseg.convert import Exported, Wishes, export
from geoseg.errors import ConfigError, MapError, OutputError
from geoseg.export import FORMATS
from geoseg.export.burn import strips
from geoseg.frame import Frame

IDS, COUNT = apart(shapes(80, 90, np.random.default_rng(8)))
THINGS = legend("object", "object", "object")
CLASSES = tuple(n % 3 for n in range(COUNT))
WHOLE = [ending for ending in FORMATS if ending in (".gpkg", ".parquet")]


HOLD = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


class Failing(ByIdentity):
    def answer(self, tile):
        if tile.window.x0 == 0:
            raise RuntimeError("out of luck")
        return super().answer(tile)


def segment(out: Path, model=None, **options) -> Path:
    model = model or ByIdentity(CLASSES)
    pixels = raster(IDS, crs=options.pop("crs", UTM))
    geoseg.segment(pixels, THINGS, backend=model, out=out, tile=40, overlap=8, **options)
    return out


def read(path: Path) -> gpd.GeoDataFrame:
    if path.suffix == ".parquet":
        return gpd.read_parquet(path)
    return gpd.read_file(path, layer="features") if path.suffix == ".gpkg" else gpd.read_file(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the map of the same run in every vector format."""
    folder = tmp_path_factory.mktemp("made")
    return {ending: segment(folder / f"map{ending}") for ending in FORMATS}


# ------------------------------------------------------------------------------------ vectors


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("start", WHOLE)
def test_an_export_is_what_the_run_would_have_written(tmp_path, made, start, ending):
    out = tmp_path / f"other{ending}"
    assert export(made[start], out) == Exported(COUNT, 0)
    assert [p.name for p in tmp_path.iterdir()] == [out.name]
    if ending == ".parquet":
        # Row groups are batches, which a run cuts elsewhere.
        mine, wanted = pq.read_table(out), pq.read_table(made[ending])
        assert mine.equals(wanted, check_metadata=True)
    else:
        assert out.read_bytes() == made[ending].read_bytes()


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("start", [".fgb", ".geojson"])
def test_formats_without_a_recipe_keep_rows_classes_and_crs(tmp_path, made, start, ending):
    out = tmp_path / f"other{ending}"
    export(made[start], out)
    before, after = (read(p).sort_values("id", ignore_index=True) for p in (made[start], out))
    assert list(after.columns) == list(before.columns)
    assert after["class"].equals(before["class"])
    assert after["area_ha"].equals(before["area_ha"])
    same = after.to_crs(before.crs).geometry
    assert shapely.hausdorff_distance(same, before.geometry).max() < 1e-6 * (
        1 if start == ".geojson" else 1e5
    )
    assert after.crs == before.crs or ".geojson" in (start, ending)


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("start", FORMATS)
def test_failed_tiles_go_along(tmp_path, start, ending):
    source = segment(tmp_path / f"map{start}", Failing(CLASSES))
    out = tmp_path / f"other{ending}"
    export(source, out)
    told = []
    for path in (source, out):
        side = path.with_name(f"{path.stem}_failed_tiles{path.suffix}")
        holes = gpd.read_file(path, layer="failed_tiles") if path.suffix == ".gpkg" else read(side)
        told.append(sorted(zip(holes["tile"], holes["reason"], strict=True)))
    assert told[0] == told[1]
    assert len(told[0]) == 3


@pytest.mark.parametrize("name", ["classes.tif", "coco.json", *(f"other{e}" for e in FORMATS)])
def test_tiles_that_are_missing_are_told_in_a_line_and_by_exit_code_1(tmp_path, name, run, caplog):
    source = segment(tmp_path / "map.gpkg", Failing(CLASSES))
    caplog.clear()
    code, out, err = run("export", source, "--to", tmp_path / name, "--quiet")
    assert (code, out, err) == (1, "", "")
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"3 of the tiles of {source} failed and are missing from {tmp_path}")
    seen = "looks as if nothing were there" if name[0] == "c" else "(see failed_tiles)"
    assert said.endswith(seen)
    assert (tmp_path / name).exists()


def test_columns_that_others_added_stay(tmp_path, made):
    source = tmp_path / "map.gpkg"
    source.write_bytes(made[".gpkg"].read_bytes())
    with closing(sqlite3.connect(source)) as db, db:
        db.execute("ALTER TABLE features ADD COLUMN note TEXT DEFAULT 'seen'")
        db.execute("ALTER TABLE features ADD COLUMN trees INTEGER DEFAULT 3")
    for ending in FORMATS:
        export(source, tmp_path / f"other{ending}")
        found = read(tmp_path / f"other{ending}")
        assert set(found["note"]) == {"seen"}
        assert set(found["trees"]) == {3}
        assert len(found) == COUNT


def test_shells_of_geojson_turn_left_as_rfc_7946_wants(tmp_path, made):
    out = tmp_path / "map.geojson"
    export(made[".parquet"], out)
    features = json.loads(out.read_text())["features"]
    assert len(features) == COUNT
    for feature in features:
        for shell, *holes in feature["geometry"]["coordinates"]:
            assert shapely.LinearRing(shell).is_ccw
            assert not any(shapely.LinearRing(hole).is_ccw for hole in holes)


def test_memory_does_not_grow_with_the_map(made, monkeypatch, tmp_path):
    """Rows are never read all at once."""
    monkeypatch.setattr("geoseg.export.read.BATCH_ROWS", 5)
    from geoseg.export.read import open_map

    for ending in FORMATS:
        sizes = [batch.num_rows for batch in open_map(made[ending]).batches()]
        assert max(sizes) <= 5
        assert sum(sizes) == COUNT
    export(made[".gpkg"], tmp_path / "map.fgb")
    assert (tmp_path / "map.fgb").read_bytes() == made[".fgb"].read_bytes()


# --------------------------------------------------------------------------------------- COG


def drawn(path: Path, frame: Frame, names: list[str]) -> np.ndarray:
    """Return the classes of a map burnt in one go."""
    found = read(path).sort_values("id")
    pairs = [(g, names.index(c) + 1) for g, c in zip(found.geometry, found["class"], strict=True)]
    size = {"out_shape": (frame.height, frame.width), "transform": frame.transform}
    return rasterio.features.rasterize(pairs, **size)


@pytest.mark.parametrize("start", WHOLE)
def test_a_cog_has_the_pixels_that_the_run_drew(tmp_path, made, start, monkeypatch):
    monkeypatch.setattr("geoseg.export.burn.STRIP_ROWS", 7)
    monkeypatch.setattr("geoseg.export.read.BATCH_ROWS", 4)
    out = tmp_path / "classes.tif"
    export(made[start], out)
    assert [p.name for p in tmp_path.iterdir()] == ["classes.tif"]
    assert cog_validate(out, strict=True) == (True, [], [])
    frame = raster(IDS, crs=UTM).frame
    with rasterio.open(out) as found:
        values = found.read(1)
        assert (found.dtypes, found.nodata) == (("uint8",), 0)
        assert found.transform == frame.transform
        assert found.crs == rasterio.crs.CRS.from_wkt(frame.crs)
        colours, names = found.colormap(1), found.tags(1)
    assert np.array_equal(values, drawn(made[start], frame, ["c0", "c1", "c2"]))
    # The truth of which the run was told.
    wanted = np.append(0, np.array(CLASSES) + 1)[IDS]
    assert np.array_equal(values, wanted)
    assert [names[f"CLASS_{k}"] for k in (1, 2, 3)] == ["c0", "c1", "c2"]
    for number, land_class in enumerate(THINGS.classes, 1):
        assert bytes(colours[number]) == bytes.fromhex(land_class.colour[1:] + "ff")


def test_strips_are_all_rows_once_and_never_large():
    for frame in (
        Frame(3, 1300, Affine.identity(), None),
        Frame(2**26, 3, Affine.identity(), None),
    ):
        found = strips(frame)
        assert [y for y0, y1 in found for y in range(y0, y1)] == list(range(frame.height))
        assert all((y1 - y0) * frame.width <= max(2**22, frame.width) for y0, y1 in found)


def test_more_than_255_classes_take_16_bits(tmp_path):
    ids = np.arange(1, 301, dtype=np.int32).reshape(15, 20).repeat(2, 0).repeat(2, 1)
    many = geoseg.Legend(classes=[geoseg.LandClass(name=f"c{k}") for k in range(300)])
    model = ByIdentity(tuple(range(300)))
    source = tmp_path / "map.gpkg"
    geoseg.segment(raster(ids, crs=UTM), many, backend=model, out=source, tile=64, overlap=16)
    export(source, tmp_path / "classes.tif")
    with rasterio.open(tmp_path / "classes.tif") as found:
        assert found.dtypes == ("uint16",)
        assert np.array_equal(found.read(1), ids)
        assert bytes(found.colormap(1)[300][:3]).hex() == many.classes[299].colour[1:]


def test_a_raster_in_a_turned_frame_and_without_a_crs(tmp_path):
    turned = Affine.translation(7, 9) @ Affine.rotation(30) @ Affine.scale(2, -3)
    pixels = geoseg.ArrayRaster(raster(IDS).data, transform=turned)
    source = tmp_path / "map.gpkg"
    geoseg.segment(pixels, THINGS, backend=ByIdentity(CLASSES), out=source, tile=40, overlap=8)
    export(source, tmp_path / "classes.tif")
    with rasterio.open(tmp_path / "classes.tif") as found:
        assert found.crs is None
        assert found.transform.almost_equals(turned)
        assert np.array_equal(found.read(1), np.append(0, np.array(CLASSES) + 1)[IDS])


def test_a_pixel_lost_on_the_disk_is_noticed(tmp_path, made, monkeypatch):
    copy = rasterio.shutil.copy

    def lose(source, target, **options):
        copy(source, target, **options)
        with rasterio.open(target) as written:
            values, profile = written.read(), written.profile
        values[0, 40, 40] ^= 1
        Path(target).unlink()
        with rasterio.open(target, "w", **profile) as worse:
            worse.write(values)

    monkeypatch.setattr("rasterio.shutil.copy", lose)
    with pytest.raises(OutputError, match="are not in the file as they were burnt"):
        export(made[".gpkg"], tmp_path / "classes.tif")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("name", "wishes", "said"),
    [
        (
            "map.shp",
            Wishes(),
            r"has the ending '\.shp', which is no known format; --to takes .gpkg",
        ),
        ("map", Wishes(), r"no format and no file; it takes coco or yolo, .*\.qgz, stac\.json$"),
        ("map.json", Wishes(), "may be of two formats; call it coco.json or stac.json, or pass"),
        ("map.fgb", Wishes(format="coco"), "--format coco for .*other formats go by the ending"),
        ("no/map.fgb", Wishes(), "output folder .*no does not exist"),
    ],
)
def test_outputs_that_cannot_be_are_refused_in_one_line(tmp_path, made, name, wishes, said):
    with pytest.raises(OutputError, match=said):
        export(made[".gpkg"], tmp_path / name, wishes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stem", ["x" * 250, "森" * 90, "a\nb", "a\tb"])
def test_names_that_cannot_be_are_refused(tmp_path, made, stem):
    with pytest.raises(ConfigError, match=r"^--to: the "):
        export(made[".gpkg"], tmp_path / f"{stem}.fgb")
    with pytest.raises(MapError, match="no such file"):
        export(tmp_path / f"{stem * 2}.gpkg", tmp_path / "map.fgb")
    assert list(tmp_path.iterdir()) == []


def test_wishes_that_would_do_nothing_are_refused(tmp_path, made):
    for wishes in (Wishes(chips=64), Wishes(datetime="file"), Wishes(raster="a.tif")):
        with pytest.raises(ConfigError, match=r"is for .*; leave it out"):
            export(made[".gpkg"], tmp_path / "map.fgb", wishes)


@pytest.mark.parametrize("ending", [".fgb", ".tif"])
def test_what_is_there_is_replaced_only_when_told(tmp_path, made, ending):
    out = tmp_path / f"map{ending}"
    out.write_text("precious")
    with pytest.raises(OutputError, match="is already there; pass --overwrite"):
        export(made[".gpkg"], out)
    assert out.read_text() == "precious"
    export(made[".gpkg"], out, Wishes(overwrite=True))
    assert out.stat().st_size > 100


def test_the_map_itself_is_no_output(made):
    with pytest.raises(OutputError, match="is the input"):
        export(made[".gpkg"], made[".gpkg"], Wishes(overwrite=True))


def test_maps_that_are_not_ours_are_refused(tmp_path, made):
    other = gpd.GeoDataFrame({"class": ["a"]}, geometry=[shapely.box(0, 0, 1, 1)], crs=UTM)
    for ending in (".gpkg", ".fgb"):
        other.to_file(tmp_path / f"other{ending}")
    other.to_file(tmp_path / "like.gpkg", layer="features")
    other.to_parquet(tmp_path / "other.parquet")
    (tmp_path / "text.gpkg").write_text("hello")
    (tmp_path / "text.parquet").write_text("hello")
    (tmp_path / "torn.gpkg").write_bytes(made[".gpkg"].read_bytes()[:9000])
    (tmp_path / "map.txt").write_text("hello")
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(MapError, match=r"^\S+ is no map of geoseg") as caught:
            export(path, tmp_path / "out.fgb")
        assert "\n" not in str(caught.value)
    with pytest.raises(MapError, match="no such file"):
        export(tmp_path / "none.gpkg", tmp_path / "out.fgb")
    assert not (tmp_path / "out.fgb").exists()


def test_a_map_that_was_reprojected_is_refused(tmp_path, made):
    moved = pq.read_table(made[".parquet"])
    stored = {k: v.replace(b"32633", b"32634") for k, v in moved.schema.metadata.items()}
    geo = json.loads(stored[b"geo"])
    import pyproj

    geo["columns"]["geometry"]["crs"] = pyproj.CRS("EPSG:32634").to_json_dict()
    stored = {**moved.schema.metadata, b"geo": json.dumps(geo).encode()}
    pq.write_table(moved.replace_schema_metadata(stored), tmp_path / "map.parquet")
    with pytest.raises(MapError, match="is not in the CRS in which it was made"):
        export(tmp_path / "map.parquet", tmp_path / "map.fgb")


@pytest.mark.parametrize("name", ["map.tif", "map.qgz", "coco.json", "stac.json"])
def test_what_needs_the_recipe_says_so(tmp_path, made, name):
    with pytest.raises(MapError, match=r"says nothing of how it was made.*give the \.gpkg"):
        export(made[".fgb"], tmp_path / name)


def test_a_map_without_a_crs_is_no_geojson(tmp_path):
    source = segment(tmp_path / "map.gpkg", crs=None)
    with pytest.raises(OutputError, match="GeoJSON is always longitude and latitude"):
        export(source, tmp_path / "map.geojson")
    export(source, tmp_path / "map.parquet")
    assert read(tmp_path / "map.parquet").crs is None


def test_a_geopackage_that_is_being_written_elsewhere(tmp_path, made):
    source = tmp_path / "map.gpkg"
    source.write_bytes(made[".gpkg"].read_bytes())
    # Within one process, locks do not count.
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", HOLD, source], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        try:
            with pytest.raises(MapError, match="is being written by another program"):
                export(source, tmp_path / "map.fgb")
        finally:
            other.communicate(b"done")
    out = tmp_path / "out.gpkg"
    out.with_name("out.gpkg-wal").touch()
    with pytest.raises(OutputError, match="is open in another program"):
        export(source, out)


def test_a_geopackage_that_is_locked_is_not_replaced(tmp_path, made):
    held = tmp_path / "held.gpkg"
    held.write_bytes(made[".gpkg"].read_bytes())
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", HOLD, held], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match=r"held\.gpkg is being written by another program"):
            export(made[".parquet"], held, Wishes(overwrite=True))
        other.stdin.close()
    assert held.read_bytes() == made[".gpkg"].read_bytes()
    export(made[".parquet"], held, Wishes(overwrite=True))


@pytest.mark.parametrize(("column", "name"), [("geom", "geometry"), ("class", "class")])
@pytest.mark.parametrize("to", ["a.fgb", "a.geojson", "a.tif", "coco.json"])
def test_a_feature_that_an_edit_left_empty_is_named(tmp_path, made, column, name, to):
    edited = tmp_path / "edited.gpkg"
    edited.write_bytes(made[".gpkg"].read_bytes())
    with closing(sqlite3.connect(edited)) as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(features)")]
        column = column if column in columns else "geometry"
        for trigger in [
            r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE type='trigger'")
        ]:
            db.execute(f'DROP TRIGGER "{trigger}"')
        db.execute(f'UPDATE features SET "{column}" = NULL WHERE id = 3')  # noqa: S608
        db.commit()
    with pytest.raises(MapError, match=rf"feature 3 of .* has no {name}, .* delete it"):
        export(edited, tmp_path / to)
    assert [p.name for p in tmp_path.iterdir()] == ["edited.gpkg"]


@pytest.mark.parametrize("ending", [".fgb", ".geojson"])
def test_a_feature_without_a_class_is_named_also_where_there_is_no_recipe(tmp_path, made, ending):
    found = read(made[ending])
    found.loc[found["id"] == 3, "class"] = None
    found.to_file(tmp_path / f"edited{ending}")
    with pytest.raises(MapError, match=r"feature 3 of .* has no class"):
        export(tmp_path / f"edited{ending}", tmp_path / "out.gpkg")


def renamed(tmp_path: Path, made, ending: str, name: str) -> Path:
    """Return a copy of a map in which features 2 and 3 are of another class."""
    edited = tmp_path / f"edited{ending}"
    if ending == ".parquet":
        table = pq.read_table(made[ending])
        names = table.column("class").to_pylist()
        names[1:3] = [name, name]
        place = table.column_names.index("class")
        pq.write_table(table.set_column(place, table.schema.field(place), [names]), edited)
        return edited
    edited.write_bytes(made[ending].read_bytes())
    with closing(sqlite3.connect(edited)) as db, db:
        triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        for (trigger,) in db.execute(triggers).fetchall():
            db.execute(f'DROP TRIGGER "{trigger}"')
        db.execute("UPDATE features SET class = ? WHERE id IN (2, 3)", (name,))
    return edited


@pytest.mark.parametrize("start", WHOLE)
@pytest.mark.parametrize("to", [*(f"a{e}" for e in FORMATS), "a.tif", "coco.json"])
def test_a_class_that_an_edit_added_is_one_in_every_format(tmp_path, made, start, to, caplog):
    edited = renamed(tmp_path, made, start, "wetland")
    out = tmp_path / to
    assert export(edited, out).count == COUNT
    (said,) = [r.getMessage() for r in caplog.records if "legend" in r.getMessage()]
    assert said == (
        f"{edited} has classes that its legend lacks, as an edit may have added: 'wetland' (2); "
        "they go last in the legend"
    )
    if to == "a.tif":
        with rasterio.open(out) as found:
            assert np.isin(found.read(1), 4).any()
            assert found.tags(1)["CLASS_4"] == "wetland"
    elif to == "coco.json":
        labels = json.loads(out.read_text())
        assert labels["categories"][3]["name"] == "wetland"
        assert sum(a["category_id"] == 4 for a in labels["annotations"]) == 2
    else:
        assert (read(out)["class"] == "wetland").sum() == 2


def test_a_polygon_without_a_pixels_centre_has_no_label_and_that_is_told(tmp_path, made, caplog):
    table = pq.read_table(made[".parquet"])
    outlines, place = table.column("geometry").to_pylist(), table.column_names.index("geometry")
    x, y, *_ = shapely.from_wkb(outlines[1]).bounds
    speck = shapely.MultiPolygon([shapely.box(x, y, x + 1e-3, y + 1e-3)])
    outlines[1] = shapely.to_wkb(speck)
    edited, out = tmp_path / "edited.parquet", tmp_path / "coco.json"
    pq.write_table(table.set_column(place, table.schema.field(place), [outlines]), edited)
    export(edited, out)
    labels = json.loads(out.read_text())["annotations"]
    assert {a["feature"] for a in labels} == {n + 1 for n in range(COUNT)} - {2}
    (said,) = [r.getMessage() for r in caplog.records if "label" in r.getMessage()]
    assert said == "1 polygons hold no pixel's centre, and so have no label"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("C1", r"class 'C1' is named twice \(also as 'c1'\): mend it there"),
        ("wet  land", "class 'wet  land' has odd spaces or accents, for 'wet land'"),
        ("a\tb", "character U[+]0009 is not allowed in a class name"),
    ],
)
def test_a_class_that_can_be_none_is_refused_by_every_format(tmp_path, made, name, said):
    edited = renamed(tmp_path, made, ".gpkg", name)
    for to in (*(f"a{e}" for e in FORMATS), "a.tif", "coco.json", "a.qgz", "stac.json"):
        with pytest.raises(MapError, match=rf"that its legend lacks, .* \(2\); {said}"):
            export(edited, tmp_path / to)
    assert [p.name for p in tmp_path.iterdir()] == ["edited.gpkg"]


@pytest.mark.parametrize("to", ["coco.json", "map.qgz", "stac.json"])
def test_another_raster_is_not_taken_for_that_of_the_map(tmp_path, made, to):
    other = tmp_path / "other.tif"
    profile = {"driver": "GTiff", "width": 90, "height": 80, "count": 1, "dtype": "uint8"}
    with rasterio.open(other, "w", crs=UTM, transform=Affine(9, 0, 0, 0, -9, 0), **profile) as file:
        file.write(np.ones((1, 80, 90), np.uint8))
    with pytest.raises(
        MapError, match=r"other\.tif is not on the pixel grid of .*; give the raster"
    ):
        export(made[".gpkg"], tmp_path / to, Wishes(raster=str(other), datetime=None))


def test_an_unfinished_run_of_that_name_is_not_disturbed(tmp_path, made):
    out = tmp_path / "out.gpkg"

    def stop(step, done, _total):
        if step == "detect" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment(out, progress=stop)
    with pytest.raises(OutputError, match=r"is an unfinished run of out\.gpkg"):
        export(made[".parquet"], out)
    segment(out)
    assert out.read_bytes() == made[".gpkg"].read_bytes()


@pytest.mark.parametrize("to", ["map.tif", "coco.json", "stac.json"])
@pytest.mark.parametrize("given", [True, False])
def test_bands_that_do_not_say_what_they_are_do_not_matter(tmp_path, to, given, caplog):
    scene = tmp_path / "six.tif"
    profile = {"driver": "GTiff", "width": 60, "height": 40, "count": 6, "dtype": "uint8"}
    with rasterio.open(scene, "w", crs="EPSG:32633", transform=GEOREF, **profile) as out:
        out.write(np.random.default_rng(1).integers(1, 255, (6, 40, 60), np.uint8))
    made = tmp_path / "m.gpkg"
    geoseg.segment(scene, "water", bands="red=4,green=3,blue=2,nir=6", out=made)
    caplog.clear()
    when = "2020-01-01T00:00:00Z" if to == "stac.json" else None
    export(made, tmp_path / to, Wishes(raster=str(scene) if given else None, datetime=when))
    assert (tmp_path / to).exists()
    assert not [r for r in caplog.records if "band" in r.getMessage()]


@pytest.mark.parametrize("options", [(), ("--raster", "scene.tif")])
def test_no_output_takes_the_place_of_the_raster(tmp_path, run, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    pixels = raster(IDS, crs=UTM)
    profile = {"driver": "GTiff", "count": len(pixels.data), "dtype": pixels.data.dtype}
    size = {"width": pixels.frame.width, "height": pixels.frame.height}
    place = {"crs": pixels.frame.crs, "transform": pixels.frame.transform}
    with rasterio.open("scene.tif", "w", **profile, **size, **place) as target:
        target.write(pixels.data)
    geoseg.segment(
        "scene.tif", THINGS, backend=ByIdentity(CLASSES), out="map.gpkg", bands={"red": 1}
    )
    before = (tmp_path / "scene.tif").read_bytes()
    code, _, err = run("export", "map.gpkg", "--to", "scene.tif", "--overwrite", *options)
    assert code == 2
    assert "scene.tif is the input; give another --to" in err
    assert (tmp_path / "scene.tif").read_bytes() == before
