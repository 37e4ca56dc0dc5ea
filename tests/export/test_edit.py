"""A map that is changed in its place is what the changes say, and every reader agrees."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from geopandas.testing import assert_geodataframe_equal
from hypothesis import given
from hypothesis import strategies as st
from scenes import examples
from scripts import benchmark

from geoseg.analysis import report
from geoseg.convert import export
from geoseg.errors import ConfigError, MapError, OutputError
from geoseg.export import edit, held, turns
from geoseg.export.blank import create
from geoseg.export.edit import Editor
from geoseg.export.read import open_map
from geoseg.legend import LandClass, Legend
from geoseg.rerun import rerun

BENCH = benchmark("review")


@pytest.fixture
def path(tmp_path):
    return BENCH.draw_map(tmp_path / "map.gpkg", 12)


def read(path) -> gpd.GeoDataFrame:
    return gpd.read_file(path, layer="features").set_index("id")


def ask(path, query):
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def elsewhere(path, *statements) -> None:
    """Do what QGIS does, which knows the functions of the triggers, too."""
    with closing(held.connect(path)) as db:
        for statement in statements:
            db.execute(statement)


def box(x: float, y: float, side: float) -> shapely.Polygon:
    return shapely.box(x, y, x + side, y + side)


# ------------------------------------------------------------------------------------- a law

COORDINATES = st.floats(-1e6, 1e6, allow_nan=False).map(lambda v: round(v, 3))
SHAPES = st.builds(box, COORDINATES, COORDINATES, st.floats(0.5, 1e4))
CHANGES = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(["hut", "tree"]), SHAPES),
    st.tuples(st.just("remove"), st.integers(0, 99), st.none()),
    st.tuples(st.just("move"), st.integers(0, 99), SHAPES),
    st.tuples(st.just("say"), st.integers(0, 99), st.sampled_from(["accepted", None])),
)


@examples(25)
@given(changes=st.lists(CHANGES, max_size=12))
def test_any_sequence_of_changes_is_what_a_model_in_memory_says(drawn, changes):
    path = Path(shutil.copy(drawn, drawn.with_name("changed.gpkg")))
    model = {k: (v["class"], None, v.geometry) for k, v in read(path).iterrows()}
    known = set(model)
    with pytest.MonkeyPatch.context() as patch, Editor(path) as editor:
        # What a disk does is for the tests of kills.
        patch.setattr(turns, "connect", unsettled)
        for kind, which, value in changes:
            if kind == "add":
                number = editor.add({"class": which}, value)
                assert number not in known
                known.add(number)
                model[number] = (which, None, shapely.MultiPolygon([value]))
            elif model:
                number = sorted(model)[which % len(model)]
                cls, said, shape = model[number]
                if kind == "remove":
                    editor.remove(number)
                    del model[number]
                elif kind == "move":
                    editor.change(number, geometry=value)
                    model[number] = (cls, said, shapely.MultiPolygon([value]))
                else:
                    editor.change(number, review=value)
                    model[number] = (cls, value, shape)
        assert {r.id: (r.cls, r.review) for r in editor.rows()} == {
            k: (cls, said) for k, (cls, said, _) in model.items()
        }
        assert all(editor.geometry(k).equals(shape) for k, (*_, shape) in model.items())
    every_reader_agrees(path, {k: shape for k, (*_, shape) in model.items()})


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return BENCH.draw_map(tmp_path_factory.mktemp("law") / "map.gpkg", 3)


def unsettled(path):
    db = held.connect(path)
    db.execute("PRAGMA synchronous = OFF")
    return db


def every_reader_agrees(path, shapes) -> None:
    found = read(path)
    assert set(found.index) == set(shapes)
    assert all(found.geometry[k].equals(shape) for k, shape in shapes.items())
    assert pyogrio.read_info(path, layer="features")["features"] == len(shapes)
    (extent,) = ask(
        path,
        "SELECT min_x, min_y, max_x, max_y FROM gpkg_contents WHERE table_name = 'features'",
    )
    if shapes:
        every = np.array(list(shapes.values()), object)
        assert extent == pytest.approx(shapely.total_bounds(every), rel=1e-12)
        assert BENCH.is_sound(path, len(shapes))
    else:
        assert extent == (None,) * 4
    # GDAL looks into the index for this.
    for shape in list(shapes.values())[:3]:
        window = shapely.box(*shape.bounds)
        hit = pyogrio.read_dataframe(path, layer="features", bbox=shape.bounds)
        assert set(hit["id"]) == {k for k, s in shapes.items() if s.intersects(window)}
    assert open_map(path).count == len(shapes)


@examples(12)
@given(
    kept=st.sets(st.integers(1, 3)),
    values=st.dictionaries(
        st.sampled_from(["score", "n_tiles", "area_ha", "review", "class"]),
        st.sampled_from([None, 0, 1]),
        min_size=1,
    ),
    crs=st.sampled_from(["EPSG:32643", None]),
    mode=st.sampled_from(["delete", "wal"]),
)
def test_features_are_what_geopandas_reads(drawn, kept, values, crs, mode):
    path = drawn.with_name("read.gpkg")
    path.unlink(missing_ok=True)
    if crs is None:
        frame, legend = replace(open_map(drawn).made_by().frame, crs=None), Legend.parse("hut")
        create(path, frame, legend, facts=open_map(drawn).made_by().facts)
    else:
        shutil.copy(drawn, path)
    with pytest.MonkeyPatch.context() as patch, Editor(path) as editor:
        patch.setattr(turns, "connect", unsettled)
        elsewhere(path, f"PRAGMA journal_mode = {mode}", *ODD)
        for k in range(3 if crs is None else 0):
            editor.add({"class": "hut"}, box(k, 0, 5))
        for number in {1, 2, 3} - kept:
            editor.remove(number)
        for number in kept:
            editor.change(number, **values)
        found = editor.features()
    assert_geodataframe_equal(found, gpd.read_file(path, layer="features"))


ODD = (
    'ALTER TABLE features ADD "day" DATE',
    'ALTER TABLE features ADD "is_new" BOOLEAN',
    'ALTER TABLE features ADD "small" FLOAT',
    "UPDATE features SET day = '2026-11-27', is_new = 1, small = 0.1 WHERE id = 2",
)
"""Columns that QGIS may add."""


def test_what_is_told_of_an_open_map_takes_no_locks_of_others(path):
    """As a notebook that looks into the file itself."""
    with Editor(path) as editor, closing(sqlite3.connect(path, isolation_level=None)) as mine:
        mine.execute("PRAGMA journal_mode = WAL")
        mine.execute("SELECT count(*) FROM features").fetchone()
        ids = set(read_ids(mine))
        for _ in range(4):
            ids.add(editor.add({"class": "hut"}, box(0, 0, 5)))
            assert set(editor.features()["id"]) == ids
            assert set(read_ids(mine)) == ids
    assert set(read(path).index) == ids


def read_ids(db) -> list[int]:
    return [number for (number,) in db.execute("SELECT id FROM features")]


# ---------------------------------------------------------------------------------- changes


def test_columns_of_a_review_come_with_the_first_word(path):
    before = read(path)
    with Editor(path) as editor:
        assert editor.row(3).review is None
        editor.change(3, review="accepted", reviewed_by="ann", reviewed_at="2026-11-27T15:00:00Z")
        row = editor.row(3)
    assert (row.review, row.reviewed_by) == ("accepted", "ann")
    after = read(path)
    assert after.columns.drop("geometry").tolist() == [
        *before.columns.drop("geometry"), "review", "reviewed_by", "reviewed_at",
    ]  # fmt: skip
    assert after["review"].dropna().to_dict() == {3: "accepted"}
    assert after[before.columns].equals(before)


def test_when_it_was_changed_is_told(path):
    asked = "SELECT last_change FROM gpkg_contents WHERE table_name = 'features'"
    assert ask(path, asked)[0][0].startswith("1970")
    with Editor(path) as editor:
        editor.change(1, review="accepted")
    assert ask(path, asked)[0][0] > "2020"


def test_what_is_not_finite_is_nothing_and_numbers_of_numpy_are_numbers(path):
    with Editor(path) as editor:
        editor.change(1, score=float("nan"), n_tiles=np.int64(4), area_ha=np.float32(0.5))
    assert ask(path, "SELECT score, n_tiles, area_ha, typeof(n_tiles) FROM features LIMIT 1") == [
        (None, 4, 0.5, "integer")
    ]


def test_an_outline_is_kept_as_every_map_has_it(path):
    turned = shapely.Polygon([(0, 0, 7), (0, 5, 7), (5, 5, 7), (5, 0, 7)])
    with Editor(path) as editor:
        number = editor.add({"class": "hut"}, turned)
        (shape,) = editor.geometry(number).geoms
    assert shape.exterior.is_ccw
    assert not shape.has_z
    assert shape.equals(shapely.force_2d(turned))


@pytest.mark.parametrize(
    "shape",
    [shapely.Point(0, 0), shapely.Polygon(), shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)]),
     shapely.Polygon([(0, 0), (float("inf"), 1), (1, 1)])],
)  # fmt: skip
def test_what_encloses_no_ground_is_refused(path, shape):
    before = path.read_bytes()
    with Editor(path) as editor, pytest.raises(ConfigError, match="no valid polygon"):
        editor.add({"class": "hut"}, shape)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["owner", "id", "fid", "geom"])
def test_other_columns_are_refused(path, name):
    with Editor(path) as editor, pytest.raises(MapError, match=f"no column '{name}' that could"):
        editor.change(1, **{name: 5})


def test_a_feature_that_is_not_there_is_named(path):
    with Editor(path) as editor:
        for touch in (editor.remove, editor.row, editor.geometry):
            with pytest.raises(MapError, match="has no feature 99"):
                touch(99)
        with pytest.raises(MapError, match="has no feature 99"):
            editor.change(99, review="accepted")


def test_a_new_class_is_in_the_legend_and_in_the_colours_of_qgis(path, caplog):
    with Editor(path) as editor:
        editor.ensure_class(LandClass(name="hut"))
        editor.ensure_class(LandClass(name="boat & oar"))
        editor.change(2, **{"class": "boat & oar"})
        with pytest.raises(ConfigError, match="'hut' already, which differs by capitals only"):
            editor.ensure_class(LandClass(name="HUT"))
        assert [c.name for c in editor.legend.classes] == ["hut", "tree", "boat & oar"]
    found = open_map(path).edited()
    assert [c.name for c in found.legend.classes] == ["hut", "tree", "boat & oar"]
    assert not caplog.messages
    ((style,),) = ask(path, "SELECT styleQML FROM layer_styles WHERE f_table_name = 'features'")
    assert style.count("<category ") == 3
    assert 'value="boat &amp; oar"' in style


def test_a_style_made_in_qgis_stays(path):
    elsewhere(path, "UPDATE layer_styles SET styleQML = '<qgis/>'")
    with Editor(path) as editor:
        editor.ensure_class(LandClass(name="boat"))
    assert ask(path, "SELECT styleQML FROM layer_styles") == [("<qgis/>",)]


def test_an_exchange_is_made_only_if_the_row_is_as_it_was_left(path):
    with Editor(path) as editor:
        old, new = editor.exchange(4, {"class": "hut", "geometry": editor.geometry(1)})
        elsewhere(path, "UPDATE features SET class = 'tree' WHERE id = 4")
        with pytest.raises(MapError, match=r"feature 4 of .* was changed by another program since"):
            editor.exchange(4, old, left=new)
        elsewhere(path, "UPDATE features SET class = 'hut' WHERE id = 4")
        editor.exchange(4, old, left=new)
        assert editor.geometry(4) == old["geometry"]


# ----------------------------------------------------------------------------- other programs


def test_rows_that_others_added_get_ids_and_measures(path):
    every = "SELECT id, area_ha, perimeter_m FROM features WHERE fid = 1"
    ((_, area_ha, perimeter_m),) = ask(path, every)
    copied = "INSERT INTO features (id, class, geom) SELECT {}, 'hut', geom FROM features LIMIT 1"
    elsewhere(path, copied.format("NULL"), copied.format("id"), copied.format("40"))
    with Editor(path) as editor:
        rows = editor.rows()
        assert [row.id for row in rows[12:]] == [41, 42, 40]
        assert [row.area_ha for row in rows[12:14]] == pytest.approx([area_ha] * 2)
        assert [row.perimeter_m for row in rows[12:14]] == pytest.approx([perimeter_m] * 2)
        assert not editor.refresh()
        elsewhere(path, copied.format("NULL"))
        assert editor.refresh()
        assert editor.rows()[-1].id == 43
        editor.change(41, review="accepted")
        assert editor.row(41).review == "accepted"
        assert editor.add({"class": "hut"}, box(0, 0, 1)) == 44
    assert BENCH.is_sound(path, 17)


def test_a_row_without_outline_or_class_is_lived_with(path):
    elsewhere(path, "INSERT INTO features (class) VALUES (NULL)")
    with Editor(path) as editor:
        assert editor.row(13).cls is None
        assert editor.geometry(13).is_empty
        editor.change(13, **{"class": "hut"}, geometry=box(500010, 4999900, 3))
    assert open_map(path).count == sum(b.num_rows for b in open_map(path).batches()) == 13


def test_a_damaged_outline_is_told_and_can_be_drawn_anew(path):
    head = edit.encode(shapely.multipolygons([box(500_010, 4_999_970, 5)]), 32633)[:40]
    for broken in (head + b"no wkb", head + shapely.to_wkb(shapely.Point(0, 0))):
        with closing(held.connect(path)) as db:
            db.execute("UPDATE features SET geom = ?, id = NULL WHERE fid = 2", (broken,))
        with Editor(path) as editor:
            number = editor.rows()[1].id
            assert editor.rows()[1].area_ha is None
            with pytest.raises(MapError, match=f"the outline of feature {number} of .* is damaged"):
                editor.geometry(number)
            editor.change(number, review="rejected")
    elsewhere(path, "DELETE FROM features WHERE fid = 2")
    assert BENCH.is_sound(path, 11)


def test_threads_take_turns(path):
    with Editor(path) as editor, ThreadPoolExecutor(4) as pool:
        shapes = [box(500_000 + k, 4_999_950, 1) for k in range(12)]
        ids = list(pool.map(lambda shape: editor.add({"class": "hut"}, shape), shapes))
        said = [pool.submit(editor.change, k, review="accepted") for k in ids]
        assert all(one.result() is None for one in said)
        assert sorted(ids) == list(range(13, 25))
        assert all(editor.geometry(k).equals(s) for k, s in zip(ids, shapes, strict=True))
    assert BENCH.is_sound(path, 24)


def test_ids_that_are_not_the_keys_are_found(path):
    elsewhere(path, "UPDATE features SET id = 100 - id")
    with Editor(path) as editor:
        shape = editor.geometry(97)
        editor.change(97, review="rejected")
        editor.remove(99)
        assert editor.geometry(97) == shape
    assert ask(path, "SELECT fid, id FROM features WHERE review = 'rejected'") == [(3, 97)]
    assert ask(path, "SELECT min(fid) FROM features") == [(2,)]


def test_a_log_that_qgis_left_is_no_hindrance(path):
    elsewhere(path, "PRAGMA journal_mode = WAL")
    with Editor(path) as editor:
        editor.change(1, review="accepted")
        assert read(path)["review"][1] == "accepted"
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert BENCH.is_sound(path, 12)


OTHER = """
import sys
from pathlib import Path
from geoseg.export.held import connect
db = connect(Path(sys.argv[1]))
for line in sys.stdin:
    print(db.execute(line).fetchall(), flush=True)
