"""Which raster is in a zip archive, and how large would it become?

GDAL reads inside archives, and inflates without asking. The archive's own list says how much.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

from geoseg.errors import RasterError

MAX_RATIO = 100
"""More inflation than this is a bomb, or a picture of nothing, once it is large, too."""

FREE_BYTES = 64 * 2**20
"""A member up to this size may inflate as it likes."""

HEAD_BYTES = 512


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside an archive."""

    archive: str
    """Path of the archive."""
    inner: str
    """Name inside it."""

    @property
    def gdal_name(self) -> str:
        """The name under which GDAL opens it."""
        return f"/vsizip/{{{Path(self.archive).absolute()}}}/{self.inner}"

    def head(self) -> bytes:
        """Return the first bytes of the inflated file."""
        with zipfile.ZipFile(self.archive) as archive, archive.open(self.inner) as file:
            return file.read(HEAD_BYTES)


def split(name: str) -> tuple[str, str]:
    """Return the archive and the name inside it, which may be empty, of a zip name.

    `a.zip`, `zip://a.zip!b.tif` and `/vsizip/a.zip/b.tif` are such names.
    """
    if name.lower().startswith("zip://"):
        archive, _, inner = name[len("zip://") :].partition("!")
        return archive, inner.lstrip("/")
    if name.startswith("/vsizip/"):
        rest = name[len("/vsizip/") :]
        if rest.startswith("{"):
            archive, _, inner = rest[1:].partition("}")
            return archive, inner.lstrip("/")
        archive, dot, inner = rest.partition(".zip")
        return archive + dot, inner.lstrip("/")
    return name, ""


def member(archive: str, inner: str) -> Member:
    """Return the file to read of an archive.

    Args:
        archive: Path of a zip file.
        inner: Name inside it; empty where it holds one file only.

    Raises:
        RasterError: Not a zip, not in it, or it would become too large.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            listed = {i.filename: i for i in opened.infolist() if not i.is_dir()}
    except (zipfile.BadZipFile, OSError) as error:
        raise RasterError(f"{archive} is not a zip archive that can be read: {error}") from error
    if not inner and len(listed) == 1:
        inner = next(iter(listed))
    if inner not in listed:
        some = ", ".join(list(listed)[:4])
        raise RasterError(
            f"{archive} holds {len(listed)} files; name one, as zip://{archive}!{some or 'FILE'}"
        )
    info = listed[inner]
    if info.flag_bits & 1:
        raise RasterError(f"{inner} in {archive} is encrypted; unpack it first")
    if info.file_size > max(FREE_BYTES, MAX_RATIO * info.compress_size):
        raise RasterError(
            f"{inner} in {archive} would inflate from {info.compress_size} to {info.file_size} "
            f"bytes, which is too large (at most {MAX_RATIO} times); unpack it and give the "
            "raster itself"
        )
    return Member(archive, inner)
