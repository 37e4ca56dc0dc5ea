"""What do the directories of a TIFF say? Read without GDAL, which hides what its files claim.

Classic and BigTIFF, both byte orders; only tags that checks need. TIFF 6.0 (Adobe 1992), section 2;
BigTIFF: libtiff's bigtiffdesign.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_MAX_DIRECTORIES = 1000
"""More pages than this are not counted."""

_TYPES = {1: "u1", 2: "S1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
"""Types of the wanted tags."""

_WANTED = {"kind": 254, "width": 256, "height": 257, "bits": 258, "compression": 259,
           "photometric": 262, "samples": 277, "strip_rows": 278, "planar": 284, "tile_width": 322,
           "tile_height": 323, "geokeys": 34735, "nodata": 42113}  # fmt: skip

_OFFSETS, _COUNTS = (273, 324), (279, 325)
_PLACED = (33550, 33922, 34264)
"""Tags that georeference: pixel scale, tie points, matrix."""


class DamagedTiffError(ValueError):
    """A directory that cannot be read; says where the file ends."""


@dataclass(frozen=True, slots=True, eq=False)
class Directory:
    """One image of a TIFF: a page, an overview or a mask."""

    values: Mapping[str, NDArray[Any]]
    """What was found of the wanted tags."""
    offsets: NDArray[Any]
    """(n,) where each block begins in the file; 0 for blocks never written."""
    sizes: NDArray[Any]
    """(n,) bytes of each block in the file."""
    placed: bool
    """Whether it is georeferenced by tags of its own."""

    def number(self, name: str, default: int) -> int:
        """Return the first value of a tag."""
        found = self.values.get(name)
        return default if found is None or not len(found) else int(found[0])

    @property
    def is_page(self) -> bool:
        """Whether it is an image of its own, no overview and no mask."""
        return not self.number("kind", 0) & 5

    @property
    def is_full_mask(self) -> bool:
        """Whether it is the mask of an image, and of no overview."""
        return self.number("kind", 0) & 5 == 4

    @property
    def is_tiled(self) -> bool:
        """Whether blocks are tiles; strips otherwise."""
        return "tile_width" in self.values

    @property
    def block_px(self) -> tuple[int, int]:
        """Columns and rows of a block."""
        width, height = self.number("width", 0), self.number("height", 0)
        if self.is_tiled:
            return self.number("tile_width", 0), self.number("tile_height", 0)
        return width, min(self.number("strip_rows", height), height)

    @property
    def block_count(self) -> int:
        """Number of blocks that its size asks for; 0 where it does not say how large they are."""
        cols, rows = self.block_px
        if cols < 1 or rows < 1:
            return 0
        apart = self.number("samples", 1) if self.number("planar", 1) == 2 else 1
        across, down = -(-self.number("width", 0) // cols), -(-self.number("height", 0) // rows)
        return across * down * apart

    @property
    def block_bytes(self) -> int:
        """Size of a decoded block."""
        cols, rows = self.block_px
        together = self.number("samples", 1) if self.number("planar", 1) == 1 else 1
        return cols * rows * together * self.number("bits", 1) // 8

    @property
    def is_compressed(self) -> bool:
        """Whether a block must be decoded whole."""
        return self.number("compression", 1) != 1

    def geokey(self, key: int) -> int | None:
        """Return a GeoTIFF key that is a plain number, or None."""
        found = self.values.get("geokeys", np.zeros(0, np.uint16))
        for number, location, _, value in found[4 : len(found) // 4 * 4].reshape(-1, 4):
            if number == key and location == 0:
                return int(value)
        return None


def directories(file: BinaryIO, size: int) -> list[Directory]:
    """Return the directories of a TIFF, in order; a chain that loops ends where it closes.

    Args:
        file: Open for reading, at any place.
        size: Bytes of the file.

    Raises:
        DamagedTiffError: A directory lies beyond the end of the file, or is no directory.
    """
    head = _take(file, 0, 16, size, least=8)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    at = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)[0]
    found: list[Directory] = []
    seen: set[int] = set()
    while at and at not in seen and len(found) < _MAX_DIRECTORIES:
        seen.add(at)
        directory, at = _directory(file, at, size, order, big=big)
        found.append(directory)
    return found


def _directory(
    file: BinaryIO, at: int, size: int, order: str, *, big: bool
) -> tuple[Directory, int]:
    counter, entry, inline = ("Q", 20, 8) if big else ("H", 12, 4)
    first = struct.calcsize(counter)
    (count,) = struct.unpack(order + counter, _take(file, at, first, size))
    pointer = "Q" if big else "I"
    body = _take(file, at + first, count * entry + inline, size)
    tags: dict[int, NDArray[Any]] = {}
    wanted = {*_WANTED.values(), *_OFFSETS, *_COUNTS}
    placed = False
    for start in range(0, count * entry, entry):
        tag, kind, values = struct.unpack_from(order + "HH" + pointer, body, start)
        placed |= tag in _PLACED
        # Only nodata is text: a damaged type must not make text of numbers.
        if tag not in wanted or kind not in _TYPES or (kind == 2) != (tag == _WANTED["nodata"]):
            continue
        dtype = np.dtype(order + _TYPES[kind])
        length = values * dtype.itemsize
        place = start + entry - inline
        if length <= inline:
            data = body[place : place + length]
        else:
            (where,) = struct.unpack_from(order + pointer, body, place)
            data = _take(file, where, length, size)
        tags[tag] = np.frombuffer(data, dtype)
    (after,) = struct.unpack_from(order + pointer, body, count * entry)
    named = {name: tags[tag] for name, tag in _WANTED.items() if tag in tags}
    none = np.zeros(0, np.uint64)
    offsets, sizes = (
        next((tags[t] for t in pair if t in tags), none) for pair in (_OFFSETS, _COUNTS)
    )
    return Directory(named, offsets, sizes, placed), int(after)


def _take(file: BinaryIO, at: int, length: int, size: int, least: int | None = None) -> bytes:
    need = length if least is None else least
    if at + need > size:
        raise DamagedTiffError(f"byte {at + need} is asked for, and the file has {size}")
    file.seek(at)
    data = file.read(length)
    if len(data) < need:
        raise DamagedTiffError(f"the file ends {need - len(data)} bytes too early")
    return data
