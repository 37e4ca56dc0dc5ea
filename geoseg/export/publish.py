"""How does a finished file get its name, so that a power cut finds the old file or the new one?"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from geoseg.errors import WriteFailedError
from geoseg.export.place import check_unused
from geoseg.export.trouble import KEPT
from geoseg.folder import flush_names


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

    A map that lacks tiles must never be seen without the file that tells which. So new failed tiles
    come before the map, and old ones go after it. A run that is killed in between leaves an older
    map beside the new file, or a complete map beside the file of an older one, until the same
    command is run again: both warn of too much, not of too little. If the map cannot be renamed,
    the old file of failed tiles is put back.

    Args:
        whole: The map.
        failed: The failed tiles, if any.
        beside: Where failed tiles are if the format has one layer; an old file is removed.

    Raises:
        OutputError: The place is in use, or does not hold the file afterwards.
        OSError: It could not be done; the old map is there, unless the folder could not be flushed.
    """
    check_unused(whole.final)
    if failed is not None:
        with _restored(failed):
            _replace(failed)
            flush_names(failed.final.absolute().parent)
            _replace(whole)
    else:
        _replace(whole)
    # From here on the new map is there: nothing is put back.
    flush_names(whole.final.absolute().parent)
    if failed is None and beside is not None and os.path.lexists(beside):
        beside.unlink()
        flush_names(beside.absolute().parent)
    for draft in (whole, failed):
        if draft is not None:
            _read_back(draft)


@contextmanager
def _restored(failed: Draft) -> Iterator[None]:
    """Put the old file of failed tiles back if what follows fails."""
    kept = failed.part.with_suffix(".old")
    if failed.final.exists():
        shutil.copyfile(failed.final, kept)
    try:
        yield
    except BaseException:
        # If that fails as well, the file there is the new one: it warns of too much.
        with suppress(OSError):
            if kept.exists():
                kept.replace(failed.final)
        raise


def _replace(draft: Draft) -> None:
    try:
        draft.part.replace(draft.final)
    except PermissionError as error:
        # Windows does not rename over a file that is open.
        raise WriteFailedError(
            f"cannot replace {draft.final} ({error.strerror}): it may be open in another program "
            f"(QGIS?); close it there and run the same command again ({KEPT})"
        ) from error


def _read_back(draft: Draft) -> None:
    """Compare the bytes at the final place, as the disk has them, with those that were checked."""
    with draft.final.open("rb") as file:
        _forget(file.fileno())
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != draft.sha256:
        raise WriteFailedError(
            f"{draft.final} does not hold what was written to it; does another program write "
            "there, or is the disk broken? Check, and run the same command again with --overwrite"
        )
