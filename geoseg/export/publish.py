"""How does a finished file get its name, so that a power cut finds the old file or the new one?"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from geoseg.errors import OutputError
from geoseg.export.place import check_unused, part_path
from geoseg.export.trouble import KEPT

_NO_SYNC = (errno.EINVAL, errno.ENOTSUP)
"""Some network file systems cannot flush a folder."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A file that is complete, checked and on disk, but not in its place."""

    part: Path
    """Where it is."""
    final: Path
    """Where it goes."""
    sha256: str
    """Of its bytes."""


def settle(path: Path) -> None:
    """Put a file's bytes on disk and forget them, so that the disk answers who reads it next."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        _forget(file.fileno())


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _forget(number: int) -> None:
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)


def publish(whole: Draft, failed: Draft | None, beside: Path | None) -> None:
    """Give a map, and the file of its failed tiles if there is one, their names.

    The map comes last: its rename is the one moment in which the new state begins, and what belongs
    to it is there by then. With the map first, a run that is killed between the two would leave an
    incomplete map without its failed tiles, or beside those of another map. Killed in this order, it
    leaves the old map beside the new file or none, until the same command is run again. If a rename
    fails, the old file of failed tiles is put back.

    Args:
        whole: The map.
        failed: The failed tiles, if any.
        beside: Where failed tiles are if the format has one layer; an old file is removed.

    Raises:
        OutputError: The place is in use, or does not hold the file afterwards.
        OSError: It could not be done; nothing is replaced.
    """
    check_unused(whole.final)
    with _restored(beside):
        if failed is not None:
            _replace(failed)
        elif beside is not None and os.path.lexists(beside):
            beside.unlink()
            _sync_folder(beside)
        _replace(whole, sync=False)
    _sync_folder(whole.final)
    for draft in (whole, failed):
        if draft is not None:
            _read_back(draft)


@contextmanager
def _restored(path: Path | None) -> Iterator[None]:
    """Put an old file back if what follows fails."""
    if path is None or not path.exists():
        yield
        return
    # Its name begins like that of the unfinished file, and goes when that does.
    part = part_path(path)
    kept = part.with_name(f"{part.stem}.old")
    shutil.copyfile(path, kept)
    try:
        yield
    except BaseException:
        try:
            kept.replace(path)
        except OSError:
            shutil.copyfile(kept, path)
        raise


def _replace(draft: Draft, *, sync: bool = True) -> None:
    try:
        draft.part.replace(draft.final)
    except PermissionError as error:
        # Windows does not rename over a file that is open.
        raise OutputError(
            f"cannot replace {draft.final} ({error.strerror}): it may be open in another program "
            f"(QGIS?); close it there and run the same command again ({KEPT})"
        ) from error
    if sync:
        _sync_folder(draft.final)


def _sync_folder(path: Path) -> None:
    if os.name == "nt":
        return
    folder = os.open(path.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(folder)


def _read_back(draft: Draft) -> None:
    """Compare the bytes at the final place, as the disk has them, with those that were checked."""
    with draft.final.open("rb") as file:
        _forget(file.fileno())
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != draft.sha256:
        raise OutputError(
            f"{draft.final} does not hold what was written to it; does another program write there, "
            "or is the disk broken? Check, and run the same command again with --overwrite"
        )
