"""One run per folder: whoever comes second is told who is first, and nobody leaves a lock."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from geoseg import lock
from geoseg.errors import OutputError

HOLDER = """
import sys, time
from pathlib import Path
from geoseg import lock
try:
    with lock.hold(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.readline()
except Exception as error:
    print(error, flush=True)
"""


def holder(folder):
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_the_second_is_refused_and_told_of_the_first(tmp_path):
    first = holder(tmp_path)
    assert first.stdout.readline() == "held\n"
    who = lock.owner(tmp_path)
    assert (who.pid, who.host) == (first.pid, socket.gethostname())
    with pytest.raises(OutputError, match=f"another run is at work in .* .process {first.pid} on"):
        lock.hold(tmp_path).__enter__()
    first.communicate("go")
    assert lock.owner(tmp_path) is None
    with lock.hold(tmp_path):
        assert lock.owner(tmp_path).pid == os.getpid()


def test_a_killed_run_holds_nothing(tmp_path):
    first = holder(tmp_path)
    first.stdout.readline()
    first.kill()
    first.communicate()
    assert (tmp_path / lock.NAME).exists()
    with lock.hold(tmp_path):
        pass


def test_of_many_one_wins(tmp_path):
    many = [holder(tmp_path) for _ in range(6)]
    said = [process.stdout.readline() for process in many]
    assert said.count("held\n") == 1
    assert sum("another run is at work" in line for line in said) == 5
    for process in many:
        process.communicate("go")


def test_a_lock_in_a_folder_that_its_holder_removed_is_none(tmp_path):
    """Two runs never hold one folder, even if it is removed and made again meanwhile."""
    folder = tmp_path / "map.gpkg.geoseg"
    inside, most = [], []

    def work():
        for _ in range(40):
            try:
                with lock.hold(folder):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
                    (folder / lock.NAME).unlink()
                    with suppress(OSError):
                        folder.rmdir()
            except OutputError:
                continue

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) > 4
    assert set(most) == {1}


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"pid": 1}'])
def test_an_owner_that_cannot_be_read_is_an_owner(tmp_path, text):
    first = holder(tmp_path)
    first.stdout.readline()
    (tmp_path / lock.NAME).write_bytes(text)
    with pytest.raises(OutputError, match="it does not say which"):
        lock.hold(tmp_path).__enter__()
    first.communicate("go")


def test_a_folder_without_a_lock_has_no_owner(tmp_path):
    assert lock.owner(tmp_path) is None
    assert lock.owner(tmp_path / "none") is None
    assert not list(tmp_path.iterdir())
