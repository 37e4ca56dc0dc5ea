"""A review is what was said, in the file at once, whatever happens meanwhile."""

from __future__ import annotations

import getpass
import shutil
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from prompts import Knowing, coloured
from scenes import examples
from scripts import benchmark

import geoseg
from geoseg.errors import (
    BackendError,
    ConfigError,
    MapError,
    MissingDependencyError,
    OutputError,
)
from geoseg.export import edit, held, turns
from geoseg.export.blank import create
from geoseg.export.read import open_map
from geoseg.raster import ArrayRaster

BENCH = benchmark("review")
COUNT = 6


def unsettled(path, **options):
    """Connect without waiting for the disk, which is for the tests of kills."""
    db = held.connect(path, **options)
    db.execute("PRAGMA synchronous = OFF")
    return db


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(turns, "connect", unsettled)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return BENCH.draw_map(tmp_path_factory.mktemp("drawn") / "map.gpkg", COUNT)


@pytest.fixture
def path(drawn, tmp_path):
    return Path(shutil.copy(drawn, tmp_path))


def read(path) -> gpd.GeoDataFrame:
    return gpd.read_file(path, layer="features").set_index("id").sort_index()


def elsewhere(path, *statements) -> None:
    """Do what QGIS does."""
    with closing(held.connect(path)) as db:
        for statement in statements:
            db.execute(statement)


def by_score(path) -> list[int]:
    return read(path).sort_values("score").index.tolist()


# ----------------------------------------------------------------------------------- one way


def test_the_lowest_score_comes_first_and_each_word_is_in_the_file(path):
    order = by_score(path)
    with geoseg.review(path, by="ann") as review:
        assert review.counts == {"accepted": 0, "rejected": 0, "edited": 0, "open": COUNT}
        assert review.current.id == order[0]
        assert review.current.review is None
        assert review.accept().id == order[1]
        assert read(path)["review"][order[0]] == "accepted"
        assert review.reject().id == order[2]
        assert read(path)["review"][order[1]] == "rejected"
        assert review.relabel("boat").id == order[3]
        assert review.classes == ("hut", "tree", "boat")
        assert review.counts == {"accepted": 1, "rejected": 1, "edited": 1, "open": COUNT - 3}
        assert repr(review).endswith("1 accepted, 1 rejected, 1 edited, 3 open>")
    found = read(path)
    assert found["class"][order[2]] == "boat"
    assert found["review"][order[2]] == "edited"
    said = found.loc[order[:3]]
    assert set(said["reviewed_by"]) == {"ann"}
    assert said["reviewed_at"].str.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ").all()
    with geoseg.review(path) as again:
        assert again.current.id == order[3]


def test_whoever_is_logged_in_says_it(path):
    with geoseg.review(path) as review:
        number = review.current.id
        review.accept()
        assert review.go(number).reviewed_by == getpass.getuser()


def test_a_redrawn_outline_is_measured_as_a_run_would(path):
    with geoseg.review(path, order="id") as review:
        old = review.current
        frame = open_map(path).made_by().frame
        circle = old.geometry.centroid.buffer(3)
        to_lonlat = pyproj.Transformer.from_crs(frame.crs, "EPSG:4326", always_xy=True)
        there = shapely.transform(circle, lambda xy: np.column_stack(to_lonlat.transform(*xy.T)))
        review.redraw(there, "EPSG:4326")
        new = review.go(old.id)
        assert new.review == "edited"
        assert new.geometry.symmetric_difference(circle).area < 1e-6
        area, perimeter = frame.measure(
            np.array([shapely.transform(new.geometry, frame.to_pixels)], object)
        )
        assert new.area_ha == pytest.approx(area[0] / 1e4)
        assert new.perimeter_m == pytest.approx(perimeter[0])
        assert new.area_ha == pytest.approx(circle.area / 1e4, rel=1e-3)
        assert (new.score, new.cls) == (old.score, old.cls)
        assert review.undo() == old
    assert BENCH.is_sound(path, COUNT)


