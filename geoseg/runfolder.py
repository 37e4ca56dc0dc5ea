"""Where does a run keep what it has done, and may this run work there?

Beside the output lies `NAME.geoseg`, with the lock. The tiles are in it too, unless they go to a
store that workers on other machines share; then it says where.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg import lock
from geoseg.errors import OutputError
from geoseg.folder import Folder, LocalFolder, open_folder
from geoseg.store import Completion, clear, read_completion, read_record

SUFFIX = ".geoseg"
_POINTER, _SCRATCH, _MADE = "store.json", "writing", "made.json"


def _traits(file: Path) -> list[int]:
    """Return what a file keeps when it is renamed, and hardly another has."""
    found = file.stat()
    return [found.st_size, found.st_mtime_ns]


_UNKEPT = {lock.NAME, _POINTER, _SCRATCH, _MADE}


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of a run."""

    path: Path
    """`NAME.geoseg`, on this machine."""
    folder: Folder
    """Where the tiles are."""

    @classmethod
    def beside(cls, output: Path, store: str | None = None) -> RunFolder:
        """Return the run folder of an output.

        Args:
            output: The map.
            store: Folder or URL of fsspec under which the tiles go; None: beside the output, or
                where an unfinished run keeps them.

        Raises:
            OutputError: There can be no such folder: too long a name, a file in the way, a store
                that cannot be reached; or an unfinished run keeps its tiles in another.
        """
        # Workers may have another working folder.
        path = Path(f"{output.absolute()}{SUFFIX}")
        begun = _where(path)
        folder: Folder = LocalFolder(path) if begun is None else open_folder(begun)
        try:
            if store is not None:
                folder = _under(store, path, begun)
            folder.names()
        except OSError as error:
            raise OutputError(f"cannot use {folder.name}: {error.strerror or error}") from error
        return cls(path, folder)

    @classmethod
    def at(cls, path: Path) -> RunFolder:
        """Return a run folder that is there, by its own path or that of its output.

        Raises:
            OutputError: There is none.
        """
        if not path.name.endswith(SUFFIX):
            path = Path(f"{path.absolute()}{SUFFIX}")
        path = path.absolute()
        if not os.path.isdir(path):  # noqa: PTH112  too long a name is no folder, and no error
            raise OutputError(
                f"there is no run folder {path} and no map beside it: the run has not begun, or "
                "its name is another"
            )
        begun = _where(path)
        return cls(path, LocalFolder(path) if begun is None else open_folder(begun))

    def continues(self) -> bool:
        """Return whether an unfinished run is here."""
        return (
            read_record(self.folder) is not None and read_completion(self.folder) is Completion.NO
        )

    @property
    def scratch(self) -> Path:
        """Where the map grows: on the file system of the output, wherever the tiles are."""
        return self.path / _SCRATCH

    def tidy(self) -> None:
        """Remove what a complete run left that was killed when it cleaned up.

        Raises:
            OutputError: Another run is at work here, or the folder cannot be written.
        """
        if self.path.is_dir() and (self._clearing() or LocalFolder(self.path).names() <= _UNKEPT):
            with self.hold():
                if self._clearing():
                    clear(self.folder)

    def finished(self, output: Path) -> dict[str, Any] | None:
        """Return the fingerprint of a run that was killed when its map was complete, or None."""
        record = read_record(self.folder) if self._clearing() else None
        made = record is not None and output.exists() and _traits(output) in self._made()
        return dict(record["fingerprint"]) if record is not None and made else None

    def owns(self, output: Path) -> bool:
        """Return whether an output may be replaced: it is not there, or the run here made it."""
        return not output.exists() or _traits(output) in self._made()

    def announce(self, growing: Path, output: Path) -> None:
        """Note that a file is about to get the name of the output."""
        known = [_traits(file) for file in (output, growing) if file.exists()]
        mine = [found for found in known[:-1] if found in self._made()] + known[-1:]
        LocalFolder(self.path).write(_MADE, json.dumps(mine).encode())

    def _made(self) -> list[list[int]]:
        with suppress(FileNotFoundError, ValueError):
            found: list[list[int]] = json.loads((self.path / _MADE).read_bytes())
            return found
        return []

    def _clearing(self) -> bool:
        return read_completion(self.folder) is Completion.CLEARING

    def check_free(self) -> None:
        """Refuse early what `hold` would refuse.

        Raises:
            OutputError: Another run is at work here; says which.
        """
        owner = lock.owner(self.path)
        if owner is not None:
            raise OutputError(lock.busy(self.path, owner))

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Be the only run here; a folder in which nothing is kept does not stay.

        Raises:
            OutputError: Another run is at work here, or the folder cannot be written.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(lock.hold(self.path))
                self._point()
            except OSError as error:
                raise OutputError(f"cannot write {self.path}: {error.strerror}") from error
            stack.callback(self._remove_if_empty)
            yield

    def _point(self) -> None:
        """Say where the tiles are, if they are elsewhere."""
        here = LocalFolder(self.path)
        if self.folder != here:
            here.write(_POINTER, json.dumps({"store": self.folder.name}).encode())

    def _remove_if_empty(self) -> None:
        if read_record(self.folder) is None:
            if not self.folder.names():
                self.folder.discard([""])
            local = LocalFolder(self.path)
            if local.names() <= _UNKEPT:
                local.discard([_SCRATCH, _MADE, _POINTER, lock.NAME])
                with suppress(OSError):
                    self.path.rmdir()


@contextmanager
def alone(output: Path, option: str = "--out") -> Iterator[RunFolder]:
    """Yield where a file grows that no run makes, and be the only one who writes it.

    Args:
        output: The file.
        option: Names it, for messages.

    Raises:
        OutputError: Another is at work here, or an unfinished run is.
    """
    place = RunFolder.beside(output)
    place.check_free()
    place.tidy()
    if place.continues():
        raise OutputError(
            f"{place.path} is an unfinished run of {output.name}; finish or remove it, or give "
            f"another {option}"
        )
    with place.hold():
        yield place


def _where(path: Path) -> str | None:
    """Return the folder that a run folder names, if tiles are there; or None."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        found = str(json.loads((path / _POINTER).read_bytes())["store"])
        return found if read_record(open_folder(found)) is not None else None
    return None


def _under(store: str, path: Path, begun: str | None) -> Folder:
    """Return the folder of a run under a store: that where it was begun, or a new one."""
    # Outputs of one name in two folders must not share tiles.
    name = f"{path.stem}-{uuid.uuid4().hex[:8]}{SUFFIX}"
    new = open_folder(f"{store}{name}" if store.endswith("/") else f"{store}/{name}")
    if begun is not None and Path(begun).parent == Path(new.name).parent:
        return open_folder(begun)
    if begun is not None or read_record(LocalFolder(path)) is not None:
        raise OutputError(
            f"--store {store}: the unfinished run of {path.stem} keeps its tiles in "
            f"{begun or path}; leave --store out to continue it, or remove {path}"
        )
    return new
