"""How is a folder written so that it is whole or not there, and nobody's files are lost?

It grows beside its place and is renamed. One that is replaced is put aside first and removed last;
a run that is killed in between has it put back by the next.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from geoseg.errors import OutputError
from geoseg.export.place import NAME_BYTES
from geoseg.export.trouble import explain
from geoseg.export.write import TROUBLE, scratch
from geoseg.folder import flush_names
from geoseg.runfolder import RunFolder

T = TypeVar("T")

MARKER = "geoseg.json"
"""Says that a folder is a data set, and how it was made."""

_ASIDE = "replaced"

_OURS = re.compile(
    r"geoseg\.json|data\.yaml|(train|val)\.json|images(/(train|val)(/r\d+_c\d+\.png)?)?"
    # The cache is what training with YOLO puts there; it is made anew.
    r"|labels(/(train|val)(/r\d+_c\d+\.txt|\.cache)?)?"
)


def check_dataset_folder(path: Path, *, overwrite: bool) -> None:
    """Refuse a place for a data set before any work.

    Args:
        path: The folder to be.
        overwrite: Whether a data set that is there may be replaced.

    Raises:
        OutputError: It holds something else, or cannot be made.
    """
    length = len(os.fsencode(path.name))
    if length > NAME_BYTES:
        raise OutputError(f"--out: a name of {length} bytes is too long; {NAME_BYTES} are possible")
    if not path.parent.is_dir():
        raise OutputError(f"output folder {path.parent} does not exist; make it first")
    if not os.path.lexists(path):
        return
    if not path.is_dir() or path.is_symlink():
        raise OutputError(f"output {path} is there and is no folder; give another --out")
    if path.samefile(Path.cwd()) or path.is_mount():
        raise OutputError(f"output {path} is a folder in use; give --out a folder in it")
    found = set(_inside(path))
    if found and not overwrite:
        raise OutputError(
            f"output folder {path} is not empty; give another --out, or pass --overwrite to "
            "replace a data set"
        )
    foreign = sorted(name for name in found if not _OURS.fullmatch(name))
    if found and (MARKER not in found or foreign):
        other = f"holds {foreign[0]}, which geoseg did not write there" if foreign else (
            f"has no {MARKER}, so geoseg did not write it"
        )  # fmt: skip
        raise OutputError(f"output folder {path} {other}; move it away, or give another --out")


def _inside(path: Path) -> Iterator[str]:
    """Yield all that is in a folder, as seen from it, with slashes."""
    for here, folders, files in os.walk(path):
        for name in (*folders, *files):
            yield (Path(here) / name).relative_to(path).as_posix()


def put_folder(final: Path, place: RunFolder, overwrite: bool, make: Callable[[Path], T]) -> T:  # noqa: FBT001
    """Make a folder, and give it its name when it is complete and on the disk.

    Args:
        final: Where it goes.
        place: Where it grows.
        overwrite: As `check_dataset_folder`.
        make: Fills an empty folder.

    Raises:
        WriteFailedError: It could not be written; what was at the final place is still there.
        OutputError: As `check_dataset_folder`.
    """
    aside = place.path / _ASIDE
    _put_back(aside, final)
    check_dataset_folder(final, overwrite=overwrite)
    with scratch(final, place.scratch) as folder:
        growing = folder / "made"
        try:
            growing.mkdir()
            made = make(growing)
            _settle(growing)
            _swap(growing, final, aside)
        except TROUBLE as error:
            raise explain(final, error) from error
    shutil.rmtree(aside, ignore_errors=True)
    return made


def _put_back(aside: Path, final: Path) -> None:
    """Undo, or end, what a run began that was killed."""
    if aside.is_dir():
        if not os.path.lexists(final):
            aside.rename(final)
        shutil.rmtree(aside, ignore_errors=True)


def _swap(growing: Path, final: Path, aside: Path) -> None:
    if final.is_dir():
        final.rename(aside)
    try:
        growing.rename(final)
    except OSError:
        with suppress(OSError):
            aside.rename(final)
        raise
    flush_names(final.absolute().parent)


def _settle(folder: Path) -> None:
    """Put all files of a folder on the disk."""
    for here, _, files in os.walk(folder):
        for name in files:
            with (Path(here) / name).open("rb+") as file:
                os.fsync(file.fileno())
        flush_names(Path(here))
