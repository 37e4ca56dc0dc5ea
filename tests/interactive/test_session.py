"""Pointing at objects of a raster, and keeping them."""

from __future__ import annotations

import re
import sqlite3
import threading
from contextlib import closing

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from prompts import Knowing, coloured
from scenes import GEOREF, UTM

import geoseg
from geoseg.errors import (
    BackendError,
    ConfigError,
    GeosegError,
    MapError,
    MissingDependencyError,
    OutputError,
    RasterError,
)
from geoseg.interactive.kept import Kept
from geoseg.interactive.session import Session

IDS = np.zeros((190, 190), int)
IDS[10:40, 10:40] = 1
IDS[10:40, 50:60] = 2
IDS[60:170, 60:170], IDS[90:140, 90:140] = 3, 0
IDS[120:170, 5:40] = 4
"""With tiles of 128 px that share 40, four tiles meet in the ring, which none sees whole."""


def lonlat(col, row):
    """Return where a pixel corner lies, in degrees."""
    xy = gpd.GeoSeries([shapely.Point(*GEOREF @ (col, row))], crs=UTM).to_crs(4326)[0]
    return xy.x, xy.y


def of(number) -> shapely.Geometry:
    """Return the outline of an object of the scene."""
    shapes = rasterio.features.shapes(IDS.astype(np.int32), number == IDS, transform=GEOREF)
    return shapely.union_all([shapely.geometry.shape(s) for s, _ in shapes])


@pytest.fixture
def session(tmp_path):
    """Return a session on small tiles, with a model that knows."""
    with Session(coloured(IDS), Knowing(), out=tmp_path / "a.gpkg", tile=128, overlap=40) as opened:
        yield opened


def model(session) -> Knowing:
    return session._segmenter


# --------------------------------------------------------------------------------- pointing


def test_a_click_gives_the_object_and_looks_once(session):
    found = session.click(*lonlat(15, 15))
    assert found.geometry.equals(of(1))
    assert found.score == pytest.approx(0.9, abs=1e-4)
    assert found.area_ha == pytest.approx(of(1).area / 1e4, rel=2e-3)
    assert session.current is found
    assert session.encoded == 1
    session.clear()
    assert session.click(*lonlat(55, 15)).geometry.equals(of(2))
    # The tile beside, and the same again: nothing is looked at anew.
    session.clear()
    session.click(*lonlat(15, 15))
    assert session.encoded == model(session).looks == 1


def test_an_object_over_four_tiles_clicked_once_equals_the_untiled_mask(session, tmp_path):
    found = session.click(*lonlat(61.5, 61.5))
    assert found.geometry.equals(of(3))
    assert found.n_tiles == 4 == len(session._looks.grid)
    with Session(coloured(IDS), Knowing(), out=tmp_path / "b.gpkg") as untiled:
        whole = untiled.click(*lonlat(61.5, 61.5))
    assert whole.n_tiles == 1
    assert whole.geometry.equals_exact(found.geometry, 0)
    assert (whole.area_ha, whole.perimeter_m) == (found.area_ha, found.perimeter_m)


def test_clicks_and_undo_on_an_object_over_many_tiles_look_at_nothing_anew(tmp_path, monkeypatch):
    ids = np.ones((60, 1200), int)
    options = {"out": tmp_path / "a.gpkg", "tile": 128, "overlap": 40}
    with Session(coloured(ids), Knowing(), **options) as session:
        first = session.click(*lonlat(15, 15))
        tiles = session.encoded
        assert tiles == len(session._looks.grid) > 12
        assert session.click(*lonlat(20, 15)).geometry.equals(first.geometry)
        asked = len(model(session).asked)
        assert session.undo() is first
        assert len(model(session).asked) == asked
        assert session.encoded == tiles
    # Where there is little room, tiles are looked at again, and the answer is the same.
    monkeypatch.setattr("geoseg.interactive.looks.ROOM_BYTES", 300_000)
    with Session(coloured(ids), Knowing(), **{**options, "out": tmp_path / "b.gpkg"}) as session:
        for col in (15, 20):
            assert session.click(*lonlat(col, 15)).geometry.equals(first.geometry)
            assert sum(k.nbytes for k in session._looks._kept.values()) <= 300_000
        assert session.encoded > tiles


