"""How is a small file kept so that it is whole or not there?

On a disk it is written beside its place, flushed and renamed. On an object store, which any path
of fsspec may be, a put is whole or nothing by itself.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from geoseg.errors import MissingDependencyError, OutputError, WriteFailedError

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
        """Return the bytes of a file."""
        system, root = _file_system(self.url)
        content: bytes = system.cat_file(f"{root}/{name}")
        return content

    def write(self, name: str, content: bytes) -> None:
        """Put a file."""
        system, root = _file_system(self.url)
        try:
            place = f"{root}/{name}"
            system.makedirs(place.rpartition("/")[0], exist_ok=True)
            system.pipe_file(place, content)
        except Exception as error:
            raise WriteFailedError(
                f"cannot write {self.url}/{name}: {type(error).__name__}: {error}; run the same "
                "again: what is done is kept"
            ) from error

    def names(self, under: str = "") -> set[str]:
        """Return the names in a folder."""
        system, root = _file_system(self.url)
        place = f"{root}/{under}".rstrip("/")
        system.invalidate_cache(place)
        try:
            return {path.rstrip("/").rpartition("/")[2] for path in system.ls(place, detail=False)}
        except FileNotFoundError:
            return set()

    def discard(self, names: Iterable[str]) -> None:
        """Remove files and folders."""
        system, root = _file_system(self.url)
        for name in names:
            with suppress(FileNotFoundError):
                system.rm(f"{root}/{name}", recursive=True)


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
        OutputError: No such kind of URL.
    """
    text = str(place)
    if "://" not in text:
        return LocalFolder(Path(place).absolute())
    if text.startswith("file://"):
        return LocalFolder(Path(text.removeprefix("file://")))
    _file_system(text.rstrip("/"))
    return RemoteFolder(text.rstrip("/"))


@cache
def _file_system(url: str) -> tuple[Any, str]:
    kind = url.partition("://")[0]
    try:
        from fsspec.core import url_to_fs

        system, root = url_to_fs(url)
    except ImportError as error:
        raise MissingDependencyError(
            f"a store on {kind}:// needs fsspec and its package for {kind}: "
            f'pip install "geoseg[dask]" ({error})'
        ) from error
    except ValueError as error:
        raise OutputError(f"--store {url}: {error}; give a folder or a URL of fsspec") from error
    return system, root.rstrip("/")
