"""A run stays under the memory it may have, or stops."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from scenes import ByIdentity, legend, raster

import geoseg
from geoseg.config import RunConfig
from geoseg.errors import ConfigError, MemoryBudgetError
from geoseg.estimate import check_memory, memory_mb
from geoseg.memory import Budget, resident_bytes

SCENE = raster(np.ones((300, 300), np.int32))
CUT = {"tile": 64, "overlap": 8}


class Hungry(ByIdentity):
    """Keeps 20 MB of each tile."""

    def answer(self, tile):
        self.__dict__.setdefault("kept", []).append(np.ones(20 * 2**17))
        return super().answer(tile)


def test_children_count():
    code = "import time; block = bytearray(80_000_000); print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:  # noqa: S603
        child.stdout.readline()
        mine = psutil.Process().memory_info().rss
        assert resident_bytes(psutil.Process()) > mine + 70_000_000
        child.kill()


def test_over_the_limit_the_run_is_stopped():
    with Budget(2**20) as budget:
        time.sleep(1)
        with pytest.raises(MemoryBudgetError) as caught:
            budget.check()
    assert "of the 1 MB that --memory allows" in str(caught.value)
    assert caught.value.exit_code == 1


def test_without_a_limit_nothing_is_watched():
    with Budget(None) as budget:
        time.sleep(0.3)
        budget.check()


def test_what_cannot_fit_is_refused_before_the_first_tile(tmp_path):
    def never(*_):
        pytest.fail("a tile was read")

    model = type("Idle", (ByIdentity,), {"answer": never})((0,))
    with pytest.raises(ConfigError, match=r"about \d+ MB .* --memory allows 100 MB; no other"):
        geoseg.segment(
            SCENE, legend("object"), backend=model, memory="100MB", out=tmp_path / "m.gpkg", **CUT
        )
    assert not list(tmp_path.iterdir())


def test_the_knob_that_is_named_would_do():
    config = RunConfig.build(legend=legend("object"), tile=4096, workers=4, memory="1500MB")
    wide = raster(np.ones((4096, 4096), np.int32))
    with pytest.raises(ConfigError, match=r"; --.* would need about") as caught:
        check_memory(config, wide)
    need = int(str(caught.value).rpartition("about ")[2].split()[0])
    assert need * 1e6 <= 1_500_000_000
    alone = config.model_copy(update={"workers": 1})
    assert need <= round(memory_mb(wide, alone) * 1.048576)
    assert memory_mb(wide, alone) < memory_mb(wide, config)


def test_a_run_that_takes_too_much_stops_and_continues(tmp_path):
    now = resident_bytes(psutil.Process())
    out = tmp_path / "map.gpkg"

    class Slow(Hungry):
        def answer(self, tile):
            time.sleep(0.05)
            return super().answer(tile)

    limit = max(
        now + 40_000_000, memory_mb(SCENE, RunConfig.build(legend=legend("object"), **CUT)) * 2**20
    )
    with pytest.raises(MemoryBudgetError):
        geoseg.segment(SCENE, legend("object"), backend=Slow((0,)), memory=limit, out=out, **CUT)
    assert 0 < len(list((tmp_path / "map.gpkg.geoseg" / "tiles").iterdir())) < 36
    run = geoseg.segment(SCENE, legend("object"), backend=ByIdentity((0,)), out=out, **CUT)
    assert run.complete
    assert run.count == 1