@pytest.mark.parametrize("order", ["id", "area"])
def test_other_orders(path, order):
    found = read(path)
    wanted = found.index if order == "id" else found.sort_values("area_ha").index[::-1]
    with geoseg.review(path, order=order) as review:
        seen = [review.current.id] + [review.next().id for _ in range(COUNT - 1)]
        assert seen == wanted.tolist()
        assert review.next().id == seen[-1]
        assert review.previous().id == seen[-2]


def test_when_all_is_done_nothing_is_looked_at(path):
    with geoseg.review(path) as review:
        for _ in range(COUNT):
            review.accept()
        assert review.current is None
        with pytest.raises(MapError, match=r"all are reviewed; go\(id\) does"):
            review.accept()
        assert review.go(2).review == "accepted"
        assert review.reopen().review is None
        assert review.counts["open"] == 1
        assert review.current.id == 2
        with pytest.raises(MapError, match="no polygon 77 that is reviewed here"):
            review.go(77)
    with geoseg.review(path) as review:
        assert review.current.id == 2


def test_a_second_reviewer_may_look_at_what_was_kept_alone(path):
    with geoseg.review(path, by="ann", order="id") as review:
        review.reject()
        review.accept()
    with geoseg.review(path, by="bo", order="id", only="kept") as review:
        assert sum(review.counts.values()) == COUNT - 1
        review.go(2)
        review.reject()
        # What was rejected here can still be taken back.
        assert review.go(2).reviewed_by == "bo"
        elsewhere(path, "UPDATE features SET score = 0 WHERE id = 5")
        assert review.counts["rejected"] == 1
        assert review.undo().reviewed_by == "ann"
    with geoseg.review(path, only="accepted") as review:
        assert review.current is None
        assert review.next().id == 2


# ------------------------------------------------------------------------------------ a law

WORDS = st.sampled_from(["accept", "reject", "relabel", "redraw", "reopen", "next", "previous"])


@examples(15)
@given(words=st.lists(WORDS, max_size=6))
def test_undo_is_the_inverse_of_whatever_was_decided(drawn, words):
    path = Path(shutil.copy(drawn, drawn.with_name("undone.gpkg")))
    with pytest.MonkeyPatch.context() as patch, geoseg.review(path, order="id") as review:
        patch.setattr(turns, "connect", unsettled)
        review.go(3)
        review.accept()
        states, marks = [], {"reviewed_at"}
        box = shapely.box(500_005, 4_999_980, 500_009, 4_999_990)
        arguments = {"relabel": ("boat",), "redraw": (box,)}
        for word in words:
            if word in ("next", "previous"):
                getattr(review, word)()
                continue
            if review.current is None:
                break
            states.append((review.current.id, read(path)))
            getattr(review, word)(*arguments.get(word, ()))
        for number, before in reversed(states):
            assert review.undo().id == number
            same = [c for c in before.columns if c not in marks]
            assert read(path)[same].equals(before[same])
        assert review.undo().id == 3
        with pytest.raises(ConfigError, match="nothing to undo"):
            review.undo()
        assert review.current.id == 3
        assert review.counts["open"] == COUNT


# ---------------------------------------------------------------------- others, meanwhile


def test_what_qgis_did_meanwhile_is_taken_as_it_is(path):
    order = by_score(path)
    moved = shapely.box(500_010, 4_999_970, 500_020, 4_999_980)
    blob = edit.encode(shapely.multipolygons([moved]), 32633)
    with geoseg.review(path) as review:
        review.accept()
        with closing(held.connect(path)) as qgis:
            qgis.execute("UPDATE features SET geom = ? WHERE id = ?", (blob, order[1]))
            qgis.execute("DELETE FROM features WHERE id = ?", (order[2],))
            qgis.execute("INSERT INTO features (class, geom) VALUES ('hut', ?)", (blob,))
        assert review.current.id == order[1]
        assert review.current.geometry.equals(moved)
        assert review.accept().id == order[3]
        elsewhere(path, f"DELETE FROM features WHERE id = {order[3]}")  # noqa: S608
        with pytest.raises(MapError, match=f"no feature {order[3]} any more.*; {order[4]} is next"):
            review.accept()
        review.accept()
        # What has no score would have come first, and is not forgotten.
        assert review.accept().id == COUNT + 1
        assert review.current.area_ha == pytest.approx(0.01, rel=1e-2)
        assert review.reject() is None
    found = read(path)
    assert found["review"].dropna().to_dict() == {
        **dict.fromkeys((*order[:2], *order[4:]), "accepted"), COUNT + 1: "rejected",
    }  # fmt: skip
    assert found.geometry[order[1]].equals(shapely.multipolygons([moved]))
    assert BENCH.is_sound(path, COUNT - 1)


