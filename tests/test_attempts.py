"""Workers that die, tiles that fail: the others are there, the one is named, tries are counted."""

from __future__ import annotations

import ctypes
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
from scenes import ByIdentity, apart, legend, raster, voronoi

import geoseg
from geoseg import cli
from geoseg.errors import DeviceLostError, TileFailedError
from geoseg.grid import Grid
from geoseg.pixels import Pixels
from geoseg.status import status
from geoseg.window import Window

IDS, COUNT = apart(voronoi(90, 100, np.random.default_rng(5)))
SCENE, THINGS = raster(IDS), legend("object")
GRID = Grid(Window(0, 0, 100, 90), tile_px=40, overlap_px=8)
BAD = 4
NAME = GRID.name(BAD)


def leave() -> None:
    os._exit(9)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crash() -> None:
    ctypes.string_at(0)


def refuse() -> None:
    raise RuntimeError("out of luck")


def lose() -> None:
    raise RuntimeError("CUDA error: device-side assert triggered")


@dataclass(frozen=True)
class Ill(ByIdentity):
    """Something happens to it in one tile; it keeps a mark of each try."""

    what: str = "leave"
    times: int = 99
    """How often."""
    marks: Path = Path()

    def answer(self, tile: Pixels) -> geoseg.Instances:
        if tile.window == GRID[BAD].read:
            tries = len(list(self.marks.iterdir()))
            (self.marks / str(tries)).touch()
            if tries < self.times:
                globals()[self.what]()
        return super().answer(tile)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "map.fgb"
    geoseg.segment(SCENE, THINGS, backend=ByIdentity((0,) * COUNT), out=out, tile=40, overlap=8)
    return out.read_bytes()


@pytest.fixture
def make(tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()

    def call(what: str, times: int = 99, **options: Any) -> geoseg.Run:
        model = Ill((0,) * COUNT, what=what, times=times, marks=marks)
        options = {"tile": 40, "overlap": 8, "workers": 2, "out": tmp_path / "map.fgb", **options}
        return geoseg.segment(SCENE, THINGS, backend=model, **options)

    return call


def tries(tmp_path: Path) -> int:
    return len(list((tmp_path / "marks").iterdir()))


@pytest.mark.parametrize("what", ["leave", "kill", "crash"])
def test_a_tile_that_kills_its_worker_is_a_hole_and_the_only_one(make, tmp_path, what):
    run = make(what)
    assert list(run.failed) == [NAME]
    assert "its worker process died each of 3 times" in run.failed[NAME]
    assert tries(tmp_path) <= 3
    told = gpd.read_file(tmp_path / "map_failed_tiles.fgb")
    assert told.tile.tolist() == [NAME]
    found = status(tmp_path / "map.fgb")
    assert (found.state, found.done, found.missing) == ("incomplete", len(GRID) - 1, 0)
    assert list(found.failed) == [NAME]


@pytest.mark.parametrize(
    ("what", "workers"), [("leave", 2), ("lose", 2), ("refuse", 2), ("refuse", 1)]
)
def test_what_happens_once_costs_nothing(make, tmp_path, whole, what, workers):
    run = make(what, times=1, workers=workers)
    assert run.complete
    assert tries(tmp_path) == 2
    assert run.path.read_bytes() == whole
    assert not (tmp_path / "map.fgb.geoseg").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_tile_that_always_fails_is_tried_twice_until_more_is_asked(
    make, tmp_path, whole, workers
):
    run = make("refuse", workers=workers)
    assert run.failed == {NAME: "RuntimeError: out of luck (tried 2 times)"}
    assert tries(tmp_path) == 2
    again = make("refuse", workers=workers)
    assert again.failed == run.failed
    assert tries(tmp_path) == 2
    assert make("refuse", workers=workers, times=0, retry_failed=True).complete
    assert (tmp_path / "map.fgb").read_bytes() == whole
    assert not (tmp_path / "map_failed_tiles.fgb").exists()


def test_a_lost_device_ends_a_run_of_one_process_and_the_next_continues(make, tmp_path, whole):
    with pytest.raises(DeviceLostError) as caught:
        make("lose", times=1, workers=1)
    assert "run the same again: what is done is kept" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1
    found = status(tmp_path / "map.fgb")
    assert (found.state, dict(found.failed)) == ("interrupted", {})
    assert make("lose", times=1, workers=1).complete
    assert (tmp_path / "map.fgb").read_bytes() == whole


@dataclass(frozen=True)
class Unloadable(ByIdentity):
    """Cannot be loaded in a worker."""

    def __reduce__(self) -> tuple[Any, ...]:
        return __import__, ("no_such_module_anywhere",)


def test_workers_that_cannot_load_the_backend_blame_no_tile(tmp_path, capfd):
    out = tmp_path / "map.fgb"
    with pytest.raises(TileFailedError) as caught:
        geoseg.segment(
            SCENE,
            THINGS,
            backend=Unloadable((0,) * COUNT),
            out=out,
            tile=40,
            overlap=8,
            workers=2,
        )
    assert "\n" not in str(caught.value)
    assert "no_such_module_anywhere" in str(caught.value)
    assert status(out).failed == {}
    assert "Traceback" not in capfd.readouterr().err


def test_the_command_tells_of_the_hole_and_ends_with_1(tmp_path, capsys):
    marks = tmp_path / "marks"
    marks.mkdir()
    run = geoseg.segment(
        SCENE,
        THINGS,
        backend=Ill((0,) * COUNT, what="refuse", marks=marks),
        out=tmp_path / "map.fgb",
        tile=40,
        overlap=8,
    )
    with pytest.raises(cli.typer.Exit) as done:
        cli._report(run, as_json=False, quiet=True)
    assert done.value.exit_code == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: 1 of {len(GRID)} tiles failed and are missing from the map")
    assert "--retry-failed" in said
    cli.app(["status", str(tmp_path / "map.fgb"), "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert told["state"] == "incomplete"
    assert told["failed"] == {NAME: "RuntimeError: out of luck (tried 2 times)"}
