"""A Dask cluster does the same work: the same bytes, also when a worker is lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio
import pytest
from scenes import ByIdentity, apart, legend, raster, voronoi

import geoseg
from geoseg import cluster
from geoseg.errors import ConfigError

distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")

IDS, COUNT = apart(voronoi(90, 100, np.random.default_rng(5)))
CUT = {"tile": 40, "overlap": 8}


@dataclass(frozen=True)
class Slow(ByIdentity):
    """Takes its time, and kills its process at one tile."""

    seconds: float = 0.0
    poison: tuple[int, int] | None = None

    def answer(self, tile):
        time.sleep(self.seconds)
        if (tile.window.x0, tile.window.y0) == self.poison:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().answer(tile)


def segment(out, *, seconds=0.0, poison=None, **options):
    model = Slow((0,) * COUNT, seconds=seconds, poison=poison)
    return geoseg.segment(
        raster(IDS), legend("object"), backend=model, out=out, **{**CUT, **options}
    )


@pytest.fixture(scope="module")
def workers():
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=2,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=50,
        env={"PYTHONPATH": str(Path(__file__).parent)},
    ) as found:
        yield found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return segment(tmp_path_factory.mktemp("serial") / "map.gpkg").path.read_bytes()


def plugins(address):
    with distributed.Client(address, set_as_default=False) as client:
        return client.run(lambda dask_worker: [n for n in dask_worker.plugins if "geoseg" in n])


def test_a_cluster_gives_the_same_bytes_and_keeps_nothing(workers, whole, tmp_path):
    out = tmp_path / "map.gpkg"
    assert segment(out, scheduler=workers.scheduler_address).complete
    assert out.read_bytes() == whole
    assert [p.name for p in tmp_path.iterdir()] == ["map.gpkg"]
    assert set(map(tuple, plugins(workers.scheduler_address).values())) == {()}


def test_a_worker_that_is_lost_changes_nothing(workers, whole, tmp_path):
    out = tmp_path / "map.gpkg"
    killed = []

    def kill(step, done, _total):
        if step == "detect" and done == 2 and not killed:
            killed.append(next(iter(workers.workers.values())).pid)
            os.kill(killed[0], signal.SIGKILL)

    run = segment(out, scheduler=workers.scheduler_address, seconds=0.2, progress=kill)
    assert killed
    assert run.complete
    assert out.read_bytes() == whole


def test_a_tile_that_kills_its_worker_is_left_out_alone(workers, tmp_path):
    out = tmp_path / "map.gpkg"
    run = segment(out, scheduler=workers.scheduler_address, poison=(28, 28))
    assert list(run.failed) == ["r00001_c00001"]
    assert "its worker process died" in run.failed["r00001_c00001"]
    assert len(pyogrio.read_dataframe(out, layer="failed_tiles")) == 1


def test_a_cluster_that_is_not_there_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_S", 1)
    with pytest.raises(ConfigError, match="no Dask scheduler with a worker answers there"):
        segment(tmp_path / "map.gpkg", scheduler="tcp://127.0.0.1:9")
    assert threading.active_count() < 50