def test_undo_does_not_take_back_what_another_program_did(path):
    with geoseg.review(path, order="id") as review:
        review.accept()
        review.relabel("tree")
        elsewhere(path, "UPDATE features SET class = 'hut' WHERE id = 2")
        with pytest.raises(MapError, match=r"feature 2 of .* was changed by another program"):
            review.undo()
        assert read(path)["class"][2] == "hut"
        assert review.undo().id == 1
        assert review.current.review is None


def test_two_reviewers_see_what_the_other_said(path):
    with geoseg.review(path, by="ann") as ann, geoseg.review(path, by="bo") as bo:
        ann.accept()
        assert bo.counts["accepted"] == 1
        assert bo.current.reviewed_by == "ann"
        assert bo.next().id == ann.current.id
        bo.reject()
        assert ann.current.review == "rejected"
        assert ann.counts == bo.counts


def test_a_word_that_could_not_be_written_is_said_again(path, monkeypatch):
    monkeypatch.setattr(turns, "connect", partial(unsettled, patience_s=0.05))
    with geoseg.review(path, order="id") as review:
        review.accept()
        with closing(held.connect(path)) as other:
            other.execute("BEGIN IMMEDIATE")
            for word in (
                review.accept,
                review.reject,
                review.undo,
                partial(review.relabel, "tree"),
            ):
                with pytest.raises(OutputError, match="being written by another program") as caught:
                    word()
                assert "\n" not in str(caught.value)
                assert review.current.id == 2
                assert review.counts["open"] == COUNT - 1
        review.accept()
        assert review.current.id == 3
        assert review.undo().id == 2
        assert review.undo().id == 1
    assert BENCH.is_sound(path, COUNT)


def test_a_decision_that_is_on_the_disk_is_not_said_to_have_failed(path, monkeypatch, caplog):
    monkeypatch.setattr(turns, "connect", partial(unsettled, patience_s=0.05))
    with geoseg.review(path, order="id") as review:
        exchange = review._editor.exchange
        with closing(held.connect(path)) as other:

            def then_locked(*said, **left):
                done = exchange(*said, **left)
                other.execute("BEGIN EXCLUSIVE")
                return done

            monkeypatch.setattr(review._editor, "exchange", then_locked)
            for word, left in ((review.accept, COUNT - 1), (review.undo, COUNT)):
                assert word() is None
                other.execute("ROLLBACK")
                assert review.counts["open"] == left
            assert review.current.id == 1
    assert [r.message for r in caplog.records if "is on the disk" in r.message]


def test_what_is_added_when_all_is_done_is_looked_at(path):
    with geoseg.review(path, order="id") as review:
        for _ in range(COUNT):
            review.accept()
        copied = "INSERT INTO features (class, geom) SELECT class, geom FROM features WHERE id = 3"
        elsewhere(path, copied)
        with pytest.raises(MapError, match=f"opened feature {COUNT + 1} of .* look at it first"):
            review.accept()
        assert review.counts["open"] == 1
        assert review.current.id == COUNT + 1
        assert review.accept() is None