def test_points_in_and_out_boxes_and_masks_are_combined(session):
    session.click(*lonlat(15, 15))
    both = session.click(*lonlat(55, 15))
    assert both.geometry.equals(of(1) | of(2))
    assert session.click(*lonlat(12, 12), positive=False).geometry.equals(of(2))
    assert [p.positive for p in session.prompts] == [True, True, False]
    assert session.undo().geometry.equals(of(1) | of(2))
    assert session.undo().geometry.equals(of(1))
    assert session.undo() is None
    assert session.prompts == ()

    xs, ys = zip(lonlat(8, 42), lonlat(43, 8), strict=True)
    found = session.box((*(min(v) for v in (xs, ys)), *(max(v) for v in (xs, ys))))
    assert found.geometry.equals(of(1))
    told = model(session).asked[-1]
    assert told.box == pytest.approx((8, 8, 43, 42), abs=0.2)
    session.clear()
    rough = gpd.GeoSeries([of(4).buffer(15)], crs=UTM)
    assert session.mask(rough.to_crs(3857)).geometry.equals(of(4))
    assert session.mask(of(2), crs=UTM).geometry.equals(of(2))
    assert {p.kind for p in session.prompts} == {"mask"}


def test_a_prompt_is_given_to_the_tiles_that_see_it(session):
    session.click(*lonlat(61.5, 61.5))
    session.click(*lonlat(165.5, 165.5))
    session.click(*lonlat(110.5, 110.5), positive=False)
    last = model(session).asked[-1]
    assert last.positive.tolist().count(False) <= 1
    assert session.current.geometry.equals(of(3))


def test_nothing_is_found_where_nothing_is(session):
    assert session.click(*lonlat(2, 2)) is None
    assert session.current is None
    # What was said stays, and more can be said.
    assert len(session.prompts) == 1
    assert session.click(*lonlat(15, 15)).geometry.equals(of(1))


def test_an_object_that_goes_on_is_said_to(tmp_path):
    long = np.ones((20, 400), int)
    out = tmp_path / "a.gpkg"
    with Session(coloured(long), Knowing(), out=out, tile=64, overlap=36, reach=2) as session:
        found = session.click(*lonlat(3, 3))
    assert found.notes == (
        "it goes on beyond the tiles that were looked at; raise reach to follow it farther",
    )


def test_coordinates_may_be_of_another_crs(session, tmp_path):
    x, y = GEOREF @ (15, 15)
    assert session.click(x, y, crs=UTM).geometry.equals(of(1))
    plain = coloured(IDS, crs=None)
    with Session(plain, Knowing(), out=tmp_path / "b.gpkg") as other:
        assert other.click(x, y).geometry.equals(of(1))
        assert np.isnan(other.current.area_ha)
        assert repr(other.current) == "<outline: score 0.90>"
    with Session(coloured(IDS), Knowing(), out=tmp_path / "c.gpkg", crs=UTM) as other:
        assert other.click(x, y).geometry.equals(of(1))


def test_the_picture_may_have_another_ground_size(tmp_path):
    class Coarse(Knowing):
        def ask(self, seen, prompt, shape):
            found = super().ask(seen, prompt, seen.shape)
            self.shape = seen.shape, shape
            return found

    coarse = Coarse()
    options = geoseg.ModelOptions(gsd=20.0)
    with Session(coloured(IDS), coarse, models=options, out=tmp_path / "a.gpkg") as session:
        session.click(*lonlat(15, 15))
    assert coarse.shape == ((95, 95), (190, 190))
    assert coarse.asked[0].points.tolist() == [[pytest.approx(7.5), pytest.approx(7.5)]]


def test_another_ground_size_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setattr("geoseg.backends.pictures.find_spec", lambda _: None)
    options = geoseg.ModelOptions(gsd=20.0)
    with pytest.raises(MissingDependencyError, match="pip install pillow"):
        Session(coloured(IDS), "grow", models=options, out=tmp_path / "a.gpkg")


# -------------------------------------------------------------------------------- accepting


def test_what_is_accepted_is_on_disk_and_a_map(session):
    session.click(*lonlat(15, 15))
    assert not session.path.exists()
    assert session.features().empty
    assert session.accept("hut") == 1
    assert session.current is None
    session.click(*lonlat(55, 15))
    assert session.accept("big hut") == 2
    rows = gpd.read_file(session.path, layer="features")
    assert list(rows["class"]) == ["hut", "big hut"]
    assert list(rows["review"]) == ["accepted"] * 2
    assert rows.geometry[0].equals(of(1))
    assert rows.crs == UTM
    assert session.features().equals(rows)
    assert [c.name for c in session.classes] == ["hut", "big hut"]
    table = geoseg.analysis.stats(session.path)
    assert table.set_index("class").loc["hut", "count"] == 1
    with pytest.raises(ConfigError, match="there is no object to accept; click on one first"):
        session.accept("hut")


