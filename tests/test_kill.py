"""The command survives kill -9 and interrupts, and two of them do not meet on one map."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from scripts import benchmark

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are of POSIX")


KILL = benchmark("kill")


@pytest.fixture
def scene(tmp_path):
    path = tmp_path / "scene.tif"
    KILL.draw(path, 400)
    return path


def await_tiles(out: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a run has done a tile."""
    tiles = out.with_name(f"{out.name}.geoseg") / "tiles"
    until = time.monotonic() + 60
    while not (tiles.is_dir() and any(tiles.iterdir())):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.005)


def said(process: subprocess.Popen[str]) -> list[str]:
    """Return what a run said of itself when it ended."""
    lines = process.communicate(timeout=60)[1].splitlines()
    return [line for line in lines if not line.startswith("WARNING: no band says")]


def test_kills_cost_nothing(tmp_path, scene):
    whole = tmp_path / "whole.gpkg"
    seconds = KILL.uninterrupted(scene, whole, 1)
    tally, chance = KILL.Tally(), random.Random(4)  # noqa: S311  no secret
    for workers, old in ((1, b"an older map"), (2, None)):
        out = tmp_path / f"by{workers}" / "map.gpkg"
        out.parent.mkdir()
        if old is not None:
            out.write_bytes(old)
        case = KILL.Case(scene, out, workers, old, whole.read_bytes())
        KILL.torment(case, chance, seconds, 2, tally)
    assert tally.wrong == []
    assert (tally.runs, tally.identical) == (2, 2)
    assert (tally.torn, tally.leftovers, tally.orphans) == (0, 0, 0)
    assert tally.kills > 0


def test_one_of_two_runs_is_refused_and_a_dead_one_blocks_nobody(tmp_path, scene):
    out = tmp_path / "map.gpkg"
    first = KILL.start(scene, out, 1)
    await_tiles(out, first)
    # It must not end before the other has looked.
    first.send_signal(signal.SIGSTOP)
    second = KILL.start(scene, out, 1)
    (line,) = said(second)
    first.kill()
    first.communicate()
    assert f"(process {first.pid} on {os.uname().nodename}" in line
    assert "another run is at work in" in line
    assert second.returncode == 2
    third = KILL.start(scene, out, 1)
    assert said(third)[-1].endswith(str(out))
    assert third.returncode == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["map.gpkg", "scene.tif"]


@pytest.mark.parametrize(
    ("number", "workers", "delay_s"),
    [(signal.SIGINT, 2, 0.15), (signal.SIGTERM, 2, 1.2), (signal.SIGTERM, 1, 1.0)],
)
def test_an_interrupt_is_one_line_and_leaves_no_process(tmp_path, scene, number, workers, delay_s):
    process = KILL.start(scene, tmp_path / "map.gpkg", workers)
    time.sleep(delay_s)
    os.killpg(process.pid, number)
    (line,) = said(process)
    assert process.returncode == 130
    assert line.startswith("interrupted; what is done is kept")
    assert KILL._orphans(process.pid) == []


def test_a_second_interrupt_ends_at_once_and_says_so(tmp_path, scene):
    out = tmp_path / "map.gpkg"
    process = KILL.start(scene, out, 2)
    await_tiles(out, process)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    lines = said(process)
    assert time.monotonic() - began < 2
    assert process.returncode == 130
    assert len(lines) == 1
    assert lines[0].startswith("interrupted; what is done is kept")


@pytest.mark.parametrize("workers", [1, 2])
def test_the_end_of_stdin_is_an_interrupt_if_it_is_watched(tmp_path, scene, workers):
    out = tmp_path / "map.gpkg"
    command = [sys.executable, "-m", "geoseg", "segment", str(scene), "--out", str(out)]
    command += ["--prompt", "water", "--tile", "64", "--overlap", "16", "--watch-stdin"]
    command += ["--workers", str(workers)]
    process = subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    await_tiles(out, process)
    (line,) = said(process)
    assert process.returncode == 130
    assert line.startswith("interrupted; what is done is kept")
    assert not out.exists()
    assert KILL._orphans(process.pid) == []


def test_a_command_that_cannot_end_in_order_does_not_outlive_its_stdin():
    code = (
        "import time\nfrom geoseg import interrupts\ninterrupts.GRACE_S = 3\n"
        "with interrupts.heeded():\n    interrupts.follow_stdin()\n"
        "    while True:\n        try:\n            print('ready', flush=True)\n"
        "            time.sleep(60)\n"
        "        except interrupts.Interrupted:\n            print('deaf', flush=True)\n"
    )
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.stdin.close()
        assert process.stdout.read().splitlines()[0] == "deaf"
        assert process.wait(timeout=30) == 130
