"""One process or several: the same results in the same order."""

from __future__ import annotations

import os

import numpy as np
import pytest
from scenes import ByIdentity, legend, raster

import geoseg
from geoseg.detect import Job
from geoseg.errors import BackendError, TileFailedError
from geoseg.executors import Processes, Serial
from geoseg.grid import Grid
from geoseg.store import Store
from geoseg.stretch import Stretch


def describe(job: Job, item: int) -> tuple[int, int, int]:
    """Return what was asked, by whom it was done, and something of the job."""
    return item, os.getpid(), len(job.grid)


def die(_job: Job, item: int) -> int:
    if item == 3:
        os._exit(9)
    return item


def refuse(_job: Job, item: int) -> int:
    if item == 3:
        raise ValueError("three")
    return item


@pytest.fixture
def job(tmp_path):
    source = raster(np.ones((30, 40), np.int32))
    grid = Grid(source.frame.window, 16, 4)
    stretch = Stretch((0, 0, 0), (0.0,) * 3, (1.0,) * 3)
    return Job(source, ByIdentity((0,)), legend("object"), stretch, Store(tmp_path, grid))


def test_serial_works_here_and_in_order(job):
    with Serial(job) as executor:
        found = list(executor.map(describe, range(5)))
    assert found == [(i, os.getpid(), len(job.grid)) for i in range(5)]


def test_serial_takes_few_items_ahead(job):
    taken = []
    items = (taken.append(i) or i for i in range(100))
    results = Serial(job).map(describe, items)
    next(results)
    assert len(taken) <= 3
    results.close()


def test_processes_give_the_same_in_order_and_take_few_at_a_time(job):
    taken = []
    items = (taken.append(i) or i for i in range(30))
    with Processes(job, 2) as executor:
        results = executor.map(describe, items)
        first = next(results)
        assert len(taken) <= 2 * 2 + 2
        found = [first, *results]
    assert [i for i, _, _ in found] == list(range(30))
    assert {n for _, _, n in found} == {len(job.grid)}
    assert os.getpid() not in {pid for _, pid, _ in found}


def test_an_error_in_a_worker_is_the_callers(job):
    with Processes(job, 1) as executor, pytest.raises(ValueError, match="three"):
        list(executor.map(refuse, range(9)))


def test_a_worker_that_dies_says_what_to_do(job):
    with Processes(job, 1) as executor, pytest.raises(TileFailedError) as caught:
        list(executor.map(die, range(9)))
    assert "a worker process died" in str(caught.value)
    assert "lower --tile or --workers" in str(caught.value)
    assert caught.value.exit_code == 1


def test_what_cannot_be_sent_to_workers_is_refused_before_the_first_tile(tmp_path):
    class Local(ByIdentity):
        """Not importable, so not picklable."""

    with pytest.raises(BackendError, match=r"cannot be sent to worker processes .*--workers 1"):
        geoseg.segment(
            raster(np.ones((30, 40), np.int32)),
            legend("object"),
            backend=Local((0,)),
            tile=16,
            overlap=4,
            workers=2,
            out=tmp_path / "map.gpkg",
        )
    assert not list(tmp_path.iterdir())