def test_a_session_goes_on_where_an_earlier_one_ended(session):
    session.click(*lonlat(15, 15))
    session.accept("hut")
    with Session(coloured(IDS), Knowing(), out=session.path) as later:
        assert list(later.features()["class"]) == ["hut"]
        later.click(*lonlat(55, 15))
        assert later.accept("hut") == 2
    assert len(session.features()) == 2


def test_two_sessions_may_begin_one_file(session):
    with Session(coloured(IDS), Knowing(), out=session.path) as other:
        for one in (session, other, session):
            one.click(*lonlat(15, 15))
            one.accept("hut")
    assert list(session.features()["id"]) == [1, 2, 3]


def test_who_has_no_name_has_a_number(session, monkeypatch):
    def nobody():
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr("getpass.getuser", nobody)
    session.click(*lonlat(15, 15))
    session.accept("hut")
    assert session.features()["reviewed_by"][0].isdigit()


def test_what_somebody_else_judged_is_not_taken_back(session):
    session.click(*lonlat(15, 15))
    number = session.accept("hut")
    with geoseg.review(session.path, coloured(IDS), by="Anna") as review:
        review.go(number)
        review.reject()
    with pytest.raises(MapError, match="another program"):
        session.undo()
    assert list(session.features()["review"]) == ["rejected"]


def test_what_somebody_else_took_out_does_not_stop_taking_back(session):
    for place in ((15, 15), (55, 15)):
        session.click(*lonlat(*place))
        session.accept("hut")
    with Session(coloured(IDS), Knowing(), out=session.path) as other:
        other._kept._editor.remove(2)
    with Session(coloured(IDS), Knowing(), out=session.path) as other:
        other.click(*lonlat(10, 150))
        assert other.accept("barn") == 2
    # Another has the id by now, and stays.
    with pytest.raises(MapError, match="another program"):
        session.undo()
    assert set(session.features()["class"]) == {"hut", "barn"}
    assert session.undo().geometry.equals(of(1))
    assert list(session.features()["class"]) == ["barn"]


def test_what_was_accepted_last_can_be_taken_back(session):
    first = session.click(*lonlat(15, 15))
    session.accept("hut")
    assert session.undo() is first
    assert session.features().empty
    assert len(session.prompts) == 1
    session.accept("barn")
    assert list(session.features()["class"]) == ["barn"]
    session.undo()
    session.undo()
    assert session.undo() is None


def test_the_colours_of_a_legend_are_kept(tmp_path):
    legend = geoseg.Legend(classes=[geoseg.LandClass(name="hut", colour="#123456")])
    with Session(coloured(IDS), Knowing(), out=tmp_path / "a.gpkg", legend=legend) as session:
        assert [c.name for c in session.classes] == ["hut"]
        session.click(*lonlat(15, 15))
        session.accept("hut")
        assert [c.colour for c in session.classes] == ["#123456"]


def test_a_name_is_one_class(session):
    session.click(*lonlat(15, 15))
    for name, said in (
        ("hut, barn", "names 2 classes"),
        ("hut\nbarn", r"'hut\\nbarn' names 2 classes"),
        ("  ", "'  ' is no name of a class"),
        ("x" * 300, "x…' has 300 characters; a class has 200 at most"),
        ("a\0b", r"U\+0000"),
        ("Unmapped", "the session has a class 'Unmapped'"),
        (None, "a class has a name, got None"),
    ):
        with pytest.raises(ConfigError, match=said) as error:
            session.accept(name)
        assert "\n" not in str(error.value)
    assert session.current is not None


# -------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda s: s.click(0, 0), "lies outside the raster"),
        (lambda s: s.click(*lonlat(60, 189.5)), "there is no data at .*: that pixel is nodata"),
        (lambda s: s.click(*lonlat(15, 15), positive=False), "the first point is to lie in"),
        (lambda s: s.box((0, 0, 1, 1)), "the box does not meet the raster"),
        (lambda s: s.mask(shapely.box(0, 0, 1, 1)), "the polygon does not meet the raster"),
        (lambda s: s.mask("x"), "str is no polygon"),
        (lambda s: s.mask(shapely.Polygon([(0, 0), (float("inf"), 1), (1, 2)])), "no numbers"),
        (lambda s: s.click(*lonlat(15, 15), positive="no"), "positive is True or False, got 'no'"),
        (lambda s: s.accept("hut"), "there is no object to accept"),
    ],
)
def test_what_cannot_be_is_said_in_a_line_and_changes_nothing(tmp_path, call, said):
    raster = coloured(IDS)
    valid = np.ones(IDS.shape, bool)
    valid[185:] = False
    raster = geoseg.ArrayRaster(raster.data, valid, GEOREF, UTM, dict(raster.roles))
    with Session(raster, Knowing(), out=tmp_path / "a.gpkg") as session:
        with pytest.raises(GeosegError, match=said) as error:
            call(session)
        assert "\n" not in str(error.value)
        assert (session.prompts, session.current) == ((), None)
        session.click(*lonlat(15, 15))
        before = session.prompts, session.current
        if "first" not in said and "accept" not in said:
            with pytest.raises(GeosegError, match=said):
                call(session)
            assert (session.prompts, session.current) == before