def test_threads_take_turns_and_no_word_is_said_of_two_or_none(tmp_path):
    path = BENCH.draw_map(tmp_path / "map.gpkg", 60)
    with geoseg.review(path, order="id") as review:
        looks = review._editor.look

        def slowly(number):
            time.sleep(0.001)
            return looks(number)

        review._editor.look = slowly

        def decide():
            for _ in range(15):
                review.accept()

        threads = [threading.Thread(target=decide) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert review.counts["accepted"] == 45
        assert len({decision.id for decision in review._done}) == 45


def test_who_decides_about_what_is_seen_is_told_when_it_is_another(path):
    with geoseg.review(path, order="id") as review:
        with review.held(1):
            other = threading.Thread(target=review.accept)
            other.start()
            other.join(0.1)
            assert other.is_alive()
            assert review.reject().id == 2
        other.join()
        assert read(path)["review"][[1, 2]].tolist() == ["rejected", "accepted"]
        with pytest.raises(ConfigError, match="went on elsewhere"), review.held(2):
            review.accept()
        assert review.counts["open"] == COUNT - 2


# --------------------------------------------------------------------------------- bad input


def test_what_cannot_be_is_refused_and_changes_nothing(path):
    before = path.read_bytes()
    for options, said in (({"order": "size"}, "order 'size'"), ({"only": "open"}, "--only 'open'")):
        with pytest.raises(ConfigError, match=said):
            geoseg.review(path, **options)
    with geoseg.review(path) as review:
        for name in ("", "\n", "unmapped", "HUT"):
            with pytest.raises(ConfigError):
                review.relabel(name)
        with pytest.raises(ConfigError, match="encloses no ground"):
            review.redraw(shapely.box(0, 0, 1, 1))
    assert path.read_bytes() == before
    review.close()
    assert "was closed" in repr(review)
    with pytest.raises(MapError, match="was closed"):
        review.accept()


def test_a_raster_of_another_place_is_refused(path, tmp_path):
    frame = BENCH.frame_of(COUNT)
    data = np.zeros((3, frame.height, frame.width), np.uint8)
    here = ArrayRaster(data, None, frame.transform, frame.crs, {"red": 1, "green": 2, "blue": 3})
    there = replace(here, transform=frame.transform @ Affine.translation(1, 0))
    with pytest.raises(MapError, match=r"the raster is not on the pixel grid of .*map\.gpkg"):
        geoseg.review(path, there)
    with geoseg.review(path, here, model=Knowing()) as review:
        assert review.raster is here
        assert review.session.raster.frame == frame
    file = tmp_path / "scene.tif"
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "crs": frame.crs,
               "height": frame.height, "width": frame.width}  # fmt: skip
    with rasterio.open(file, "w", **profile, transform=frame.transform) as out:
        out.write(data)
    there = geoseg.open_raster(file).frame
    of_file = tmp_path / "of_file.gpkg"
    facts = {"backend": "hand", "tile": 64, "overlap": 8, "raster.path": str(file)}
    create(of_file, there, BENCH.LEGEND, facts=facts)
    for given_ in (file, str(file), None):
        with geoseg.review(of_file, given_) as review:
            assert review.raster.frame == there
    file.unlink()
    with pytest.raises(MapError, match=r"scene\.tif, of which .* is neither there nor beside"):
        geoseg.review(of_file, file)
    with geoseg.review(path) as review:
        assert review.raster is None
        with pytest.raises(MapError, match="was made of a raster in memory"):
            review.session  # noqa: B018


def test_of_a_raster_of_another_place_the_bands_do_not_matter(tmp_path):
    of_naip = tmp_path / "of_naip.gpkg"
    facts = {"backend": "hand", "tile": 64, "overlap": 8}
    for name, side in (("here", 20), ("there", 21)):
        profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "crs": "EPSG:32633",
                   "height": side, "width": side,
                   "transform": BENCH.frame_of(1).transform}  # fmt: skip
        with rasterio.open(tmp_path / f"{name}.tif", "w", **profile) as out:
            out.write(np.zeros((3, side, side), np.uint8))
    frame = geoseg.open_raster(tmp_path / "here.tif").frame
    create(of_naip, frame, BENCH.LEGEND, facts=facts, words={"sensor": "naip"})
    with pytest.raises(MapError, match=r"there\.tif is not on the pixel grid of .*of_naip\.gpkg"):
        geoseg.review(of_naip, tmp_path / "there.tif")
    with pytest.raises(ConfigError, match="--sensor naip needs 4 bands"):
        geoseg.review(of_naip, tmp_path / "here.tif")


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"path": gpd.GeoDataFrame()}, ConfigError, "GeoDataFrame cannot .* the path of a .gpkg"),
        ({"by": " "}, ConfigError, "by=' ' names nobody"),
        ({"model": "zzz"}, BackendError, "unknown backend 'zzz'"),
        ({"model": "spectral"}, BackendError, "'spectral' takes no prompts"),
        ({"model": object()}, BackendError, "object takes no prompts: it lacks identity, ready"),
    ],
)
def test_what_no_review_could_use_is_refused_when_it_is_opened(path, options, error, said):
    with pytest.raises(error, match=said) as caught:
        geoseg.review(**{"path": path, **options})
    assert "\n" not in str(caught.value)


