"""Small files are whole or not there, on disks and on any file system of fsspec."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass, field

import geopandas as gpd
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import ByIdentity, apart, legend, raster, voronoi

import geoseg
from geoseg import folder as folders
from geoseg.errors import (
    MissingDependencyError,
    OutputError,
    ReadFailedError,
    ResumeMismatchError,
    WriteFailedError,
)
from geoseg.folder import LocalFolder, RemoteFolder, open_folder
from geoseg.runfolder import RunFolder
from geoseg.status import status

fsspec = pytest.importorskip("fsspec", reason="a store on a URL needs fsspec")
from fsspec.implementations.memory import MemoryFileSystem  # noqa: E402

IDS, COUNT = apart(voronoi(90, 100, np.random.default_rng(5)))
SCENE = raster(IDS)
MODEL = ByIdentity((0,) * COUNT)


class Flaky(MemoryFileSystem):
    """An object store that fails now and then, or for good."""

    protocol = "flaky"
    store: dict = {}  # noqa: RUF012  as its parent has it
    pseudo_dirs = [""]  # noqa: RUF012
    async_impl = True
    hiccups = 0
    """How many calls still fail."""
    error: Exception = ConnectionResetError("reset by peer")
    calls = 0

    @classmethod
    def _maybe_fail(cls):
        Flaky.calls += 1
        if Flaky.hiccups > 0:
            Flaky.hiccups -= 1
            raise Flaky.error

    def cat_file(self, *args, **options):
        self._maybe_fail()
        return super().cat_file(*args, **options)

    def pipe_file(self, *args, **options):
        self._maybe_fail()
        return super().pipe_file(*args, **options)

    def ls(self, *args, **options):
        self._maybe_fail()
        return super().ls(*args, **options)


fsspec.register_implementation("flaky", Flaky, clobber=True)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(folders, "PAUSES_S", (0.0, 0.0, 0.0))
    for kind in (MemoryFileSystem, Flaky):
        kind.store.clear()
        kind.pseudo_dirs[:] = [""]
    Flaky.hiccups, Flaky.error = 0, ConnectionResetError("reset by peer")


@pytest.fixture(params=["disk", "file://", "local://", "memory://", "flaky://"])
def place(request, tmp_path):
    if request.param == "disk":
        return open_folder(tmp_path / "run")
    here = request.param in ("file://", "local://")
    return open_folder(request.param + (f"{tmp_path}/run" if here else "b/run"))


@dataclass
class Model:
    """What a folder should hold."""

    files: dict[str, bytes] = field(default_factory=dict)

    def names(self, under):
        start = f"{under}/" if under else ""
        return {n.removeprefix(start).split("/")[0] for n in self.files if n.startswith(start)}


NAMES = st.sampled_from(["run.json", "tiles/a.tile", "tiles/b.tile", "failed/a.json"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), NAMES, st.binary(max_size=20)),
        st.tuples(st.just("discard"), st.sampled_from(["run.json", "tiles", "failed/a.json"])),
    ),
    max_size=12,
)


@given(STEPS)
@pytest.mark.parametrize("kind", ["disk", "memory", "flaky"])
def test_a_folder_is_a_mapping_of_names(tmp_path_factory, kind, steps):
    path = tmp_path_factory.mktemp("folder")
    found = open_folder(path if kind == "disk" else f"{kind}:/{path}")
    model = Model()
    for step, name, *content in steps:
        if step == "write":
            found.write(name, *content)
            model.files[name] = content[0]
        else:
            found.discard([name])
            model.files = {
                k: v for k, v in model.files.items() if k != name and k.partition("/")[0] != name
            }
    for name in ("run.json", "tiles/a.tile", "tiles/b.tile", "failed/a.json"):
        if name in model.files:
            assert found.read(name) == model.files[name]
        else:
            with pytest.raises(FileNotFoundError):
                found.read(name)
    assert found.names("tiles") == model.names("tiles")
    # Disks keep empty folders.
    assert found.names() - {"tiles", "failed"} == model.names("") - {"tiles", "failed"}


def test_what_is_not_there_has_no_names_and_may_be_discarded(place):
    assert place.names() == set()
    assert place.names("tiles") == set()
    place.discard(["tiles", "run.json", ""])
    with pytest.raises(FileNotFoundError):
        place.read("run.json")


def test_a_folder_is_picklable(place):
    place.write("tiles/a.tile", b"a")
    assert pickle.loads(pickle.dumps(place)).read("tiles/a.tile") == b"a"  # noqa: S301


def test_file_urls_are_folders_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in (f"file://{tmp_path}/run", f"local://{tmp_path}/run", "run"):
        assert open_folder(text) == LocalFolder(tmp_path / "run")


def test_nothing_half_written_stays_where_a_file_system_can_rename(monkeypatch):
    found = open_folder("memory://b/run")
    found.write("run.json", b"old")
    monkeypatch.setattr(MemoryFileSystem, "mv", lambda *_a, **_k: os.kill)
    found.write("run.json", b"new, but not yet in its place")
    assert found.read("run.json") == b"old"
    assert found.names() == {"run.json", f"run.json.{os.getpid()}.part"}


def test_the_marker_of_an_empty_folder_is_no_name(monkeypatch):
    found = open_folder("flaky://b/run")
    found.write("run.json", b"1")
    listed = Flaky.ls
    monkeypatch.setattr(Flaky, "ls", lambda fs, at, **k: [*listed(fs, at, **k), f"{at}/"])
    assert found.names() == {"run.json"}


def test_hiccups_are_tried_again():
    found = open_folder("flaky://b/run")
    Flaky.hiccups = 3
    found.write("run.json", b"1")
    Flaky.hiccups = 3
    assert found.read("run.json") == b"1"
    Flaky.hiccups = 3
    assert found.names() == {"run.json"}


@pytest.mark.parametrize(
    ("act", "kind", "what"),
    [
        (lambda f: f.write("a", b""), WriteFailedError, "cannot write a in flaky://b/run"),
        (lambda f: f.read("a"), ReadFailedError, "cannot read a in flaky://b/run"),
        (lambda f: f.names(), ReadFailedError, "cannot list files in flaky://b/run"),
    ],
)
def test_what_lasts_is_one_line_with_exit_code_1(act, kind, what):
    found = open_folder("flaky://b/run")
    Flaky.hiccups = 99
    with pytest.raises(kind) as caught:
        act(found)
    assert 99 - Flaky.hiccups == 4
    assert str(caught.value) == (
        f"{what}: ConnectionResetError: reset by peer; run the same again when it answers: what is "
        "done is kept"
    )
    assert caught.value.exit_code == 1


def test_what_waiting_does_not_mend_is_not_tried_again():
    found = open_folder("flaky://b/run")
    Flaky.hiccups, Flaky.error = 99, PermissionError("Access Denied")
    with pytest.raises(WriteFailedError, match="PermissionError: Access Denied"):
        found.write("a", b"")
    assert Flaky.hiccups == 98


def test_a_place_that_cannot_be_used_is_refused_at_once():
    with pytest.raises(OutputError, match=r"^--store foo://b: ValueError: Protocol"):
        open_folder("foo://b")
    Flaky.hiccups, Flaky.error = 99, PermissionError("Access Denied")
    with pytest.raises(OutputError, match=r"be reached \(PermissionError: Acc") as caught:
        open_folder("flaky://b/run")
    assert caught.value.exit_code == 2


@pytest.mark.skipif(
    bool(__import__("importlib.util").util.find_spec("dropboxdrivefs")),
    reason="the package that is to be missing is installed",
)
def test_a_missing_package_is_named():
    with pytest.raises(MissingDependencyError, match=r"^--store dropbox://b: dropbox:// needs"):
        open_folder("dropbox://b")


def segment(out, store, **options):
    options = {"tile": 40, "overlap": 8, "backend": MODEL, **options}
    return geoseg.segment(SCENE, legend("object"), out=out, store=store, **options)


class KilledError(BaseException):
    """Stands for a signal."""


def kill(step, done, total):
    if step == "detect" and done == total // 2:
        raise KilledError


@pytest.fixture(params=["folder", "file://", "memory://", "flaky://"])
def store(request, tmp_path):
    if request.param == "folder":
        return str(tmp_path / "store")
    return f"file://{tmp_path}/store" if request.param == "file://" else f"{request.param}b/runs"


def kept(store, tmp_path):
    """Return the files under a store."""
    if store.startswith(("memory", "flaky")):
        return [*MemoryFileSystem.store, *Flaky.store]
    return [p for p in (tmp_path / "store").rglob("*") if not p.is_dir()]


def test_a_run_with_a_store_gives_the_same_bytes_and_leaves_nothing(tmp_path, store):
    out = tmp_path / "out"
    out.mkdir()
    segment(tmp_path / "map.gpkg", None)
    segment(out / "map.gpkg", store)
    assert (out / "map.gpkg").read_bytes() == (tmp_path / "map.gpkg").read_bytes()
    assert os.listdir(out) == ["map.gpkg"]  # noqa: PTH208
    assert kept(store, tmp_path) == []
    assert not list((tmp_path / "store").glob("*"))


def test_a_killed_run_continues_where_its_tiles_are(tmp_path, store):
    segment(tmp_path / "whole.gpkg", None)
    out = tmp_path / "map.gpkg"
    with pytest.raises(KilledError):
        segment(out, store, progress=kill)
    assert os.listdir(tmp_path / "map.gpkg.geoseg") == ["lock", "store.json"]  # noqa: PTH208
    found = status(out)
    assert found.state == "interrupted"
    assert found.tiles // 2 <= found.done < found.tiles
    seen = []
    # Without --store, too: the run folder knows.
    segment(out, None, progress=lambda *a: seen.append(a))
    assert seen[0] == ("detect", found.done, found.tiles)
    assert out.read_bytes() == (tmp_path / "whole.gpkg").read_bytes()
    assert kept(store, tmp_path) == []
    assert not (tmp_path / "map.gpkg.geoseg").exists()


def test_other_settings_are_refused_and_fresh_begins_again(tmp_path, store):
    out = tmp_path / "map.gpkg"
    with pytest.raises(KilledError):
        segment(out, store, progress=kill)
    with pytest.raises(ResumeMismatchError, match="tile: 40 -> 48"):
        segment(out, store, tile=48)
    segment(out, store, tile=48, fresh=True)
    assert len(gpd.read_file(out, layer="features")) == COUNT
    assert kept(store, tmp_path) == []


def test_a_run_that_is_kept_tells_its_status(tmp_path, store):
    segment(tmp_path / "map.gpkg", store, keep_run_folder=True)
    assert status(tmp_path / "map.gpkg").state == "complete"
    assert len(kept(store, tmp_path)) > 3


def test_two_outputs_of_one_name_do_not_share_tiles(tmp_path, store):
    for name in "ab":
        (tmp_path / name).mkdir()
        with pytest.raises(KilledError):
            segment(tmp_path / name / "map.gpkg", store, progress=kill)
    segment(tmp_path / "a" / "map.gpkg", store)
    assert status(tmp_path / "b" / "map.gpkg").done > 0
    segment(tmp_path / "b" / "map.gpkg", store)
    assert kept(store, tmp_path) == []


def test_a_run_does_not_change_its_store(tmp_path):
    out = tmp_path / "map.gpkg"
    with pytest.raises(KilledError):
        segment(out, "memory://b/one", progress=kill)
    with pytest.raises(OutputError, match=r"keeps its tiles in memory://b/one/map.gpkg-\w+.geoseg"):
        segment(out, "memory://b/two")
    local = tmp_path / "local.gpkg"
    with pytest.raises(KilledError):
        segment(local, None, progress=kill)
    with pytest.raises(OutputError, match="leave --store out to continue it, or remove"):
        segment(local, "memory://b/two")
    assert RunFolder.beside(local).folder == LocalFolder(tmp_path / "local.gpkg.geoseg")
    assert isinstance(RunFolder.beside(out).folder, RemoteFolder)


def test_a_store_that_has_vanished_is_forgotten(tmp_path):
    out = tmp_path / "map.gpkg"
    with pytest.raises(KilledError):
        segment(out, "memory://b/one", progress=kill)
    MemoryFileSystem.store.clear()
    assert segment(out, None).complete
    assert [p.name for p in tmp_path.iterdir()] == ["map.gpkg"]


def test_a_store_with_hiccups_is_only_slower(tmp_path, monkeypatch):
    # Progress is told from another thread: hiccups may fall upon one call, one after another.
    monkeypatch.setattr(folders, "PAUSES_S", (0.0,) * 500)
    segment(tmp_path / "whole.gpkg", None)

    def disturb(*_):
        Flaky.hiccups = 2

    segment(tmp_path / "map.gpkg", "flaky://b/runs", progress=disturb)
    assert (tmp_path / "map.gpkg").read_bytes() == (tmp_path / "whole.gpkg").read_bytes()


@pytest.mark.parametrize("step", ["detect", "stitch", "write"])
def test_a_store_that_is_lost_ends_the_run_and_loses_nothing(tmp_path, step):
    segment(tmp_path / "whole.gpkg", None)
    out = tmp_path / "map.gpkg"

    def lose(now, done, _total):
        if now == step and done == (1 if step == "detect" else 0):
            Flaky.hiccups = 10**6

    with pytest.raises((WriteFailedError, ReadFailedError), match="what is done is kept") as caught:
        segment(out, "flaky://b/runs", progress=lose)
    assert caught.value.exit_code == 1
    assert not out.exists()
    Flaky.hiccups = 0
    assert status(out).done > 0
    segment(out, "flaky://b/runs")
    assert out.read_bytes() == (tmp_path / "whole.gpkg").read_bytes()


def test_tiles_that_workers_keep_to_themselves_are_missed(tmp_path):
    with pytest.raises(OutputError, match=r"tiles were made but are not in memory://b/\S+: do all"):
        segment(tmp_path / "map.gpkg", "memory://b", workers=2)