def test_a_model_that_fails_leaves_what_was_said(session):
    session.click(*lonlat(15, 15))
    before = session.prompts, session.current
    model(session).fail = RuntimeError("out of memory")
    with pytest.raises(RuntimeError, match="out of memory"):
        session.click(*lonlat(150, 150))
    assert (session.prompts, session.current) == before
    model(session).fail = None
    session.click(*lonlat(150, 150))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("spectral", "'spectral' takes no prompts: .*give a segmenter alone"),
        ("clipseg", "takes no prompts"),
        ("grounding-dino+sam2", "takes no prompts"),
        ("everything:sam2", "takes no prompts"),
        ("samm2", "unknown backend 'samm2'; did you mean 'sam2'"),
        (object(), "object takes no prompts: it lacks identity, ready, look, ask"),
    ],
)
def test_a_model_without_prompts_is_refused(tmp_path, name, said):
    with pytest.raises(BackendError, match=said):
        Session(coloured(IDS), name, out=tmp_path / "a.gpkg")
    assert list(tmp_path.iterdir()) == []


def test_a_segmenter_that_cannot_be_loaded_leaves_nothing_open(session, monkeypatch):
    class Broken(Knowing):
        def ready(self):
            raise BackendError("damaged weights")

    session.click(*lonlat(15, 15))
    session.accept("hut")
    closed = []
    monkeypatch.setattr(Kept, "close", lambda self: closed.append(self.path))
    with pytest.raises(BackendError, match="damaged weights"):
        Session(coloured(IDS), Broken(), out=session.path)
    assert closed == [session.path]
    # What cannot be kept is told before weights are loaded.
    with pytest.raises(ConfigError, match="a GeoPackage; give a"):
        Session(coloured(IDS), Broken(), out="a.parquet")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cache": "auto"}, "keeps no embeddings"),
        ({"device": "cpu"}, "does not heed --device"),
        ({"one_class_per_pass": True}, "does not heed --one-class-per-pass"),
    ],
)
def test_options_that_would_do_nothing_are_refused(tmp_path, options, said):
    models = geoseg.ModelOptions(**options)
    with pytest.raises(BackendError, match=said):
        Session(coloured(IDS), "grow", models=models, out=tmp_path / "a.gpkg")


def test_other_settings_that_cannot_be(tmp_path):
    out = tmp_path / "a.gpkg"
    for options, said in (
        ({"tile": 64, "overlap": 8}, "overlap 8 px is too small .*at least 34"),
        ({"reach": 0}, "reach 0: a number of tiles"),
        ({"reach": "a"}, "reach 'a': a number of tiles"),
        ({"out": 5}, "out takes the path of a .gpkg, got int"),
        ({"crs": "moon"}, "crs 'moon' is none"),
        ({"tile": "256"}, "--tile '256'"),
        ({"legend": 5}, "legend takes a Legend, got int"),
        ({"legend": "a.toml"}, "'a.toml' is a legend file"),
        ({"legend": "unmapped"}, "the legend has a class 'unmapped'"),
        ({"models": {"device": "cpu"}}, "models takes a ModelOptions, got dict"),
        ({"out": tmp_path / "a.parquet"}, "a GeoPackage; give a .gpkg"),
        ({"out": tmp_path / "no" / "a.gpkg"}, "folder"),
    ):
        with pytest.raises(GeosegError, match=said):
            Session(coloured(IDS), Knowing(), **{"out": out, **options})
    with pytest.raises(ConfigError, match="has no coordinate reference system"):
        Session(coloured(IDS, crs=None), Knowing(), out=out, crs=UTM)


