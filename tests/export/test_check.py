"""Whatever a file lost on its way to the disk is noticed before it gets its name."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import example
from hypothesis import given as drawn
from hypothesis import strategies as st
from maps import write_unchecked
from scenes import examples

from geoseg.export import FORMATS
from geoseg.export.check import LostError, check
from geoseg.export.formats import write_layer
from geoseg.export.table import Layer
from geoseg.export.tally import Given

ENDINGS = pytest.mark.parametrize("ending", FORMATS)
BLOCK = 4096


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return per ending the bytes of a good file, a place for a bad one, and how to check it."""
    found = {}
    for ending in FORMATS:
        path = tmp_path_factory.mktemp("written") / f"map{ending}"
        kind, given, crs = write_unchecked(path)
        found[ending] = (
            path.read_bytes(),
            path.with_stem("bad"),
            lambda p, kind=kind, given=given, crs=crs: check(p, kind, given, crs, "{}"),
        )
    return found


@ENDINGS
@pytest.mark.parametrize("count", [0, 1, 5000])
def test_what_arrived_passes(tmp_path, ending, count):
    path = tmp_path / f"a %41 # ? é{ending}"
    kind, given, crs = write_unchecked(path, count)
    check(path, kind, given, crs, "{}")


@ENDINGS
@examples(15)
@example(share=1 - 1e-9)
@drawn(share=st.floats(0, 1, exclude_max=True))
def test_a_file_that_ends_too_early_is_noticed(written, ending, share):
    good, path, check_file = written[ending]
    path.write_bytes(good[: int(share * len(good))])
    with pytest.raises(LostError):
        check_file(path)


@ENDINGS
@examples(25)
@drawn(share=st.floats(0, 1, exclude_max=True))
def test_a_block_that_did_not_arrive_is_noticed(written, ending, share):
    good, path, check_file = written[ending]
    start = int(share * len(good)) // BLOCK * BLOCK
    hole = bytes(len(good[start : start + BLOCK]))
    bad = good[:start] + hole + good[start + BLOCK :]
    if bad != good:
        path.write_bytes(bad)
        with pytest.raises(LostError):
            check_file(path)


SPOILS = {
    "a trigger": "DROP TRIGGER trigger_insert_feature_count_features",
    "a table": "DROP TABLE gpkg_metadata_reference",
    "the recipe": "DELETE FROM gpkg_metadata",
    "the kind of geometry": "UPDATE gpkg_geometry_columns SET geometry_type_name = 'POLYGON'",
    "the CRS": "DELETE FROM gpkg_spatial_ref_sys WHERE srs_id = 32633",
    "that there is an index": "DELETE FROM gpkg_extensions",
    "the count": "UPDATE gpkg_ogr_contents SET feature_count = 0 WHERE table_name = 'features'",
    "the count of failed tiles": "DELETE FROM gpkg_ogr_contents WHERE table_name = 'failed_tiles'",
    "an entry of the index": "DELETE FROM rtree_features_geom_rowid WHERE rowid = 3",
    "the extent": "UPDATE gpkg_contents SET max_x = max_x + 1",
    "the layer of failed tiles": "DELETE FROM gpkg_contents WHERE table_name = 'failed_tiles'",
    "a class": "UPDATE features SET class = 'tree' WHERE id = 2",
    "a score": "UPDATE features SET score = NULL WHERE id = 9",
    "a style": "DELETE FROM layer_styles WHERE f_table_name = 'features'",
    "a colour": "UPDATE layer_styles SET styleQML = replace(styleQML, '43,123,186', '0,0,0')",
    "that there are styles": "DELETE FROM gpkg_contents WHERE table_name = 'layer_styles'",
    "a failed tile": "DELETE FROM failed_tiles WHERE fid = 1",
    "what it is": "PRAGMA application_id = 0",
}


