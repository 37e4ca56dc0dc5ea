"""A Dask cluster does the same work: the same bytes, also when a worker is lost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import pyogrio
import pytest
from scenes import ByIdentity, apart, legend, raster, voronoi

import geoseg
from geoseg.detect import Job
from geoseg.errors import ConfigError, TileFailedError
from geoseg.folder import LocalFolder
from geoseg.grid import Grid
from geoseg.store import Store
from geoseg.stretch import Stretch

distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")
from distributed.diagnostics.plugin import SchedulerPlugin  # noqa: E402

from geoseg import cluster  # noqa: E402
from geoseg.cluster import Cluster, connection  # noqa: E402

IDS, COUNT = apart(voronoi(90, 100, np.random.default_rng(5)))
CUT = {"tile": 40, "overlap": 8}
QUIETLY = {
    "host": "127.0.0.1",
    "dashboard_address": "127.0.0.1:0",
    "silence_logs": 50,
    "env": {"PYTHONPATH": str(Path(__file__).parent)},
}


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
    with distributed.LocalCluster(n_workers=2, threads_per_worker=2, **QUIETLY) as found:
        yield found


@pytest.fixture
def mortals():
    """Workers that are to die: how soon others take their places is for them alone to wait for."""
    with distributed.LocalCluster(n_workers=2, threads_per_worker=2, **QUIETLY) as found:
        yield found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return segment(tmp_path_factory.mktemp("serial") / "map.gpkg").path.read_bytes()


@pytest.fixture
def job(tmp_path):
    source = raster(np.ones((30, 40), np.int32))
    grid = Grid(source.frame.window, 16, 4)
    store = Store(LocalFolder(tmp_path / "run.geoseg"), grid)
    store.open({})
    stretch = Stretch((0, 0, 0), (0.0,) * 3, (1.0,) * 3)
    return Job(source, ByIdentity((0,)), legend("object"), stretch, store)


def refuse(_job, item):
    if item == 3:
        raise OSError("three")
    return item


def double(_job, item):
    return 2 * item


def span(_job, _item):
    begin = time.monotonic()
    time.sleep(0.05)
    return os.getpid(), begin, time.monotonic()


def pause(paused, dask_worker):
    dask_worker.status = distributed.Status.paused if paused else distributed.Status.running


@dataclass(frozen=True)
class OnlyHere:
    """A raster that is another in each process."""

    pid: int

    def identity(self):
        return {"where": os.getpid()}


def kept(workers, count=2):
    """Return the jobs that a cluster of so many workers holds."""

    def jobs(dask_worker):
        return [name for name in dask_worker.plugins if "geoseg" in name]

    with distributed.Client(workers.scheduler_address, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=30)
        held = [name for names in client.run(jobs).values() for name in names]
    return [*held, *(name for name in workers.scheduler.worker_plugins if "geoseg" in name)]


def test_a_cluster_gives_the_same_bytes_and_keeps_nothing(workers, whole, tmp_path):
    out = tmp_path / "map.gpkg"
    assert segment(out, scheduler=workers.scheduler_address).complete
    assert out.read_bytes() == whole
    assert [p.name for p in tmp_path.iterdir()] == ["map.gpkg"]
    assert kept(workers) == []


def test_a_worker_that_is_lost_changes_nothing(mortals, whole, tmp_path):
    out = tmp_path / "map.gpkg"
    killed = []

    def kill(step, done, _total):
        if step == "detect" and done == 2 and not killed:
            killed.append(next(iter(mortals.workers.values())).pid)
            os.kill(killed[0], signal.SIGKILL)

    run = segment(out, scheduler=mortals.scheduler_address, seconds=0.2, progress=kill)
    assert killed
    assert run.complete
    assert out.read_bytes() == whole


def test_a_tile_that_kills_its_worker_costs_three_of_them_and_no_other_tile(mortals, tmp_path):
    out = tmp_path / "map.gpkg"
    with deaths(mortals) as died:
        run = segment(out, scheduler=mortals.scheduler_address, poison=(28, 28))
    assert list(run.failed) == ["r00001_c00001"]
    assert "its worker process died each of 3 times" in run.failed["r00001_c00001"]
    assert len(pyogrio.read_dataframe(out, layer="failed_tiles")) == 1
    # Dask by itself would have given it to four workers each time.
    assert len(died) == 3
    assert kept(mortals, 1) == []


@contextmanager
def deaths(workers):
    """Yield a list that names the workers which the scheduler loses meanwhile."""
    found = []

    class Watch(SchedulerPlugin):
        def remove_worker(self, scheduler, worker, **_):  # noqa: ARG002
            found.append(worker)

    workers.scheduler.add_plugin(Watch(), name="watch")
    try:
        yield found
    finally:
        workers.scheduler.remove_plugin("watch")


def test_an_error_or_an_interrupt_leaves_nothing_in_the_workers(workers, whole, tmp_path):
    class KilledError(BaseException):
        """Stands for a signal."""

    def kill(step, done, _total):
        if step == "detect" and done == 3:
            raise KilledError

    out = tmp_path / "map.gpkg"
    with pytest.raises(KilledError):
        segment(out, scheduler=workers.scheduler_address, seconds=0.1, progress=kill)
    assert kept(workers) == []
    # Nothing is written any more.
    tiles = sorted((tmp_path / "map.gpkg.geoseg" / "tiles").iterdir())
    time.sleep(0.5)
    assert sorted((tmp_path / "map.gpkg.geoseg" / "tiles").iterdir()) == tiles
    segment(out, scheduler=workers.scheduler_address)
    assert out.read_bytes() == whole


CLIENT = """
import os, sys
sys.path.insert(0, {tests!r})
import test_cluster