@pytest.mark.parametrize("source", [None, IDS, rasterio.io.MemoryFile])
def test_what_is_no_raster_is_refused(source, tmp_path):
    with pytest.raises(RasterError, match=r"is no raster of geoseg .* give .*path"):
        Session(source, Knowing(), out=tmp_path / "a.gpkg")


def written(path, ids=IDS):
    profile = {"driver": "GTiff", "width": 190, "height": 190, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", crs=UTM, transform=GEOREF, **profile) as target:
        target.write(coloured(ids).data)
    return path


def test_a_dataset_of_rasterio_is_told_to_come_by_name(tmp_path):
    path = written(tmp_path / "scene.tif")
    with rasterio.open(path) as source, pytest.raises(RasterError, match=f"give '{path}'"):
        Session(source, Knowing(), out=tmp_path / "a.gpkg")


def test_a_raster_that_changed_since_is_told(tmp_path, caplog):
    path, out = written(tmp_path / "scene.tif"), tmp_path / "a.gpkg"
    with Session(path, Knowing(), out=out) as session:
        session.click(*lonlat(15, 15))
        session.accept("hut")
    copy = written(tmp_path / "copy.tif")
    for name in (path, copy):
        with Session(name, Knowing(), out=out):
            assert not caplog.records
    written(path, IDS + 7)
    with Session(path, Knowing(), out=out):
        (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"the raster is not the one that {out} was made of, or has changed")


def test_a_map_of_a_session_is_a_map_to_every_command(tmp_path, run):
    path, out = written(tmp_path / "scene.tif"), tmp_path / "a.gpkg"
    with Session(path, Knowing(), out=out, tile=128, overlap=40) as session:
        for place in ((15, 15), (55, 15), (61.5, 61.5), (10, 150)):
            session.click(*lonlat(*place))
            session.accept("hut")
    commands = [
        ("stats", out),
        ("evaluate", out, out),
        ("report", out, "--no-picture", "--out", tmp_path / "r.html"),
        ("sample", out, "--n", "20", "--out", tmp_path / "s.gpkg"),
        ("export", out, "--to", "coco", "--out", tmp_path / "d", "--chips", "95", "--val", "0"),
        ("export", out, "--to", tmp_path / "m.parquet"),
        ("evaluate", tmp_path / "m.parquet", out),
        ("export", out, "--to", tmp_path / "m.qgz"),
        ("export", out, "--to", tmp_path / "m.tif"),
        ("status", out),
    ]
    for command in commands:
        code, _, said = run(*command)
        assert code == 0, (command, said)
    code, _, said = run("rerun", out)
    assert code == 2
    assert "\n" not in said.strip()


def test_a_geopackage_of_another_raster_is_refused(session):
    session.click(*lonlat(15, 15))
    session.accept("hut")
    with pytest.raises(MapError, match="is of another raster"):
        Session(coloured(IDS[:50]), Knowing(), out=session.path)


def test_a_geopackage_that_another_program_writes_loses_nothing(session):
    session.click(*lonlat(15, 15))
    session.accept("hut")
    found = session.click(*lonlat(55, 15))
    with closing(sqlite3.connect(session.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OutputError, match="another program") as error:
            session.accept("hut")
    assert "\n" not in str(error.value)
    assert session.current is found
    assert session.accept("hut") == 2


def test_a_file_is_named_after_the_raster(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    profile = {"driver": "GTiff", "width": 190, "height": 190, "count": 3, "dtype": "uint8"}
    with rasterio.open("scene.tif", "w", crs=UTM, transform=GEOREF, **profile) as target:
        target.write(coloured(IDS).data)
    with geoseg.Session("scene.tif", Knowing()) as session:
        assert session.path == tmp_path / "scene_annotations.gpkg"
        assert re.match(r"<Session with knowing: 0 prompts", repr(session))
        session.click(*lonlat(15, 15))
        session.accept("hut")
    recipe = geoseg.review("scene_annotations.gpkg").path
    assert recipe.name == "scene_annotations.gpkg"


def test_threads_may_click_at_once(session):
    places = [(15, 15), (55, 15), (61.5, 61.5), (10, 150)] * 3
    threads = [threading.Thread(target=session.click, args=lonlat(*place)) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(session.prompts) == len(places)
    assert session.current.geometry.equals(of(1) | of(2) | of(3) | of(4))


def test_progress_tells_when_a_tile_is_looked_at(session):
    told = []
    session.progress = lambda *what: told.append(what)
    session.click(*lonlat(15, 15))
    session.click(*lonlat(16, 15))
    assert told == [("encode", 0, 1), ("encode", 1, 1)]
