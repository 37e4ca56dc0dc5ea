"""How is a geometry kept in a GeoPackage? A header with its envelope, then WKB.

https://www.geopackage.org/spec130/#gpb_format
"""

from __future__ import annotations

import math
import sqlite3
import struct
from collections.abc import Callable
from typing import Any

import shapely

Bounds = tuple[float, float, float, float]
"""Least x, least y, greatest x, greatest y."""

_ENVELOPE_BYTES = (0, 32, 48, 48, 64)
"""By the kind of envelope: none, of x and y, and z, and m, and both."""

_FLAGS, _BODY = 3, 8
_EMPTY, _EXTENDED = 0b1_0000, 0b10_0000


def encode(geometry: shapely.Geometry, srs_id: int) -> bytes:
    """Return a geometry as a GeoPackage keeps it: little-endian, with its envelope in x and y."""
    wkb: bytes = shapely.to_wkb(geometry, byte_order=1)
    if geometry.is_empty:
        return struct.pack("<2sBBi", b"GP", 0, _EMPTY | 1, srs_id) + wkb
    x0, y0, x1, y1 = geometry.bounds
    return struct.pack("<2sBBi4d", b"GP", 0, 0b11, srs_id, x0, x1, y0, y1) + wkb


def wkb_of(blob: bytes) -> bytes:
    """Return the WKB in a geometry of a GeoPackage."""
    return blob[_BODY + _ENVELOPE_BYTES[_kind(blob)] :]


def bounds_of(blob: bytes) -> Bounds | None:
    """Return the bounds of a geometry of a GeoPackage; None of an empty one."""
    if blob[_FLAGS] & _EMPTY:
        return None
    if _kind(blob) == 0:
        found: Bounds = shapely.from_wkb(wkb_of(blob)).bounds
    else:
        order = "<" if blob[_FLAGS] & 1 else ">"
        x0, x1, y0, y1 = struct.unpack_from(f"{order}4d", blob, _BODY)
        found = (x0, y0, x1, y1)
    return None if math.isnan(found[0]) else found


def decode(blob: bytes) -> shapely.Geometry:
    """Return a geometry of a GeoPackage."""
    return shapely.from_wkb(wkb_of(blob))


def _kind(blob: bytes) -> int:
    """Return the kind of envelope.

    Raises:
        ValueError: It is no geometry of a GeoPackage, or one of a kind that no polygon has.
    """
    kind = blob[_FLAGS] >> 1 & 7 if len(blob) > _BODY and blob[:2] == b"GP" else -1
    if not 0 <= kind < len(_ENVELOPE_BYTES) or blob[_FLAGS] & _EXTENDED:
        raise ValueError("no geometry of a GeoPackage")
    return kind


def teach(db: sqlite3.Connection) -> None:
    """Give a connection the functions that the triggers of a spatial index call.

    https://www.geopackage.org/spec130/#extension_rtree
    """

    def bound(place: int) -> Callable[[Any], float | None]:
        def of(blob: Any) -> float | None:
            found = None if blob is None else bounds_of(blob)
            return None if found is None else found[place]

        return of

    def is_empty(blob: Any) -> int | None:
        return None if blob is None else int(bounds_of(blob) is None)

    for place, name in enumerate(("ST_MinX", "ST_MinY", "ST_MaxX", "ST_MaxY")):
        db.create_function(name, 1, bound(place), deterministic=True)
    db.create_function("ST_IsEmpty", 1, is_empty, deterministic=True)
