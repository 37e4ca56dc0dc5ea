"""What is told of a run from outside."""

from __future__ import annotations

import json
import shutil
import sys
import time

import geopandas as gpd
import numpy as np
import pytest
from scenes import ByIdentity, legend, raster

import geoseg
from geoseg import cli
from geoseg.cli_progress import duration
from geoseg.errors import OutputError
from geoseg.status import status

SCENE = raster(np.ones((90, 100), np.int32))
TILES = 9


class Killed(BaseException):
    pass


class Failing(ByIdentity):
    def answer(self, tile):
        if tile.window.x0 == 0:
            raise ValueError("out of luck")
        return super().answer(tile)


def segment(out, model=None, **options):
    model = model or ByIdentity((0,))
    return geoseg.segment(
        SCENE, legend("object"), backend=model, out=out, tile=40, overlap=8, **options
    )


def test_a_run_is_seen_while_it_works_and_after_it_was_killed(tmp_path):
    out = tmp_path / "map.gpkg"
    seen = []

    def look(step, done, _total):
        if step == "detect" and done == 3:
            seen.append(status(out))
            raise Killed

    with pytest.raises(Killed):
        segment(out, progress=look)
    (during,) = seen
    assert during.state == "running"
    assert "process" in during.owner
    assert during.tiles == TILES
    after = status(tmp_path / "map.gpkg.geoseg")
    assert after.state == "interrupted"
    assert after.owner is None
    assert (after.tiles, after.failed, after.done + after.missing) == (TILES, {}, TILES)
    assert after.done >= 3
    segment(out)
    assert (status(out).state, status(out).tiles, status(out).missing) == ("complete", None, 0)
    with pytest.raises(OutputError, match=r"there is no run folder .* and no map beside it"):
        status(tmp_path / "other.gpkg")


def test_failed_tiles_are_told_with_their_reasons(tmp_path, monkeypatch, capsys):
    out = tmp_path / "map.gpkg"
    segment(out, Failing((0,)))
    found = status(out)
    assert found.state == "incomplete"
    assert len(found.failed) == 3
    assert set(found.failed.values()) == {"ValueError: out of luck (tried 2 times)"}
    assert found.missing == 0
    monkeypatch.setattr(sys, "argv", ["geoseg", "status", str(out)])
    with pytest.raises(SystemExit):
        cli.main()
    text = capsys.readouterr().out
    assert "state    incomplete\n" in text
    assert "tiles    6 of 9 done, 3 failed, 0 missing\nclass    c0: 1 polygon, " in text
    assert "failed   3 tiles (r00000_c00000): ValueError: out of luck" in text
    assert "--retry-failed" in text
    monkeypatch.setattr(sys, "argv", ["geoseg", "status", str(out), "--json"])
    with pytest.raises(SystemExit):
        cli.main()
    assert json.loads(capsys.readouterr().out)["state"] == "incomplete"


def test_a_finished_map_tells_what_is_in_it(tmp_path, run):
    ids = np.ones((90, 100), np.int32)
    ids[:, 40:] = 2
    ids[:5, 60:] = 3
    things = legend("cover", "object", "cover", "cover")
    out = tmp_path / "map.parquet"
    geoseg.segment(raster(ids), things, backend=ByIdentity((0, 1, 0)), out=out)
    hectares = gpd.read_parquet(out).groupby("class")["area_ha"].sum()
    found = status(out)
    assert (found.state, found.failed, list(found.classes)) == ("complete", {}, things_of(things))
    assert [share.features for share in found.classes.values()] == [2, 1, 0, 0]
    assert found.classes["c0"].area_ha == pytest.approx(hectares["c0"])
    assert found.classes["c2"].area_ha == 0
    _, text, _ = run("status", out)
    assert text.startswith("state    complete\ntiles    0 failed\nclass    c0: 2 polygons, ")
    assert f"\nclass    c1: 1 polygon, {hectares['c1']:.4f} ha\n" in text
    _, text, _ = run("status", out, "--json")
    told = json.loads(text)
    assert told["classes"]["c1"] == {"features": 1, "area_ha": pytest.approx(hectares["c1"])}
    assert told["failed"] == {}


def things_of(found):
    return [c.name for c in found.classes]


def test_an_area_without_a_crs_is_unknown_and_failed_tiles_are_counted(tmp_path, run):
    out = tmp_path / "map.gpkg"
    things = legend("object")
    scene = raster(np.ones((90, 100), np.int32), crs=None)
    geoseg.segment(scene, things, backend=Failing((0,)), out=out, tile=40, overlap=8)
    shutil.rmtree(tmp_path / "map.gpkg.geoseg")
    _, text, _ = run("status", out)
    start = "state    incomplete\ntiles    3 failed\nclass    c0: 1 polygon, area unknown\n"
    assert text.startswith(start)
    # Without its run folder it cannot be tried again, and nor can a map of change.
    assert "--retry-failed" not in text


@pytest.mark.parametrize("ending", [".geojson", ".fgb"])
def test_a_layer_that_happens_to_have_our_columns_is_no_map(tmp_path, run, ending):
    segment(tmp_path / "map.gpkg")
    other = tmp_path / f"other{ending}"
    gpd.read_file(tmp_path / "map.gpkg", layer="features").to_file(other)
    code, out, err = run("status", other)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{other} holds no recipe" in err


def test_a_kept_run_is_complete(tmp_path):
    out = tmp_path / "map.gpkg"
    segment(out, keep_run_folder=True)
    assert status(out).state == "complete"
    assert status(out).done == TILES
    assert status(tmp_path / "map.gpkg.geoseg").classes["c0"].features == 1
    out.unlink()
    assert status(tmp_path / "map.gpkg.geoseg").classes == {}


def test_a_damaged_record_is_not_a_crash(tmp_path):
    out = tmp_path / "map.gpkg"
    segment(out, keep_run_folder=True)
    (tmp_path / "map.gpkg.geoseg" / "run.json").write_text("[")
    (tmp_path / "map.gpkg.geoseg" / "progress.json").write_text("[")
    assert status(out).tiles == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3.4, "3 s"), (100, "2 min"), (3600, "60 min"), (7260, "2 h 1 min"), (200_000, "2 d 8 h")],
)
def test_times_are_said_as_people_say_them(seconds, words):
    assert duration(seconds) == words


def test_a_cron_mail_gets_a_line_per_minute_at_most(monkeypatch, capsys):
    from geoseg.cli_progress import telling

    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with telling(quiet=False, as_json=False) as tell:
        for second in range(200):
            clock[0] = float(second)
            tell("detect", second, 1000)
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 4
    assert "detect: " in lines[-1]
    assert lines[-1].endswith("of 1000, 1 per second, 14 min left")
