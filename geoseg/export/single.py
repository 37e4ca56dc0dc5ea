"""How is a file that is no vector layer written, so that it is whole or not there?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from geoseg.export.check import LostError
from geoseg.export.publish import Draft, digest, publish, settle
from geoseg.export.trouble import explain
from geoseg.export.write import TROUBLE, Place, scratch

T = TypeVar("T")


def put(
    final: Path, place: Place, make: Callable[[Path], T], check: Callable[[Path, T], None]
) -> T:
    """Make a file, check it as the disk has it, and give it its name.

    Args:
        final: Where it goes.
        place: Where it grows.
        make: Writes the file, and returns what it was given.
        check: Raises LostError if the closed file does not hold that.

    Raises:
        WriteFailedError: It could not be written; what was at the final path is still there.
        OutputError: The place is in use.
    """
    with scratch(final, place.scratch) as folder:
        # Its name is short, whatever the final one is.
        part = folder / f"made{final.suffix.lower()}"
        try:
            made = make(part)
            settle(part)
            draft = Draft(part, final, digest(part))
            check(part, made)
            place.announce(part, final)
            publish(draft, None, None)
        except TROUBLE as error:
            raise explain(final, error) from error
    return made


def put_bytes(final: Path, place: Place, parts: Iterable[bytes]) -> None:
    """Write bytes as `put` does; they are not held in memory."""

    def make(part: Path) -> str:
        given = hashlib.sha256()
        with part.open("wb") as file:
            for piece in parts:
                given.update(piece)
                file.write(piece)
        return given.hexdigest()

    put(final, place, make, _same)


def _same(part: Path, given: str) -> None:
    if digest(part) != given:
        raise LostError("what was written is not in the file")