def end(step, done, total):
    if step == "detect" and done:
        os.kill(os.getpid(), 9)

if __name__ == "__main__":
    test_cluster.segment({out!r}, scheduler={address!r}, seconds=0.1, progress=end)
"""


def test_what_a_killed_client_left_is_taken_back_by_the_next(workers, whole, tmp_path):
    out = tmp_path / "map.gpkg"
    tests = str(Path(__file__).parent)
    script = tmp_path / "client.py"
    script.write_text(CLIENT.format(tests=tests, out=str(out), address=workers.scheduler_address))
    path = {**os.environ, "PYTHONPATH": str(Path(geoseg.__file__).parent.parent)}
    done = subprocess.run(  # noqa: S603
        [sys.executable, script], capture_output=True, check=False, env=path
    )
    assert done.returncode == -signal.SIGKILL
    assert kept(workers) != []
    segment(out, scheduler=workers.scheduler_address)
    assert out.read_bytes() == whole
    assert kept(workers) == []


def test_the_client_is_quiet_and_listens_nowhere(workers, tmp_path, capfd, caplog):
    before = sockets()
    seen = []
    segment(
        tmp_path / "map.gpkg",
        scheduler=workers.scheduler_address,
        progress=lambda *_: seen.append(sockets() - before),
    )
    assert seen
    assert set().union(*seen) == set()
    assert capfd.readouterr().err == ""
    # The scheduler of this cluster lives in the process of the tests, and logs as it likes.
    assert [r.getMessage() for r in caplog.records if r.name != "distributed.scheduler"] == []


def sockets():
    """Return where this process and its children listen."""
    me = psutil.Process()
    return {
        (process.pid, *connection.laddr)
        for process in (me, *me.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def test_an_error_in_a_worker_is_the_callers(workers, job):
    with Cluster(job, workers.scheduler_address) as executor:
        with pytest.raises(OSError, match="three"):
            list(executor.map(refuse, range(9)))
        assert list(executor.map(double, range(9))) == [2 * i for i in range(9)]


def test_one_item_at_a_time_and_few_ahead(workers, job):
    taken = []
    with Cluster(job, workers.scheduler_address) as executor:
        found = []
        for result in executor.map(span, (taken.append(i) or i for i in range(12))):
            found.append(result)
            assert len(taken) <= len(found) + 2 * len(workers.workers)
    for pid in {p for p, _, _ in found}:
        times = sorted((begin, end) for p, begin, end in found if p == pid)
        assert all(end <= begin for (_, end), (begin, _) in pairwise(times))


def test_a_paused_worker_holds_nothing_up(workers, job):
    with (
        distributed.Client(workers.scheduler_address, set_as_default=False) as client,
        Cluster(job, workers.scheduler_address) as executor,
    ):
        paused = min(client.ncores())
        client.run(pause, True, workers=[paused])  # noqa: FBT003
        # The scheduler hears of it a moment later.
        while client.scheduler_info(n_workers=-1)["workers"][paused]["status"] != "paused":
            time.sleep(0.05)
        try:
            pids = {pid for pid, _, _ in executor.map(span, range(6))}
        finally:
            client.run(pause, False, workers=[paused])  # noqa: FBT003
        assert len(pids) == 1


def test_workers_that_do_not_see_the_tiles_are_refused_before_the_first(workers, tmp_path):
    with pytest.raises(ConfigError, match="no worker can be used") as caught:
        segment(tmp_path / "map.gpkg", scheduler=workers.scheduler_address, store="memory://x")
    assert "does not see the run folder memory://x/map.gpkg-" in str(caught.value)
    assert "give --store a folder or URL that all workers share" in str(caught.value)


def test_workers_with_other_packages_are_refused(workers, job, monkeypatch):
    ours = cluster.versions
    monkeypatch.setattr(cluster, "versions", lambda names: {**ours(names), "geoseg": "9.9"})
    with (
        pytest.raises(ConfigError, match=r"its scheduler has geoseg \S+, here is 9.9; install the"),
        Cluster(job, workers.scheduler_address),
    ):
        pass
    assert kept(workers) == []


def test_workers_that_see_another_raster_are_refused(workers, job):
    other = replace(job, raster=OnlyHere(os.getpid()))
    with (
        pytest.raises(ConfigError, match=r"worker tcp://\S+ sees another raster \(where: "),
        Cluster(other, workers.scheduler_address),
    ):
        pass
    assert kept(workers) == []


def test_a_cluster_that_is_not_there_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "CONNECT_S", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        for port in (9, silent.getsockname()[1]):
            with pytest.raises(ConfigError, match="no Dask scheduler answers there") as caught:
                segment(tmp_path / "map.gpkg", scheduler=f"tcp://127.0.0.1:{port}")
            assert caught.value.exit_code == 2
    assert not list(tmp_path.iterdir())
    assert threading.active_count() < 50


def test_the_address_of_a_worker_is_not_that_of_the_scheduler(workers, job):
    address = next(iter(workers.scheduler.workers))
    with pytest.raises(ConfigError, match="is a Dask Worker; give its"), Cluster(job, address):
        pass


@pytest.mark.parametrize("address", ["127.0.0.1:8786", "http://a:1", "tcp://", "tcp://a b"])
def test_what_is_no_address_is_refused(tmp_path, address):
    with pytest.raises(ConfigError, match=r"give the address of a Dask scheduler, as tcp://host"):
        segment(tmp_path / "map.gpkg", scheduler=address)


def test_workers_are_counted_once(tmp_path):
    with pytest.raises(ConfigError, match="--workers 2 and --scheduler are both given; the clus"):
        segment(tmp_path / "map.gpkg", scheduler="tcp://127.0.0.1:9", workers=2)


def test_a_scheduler_without_workers_is_refused(job, monkeypatch):
    monkeypatch.setattr(connection, "WORKER_S", 0.3)
    with (
        distributed.LocalCluster(n_workers=0, **QUIETLY) as empty,
        pytest.raises(ConfigError, match="it has no workers; start some: dask worker tcp://"),
        Cluster(job, empty.scheduler_address),
    ):
        pass


def test_when_no_worker_is_left_the_run_ends_and_what_is_done_is_kept(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "REBIRTH_S", 1)
    out = tmp_path / "map.gpkg"
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, **QUIETLY) as alone:

        def stop(step, done, _total):
            if step == "detect" and done == 2:
                alone.scale(0)

        with pytest.raises(TileFailedError, match="no workers left at the Dask sched") as caught:
            segment(out, scheduler=alone.scheduler_address, seconds=0.1, progress=stop)
    assert caught.value.exit_code == 1
    assert len(list((tmp_path / "map.gpkg.geoseg" / "tiles").iterdir())) >= 2
    segment(out)
    assert out.read_bytes() == whole
