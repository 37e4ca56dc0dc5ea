"""Where are outlines while they are not looked at? In flat files, mapped into memory.

Only tables with a few numbers per line are held in memory, and never all corners.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from geoseg.errors import WriteFailedError


class Growing:
    """An array of rows that grows on the disk."""

    def __init__(self, path: Path, dtype: DTypeLike, columns: int = 0) -> None:
        """Begin an empty one; rows are numbers, or have some columns.

        Raises:
            WriteFailedError: The disk fails; so do all methods.
        """
        self._path, self._dtype = path, np.dtype(dtype)
        self._row = (columns,) if columns else ()
        with _trouble(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        self.rows = 0

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows."""
        with _trouble(self._path), self._path.open("ab") as file:
            file.write(np.ascontiguousarray(rows, self._dtype).tobytes())
        self.rows += len(rows)

    def done(self) -> NDArray[Any]:
        """Return all rows; what is changed in them is changed on the disk."""
        with _trouble(self._path):
            if self.rows == 0:
                # Nothing cannot be mapped.
                return np.zeros((0, *self._row), self._dtype)
            return np.memmap(self._path, self._dtype, "r+", shape=(self.rows, *self._row))


@contextmanager
def _trouble(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WriteFailedError(
            f"cannot keep outlines in {path.parent}: {error.strerror or error}; make room there, "
            "then run the same again, it continues where it was"
        ) from error
