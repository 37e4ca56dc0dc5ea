"""Runs: failed tiles are seen and tried again, resumed runs are the same, bad input is refused."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine
from scenes import GEOREF, ByIdentity, apart, canonical, legend, raster, truth, voronoi

import geoseg
import geoseg.status
import geoseg.store
from geoseg.config import RunConfig
from geoseg.errors import BackendError, ConfigError, OutputError, RasterError, ResumeMismatchError
from geoseg.grid import Grid
from geoseg.window import Window

IDS, COUNT = apart(voronoi(90, 100, np.random.default_rng(5)))
SCENE = raster(IDS)
THINGS = legend("object")
CUT = {"tile": 40, "overlap": 8}
GRID = Grid(Window(0, 0, 100, 90), tile_px=40, overlap_px=8)


@dataclass(frozen=True)
class Failing(ByIdentity):
    """Raises in some tiles."""

    bad: tuple[str, ...] = ()
    error: type[Exception] = RuntimeError

    def answer(self, tile):
        if tile.window in [GRID[i].read for i in range(len(GRID)) if GRID.name(i) in self.bad]:
            raise self.error("out of luck")
        return super().answer(tile)


MODEL = Failing((0,) * COUNT)
BAD_TILE, BAD_NAME = GRID[4], GRID.name(4)


def outlines(found) -> list[bytes]:
    return sorted(canonical(g) for g in found.geometry)


def segment(out, model=MODEL, source=SCENE, **options):
    return geoseg.segment(source, THINGS, backend=model, out=out, **{**CUT, **options})


def failing(error=RuntimeError):
    return Failing((0,) * COUNT, bad=(BAD_NAME,), error=error)


@pytest.mark.parametrize("error", [RuntimeError, MemoryError, BackendError, KeyError])
def test_a_failed_tile_is_a_hole_that_is_named(tmp_path, error, caplog):
    caplog.set_level("INFO", "geoseg")
    run = segment(tmp_path / "map.gpkg", failing(error))
    assert not run.complete
    assert list(run.failed) == [BAD_NAME]
    assert error.__name__ in run.failed[BAD_NAME]
    assert "out of luck" in run.failed[BAD_NAME]
    assert BAD_NAME in caplog.text
    holes = gpd.read_file(run.path, layer="failed_tiles")
    assert holes["tile"].tolist() == [BAD_NAME]
    assert "out of luck" in holes["reason"][0]
    core = BAD_TILE.core
    corners = [GEOREF @ (x, y) for x in (core.x0, core.x1) for y in (core.y0, core.y1)]
    xs, ys = zip(*corners, strict=True)
    assert holes.total_bounds.tolist() == [min(xs), min(ys), max(xs), max(ys)]
    assert holes.crs == run.features().crs


def test_the_rest_of_the_map_equals_the_truth(tmp_path):
    run = segment(tmp_path / "map.gpkg", failing())
    core = BAD_TILE.core
    outside = IDS.copy()
    outside[core.slices_in(GRID.raster)] = 0
    touched = set(np.unique(IDS[core.slices_in(GRID.raster)]).tolist())
    untouched = [n for n in range(1, COUNT + 1) if n not in touched]
    want = {canonical(g) for n, g in enumerate(truth(IDS, COUNT), 1) if n in untouched}
    found = run.features()
    assert untouched
    assert want <= set(outlines(found))
    # What reaches into the hole is drawn as far as the other tiles saw it.
    whole = truth(IDS, COUNT)
    for geometry in found.geometry:
        inside = [g for g in whole if g.intersects(geometry) and g.contains(geometry)]
        assert len(inside) == 1


def test_failed_tiles_are_tried_again_if_that_is_asked(tmp_path):
    out = tmp_path / "map.gpkg"
    segment(out, failing())
    assert (tmp_path / "map.gpkg.geoseg" / "failed").is_dir()
    shown = []

    class Counting(Failing):
        def answer(self, tile):
            shown.append(tile.window)
            return super().answer(tile)

    model = Counting((0,) * COUNT)
    assert not segment(out, model).complete
    assert shown == []
    run = segment(out, model, retry_failed=True)
    assert shown == [BAD_TILE.read]
    assert run.complete
    assert outlines(run.features()) == sorted(map(canonical, truth(IDS, COUNT)))
    assert [p.name for p in tmp_path.iterdir()] == ["map.gpkg"]
    assert "failed_tiles" not in pyogrio.list_layers(out)[:, 0]


def test_a_run_killed_half_way_ends_with_the_same_bytes(tmp_path):
    segment(tmp_path / "whole.gpkg")

    class Killed(BaseException):
        pass

    def kill(step, done, total):
        if step == "detect" and done == total // 2:
            raise Killed

    out = tmp_path / "half.gpkg"
    with pytest.raises(Killed):
        segment(out, progress=kill)
    assert not out.exists()
    assert (tmp_path / "half.gpkg.geoseg").is_dir()
    segment(out)
    assert out.read_bytes() == (tmp_path / "whole.gpkg").read_bytes()


def test_other_settings_do_not_continue_a_run(tmp_path):
    out = tmp_path / "map.gpkg"
    segment(out, failing())
    out.unlink()
    for change, field in (
        ({"tile": 32}, "tile: 40 -> 32"),
        ({"threshold": 0.25}, "legend.classes[0].threshold: 0.5 -> 0.25"),
        ({"source": raster(np.roll(IDS, 1))}, "raster.sha256: "),
        ({"model": Failing((0,) * COUNT, identity="other")}, "backend: by-identity -> other"),
    ):
        with pytest.raises(ResumeMismatchError) as caught:
            segment(out, **change)
        assert field in str(caught.value)
        assert "pass --fresh" in str(caught.value)
        assert not out.exists()
    assert segment(out, ByIdentity((0,) * COUNT), tile=32, fresh=True).complete


def test_the_run_folder_can_be_kept_and_gives_the_same_map(tmp_path):
    first = segment(tmp_path / "map.parquet", keep_run_folder=True)
    before = first.path.read_bytes()
    assert (tmp_path / "map.parquet.geoseg" / "run.json").is_file()

    def never(_self, tile):
        raise AssertionError(f"{tile.window} is done already")

    model = type("Idle", (Failing,), {"answer": never})((0,) * COUNT)
    again = segment(first.path, model, overwrite=True)
    assert again.complete
    assert again.path.read_bytes() == before


def test_a_run_killed_when_its_map_was_complete_ends_at_once(tmp_path, monkeypatch):
    out = tmp_path / "map.gpkg"

    class Killed(BaseException):
        pass

    clear = geoseg.store.clear

    def half(folder):
        if "complete" not in folder.names():
            clear(folder)
            return
        folder.discard(["tiles"])
        raise Killed

    monkeypatch.setattr(geoseg.store, "clear", half)
    with pytest.raises(Killed):
        segment(out)
    monkeypatch.undo()
    whole = out.read_bytes()
    assert geoseg.status.status(out).state == "complete"
    assert geoseg.status.status(out).missing == 0

    def never(_self, tile):
        raise AssertionError(f"{tile.window} is done already")

    model = type("Idle", (Failing,), {"answer": never})((0,) * COUNT)
    again = segment(out, model)
    assert (again.complete, again.count, out.read_bytes()) == (True, COUNT, whole)
    assert [p.name for p in tmp_path.iterdir()] == ["map.gpkg"]
    with pytest.raises(OutputError, match="is already there"):
        segment(out, model)


def test_a_damaged_tile_is_made_again(tmp_path, caplog):
    out = tmp_path / "map.parquet"
    segment(out, keep_run_folder=True)
    torn = tmp_path / "map.parquet.geoseg" / "tiles" / f"{BAD_NAME}.tile"
    torn.write_bytes(torn.read_bytes()[:50])
    caplog.set_level("WARNING", "geoseg")
    before = out.read_bytes()
    assert segment(out, overwrite=True).complete
    assert f"were damaged and are made again: {BAD_NAME}" in caplog.text
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"out": ""}, ConfigError, "--out is empty"),
        ({"out": "map.shp"}, OutputError, "has the ending '.shp'"),
        ({"out": "there.gpkg"}, OutputError, "is already there; pass --overwrite"),
        ({"out": "no/map.gpkg"}, OutputError, "does not exist; make it first"),
        ({"out": "folder.gpkg"}, OutputError, "is a folder"),
        ({"legend": ". ,"}, ConfigError, "no class name"),
        ({"backend": "sam9"}, BackendError, "unknown backend 'sam9'"),
        ({"backend": object()}, BackendError, "object is no backend: it lacks identity, halo_px"),
        ({"overlap": 0}, BackendError, "overlap 0 px is too small"),
        ({"backend": ByIdentity((0,), 9)}, BackendError, "pass --overlap 20 or more"),
        ({"source": "missing.tif"}, RasterError, "no such file"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(tmp_path, options, kind, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.gpkg").write_text("precious")
    (tmp_path / "folder.gpkg").mkdir()
    call = {"source": SCENE, "legend": THINGS, "backend": MODEL, "out": "map.gpkg", **CUT}
    before = sorted(p.name for p in tmp_path.rglob("*"))
    with pytest.raises(kind) as caught:
        geoseg.segment(**{**call, **options})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.rglob("*")) == before
    assert (tmp_path / "there.gpkg").read_text() == "precious"


def test_the_input_is_never_the_output(tmp_path):
    source = tmp_path / "scene.gpkg"
    data = np.zeros((1, 20, 20), np.uint8)
    profile = {"driver": "GPKG", "width": 20, "height": 20, "count": 1, "dtype": "uint8"}
    with rasterio.open(source, "w", crs="EPSG:32633", transform=GEOREF, **profile) as out:
        out.write(data)
    before = source.read_bytes()
    with pytest.raises(OutputError, match="is the input; give another --out"):
        geoseg.segment(source, THINGS, backend=MODEL, out=source, overwrite=True, **CUT)
    assert source.read_bytes() == before


def test_steps_and_progress_are_told(tmp_path):
    told = []
    run = segment(tmp_path / "map.gpkg", progress=lambda *args: told.append(args))
    steps = [step for step, _, _ in told]
    assert list(dict.fromkeys(steps)) == ["detect", "stitch", "write"] == list(run.seconds)
    for step in run.seconds:
        counts = [(done, total) for s, done, total in told if s == step]
        assert [d for d, _ in counts] == sorted(d for d, _ in counts)
        assert counts[-1][0] == counts[-1][1]
    assert run.tiles == len(GRID)
    assert run.count == len(run.features()) == COUNT


def test_a_temporary_map_lives_as_long_as_its_run():
    run = geoseg.segment(SCENE, THINGS, backend=MODEL, **CUT)
    path = run.path
    assert len(run.features()) == COUNT
    del run
    assert not path.parent.exists()


class TestPlan:
    def test_a_plan_reads_no_pixels_and_agrees_with_the_run(self):
        class Blind(type(SCENE)):
            def read(self, window):
                raise AssertionError(f"{window} was read")

        config = RunConfig.build(legend=THINGS, **CUT)
        found = geoseg.plan(Blind(SCENE.data, None, GEOREF, "EPSG:32633"), "a, b", config)
        assert (found.width, found.height, found.bands) == (100, 90, 3)
        assert found.classes == ("a", "b")
        assert found.tiles == len(GRID)
        assert found.read_ratio == pytest.approx(
            sum(t.read.area for t in GRID) / GRID.raster.area, abs=1e-3
        )

    def test_memory_grows_with_tile_and_workers_but_not_with_the_raster(self):
        def memory(size, **options):
            data = np.broadcast_to(np.uint8(0), (3, size, size))
            source = geoseg.ArrayRaster(data, transform=Affine.identity())
            config = RunConfig.build(legend=THINGS, **options)
            return geoseg.plan(source, "a", config).memory_mb

        assert memory(4096) == memory(16384)
        assert memory(16384, tile=2048) > memory(16384)
        assert memory(16384, workers=2) > memory(16384)
        assert memory(16384, batch=8) > memory(16384)


def test_objects_need_a_pixel_that_two_tiles_see_but_covers_do_not():
    ids = np.ones((40, 40), np.int32)
    run = geoseg.segment(raster(ids), legend("cover"), backend=ByIdentity((0,)), tile=16, overlap=0)
    assert run.features().area.tolist() == [1600 * 100]
    # One tile has no neighbours to agree with.
    run = geoseg.segment(raster(ids), THINGS, backend=ByIdentity((0,)), tile=64, overlap=0)
    assert run.features().area.tolist() == [1600 * 100]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda _: [], "0 answers for 1 tile"),
        (lambda _: [None, None], "2 answers for 1 tile"),
    ],
)
def test_a_wrong_number_of_answers_is_a_failed_tile(answer, words, caplog):
    caplog.set_level(logging.WARNING)
    model = type("Odd", (ByIdentity,), {"segment": lambda _, tiles: answer(tiles)})((0,))
    run = geoseg.segment(SCENE, THINGS, backend=model, **CUT)
    assert len(run.failed) == len(GRID)
    assert all(words in reason for reason in run.failed.values())
    assert run.count == 0


def test_a_file_that_is_not_ours_is_not_removed(tmp_path):
    mine = tmp_path / "map_failed_tiles.geojson"
    mine.write_text("dear")
    with pytest.raises(OutputError, match="is already there; pass --overwrite"):
        segment(tmp_path / "map.geojson")
    assert mine.read_text() == "dear"


def test_what_scores_below_the_threshold_is_left_out(tmp_path):
    # ByIdentity scores everything 0.9.
    assert segment(tmp_path / "a.gpkg", threshold=0.9).count > 0
    assert segment(tmp_path / "b.gpkg", threshold=0.91).count == 0


def test_a_class_or_an_impossible_halo_is_no_backend(tmp_path):
    with pytest.raises(BackendError, match="is a class; pass an object"):
        segment(tmp_path / "a.gpkg", ByIdentity)
    with pytest.raises(BackendError, match="halo_px -1"):
        segment(tmp_path / "a.gpkg", ByIdentity((0,) * COUNT, -1))


def test_band_options_are_of_files(tmp_path):
    with pytest.raises(ConfigError, match="an open reader has roles of its own; leave"):
        segment(tmp_path / "a.gpkg", bands="red=1,green=2,blue=3")
