"""On a full, broken or guarded disk: one line, the older map, and the map once there is room."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest
from maps import FAULTS, Beside, target

import geoseg.export.publish as publishing
from geoseg.errors import OutputError, WriteFailedError
from geoseg.export import FORMATS, check_output, write
from geoseg.export.place import failed_path
from geoseg.export.trouble import explain

ENDINGS = pytest.mark.parametrize("ending", FORMATS)
ROOM = "8m"


def put(out: Path, failed: int = 2, count: int = 400) -> None:
    write(target(out), FAULTS.features(count), FAULTS.holes(failed), Beside(out.with_name("grow")))


def trouble(out: Path) -> str | None:
    """Write a map; returns what is said if it could not be."""
    try:
        put(out)
    except WriteFailedError as error:
        return str(error)
    return None


def seen(out: Path) -> list[bytes | None]:
    return list(FAULTS.look(out))


def older(out: Path, ending: str) -> list[bytes | None]:
    FAULTS.Case(ending, 2, naive=False).prepare(out.parent)
    return seen(out)


@pytest.fixture
def disk(tmp_path):
    """Return a disk of its own, and what sets its size."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root may mount a disk")
    path = tmp_path / "disk"
    path.mkdir()

    def run(*command: str) -> int:
        return subprocess.run([*command, path], check=False, capture_output=True).returncode  # noqa: S603

    if run("mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs"):
        pytest.skip("no disk can be mounted here")
    try:
        yield path, lambda size: run("mount", "-o", f"remount,size={size}")
    finally:
        assert run("umount") == 0


@ENDINGS
def test_on_a_full_disk_the_older_map_stays(disk, tmp_path, ending):
    folder, resize = disk
    put(tmp_path / f"map{ending}")
    new, out, full = seen(tmp_path / f"map{ending}"), folder / f"map{ending}", 0
    for size in range(20, 420, 20):
        old = older(out, ending)
        assert resize(f"{size}k") == 0
        said = trouble(out)
        if said is not None:
            full += 1
            assert "the disk is full" in said, size
            assert "\n" not in said
            assert seen(out) == old
            assert {p.name for p in folder.iterdir()} <= {out.name, failed_path(out).name}
        assert resize(ROOM) == 0
        if said is not None:
            put(out)
        assert seen(out) == new
    assert full >= 3


