"""What changed between two attempts, or during one, is noticed and named; a clock is not asked."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from scenes import GEOREF, UTM

import geoseg
from geoseg.errors import GeosegError, OutputError, RasterError, ResumeMismatchError


class Killed(BaseException):
    """Stands for kill -9."""


def draw(path: Path, seed: int = 0) -> None:
    data = np.random.default_rng(seed).integers(1, 255, (4, 96, 96)).astype(np.uint8)
    size = {"width": 96, "height": 96, "count": 4, "dtype": "uint8"}
    place = {"crs": UTM, "transform": GEOREF}
    with rasterio.open(path, "w", driver="GTiff", photometric="MINISBLACK", **size, **place) as to:
        to.write(data)


def replace(path: Path) -> None:
    other = path.with_name("other.tif")
    draw(other, 1)
    other.replace(path)


def touch(path: Path) -> None:
    later = path.stat().st_mtime_ns + 1
    os.utime(path, ns=(later, later))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20_000])


def rewrite(path: Path) -> None:
    """Change pixels in place; size stays."""
    blob = path.read_bytes()
    path.write_bytes(blob[:-100] + bytes(100))


CHANGES = (replace, touch, cut, rewrite)


@pytest.fixture
def scene(tmp_path):
    path = tmp_path / "scene.tif"
    draw(path)
    return path


def make(scene: Path, **options: Any) -> geoseg.Run:
    out = scene.with_name("map.fgb")
    named = {"red": 1, "green": 2, "blue": 3, "nir": 4}
    options = {"tile": 32, "overlap": 8, "bands": named, **options}
    return geoseg.segment(scene, "water, vegetation", out=out, **options)


def at_a_tile(happens: Any) -> Any:
    """Return a progress during which something happens when a few tiles are done."""

    def tell(step: str, done: int, total: int) -> None:
        if step == "detect" and done == total // 2:
            happens()

    return tell


def die() -> None:
    raise Killed


def interrupt(scene: Path, **options: Any) -> None:
    with pytest.raises(Killed):
        make(scene, progress=at_a_tile(die), **options)


@pytest.mark.parametrize("change", [replace, touch, rewrite])
def test_an_input_that_is_another_one_is_not_continued(scene, change):
    interrupt(scene)
    change(scene)
    with pytest.raises(ResumeMismatchError) as caught:
        make(scene)
    assert "raster.mtime: " in str(caught.value)
    assert "pass --fresh to start again" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not scene.with_name("map.fgb").exists()


@pytest.mark.parametrize("change", CHANGES)
def test_an_input_that_changes_during_a_run_makes_no_map(scene, change):
    with pytest.raises(RasterError) as caught:
        make(scene, progress=at_a_tile(lambda: change(scene)))
    assert "the raster was changed while it was read (" in str(caught.value)
    assert "mtime: " in str(caught.value)
    assert "--fresh" in str(caught.value)
    assert not scene.with_name("map.fgb").exists()
    with pytest.raises(GeosegError, match=r"begun with other settings|is truncated"):
        make(scene)


def test_an_input_that_changes_before_its_first_tile_is_noticed_too(scene, monkeypatch):
    from geoseg import run

    def late(*args: Any) -> Any:
        touch(scene)
        return fit(*args)

    fit = run.fit_stretch
    monkeypatch.setattr(run, "fit_stretch", late)
    with pytest.raises(RasterError, match="was changed while it was read"):
        make(scene)


def test_a_file_that_came_to_the_place_of_the_map_is_not_replaced_unasked(scene):
    interrupt(scene)
    out = scene.with_name("map.fgb")
    out.write_bytes(b"dear")
    with pytest.raises(OutputError, match="is already there; pass --overwrite"):
        make(scene)
    assert out.read_bytes() == b"dear"
    assert make(scene, overwrite=True).complete


@pytest.mark.parametrize("hour", [-3600, 3600, -400 * 86400])
def test_a_clock_that_is_set_decides_nothing(scene, monkeypatch, hour):
    make(scene)
    out = scene.with_name("map.fgb")
    whole = out.read_bytes()
    out.unlink()
    interrupt(scene)
    now = time.time()
    for path in scene.with_name("map.fgb.geoseg").rglob("*"):
        os.utime(path, (now - hour, now - hour))
    ticks = iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: now + hour - next(ticks))
    monkeypatch.setattr(time, "time_ns", lambda: int((now + hour) * 1e9) - next(ticks))
    run = make(scene)
    assert out.read_bytes() == whole
    assert all(seconds >= 0 for seconds in run.seconds.values())
