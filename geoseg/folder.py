"""How is a small file kept so that it is whole or not there?

On a disk it is written beside its place, flushed and renamed. On an object store, which any path
of fsspec may be, a put is whole or nothing by itself.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from geoseg.errors import (
    GeosegError,
    MissingDependencyError,
    OutputError,
    ReadFailedError,
    WriteFailedError,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

PAUSES_S = 0.5, 1.0, 2.0, 4.0
"""How long to wait before each new try of what an object store refuses."""

_LASTING = (
    FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError,
    NotImplementedError, ImportError, TypeError, ValueError, GeosegError,
)  # fmt: skip
"""Errors that waiting does not mend."""

_LOCAL = "file", "local"

_NO_SYNC = (errno.EINVAL, errno.ENOTSUP)
"""Some network file systems cannot flush a folder."""


class Folder(Protocol):
    """Named bytes, one level of folders deep; picklable."""

    @property
    def name(self) -> str:
        """Where it is, for messages."""
        ...

    def read(self, name: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            FileNotFoundError: There is none.
        """
        ...

    def write(self, name: str, content: bytes) -> None:
        """Put a file in its place, all of it or nothing.

        Raises:
            WriteFailedError: It cannot be written.
        """
        ...

    def names(self, under: str = "") -> set[str]:
        """Return the names of what is here or in a folder; none if that is not there."""
        ...

    def discard(self, names: Iterable[str]) -> None:
        """Remove files and folders that may be there."""
        ...


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A folder of this machine, or of a file system that it has mounted."""

    path: Path
    """Where it is."""

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""
        return (self.path / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """Write beside, flush, rename."""
        place = self.path / name
        beside = place.with_name(f"{place.name}.{os.getpid()}.part")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(place)
            flush_names(place.parent)
        except OSError as error:
            with suppress(OSError):
                beside.unlink()
            raise WriteFailedError(
                f"cannot write {place}: {error.strerror}; make room or give another place, then "
                "run the same again: what is done is kept"
            ) from error

    def names(self, under: str = "") -> set[str]:
        """Return the names in a folder."""
        try:
            return {entry.name for entry in os.scandir(self.path / under)}
        except FileNotFoundError:
            return set()

    def discard(self, names: Iterable[str]) -> None:
        """Remove files and folders."""
        for name in names:
            place = self.path / name
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """A folder of any fsspec file system: `s3://bucket/run`, `gs://...`, `abfs://...`."""

    url: str
    """Where it is."""

    @property
    def name(self) -> str:
        """Its URL."""
        return self.url

    def read(self, name: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            FileNotFoundError: There is none.
            ReadFailedError: The file system answers no more.
        """
        with self._failing(ReadFailedError, f"read {name}"):
            content: bytes = _patiently(lambda fs, root: fs.cat_file(f"{root}/{name}"), self.url)
            return content

    def write(self, name: str, content: bytes) -> None:
        """Put a file."""

        def put(fs: Any, root: str) -> None:
            place = f"{root}/{name}"
            if fs.async_impl:
                # An object store: no folders to make, and a put is whole or nothing.
                fs.pipe_file(place, content)
                return
            beside = f"{place}.{os.getpid()}.part"
            fs.makedirs(place.rpartition("/")[0], exist_ok=True)
            fs.pipe_file(beside, content)
            fs.mv(beside, place)

        with self._failing(WriteFailedError, f"write {name}"):
            try:
                _patiently(put, self.url)
            except FileNotFoundError as error:
                raise OSError(f"no such place: {error}") from error

    def names(self, under: str = "") -> set[str]:
        """Return the names in a folder.

        Raises:
            ReadFailedError: The file system answers no more.
        """

        def listed(fs: Any, root: str) -> set[str]:
            place = f"{root}/{under}".rstrip("/")
            fs.invalidate_cache(place)
            found = {path.strip("/") for path in fs.ls(place, detail=False)}
            # Some stores keep an empty object in place of a folder, and list it.
            return {path.rpartition("/")[2] for path in found - {place.strip("/")}}

        with self._failing(ReadFailedError, "list files"):
            try:
                found: set[str] = _patiently(listed, self.url)
            except FileNotFoundError:
                return set()
            return found

    def discard(self, names: Iterable[str]) -> None:
        """Remove files and folders.

        Raises:
            WriteFailedError: They cannot be removed.
        """
        unwanted = list(names)

        def remove(fs: Any, root: str) -> None:
            for name in unwanted:
                with suppress(FileNotFoundError):
                    fs.rm(f"{root}/{name}".rstrip("/"), recursive=True)

        with self._failing(WriteFailedError, "remove files"):
            _patiently(remove, self.url)

    @contextmanager
    def _failing(self, kind: type[GeosegError], what: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, GeosegError):
            raise
        except Exception as error:
            raise kind(
                f"cannot {what} in {self.url}: {_in_short(error)}; run the same again when it "
                "answers: what is done is kept"
            ) from error


def _patiently(act: Callable[[Any, str], T], url: str) -> T:
    """Act on a file system; what may be a hiccup of the network is tried again."""
    fs, root = _file_system(url)
    for pause in PAUSES_S:
        try:
            return act(fs, root)
        except _LASTING:
            raise
        except Exception as error:
            # Each file system has errors of its own.
            log.info("%s: trying again in %g s", url, pause, exc_info=error)
            time.sleep(pause)
    return act(fs, root)


def _in_short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".split("\n", 1)[0].rstrip(". ")


def flush_names(folder: Path) -> None:
    """Make sure that a renamed file keeps its name when the power fails, where that can be done."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(handle)


def open_folder(place: str | Path) -> Folder:
    """Return a folder by path or URL.

    Raises:
        MissingDependencyError: A URL, and fsspec or the package for that kind is not installed.
        OutputError: No such kind of URL, or it cannot be reached.
    """
    text = str(place)
    kind, is_url, path = text.partition("://")
    if not is_url:
        return LocalFolder(Path(place).absolute())
    if kind in _LOCAL:
        return LocalFolder(Path(path).absolute())
    found = RemoteFolder(text.rstrip("/"))
    try:
        found.names()
    except ReadFailedError as error:
        reason = _in_short(cast("Exception", error.__cause__))
        raise OutputError(
            f"--store {text}: it cannot be reached ({reason}); check the name and what you may do "
            "there"
        ) from error
    return found


@cache
def _file_system(url: str) -> tuple[Any, str]:
    kind = url.partition("://")[0]
    try:
        from fsspec.core import url_to_fs

        system, root = url_to_fs(url)
    except ImportError as error:
        raise MissingDependencyError(
            f"--store {url}: {kind}:// needs the package of fsspec for it ({error}); "
            'pip install "geoseg[dask]" has fsspec itself'
        ) from error
    except Exception as error:
        raise OutputError(
            f"--store {url}: {_in_short(error)}; give a folder or a URL of fsspec, as "
            "s3://bucket/runs"
        ) from error
    return system, root.rstrip("/")
