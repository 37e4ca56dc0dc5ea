"""One process or several: the same results in the same order."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from scenes import ByIdentity, legend, raster

import geoseg
from geoseg.detect import Job
from geoseg.errors import BackendError, TileFailedError
from geoseg.executors import Lost, Processes, Serial, check_workers, surely
from geoseg.folder import LocalFolder
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


def die_once(_job: Job, item: tuple[int, str]) -> int:
    number, folder = item
    mark = Path(folder) / "died"
    if number == 3 and not mark.exists():
        mark.touch()
        os._exit(9)
    return number


def slow(_job: Job, _item: int) -> float:
    time.sleep(0.3)
    return time.monotonic()


def timed(_job: Job, _item: None) -> tuple[float, int, int]:
    return time.monotonic(), 0, 0


ORPHANS = """
import os, sys, time
sys.path.insert(0, {tests!r})
import numpy as np
from scenes import ByIdentity, legend, raster
from geoseg.detect import Job
from geoseg.executors import Processes
from geoseg.folder import LocalFolder
from geoseg.grid import Grid
from geoseg.store import Store
from geoseg.stretch import Stretch
import test_executors

if __name__ == "__main__":
    source = raster(np.ones((30, 40), np.int32))
    grid = Grid(source.frame.window, 16, 4)
    stretch = Stretch((0, 0, 0), (0.0,) * 3, (1.0,) * 3)
    job = Job(source, ByIdentity((0,)), legend("object"), stretch, Store(LocalFolder("."), grid))
    with Processes(job, 1) as executor:
        print(executor.alone(test_executors.describe, 0)[1], flush=True)
        time.sleep(60)
"""


def refuse(_job: Job, item: int) -> int:
    if item == 3:
        raise ValueError("three")
    return item


@pytest.fixture
def job(tmp_path):
    source = raster(np.ones((30, 40), np.int32))
    grid = Grid(source.frame.window, 16, 4)
    stretch = Stretch((0, 0, 0), (0.0,) * 3, (1.0,) * 3)
    return Job(
        source, ByIdentity((0,)), legend("object"), stretch, Store(LocalFolder(tmp_path), grid)
    )


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


def test_a_worker_that_dies_loses_what_it_had_in_hand_and_no_more(job):
    with Processes(job, 2) as executor:
        found = list(executor.map(die, range(12)))
    assert [f.item if isinstance(f, Lost) else f for f in found] == list(range(12))
    lost = [f.item for f in found if isinstance(f, Lost)]
    assert 3 in lost
    assert len(lost) <= 2


def test_what_was_lost_with_another_is_done_alone(job, tmp_path):
    with Processes(job, 2) as executor:
        assert list(surely(executor, die_once, [(i, str(tmp_path)) for i in range(12)])) == list(
            range(12)
        )


def test_what_every_worker_dies_of_says_what_to_do(job):
    with Processes(job, 1) as executor, pytest.raises(TileFailedError) as caught:
        list(surely(executor, die, range(9)))
    assert "worker processes die of one part of the map (die)" in str(caught.value)
    assert "--workers 1" in str(caught.value)
    assert caught.value.exit_code == 1


class Unloadable:
    """Kills the process that unpickles it."""

    def __reduce__(self):
        return os._exit, (9,)


def test_workers_that_cannot_start_are_told_from_tiles_that_kill(job):
    bad = replace(job, legend=Unloadable())
    with Processes(bad, 1) as executor, pytest.raises(TileFailedError, match="when they start"):
        check_workers(executor)


def test_nothing_else_runs_while_an_item_is_alone(job):
    with Processes(job, 2) as executor:
        results = executor.map(slow, range(6))
        next(results)
        before, _, _ = executor.alone(timed, None)
        ends = [end for end in results if end < before + 30]
        early = [end for end in ends if end <= before]
    assert len(early) >= 3


def test_workers_end_with_their_main_process(tmp_path):
    script = tmp_path / "main.py"
    script.write_text(ORPHANS.format(tests=str(Path(__file__).parent)))
    main = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)  # noqa: S603
    worker = psutil.Process(int(main.stdout.readline()))
    main.kill()
    main.communicate()
    assert worker.wait(20) is None or not worker.is_running()


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
