"""Rasters over HTTP: the same pixels through every trouble, few requests, and clear refusals."""

from __future__ import annotations

import itertools
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from affine import Affine
from ranges import Trouble, serve
from rasterio.errors import RasterioIOError
from rasterio.shutil import copy

import geoseg
import geoseg.attempts
from geoseg import remote
from geoseg.errors import RasterError, ReadFailedError, ResumeMismatchError, TileFailedError
from geoseg.geotiff import open_raster
from geoseg.grid import Grid
from geoseg.library import traffic
from geoseg.raster import sample
from geoseg.window import Window

SIDE = 700


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    """A folder with one scene as COG, deflated and plain."""
    folder = tmp_path_factory.mktemp("web")
    y, x = np.mgrid[:SIDE, :SIDE]
    wet = np.sin(x / 37) * np.cos(y / 29) > 0
    data = np.where(wet, np.array([[[30]], [[50]], [[60]], [[10]]]), 120).astype(np.uint8)
    data += np.random.default_rng(1).integers(0, 9, data.shape).astype(np.uint8)
    profile = {
        "driver": "GTiff", "width": SIDE, "height": SIDE, "count": 4, "dtype": "uint8",
        "crs": "EPSG:32633", "transform": Affine(10, 0, 5e5, 0, -10, 5e6),
        "photometric": "MINISBLACK",
    }  # fmt: skip
    with rasterio.open(folder / "source.tif", "w", **profile) as target:
        target.write(data)
        target.descriptions = ("red", "green", "blue", "nir")
    for name in ("deflate", "none"):
        copy(folder / "source.tif", folder / f"{name}.tif", driver="COG", blocksize=128,
             compress=name)  # fmt: skip
    return folder


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    """Do not wait between tries."""
    remote._down.clear()
    monkeypatch.setattr(remote, "time", SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setitem(remote.OPTIONS, "GDAL_HTTP_RETRY_DELAY", 0.001)


@pytest.mark.parametrize("compression", ["deflate", "none"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_pixels_are_right_through_every_trouble(web, compression, seed, monkeypatch):
    # How requests fall upon the drawn troubles is not the same each time.
    monkeypatch.setattr(remote, "SOON_S", (0.0,) * 20)
    monkeypatch.setattr(remote, "PAUSES_S", (0.0,) * 20)
    trouble = Trouble(drop=0.15, busy=0.1, seed=seed)
    with rasterio.open(web / f"{compression}.tif") as source:
        want = source.read()
    with serve(web, trouble) as address:
        raster = open_raster(f"{address}/{compression}.tif")
        for tile in Grid(raster.frame.window, 256, 32):
            data, valid = raster.read(tile.read)
            assert (data == want[:, *tile.read.slices_in(raster.frame.window)]).all()
            assert valid.all()
    assert trouble.counts["drop"] > 0
    assert trouble.counts["busy"] > 0


def test_a_map_over_http_is_that_of_the_file_and_tells_what_it_fetched(web, caplog):
    caplog.set_level(logging.INFO, "geoseg.remote")
    local = geoseg.segment(web / "deflate.tif", "water", tile=256, overlap=32)
    with serve(web, Trouble(drop=0.1, busy=0.1, delay=0.1)) as address:
        far = geoseg.segment(f"{address}/deflate.tif", "water", tile=256, overlap=32)
    assert far.complete
    assert far.count > 0
    assert far.features().equals(local.features())
    assert "MB fetched by this process" in caplog.text


def test_a_window_costs_few_requests_and_few_bytes(web):
    trouble = Trouble()
    with serve(web, trouble) as address:
        raster = open_raster(f"{address}/none.tif")
        raster.read(Window(0, 0, 1, 1))
        before, sent = trouble.requests, trouble.bytes_sent
        known = traffic()
        raster.read(Window(128, 128, 384, 384))
    blocks = 2 * 2 * 4 * 128 * 128
    assert trouble.requests - before <= 2
    assert trouble.bytes_sent - sent <= 1.1 * blocks
    after = traffic()
    assert after.fetched_bytes - known.fetched_bytes == trouble.bytes_sent - sent


@pytest.mark.parametrize("status", [403, 404, 410])
def test_what_is_refused_for_good_is_asked_for_once_and_named_without_secrets(web, status):
    trouble = Trouble(status=status)
    with (
        serve(web, trouble) as address,
        pytest.raises(RasterError, match=rf"network.*{status}") as caught,
    ):
        open_raster(f"{address}/none.tif?token=SECRET")
    assert "SECRET" not in str(caught.value)
    assert trouble.requests <= 2


def test_a_file_that_goes_away_fails_its_tiles_at_once(web):
    trouble = Trouble()
    with serve(web, trouble) as address:
        raster = open_raster(f"{address}/none.tif?token=SECRET")
        raster.read(Window(0, 0, 9, 9))
        trouble.status, before = 404, trouble.requests
        with pytest.raises(TileFailedError, match="over the network") as caught:
            raster.read(Window(500, 500, 600, 600))
        assert trouble.requests - before < 10
        trouble.status = 0
        assert raster.read(Window(500, 500, 600, 600))[1].all()
    assert "SECRET" not in str(caught.value)


def test_a_file_that_was_changed_is_not_continued(web, tmp_path):
    place = tmp_path / "web"
    place.mkdir()
    (place / "a.tif").write_bytes((web / "deflate.tif").read_bytes())
    options = {"out": tmp_path / "map.gpkg", "tile": 256, "overlap": 32}

    class Killed(BaseException):
        pass

    def kill(step: str, done: int, _total: int) -> None:
        if step == "detect" and done > 2:
            raise Killed

    with serve(place) as address:
        url = f"{address}/a.tif"
        first = open_raster(url).identity()
        assert {"bytes", "etag"} <= first.keys()
        assert open_raster(url).identity() == first
        with pytest.raises(Killed):
            geoseg.segment(url, "water", progress=kill, **options)
        (place / "a.tif").write_bytes((web / "none.tif").read_bytes())
        assert open_raster(url).identity() != first
        with pytest.raises(ResumeMismatchError, match=r"raster\.etag"):
            geoseg.segment(url, "water", **options)


def test_a_server_that_is_gone_says_what_it_said_before_or_nothing(web):
    with serve(web) as address:
        name = f"{address}/none.tif"
        known = remote.identity(name)
        assert known["bytes"] == (web / "none.tif").stat().st_size
    assert remote.identity(name) == known
    with pytest.raises(RasterError, match=r"cannot be reached over the network") as caught:
        remote.identity(f"{address}/other.tif?token=SECRET")
    assert "SECRET" not in str(caught.value)
    assert remote.identity("s3://bucket/a.tif") == {}


def test_a_server_without_ranges_is_named_as_such(web):
    with (
        serve(web, Trouble(whole=True)) as address,
        pytest.raises(RasterError, match="its server gives no byte ranges, only whole files"),
    ):
        open_raster(f"{address}/none.tif")


def test_a_server_that_is_gone_holds_up_one_tile_only(monkeypatch, caplog):
    slept = []
    monkeypatch.setattr(remote, "time", SimpleNamespace(sleep=slept.append))
    answers = []

    def act() -> int:
        if not answers:
            raise RasterioIOError("HTTP response code: 500")
        return answers.pop()

    def fails() -> None:
        slept.clear()
        with pytest.raises(RasterioIOError):
            remote.patiently(act, "a.tif")

    fails()
    assert len(slept) == len(remote.PAUSES_S)
    for _ in range(3):
        fails()
        assert slept == []
    assert caplog.text.count("a.tif does not answer as it should") == 1
    answers.append(7)
    assert remote.patiently(act, "a.tif") == 7
    fails()
    assert len(slept) == len(remote.PAUSES_S)


def test_a_run_whose_server_is_gone_stops_and_continues(web, tmp_path, monkeypatch):
    monkeypatch.setattr(geoseg.attempts, "GONE", 3)
    trouble, cut = Trouble(), {"tile": 128, "overlap": 16}
    whole = geoseg.segment(web / "none.tif", "water", **cut).features()

    def end(step: str, done: int, _total: int) -> None:
        if step == "detect" and done == 5:
            trouble.status = 404

    with serve(web, trouble) as address:
        job = {"out": tmp_path / "map.gpkg", **cut}
        with pytest.raises(ReadFailedError, match=r"3 tiles in a row failed.* run the same again"):
            geoseg.segment(f"{address}/none.tif", "water", progress=end, **job)
        trouble.status = 0
        assert geoseg.segment(f"{address}/none.tif", "water", **job).features().equals(whole)


def test_statistics_are_of_the_whole_sample_or_there_is_no_run(web):
    trouble = Trouble()
    with serve(web, trouble) as address:
        raster = open_raster(f"{address}/none.tif")
        trouble.status = 404
        with pytest.raises(RasterError, match=r"need all of their sample.* run the same again"):
            sample(raster, blocks=2)


def test_pauses_double_and_are_bounded(monkeypatch):
    slept = []
    monkeypatch.setattr(remote, "time", SimpleNamespace(sleep=slept.append))

    def act() -> None:
        raise RasterioIOError("Connection reset by peer")

    with pytest.raises(RasterioIOError):
        remote.patiently(act, "a.tif")
    assert all(b == 2 * a for a, b in itertools.pairwise(slept))
    assert sum(slept) < 30


@pytest.mark.parametrize(
    ("said", "final"),
    [
        ("HTTP response code: 404", True),
        ("Request for 1-2 failed with response_code=403", True),
        ("HTTP response code: 503", False),
        ("HTTP response code: 429", False),
        ("Request for 1-2 failed with response_code=206", False),
        ("Connection reset by peer", False),
    ],
)
def test_what_is_tried_again(said, final, caplog):
    caplog.set_level(logging.INFO, "geoseg.remote")
    tries = []

    def act() -> None:
        tries.append(1)
        raise RasterioIOError(said)

    with pytest.raises(RasterioIOError):
        remote.patiently(act, "a.tif")
    assert len(tries) == (1 if final else 1 + len(remote.PAUSES_S))
    assert ("a.tif: a try failed" in caplog.text) is not final


def test_what_the_environment_sets_stands_unless_pixels_depend_on_it(monkeypatch):
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "7")
    monkeypatch.setenv("GDAL_NUM_THREADS", "4")
    found = remote.options()
    assert "GDAL_HTTP_MAX_RETRY" not in found
    assert found["GDAL_NUM_THREADS"] == 1
