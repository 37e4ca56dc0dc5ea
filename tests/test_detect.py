"""The pipeline: batches change only the pace, a failure costs one tile, nothing is left over."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import ByIdentity, apart, examples, legend, raster, seeds, voronoi

import geoseg
from geoseg.detect import SPARE, Job, ahead, detect, detect_each
from geoseg.folder import LocalFolder
from geoseg.grid import Grid
from geoseg.store import Store
from geoseg.stretch import Stretch

IDS, COUNT = apart(voronoi(88, 100, np.random.default_rng(5)))
STRETCH = Stretch((0, 1, 2), (0.0,) * 3, (50.0,) * 3)
TILES = 12


def workers() -> int:
    """Return how many threads of pools there are; other libraries keep threads of their own."""
    return sum(t.name.startswith("ThreadPoolExecutor") for t in threading.enumerate())


@dataclass(frozen=True)
class Watched(ByIdentity):
    """Remembers the batches it was given; some tiles make it raise."""

    bad: tuple[int, ...] = ()
    """Left columns of read windows."""
    batches: list[list] = field(default_factory=list, compare=False)

    def segment(self, tiles):
        self.batches.append(list(tiles))
        if any(tile.window.x0 in self.bad for tile in tiles):
            raise MemoryError("too much")
        return super().segment(tiles)


def job(folder, model=None, batch=1, source=None) -> Job:
    """Return a job of TILES tiles, 4 in a row."""
    source = source or raster(IDS)
    store = Store(LocalFolder(folder / "map.geoseg"), Grid(source.frame.window, 36, 8))
    store.open({})
    found = Job(source, model or Watched((0,) * COUNT), legend("object"), STRETCH, store, batch)
    assert len(found.grid) == TILES
    return found


def blank(*, columns: slice) -> geoseg.ArrayRaster:
    """Return the scene without data in some columns."""
    valid = np.ones(IDS.shape, bool)
    valid[:, columns] = False
    return raster(IDS, valid=valid)


def shown(model: Watched) -> list[list[tuple[int, int]]]:
    return [[(t.window.y0, t.window.x0) for t in batch] for batch in model.batches]


def stored(done: Job) -> list[bytes]:
    tiles = [done.store.get(i) for i in range(TILES)]
    return [t.runs.tobytes() + t.facts.tobytes() for t in tiles]


@examples(10)
@given(seeds, st.integers(2, 5), st.integers(0, 100))
def test_batches_do_not_change_what_is_found(tmp_path_factory, random, batch, x):
    valid = random.random(IDS.shape) > 0.1
    valid[:, x : x + 60] = False
    source = raster(IDS, valid=valid)
    one, many = (job(tmp_path_factory.mktemp("run"), batch=n, source=source) for n in (1, batch))
    assert detect(one, range(TILES)) == detect(many, range(TILES))
    assert stored(one) == stored(many)
    assert max(map(len, many.backend.batches), default=0) <= batch


def test_batches_are_as_full_as_they_can_be(tmp_path):
    # The second and third tile of each row are nodata; those in between come along.
    work = job(tmp_path, batch=4, source=blank(columns=slice(24, 88)))
    receipts = detect(work, range(TILES))
    assert [r.index for r in receipts] == list(range(TILES))
    assert [len(b) for b in work.backend.batches] == [4, 2]
    assert work.store.to_do() == []


def test_the_backend_is_never_given_a_tile_without_data(tmp_path):
    work = job(tmp_path, batch=3, source=blank(columns=slice(0, 64)))
    detect(work, range(TILES))
    assert all(tile.valid.any() for batch in work.backend.batches for tile in batch)
    nothing = job(tmp_path / "b", batch=3, source=blank(columns=slice(0, 100)))
    assert [r.error for r in detect(nothing, range(TILES))] == [None] * TILES
    assert not any(len(nothing.store.get(i).facts) for i in range(TILES))
    assert nothing.backend.batches == []


@pytest.mark.parametrize("batch", [1, 2, 3, 5])
def test_a_batch_that_fails_costs_its_bad_tile_only(tmp_path, batch):
    good = job(tmp_path / "a")
    detect(good, range(TILES))
    work = job(tmp_path / "b", replace(good.backend, bad=(24,), batches=[]), batch)
    receipts = detect(work, range(TILES))
    assert [r.index for r in receipts] == list(range(TILES))
    assert [r.index for r in receipts if r.error] == [1, 5, 9] == list(work.store.failed())
    assert all(r.error == "MemoryError: too much" for r in receipts if r.error)
    assert [a for i, a in enumerate(stored(work)) if i % 4 != 1] == [
        a for i, a in enumerate(stored(good)) if i % 4 != 1
    ]


def test_a_tile_that_cannot_be_read_costs_that_tile_only(tmp_path):
    class Torn(geoseg.ArrayRaster):
        def read(self, window):
            if window.x0 == 24:
                raise OSError("torn")
            return super().read(window)

    scene = raster(IDS)
    work = job(tmp_path, batch=2, source=Torn(scene.data, None, scene.transform, scene.crs))
    receipts = detect(work, range(TILES))
    assert [(r.index, r.error) for r in receipts if r.error] == [
        (i, "OSError: torn") for i in (1, 5, 9)
    ]


def test_tiles_say_what_they_decide_and_bring_the_picture_that_is_wanted(tmp_path):
    plain = job(tmp_path / "a")
    detect(plain, range(TILES))
    wanting = type("Wanting", (Watched,), {"wants_rgb": True})((0,) * COUNT)
    work = job(tmp_path / "b", wanting)
    detect(work, range(TILES))
    for model, made in ((plain.backend, False), (work.backend, True)):
        tiles = [tile for batch in model.batches for tile in batch]
        assert [t.core for t in tiles] == [t.core for t in plain.grid]
        assert all((t.picture is not None) == made for t in tiles)
        assert all((t.rgb() == STRETCH.apply(t.data)).all() for t in tiles)


def test_notes_are_kept_with_the_run_and_survive_a_resume(tmp_path):
    class Talking(ByIdentity):
        def answer(self, tile):
            found = super().answer(tile)
            return replace(found, notes=("left edge",)) if tile.window.x0 == 0 else found

    class Killed(BaseException):
        pass

    def kill(step, done, total):
        if step == "detect" and done == total // 2:
            raise Killed

    ask = {"backend": Talking((0,) * COUNT), "out": tmp_path / "map.gpkg", "tile": 36, "overlap": 8}
    with pytest.raises(Killed):
        geoseg.segment(raster(IDS), legend("object"), progress=kill, **ask)
    run = geoseg.segment(raster(IDS), legend("object"), batch=2, **ask)
    assert run.notes == {f"r{row:05d}_c00000": ("left edge",) for row in range(3)}


class TestAhead:
    def test_items_come_in_order_and_few_are_made_before_they_are_taken(self):
        made, enough = [], threading.Event()

        def items():
            for i in range(20):
                made.append(i)
                if len(made) == 4:
                    enough.set()
                yield i

        found = ahead(items(), 3)
        assert next(found) == 0
        # The taken one and three more are made without anyone asking.
        assert enough.wait(10)
        assert len(made) == 4
        assert list(found) == list(range(1, 20))

    def test_an_error_is_raised_in_its_place(self):
        def items():
            yield 1
            raise KeyError("two")

        found = ahead(items(), 3)
        assert next(found) == 1
        with pytest.raises(KeyError, match="two"):
            next(found)
        assert workers() == 0

    def test_what_is_ahead_is_closed_with_it(self):
        closed = []

        def items():
            try:
                yield from range(20)
            finally:
                closed.append(True)

        found = ahead(ahead(items(), 2), 2)
        next(found)
        found.close()
        assert closed == [True]
        assert workers() == 0


def test_no_thread_is_left_when_the_receipts_are_not_taken(tmp_path):
    work = job(tmp_path, batch=2)
    receipts = detect_each(work, range(TILES))
    next(receipts)
    assert workers() > 0
    receipts.close()
    assert workers() == 0
    assert len(work.store.to_do()) > 0
    detect(work, work.store.to_do())
    assert workers() == 0


def test_the_backend_does_not_wait_for_who_takes_the_receipts(tmp_path):
    arrived = threading.Semaphore(0)

    class Counting(Watched):
        def segment(self, tiles):
            arrived.release()
            return super().segment(tiles)

    receipts = detect_each(job(tmp_path, Counting((0,) * COUNT)), range(TILES))
    next(receipts)
    # One that is taken, SPARE that are kept, and a batch and SPARE that wait to be kept.
    assert all(arrived.acquire(timeout=10) for _ in range(1 + SPARE + 1 + SPARE))
    receipts.close()