@pytest.mark.parametrize("what", SPOILS)
def test_a_geopackage_that_opens_but_lacks_something_is_noticed(written, what):
    good, path, check_file = written[".gpkg"]
    path.write_bytes(good)
    with closing(sqlite3.connect(path)) as db, db:
        for name, table in db.execute(
            "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            # They call functions of GDAL.
            if table in ("features", "failed_tiles") and SPOILS[what].split()[0] != "DROP":
                db.execute(f"DROP TRIGGER {name}")
        keep = dict(_triggers(good))
        db.execute(SPOILS[what])
        for name, sql in keep.items():
            if name not in {n for n, _ in _of(db)} and name not in SPOILS[what]:
                db.execute(sql)
    with pytest.raises(LostError):
        check_file(path)


def _triggers(good: bytes) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(":memory:")) as db:
        db.deserialize(good)
        return _of(db)


def _of(db: sqlite3.Connection) -> list[tuple[str, str]]:
    return db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()


def test_a_geopackage_with_its_triggers_put_back_passes(written):
    """The test above spoils one thing only."""
    good, path, check_file = written[".gpkg"]
    path.write_bytes(good)
    with closing(sqlite3.connect(path)) as db, db:
        for name, _ in _of(db):
            db.execute(f"DROP TRIGGER {name}")
        for _, sql in _triggers(good):
            db.execute(sql)
    check_file(path)


@ENDINGS
def test_rows_are_compared_not_only_counted(tmp_path, ending):
    """A map of the same size in which one class is another."""
    path = tmp_path / f"map{ending}"
    kind, given, crs = write_unchecked(path, 10)
    given[0].rows._hashes += 1
    given[0].rounded.rows._hashes += 1
    with pytest.raises(LostError, match="not all of 10 features are in the file as they were"):
        check(path, kind, given, crs, "{}")


def test_a_shape_in_the_place_of_another_is_noticed_in_geojson(written):
    good, path, check_file = written[".geojson"]
    lines = good.decode().splitlines()
    first, other = (n for n, line in enumerate(lines) if '"id": 1,' in line or '"id": 2,' in line)
    head, _, _ = lines[other].partition('"geometry"')
    _, _, shape = lines[first].partition('"geometry"')
    lines[other] = f'{head}"geometry"{shape}'
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(LostError, match="as they were written"):
        check_file(path)


def shape(x: float, y: float, size: float) -> shapely.MultiPolygon:
    return shapely.MultiPolygon([shapely.box(x, y, x + size, y + 1.7 * size)])


@examples(40)
@drawn(
    st.lists(
        st.builds(
            shape,
            st.floats(-180, 170),
            st.floats(-80, 60),
            # From what rounds to nothing to what spans a sea; and across the antimeridian.
            st.floats(-9, 1).map(lambda e: 10**e),
        ),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
)
def test_geojson_may_round_and_cut_but_not_lose(tmp_path_factory, shapes, across):
    path = tmp_path_factory.mktemp("round") / "map.geojson"
    if across:
        shapes = [shapely.MultiPolygon([shapely.box(179, 1, 181, 2)]), *shapes]
        shapes[0] = shapely.transform(
            shapes[0], lambda xy: np.c_[(xy[:, 0] + 180) % 360 - 180, xy[:, 1]]
        )
    fields = pa.schema([("id", pa.int64()), ("score", pa.float64()), ("geometry", pa.binary())])
    ids = list(range(len(shapes)))
    columns = [ids, [0.1 + n / 3 for n in ids], shapely.to_wkb(shapes).tolist()]
    batch = pa.record_batch(columns, schema=fields)
    given = Given(Layer("features", "MultiPolygon", fields, [batch]), is_rounded=True)
    write_layer(path, "GeoJSON", given.layer, "OGC:CRS84", "")
    check(path, "GeoJSON", [given], "OGC:CRS84", "")
    if shapes[-1].length > 1e-5:
        given.rounded._shapes[1][-1, 1] += 3e-6
        with pytest.raises(LostError, match="as they were written"):
            check(path, "GeoJSON", [given], "OGC:CRS84", "")
