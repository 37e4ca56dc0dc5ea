"""Who is at work in a run folder? One run at a time.

The operating system holds the lock and lets go of it when the process ends, however it ends: a
lock is never stale. The file tells who holds it.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from geoseg.errors import OutputError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

log = logging.getLogger(__name__)

NAME = "lock"

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
_BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)

_PATIENCE, _MOMENT_S = 3, 0.02

_BEHIND_THE_TEXT = 2**20
"""Windows lets nobody read a byte that is locked."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A run that works in a folder."""

    pid: int
    """Its process."""
    host: str
    """Where that runs."""
    since: str
    """When it began, local time in ISO 8601; for people only."""

    def __str__(self) -> str:
        """Name process, machine and time."""
        return f"process {self.pid} on {self.host}, since {self.since}"


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is made if it is not there.

    Raises:
        OutputError: Another run holds it; says which.
        OSError: The folder cannot be written.
    """
    file = _acquire(folder / NAME)
    try:
        yield
    finally:
        # Closing lets go.
        os.close(file)


def owner(folder: Path) -> Owner | None:
    """Return the run that works in a folder now, or None."""
    try:
        file = os.open(folder / NAME, os.O_RDWR)
    except OSError:
        return None
    try:
        return _read(file) if _busy(file) else None
    finally:
        os.close(file)


def busy(folder: Path, who: Owner | None) -> str:
    """Return what is said to a run that is refused."""
    return (
        f"another run is at work in {folder} ({who or 'it does not say which'}); wait for it or "
        "stop it, or give another --out"
    )


def _acquire(path: Path) -> int:
    patience = _PATIENCE
    while True:
        try:
            path.parent.mkdir(exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except (FileNotFoundError, FileExistsError):
            if path.parent.exists() and not path.parent.is_dir():
                raise
            # Its holder has just finished and removed the folder.
            continue
        if _busy(file):
            who = _read(file)
            os.close(file)
            if patience == 0:
                raise OutputError(busy(path.parent, who))
            # Whoever asks for the owner holds the lock for a moment.
            patience -= 1
            time.sleep(_MOMENT_S)
            continue
        if _is_at(file, path):
            _write(file)
            return file
        # Its last holder removed the folder between our opening the file and our locking it.
        os.close(file)


def _is_at(file: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file), path.stat())
    return False


def _busy(file: int) -> bool:
    """Lock a file, or return True if another process has."""
    try:
        if sys.platform == "win32":
            os.lseek(file, _BEHIND_THE_TEXT, os.SEEK_SET)
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            log.warning("this file system has no locks: make sure that no other run writes here")
            return False
        if error.errno in _BUSY:
            return True
        raise
    return False


def _write(file: int) -> None:
    me = Owner(os.getpid(), socket.gethostname(), time.strftime("%Y-%m-%dT%H:%M:%S"))
    os.ftruncate(file, 0)
    os.lseek(file, 0, os.SEEK_SET)
    os.write(file, json.dumps(asdict(me)).encode())


def _read(file: int) -> Owner | None:
    os.lseek(file, 0, os.SEEK_SET)
    with suppress(ValueError, TypeError):
        return Owner(**json.loads(os.read(file, 4096)))
    return None