def test_what_is_pointed_at_in_a_review_is_added_to_the_map(path):
    frame = BENCH.frame_of(COUNT)
    ids = np.zeros((frame.height, frame.width), int)
    ids[40:50, 10:20] = 1
    here = replace(coloured(ids), transform=frame.transform, crs=frame.crs)
    with geoseg.review(path, here, model=Knowing()) as review:
        ((x, y),) = frame.to_crs(np.array([[15.5, 45.5]]))
        outline = review.session.click(x, y, crs=frame.crs)
        first = review.current.id
        review.redraw(outline)
        assert review.go(first).geometry.equals_exact(outline.geometry, 0)
        number = review.session.accept("boat")
        assert number == COUNT + 1
        session = review.session
        assert review.counts == {"accepted": 1, "rejected": 0, "edited": 1, "open": COUNT - 1}
        assert review.go(number).cls == "boat"
        assert review.classes[-1] == "boat"
        assert review.legend.classes[-1].name == "boat"
    # What a review opened it closes.
    with pytest.raises(MapError, match="was closed"):
        session._kept._editor.rows()


# ----------------------------------------------------------------------------------- widgets


def test_a_notebook_shows_the_panel_and_a_console_a_line(path, monkeypatch):
    shown = SimpleNamespace(_repr_mimebundle_=lambda **_: {"application/widget": 1})
    panel = SimpleNamespace(panel=lambda _: shown)
    monkeypatch.setitem(sys.modules, "geoseg.widgets.panel", panel)
    with geoseg.review(path) as review:
        assert review.map() is shown
        assert review._repr_mimebundle_(include=None, exclude=None) == {"application/widget": 1}

        def lacking(_review):
            raise MissingDependencyError('pip install "geoseg[map]"')

        panel.panel = lacking
        assert review._repr_mimebundle_()["text/plain"].startswith(f"<review of {path}")


# ------------------------------------------------------------------------------------- kills


def test_a_kill_in_the_middle_loses_nothing_that_was_said(tmp_path):
    count = 40
    path = BENCH.draw_map(tmp_path / "map.gpkg", count)
    tally = BENCH.Tally()
    assert BENCH.kill_once(path, 6, tally, count, 0.003)
    assert BENCH.kill_once(path, 6, tally, count, 0.0)
    assert (tally.lost, tally.damaged) == (0, 0)
    assert tally.told >= 12
    assert tally.ahead <= 1
    left = [number for number, state in BENCH.states(path).items() if state is None]
    assert sorted(number for number, _ in BENCH.decide(path)) == left
    assert BENCH.is_sound(path, count)


def test_another_picture_of_the_place_is_told(tmp_path, caplog):
    place = {"crs": "EPSG:32633", "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000)}
    profile = {"driver": "GTiff", "width": 40, "height": 30, "count": 3, "dtype": "uint8", **place}
    for name, value in (("one.tif", 9), ("other.tif", 200)):
        with rasterio.open(tmp_path / name, "w", **profile) as target:
            target.write(np.full((3, 30, 40), value, np.uint8))
    geoseg.segment(tmp_path / "one.tif", "water", out=tmp_path / "map.gpkg")
    caplog.clear()
    with geoseg.review(tmp_path / "map.gpkg", tmp_path / "one.tif"):
        assert not caplog.records
    with geoseg.review(tmp_path / "map.gpkg", tmp_path / "other.tif"):
        (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("the raster is not the one that")