LIMITED = """
import json, resource, sys
from pathlib import Path
from maps import FAULTS
from geoseg.errors import WriteFailedError
out = Path(sys.argv[1])
for limit in json.loads(sys.argv[2]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        FAULTS.make(out, 0)
        said = None
    except WriteFailedError as error:
        said = str(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(json.dumps([limit, said, FAULTS.look(out)[0] == FAULTS.OLDER]), flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="limits of file sizes are of POSIX")
@ENDINGS
def test_a_file_that_may_not_grow_is_told(tmp_path, ending):
    whole = tmp_path / f"whole{ending}"
    put(whole, 0)
    size = whole.stat().st_size
    limits = [1000, 5000, size // 2, size - 1000, size - 1]
    out = FAULTS.Case(ending, 0, naive=False).prepare(tmp_path)
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", LIMITED, out, json.dumps(limits)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert len(done.stdout.splitlines()) == len(limits)
    for limit, said, is_older in map(json.loads, done.stdout.splitlines()):
        assert is_older, limit
        assert "cannot write" in said, limit
        assert "what is done is kept" in said, limit


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("failed", [0, 2])
@ENDINGS
def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path, ending, failed):
    case = FAULTS.Case(ending, failed, naive=False)
    out, log = case.prepare(tmp_path), tmp_path / "log"
    trace = "trace=fsync,fdatasync,rename,renameat,renameat2"
    command = ["strace", "-f", "-qq", "-y", "-o", log, "-e", trace, *case.command(out)]
    subprocess.run(command, check=True, env=FAULTS._ENVIRONMENT)  # noqa: S603
    calls = log.read_text().splitlines()
    names = [failed_path(out).name] if failed and ending != ".gpkg" else []
    places = []
    for name in [*names, out.name]:
        (renamed,) = (n for n, c in enumerate(calls) if "rename" in c and f'/{name}"' in c)
        source = calls[renamed].split('"')[1]
        before = [n for n, c in enumerate(calls) if "sync(" in c and f"<{source}>" in c]
        after = [n for n, c in enumerate(calls) if "sync(" in c and f"<{out.parent}>" in c]
        assert before, calls
        assert before[-1] < renamed < after[-1]
        places.append(renamed)
    # The map comes last: it is never seen without its failed tiles.
    assert places == sorted(places)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_fault_is_overlooked():
    score = FAULTS.sweep([FAULTS.Case(".gpkg", 2, naive=False)], 1)
    assert score.faults >= 6
    assert score.wrong == []
    assert score.resumed == score.faults


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_sweep_finds_what_is_overlooked():
    score = FAULTS.sweep([FAULTS.Case(".geojson", 0, naive=True)], 1)
    assert score.torn > 0


@pytest.mark.parametrize("call", ["fsync", "rename", "copy"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_failed_tiles_stay_with_their_map(tmp_path, monkeypatch, call, number):
    """Whatever fails after the failed tiles have been renamed, the older ones are put back."""
    out = tmp_path / "map.fgb"
    old = older(out, ".fgb")
    original = Path.replace

    def fail(*_args, **_options):
        raise OSError(number, os.strerror(number))

    def replace(self, final):
        return fail() if Path(final) == out else original(self, final)

    if call == "rename":
        monkeypatch.setattr(Path, "replace", replace)
    elif call == "fsync":
        monkeypatch.setattr(publishing, "flush_names", fail)
    else:
        monkeypatch.setattr(publishing.shutil, "copyfile", fail)
    with pytest.raises(WriteFailedError, match=r"cannot write .*map\.fgb: the disk"):
        put(out)
    assert seen(out) == old
    monkeypatch.undo()
    put(out)
    assert None not in seen(out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["map.fgb", "map_failed_tiles.fgb"]


def test_a_map_that_is_there_keeps_its_failed_tiles(tmp_path, monkeypatch):
    """If the folder cannot be flushed after the last rename, the old ones must not come back."""
    put(tmp_path / "whole.fgb")
    out = tmp_path / "map.fgb"
    old = older(out, ".fgb")

    def flush(_folder):
        if seen(out)[0] != old[0]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(publishing, "flush_names", flush)
    with pytest.raises(WriteFailedError, match="the disk reports an input/output error"):
        put(out)
    assert seen(out) == seen(tmp_path / "whole.fgb")


def test_a_file_that_another_program_holds_is_told(tmp_path, monkeypatch):
    out = tmp_path / "map.gpkg"

    def replace(self, final):
        raise PermissionError(
            errno.EACCES, "being used by another process", str(self), 32, str(final)
        )

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(WriteFailedError, match=r"cannot replace .*map\.gpkg \(.*another program"):
        put(out)


@ENDINGS
def test_bytes_that_changed_at_their_place_are_told(tmp_path, monkeypatch, ending):
    out = tmp_path / f"map{ending}"

    def meddle(_folder):
        with out.open("rb+") as file, suppress(FileNotFoundError):
            file.seek(-30, 2)
            file.write(b"?")

    monkeypatch.setattr(publishing, "flush_names", meddle)
    with pytest.raises(WriteFailedError, match="does not hold what was written to it"):
        put(out, 0)


def in_use(out: Path) -> sqlite3.Connection:
    """Open a GeoPackage as QGIS does, with a write-ahead log that is not in it yet."""
    db = sqlite3.connect(out)
    assert db.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)
    db.execute("UPDATE gpkg_contents SET description = 'moor'")
    db.commit()
    return db


def test_a_geopackage_in_use_is_not_replaced(tmp_path):
    out = tmp_path / "map.gpkg"
    put(out)
    with closing(in_use(out)) as db:
        said = r"map\.gpkg is open in another program \(QGIS\?\), for map\.gpkg-wal is beside it"
        with pytest.raises(OutputError, match=said):
            check_output(out, overwrite=True, crs=FAULTS.CRS)
        with pytest.raises(OutputError, match=said):
            put(out)
        assert db.execute("SELECT DISTINCT description FROM gpkg_contents").fetchall() == [
            ("moor",)
        ]
    check_output(out, overwrite=True, crs=FAULTS.CRS)
    put(out)
    with closing(sqlite3.connect(out)) as db:
        assert ("moor",) not in db.execute("SELECT description FROM gpkg_contents").fetchall()


def test_a_log_beside_a_new_geopackage_would_ruin_it(tmp_path):
    """Why the two above are refused: SQLite applies what lies beside a file to that file."""
    old, new = tmp_path / "old.gpkg", tmp_path / "new.gpkg"
    put(old)
    put(new, count=200)
    with closing(in_use(old)):
        shutil.copy(f"{old}-wal", f"{new}-wal")
    with closing(sqlite3.connect(new)) as db:
        assert ("moor",) in db.execute("SELECT description FROM gpkg_contents").fetchall()


@pytest.mark.parametrize("tail", ["-wal", "-shm", "-journal"])
def test_what_a_dead_program_left_is_named(tmp_path, tail):
    out = tmp_path / "map.gpkg"
    Path(f"{out}{tail}").write_bytes(b"")
    with pytest.raises(OutputError, match=f"{tail} is beside it; close it there, or delete that"):
        check_output(out, overwrite=False, crs=None)
    Path(tmp_path / f"map.fgb{tail}").write_bytes(b"")
    check_output(tmp_path / "map.fgb", overwrite=False, crs=None)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "quota is used up"),
        (OSError(errno.EIO, "Input/output error"), "check the disk and run the same command again"),
        (OSError(errno.EROFS, "Read-only file system"), "the disk is read-only"),
        (OSError(errno.EACCES, "Permission denied"), "the folder is not writable"),
        (RuntimeError("sqlite3_exec(COMMIT) failed: database or disk is full"), "the disk is full"),
        (
            RuntimeError("[Errno 28] Error writing bytes: No space left on device"),
            "the disk is full",
        ),
        (
            RuntimeError("disk I/O\nerror"),
            r"cannot write .*map.gpkg: disk I/O error \(what is done",
        ),
    ],
)
def test_each_trouble_has_its_line(tmp_path, error, said):
    told = str(explain(tmp_path / "map.gpkg", error))
    assert "\n" not in told
    assert "what is done is kept" in told
    with pytest.raises(WriteFailedError, match=said):
        raise explain(tmp_path / "map.gpkg", error)


def test_a_disk_without_room_is_asked_when_the_library_says_nothing(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=300_000))
    told = str(explain(tmp_path / "map.gpkg", RuntimeError("disk I/O error")))
    assert "the disk is full (0.3 MB free)" in told
