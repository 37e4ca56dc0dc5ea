"""Geometries are kept as GDAL keeps them, and read however others keep them."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from scripts import benchmark

from geoseg.export.blob import bounds_of, decode, encode, teach, wkb_of

BENCH = benchmark("review")
NUMBERS = st.floats(-1e7, 1e7, allow_nan=False)


def polygon(x: float, y: float, side: float) -> shapely.MultiPolygon:
    return shapely.multipolygons([shapely.box(x, y, x + side, y + side)])


def test_what_gdal_wrote_is_what_we_write(tmp_path):
    path = BENCH.draw_map(tmp_path / "map.gpkg", 5)
    with closing(sqlite3.connect(path)) as db:
        blobs = [blob for (blob,) in db.execute("SELECT geom FROM features")]
    assert len(blobs) == 5
    assert [encode(decode(blob), 32633) for blob in blobs] == blobs


@given(x=NUMBERS, y=NUMBERS, side=st.floats(1e-3, 1e6))
def test_a_geometry_comes_back_with_its_bounds(x, y, side):
    shape = polygon(x, y, side)
    blob = encode(shape, 4326)
    assert decode(blob) == shape
    assert bounds_of(blob) == shape.bounds


@pytest.mark.parametrize("kind", range(5))
@pytest.mark.parametrize("order", ["<", ">"])
def test_any_header_is_read(kind, order):
    shape = polygon(1, 2, 3)
    size = (0, 4, 6, 6, 8)[kind]
    envelope = (1.0, 4.0, 2.0, 5.0, 0.0, 0.0, 0.0, 0.0)[:size]
    head = struct.pack(
        f"{order}2sBBi{size}d", b"GP", 0, kind << 1 | (order == "<"), 4326, *envelope
    )
    blob = head + shapely.to_wkb(shape)
    assert wkb_of(blob) == shapely.to_wkb(shape)
    assert bounds_of(blob) == (1, 2, 4, 5)


def test_an_empty_one_has_no_bounds():
    blob = encode(shapely.MultiPolygon(), 0)
    assert bounds_of(blob) is None
    assert decode(blob).is_empty
    # As some programs say it.
    nothing = struct.pack("<2sBBi4d", b"GP", 0, 0b11, 0, *[float("nan")] * 4)
    assert bounds_of(nothing + shapely.to_wkb(shapely.MultiPolygon())) is None


@pytest.mark.parametrize("blob", [b"", b"GP", b"XX\0\3" + bytes(40), b"GP\0\x0b" + bytes(80)])
def test_what_is_none_is_refused(blob):
    with pytest.raises(ValueError, match="no geometry of a GeoPackage"):
        wkb_of(blob)


def test_triggers_find_their_functions():
    with closing(sqlite3.connect(":memory:")) as db:
        teach(db)
        blob = encode(polygon(1, 2, 3), 0)
        asked = "SELECT ST_MinX(?1), ST_MaxX(?1), ST_MinY(?1), ST_MaxY(?1), ST_IsEmpty(?1)"
        assert db.execute(asked, (blob,)).fetchone() == (1, 4, 2, 5, 0)
        empty = encode(shapely.MultiPolygon(), 0)
        assert db.execute(asked, (empty,)).fetchone() == (None,) * 4 + (1,)
        assert db.execute(asked, (None,)).fetchone() == (None,) * 5
