"""Is a file still what it was when it was opened?

A run takes hours and a file may go, or be written anew, meanwhile. GDAL does not notice: a VRT
whose source is gone fails once and then reads as black. So files are looked at before each read.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.errors import RasterError, TileFailedError
from geoseg.window import Window

_END_BYTES = 64 * 1024
"""So much of either end of a file is hashed."""

WHOLE_BYTES = 2 * _END_BYTES
"""A file that is no larger is hashed whole."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Size and time of change of a file that pixels come from."""

    path: str
    """The file."""
    size: int
    """Bytes."""
    mtime_ns: int
    """Time of change, ns since 1970."""
    window: Window | None = None
    """The pixels that come from it; None: any."""

    @classmethod
    def of(cls, path: str | Path, window: Window | None = None) -> Stamp:
        """Return the stamp of a file as it is now."""
        status = Path(path).stat()
        return cls(str(path), status.st_size, status.st_mtime_ns, window)

    def check(self, window: Window) -> None:
        """Look whether the file is unchanged, if pixels of a window come from it.

        Raises:
            TileFailedError: It is gone, or has another size or time of change.
        """
        if self.window is not None and not window.intersection(self.window).area:
            return
        try:
            now = Path(self.path).stat()
        except OSError as error:
            raise TileFailedError(f"missing source {self.path}: {error.strerror}") from error
        if (now.st_size, now.st_mtime_ns) != (self.size, self.mtime_ns):
            raise TileFailedError(
                f"{self.path} was changed since it was opened ({self.size} -> {now.st_size} "
                "bytes, or its time); run again with the file as it is now"
            )

    def identity(self) -> dict[str, Any]:
        """Return path, size, time of change and a hash of both ends as they are now, JSON-able.

        Raises:
            RasterError: It cannot be read.
        """
        try:
            now, ends = Path(self.path).stat(), ends_sha256(self.path)
        except OSError as error:
            raise RasterError(f"{self.path} cannot be read: {error.strerror}") from error
        return {
            "path": str(Path(self.path).resolve()),
            "bytes": now.st_size,
            "mtime_ns": now.st_mtime_ns,
            "ends_sha256": ends,
        }


def ends_sha256(path: str | Path) -> str:
    """Return the SHA-256 of the first and the last 64 KiB of a file."""
    with Path(path).open("rb") as file:
        digest = hashlib.sha256(file.read(_END_BYTES))
        size = file.seek(0, 2)
        file.seek(max(size - _END_BYTES, 0))
        digest.update(file.read(_END_BYTES))
    return digest.hexdigest()
