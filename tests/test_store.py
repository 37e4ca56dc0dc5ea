"""Run folders: what was put is got, and nothing foreign is used."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from scenes import ByIdentity, legend, raster, seeds, voronoi

from geoseg.errors import OutputError, ResumeMismatchError
from geoseg.flatten import flatten
from geoseg.folder import LocalFolder
from geoseg.grid import Grid
from geoseg.instances import Labels, Scope
from geoseg.pixels import Pixels
from geoseg.store import TRIES, Completion, Failure, Store, read_completion, read_record
from geoseg.stretch import Stretch
from geoseg.window import Window

GRID = Grid(Window(0, 0, 60, 40), 20, 4)
PRINT = {"tile": 20, "legend": ("a", {"b": 1}), "raster.path": "x"}


@pytest.fixture
def store(tmp_path):
    found = Store(LocalFolder(tmp_path / "map.gpkg.geoseg"), GRID)
    found.open(PRINT)
    return found


def labels(random: np.random.Generator) -> Labels:
    ids = voronoi(40, 60, random)
    window = Window(0, 0, 60, 40)
    data, valid = raster(ids).read(window)
    tile = Pixels(window, data, valid, Stretch((0, 0, 0), (0.0,) * 3, (1.0,) * 3), window, window)
    answer = ByIdentity((0, 1) * 6).answer(tile)
    return flatten(answer, legend("object", "cover"), valid, Scope(window, window, window, window))


@given(seeds)
def test_what_is_put_is_got(tmp_path_factory, random):
    folder = Store(LocalFolder(tmp_path_factory.mktemp("runs") / "a.geoseg"), GRID)
    folder.open(PRINT)
    put = replace(labels(random), notes=("split in 4", "çà et là"))
    folder.put(3, put)
    got = folder.get(3)
    assert (got.runs == put.runs).all()
    assert (got.facts == put.facts).all()
    assert got.notes == put.notes
    assert len(put.facts) > 0
    folder.put(4, Labels(put.runs[:0], put.facts[:0], ("nothing here",)))
    assert folder.get(4).notes == ("nothing here",)


def test_what_is_to_do_is_what_was_not_put(store):
    assert store.to_do() == list(range(len(GRID)))
    store.put(2, Labels.empty())
    store.fail(1, "boom")
    assert store.done() == {2}
    assert store.to_do() == [i for i in range(len(GRID)) if i != 2]
    assert store.failed() == {1: Failure("boom", 1)}
    assert len(store.get(1).facts) == 0
    store.put(1, Labels.empty())
    assert store.failed() == {}
    assert 1 not in store.to_do()


def test_a_tile_is_tried_a_few_times_and_again_if_that_is_asked(store):
    for _ in range(TRIES):
        assert 1 in store.to_do()
        store.fail(1, "boom")
    assert 1 not in store.to_do()
    assert str(store.failed()[1]) == f"boom (tried {TRIES} times)"
    store.open(PRINT)
    assert 1 not in store.to_do()
    store.open(PRINT, retry_failed=True)
    assert 1 in store.to_do()
    assert store.failed() == {}
    store.fail(2, "dead", attempts=3)
    assert 2 not in store.to_do()


def test_a_damaged_record_of_a_failure_is_a_failure(store):
    store.fail(1, "boom")
    (path,) = (store.folder.path / "failed").iterdir()
    path.write_bytes(b"{")
    assert "damaged" in store.failed()[1].reason
    store.fail(1, "again")
    assert store.failed() == {1: Failure("again", 2)}


def test_a_half_written_file_does_not_count(store):
    store.put(1, Labels.empty())
    (store.folder.path / "tiles" / f"{GRID.name(0)}.tile.123.part").write_bytes(b"half")
    assert 0 in store.to_do()
    store.open(PRINT)
    assert store.folder.names("tiles") == {f"{GRID.name(1)}.tile"}


@pytest.mark.parametrize(
    "where",
    [0, 5, 8, 12, 25, 60, -1],
)
def test_a_damaged_file_is_reported(store, where):
    store.put(0, labels(np.random.default_rng(0)))
    (path,) = (store.folder.path / "tiles").iterdir()
    blob = bytearray(path.read_bytes())
    blob[where] ^= 0x55
    path.write_bytes(blob)
    with pytest.raises(OutputError, match=f"{GRID.name(0)}.tile is damaged; run the same again"):
        store.get(0)


@pytest.mark.parametrize("left", [0, 4, 20, 40, -1])
def test_a_torn_file_is_reported(store, left):
    store.put(0, labels(np.random.default_rng(0)))
    (path,) = (store.folder.path / "tiles").iterdir()
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(OutputError, match="is damaged"):
        store.get(0)


def test_a_tile_that_is_gone_is_no_empty_tile(store):
    store.put(0, labels(np.random.default_rng(0)))
    (path,) = (store.folder.path / "tiles").iterdir()
    path.unlink()
    with pytest.raises(OutputError, match=f"{GRID.name(0)}.tile is gone"):
        store.get(0)


def test_damaged_tiles_are_made_again(store, caplog):
    for index in (0, 1, 2):
        store.put(index, labels(np.random.default_rng(index)))
    path = store.folder.path / "tiles" / f"{GRID.name(1)}.tile"
    path.write_bytes(path.read_bytes()[:-3])
    store.open(PRINT)
    assert store.done() == {0, 2}
    assert f"1 tile files in {store.folder.path} were damaged and are made again" in caplog.text
    assert GRID.name(1) in caplog.text


def test_the_same_run_continues_and_another_is_refused(store):
    store.put(2, Labels.empty())
    store.open(dict(reversed(PRINT.items())))
    assert store.done() == {2}
    with pytest.raises(ResumeMismatchError) as caught:
        store.open({**PRINT, "tile": 32, "legend": ("a", {"b": 2})})
    assert "(legend[1].b: 1 -> 2; tile: 20 -> 32)" in str(caught.value)
    assert "--fresh" in str(caught.value)
    store.open({**PRINT, "tile": 32}, fresh=True)
    assert store.done() == set()
    assert read_record(store.folder)["fingerprint"]["tile"] == 32
    assert read_record(store.folder)["tiles"] == len(GRID)


def test_tiles_without_a_record_are_of_nobody(store):
    store.put(2, Labels.empty())
    (store.folder.path / "run.json").unlink()
    store.open(PRINT)
    assert store.done() == set()


def test_what_is_left_of_a_complete_run_is_not_continued(store):
    store.put(2, Labels.empty())
    store.complete(keep=True)
    store.open(PRINT)
    assert store.done() == {2}
    assert read_completion(store.folder) is Completion.KEPT
    # As if it was killed in the middle of cleaning up.
    store.folder.write("complete", Completion.CLEARING.value.encode())
    store.open(PRINT)
    assert store.done() == set()
    assert read_completion(store.folder) is Completion.NO
    store.complete(keep=False)
    assert store.folder.names() == set()


def test_a_damaged_record_is_another_run(store):
    (store.folder.path / "run.json").write_text("{")
    with pytest.raises(ResumeMismatchError, match="tile: None -> 20"):
        store.open(PRINT)


def test_a_folder_that_is_no_run_folder_is_left_alone(tmp_path):
    folder = tmp_path / "map.gpkg.geoseg"
    folder.mkdir()
    (folder / "thesis.doc").write_text("dear")
    with pytest.raises(OutputError, match="is there but is no run folder"):
        Store(LocalFolder(folder), GRID).open(PRINT)
    assert (folder / "thesis.doc").read_text() == "dear"


def test_fresh_does_not_delete_a_folder_that_is_no_run_folder(tmp_path):
    folder = tmp_path / "map.gpkg.geoseg"
    folder.mkdir()
    (folder / "thesis.doc").write_text("dear")
    with pytest.raises(OutputError, match="is there but is no run folder"):
        Store(LocalFolder(folder), GRID).open(PRINT, fresh=True)
    assert (folder / "thesis.doc").read_text() == "dear"


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        Store(LocalFolder(tmp_path / "file" / "map.geoseg"), GRID).open(PRINT)