db.close()
"""


def test_qgis_may_have_the_map_open_to_edit_it(path):
    qgis = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", OTHER, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    def do(statement):
        print(statement, file=qgis.stdin, flush=True)
        return qgis.stdout.readline().strip()

    assert do("PRAGMA journal_mode = WAL") == "[('wal',)]"
    with Editor(path) as editor:
        for number in (1, 2):
            editor.change(number, review="accepted")
            # GDAL's own SQLite opens and closes the file in this process.
            assert read(path)["review"][number] == "accepted"
            assert do(f"DELETE FROM features WHERE id = {10 + number}") == "[]"  # noqa: S608
            assert editor.refresh()
        assert [r.id for r in editor.rows()] == list(range(1, 11))
        qgis.communicate()
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert read(path)["review"].dropna().index.tolist() == [1, 2]
    assert BENCH.is_sound(path, 10)


def test_a_map_that_is_being_written_is_told_and_nothing_is_lost(path, monkeypatch):
    monkeypatch.setattr(turns, "connect", partial(held.connect, patience_s=0.1))
    with closing(held.connect(path)) as other, Editor(path) as editor:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OutputError, match=r"being written by another program .*nothing is"):
            editor.change(1, review="accepted")
        other.execute("ROLLBACK")
        editor.change(1, review="accepted")
    assert read(path)["review"][1] == "accepted"


def test_a_reader_who_holds_the_file_only_delays(path, monkeypatch):
    monkeypatch.setattr(turns, "connect", partial(held.connect, patience_s=0.1))
    with closing(sqlite3.connect(path)) as other, Editor(path) as editor:
        reading = other.execute("SELECT * FROM features")
        reading.fetchone()
        with pytest.raises(OutputError, match="being written by another program"):
            editor.change(1, review="accepted")
        reading.close()
        editor.change(1, review="accepted")
    assert BENCH.is_sound(path, 12)


def test_another_file_in_its_place_is_noticed(path, tmp_path):
    with Editor(path) as editor:
        BENCH.draw_map(tmp_path / "new.gpkg", 3).replace(path)
        with pytest.raises(OutputError, match="was replaced, moved or removed"):
            editor.change(1, review="accepted")
    assert "review" not in read(path).columns


# --------------------------------------------------------------------------------- bad input


@pytest.fixture
def nobodys():
    """A folder in which, and as, somebody who may not write everywhere."""
    folder = Path(tempfile.mkdtemp(prefix="geoseg-test-"))
    path = BENCH.draw_map(folder / "map.gpkg", 3)
    before = os.geteuid()
    folder.chmod(0o755)
    path.chmod(0o644)
    if before == 0:
        os.chown(folder, 65534, -1)
        os.chown(path, 65534, -1)
        os.seteuid(65534)
    yield path
    folder.chmod(0o755)
    os.seteuid(before)
    shutil.rmtree(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="has other rights")
def test_a_read_only_file_or_folder_is_told(nobodys):
    nobodys.chmod(0o444)
    with pytest.raises(OutputError, match="cannot be changed: Permission denied; make it writable"):
        Editor(nobodys)
    nobodys.chmod(0o644)
    nobodys.parent.chmod(0o555)
    with pytest.raises(OutputError, match=r"output folder .* is not writable: Permission denied"):
        Editor(nobodys)
    nobodys.parent.chmod(0o755)
    with Editor(nobodys) as editor:
        nobodys.parent.chmod(0o555)
        with pytest.raises(OutputError, match="it, or its folder, is read-only or gone"):
            editor.change(1, review="accepted")
        nobodys.parent.chmod(0o755)
        editor.change(1, review="accepted")
        assert editor.row(1).review == "accepted"


def test_what_is_no_map_is_told(path, tmp_path):
    with pytest.raises(MapError, match="no such file"):
        Editor(tmp_path / "gone.gpkg")
    other = tmp_path / "map.parquet"
    export(path, other)
    with pytest.raises(MapError, match=r"geoseg export .*map\.parquet --to map\.gpkg"):
        Editor(other)
    torn = tmp_path / "torn.gpkg"
    torn.write_bytes(b"no database at all" * 400)
    with pytest.raises(MapError, match="no map of geoseg, or is damaged: file is not a database"):
        Editor(torn)
    plain = tmp_path / "plain.gpkg"
    read(path).to_file(plain, layer="features")
    with pytest.raises(MapError, match="does not say how it was made"):
        Editor(plain)
    # Nothing stays open.
    for file in (torn, plain):
        file.unlink()


# ------------------------------------------------------------------------------------- kills

HALF = """
import sqlite3, sys
from pathlib import Path
from geoseg.export.held import connect
db = connect(Path(sys.argv[1]))
db.execute("PRAGMA cache_size = 1")
db.execute("BEGIN IMMEDIATE")
db.execute("UPDATE features SET class = 'hut'")
db.execute("CREATE TABLE ballast (text)")
db.executemany("INSERT INTO ballast VALUES (?)", [("x" * 900,)] * 500)
print("half", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("reader", [open_map, Editor])
def test_half_a_change_is_taken_back_by_whoever_comes_next(path, reader):
    before = path.read_bytes()
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", HALF, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"half\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert path.read_bytes() != before
    journal = path.with_name("map.gpkg-journal")
    assert journal.exists()
    opened = reader(path)
    if reader is Editor:
        opened.close()
    assert path.read_bytes() == before
    assert not journal.exists()


# -------------------------------------------------------------------------------- an empty map


def test_a_map_may_begin_empty(tmp_path):
    path, frame = tmp_path / "drawn.gpkg", BENCH.frame_of(4)
    facts = {"backend": "hand", "tile": 64, "overlap": 8, "raster.path": "scene.tif"}
    create(path, frame, Legend.parse("hut"), facts=facts, words={"source": "scene.tif"})
    assert open_map(path).count == 0
    with Editor(path) as editor:
        assert editor.rows() == []
        shape = box(500010, 4999970, 5)
        number = editor.add({"class": "hut", "review": "accepted", "score": 0.5}, shape)
        assert number == 1
        editor.remove(number)
        assert editor.add({"class": "hut"}, shape) == 2
    every_reader_agrees(path, {2: shapely.multipolygons([shape])})
    found = open_map(path)
    assert (found.made_by().frame, found.made_by().rasters) == (frame, ["scene.tif"])
    with pytest.raises(OutputError, match="already there"):
        create(path, frame, Legend.parse("hut"), facts=facts)
    with pytest.raises(OutputError, match=r"no \.gpkg"):
        create(tmp_path / "drawn.parquet", frame, Legend.parse("hut"), facts=facts)
    with pytest.raises(MapError, match="was drawn by hand"):
        rerun(path)
    page = report(path, tmp_path / "page.html", picture=False).path.read_text()
    assert "drawn by hand, so that no command makes it again" in page
    assert "by_hand" not in page


def test_a_map_without_a_crs_has_no_measures(tmp_path):
    path = tmp_path / "drawn.gpkg"
    frame = BENCH.frame_of(4)
    plain = type(frame)(frame.width, frame.height, frame.transform, None)
    create(path, plain, Legend.parse("hut"), facts={"backend": "hand", "tile": 9, "overlap": 0})
    with Editor(path) as editor:
        editor.add({"class": "hut"}, box(500010, 4999970, 5))
    elsewhere(path, "UPDATE features SET id = NULL")
    with Editor(path) as editor:
        assert [(r.id, r.area_ha) for r in editor.rows()] == [(1, None)]
    assert open_map(path).crs is None
