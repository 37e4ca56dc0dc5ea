"""One map in four formats: the same rows everywhere, whole files or none."""

from __future__ import annotations

import json
import os
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pyproj
import pytest
import shapely
from scenes import UTM, ByIdentity, apart, canonical, legend, raster, shapes

import geoseg
from geoseg.errors import OutputError
from geoseg.export import COLUMNS, FORMATS, check_output, format_of

IDS, COUNT = apart(shapes(80, 90, np.random.default_rng(8)))
THINGS = legend("object", "object")
CLASSES = tuple(n % 2 for n in range(COUNT))
DTYPES = {
    "id": "int64", "score": "float64", "area_ha": "float64", "perimeter_m": "float64",
    "n_tiles": "int32", "seam_iou": "float64",
}  # fmt: skip
ENDINGS = pytest.mark.parametrize("ending", FORMATS)


def segment(out: Path, crs: str | None = UTM, **options):
    model = ByIdentity(CLASSES)
    return geoseg.segment(
        raster(IDS, crs=crs), THINGS, backend=model, out=out, tile=40, overlap=8, **options
    )


def read(path: Path) -> gpd.GeoDataFrame:
    return gpd.read_parquet(path) if path.suffix == ".parquet" else gpd.read_file(path)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return segment(tmp_path_factory.mktemp("reference") / "map.parquet").features()


@ENDINGS
def test_every_format_holds_the_same_rows(tmp_path, ending, reference):
    run = segment(tmp_path / f"map{ending}")
    found = run.features()
    assert list(found.columns) == [*COLUMNS, "geometry"]
    assert len(found) == run.count == COUNT
    # GeoJSON knows no widths: a reader takes the least.
    want = {**DTYPES, **({"id": "int32"} if ending == ".geojson" else {})}
    assert {c: str(found[c].dtype) for c in DTYPES} == want
    # What RFC 7946 calls CRS84, GDAL calls EPSG:4326 with its axes in GIS order.
    assert pyproj.CRS(found.crs) == pyproj.CRS("EPSG:4326" if ending == ".geojson" else UTM)
    # FlatGeobuf sorts rows along a curve; `id` restores the order.
    found = found.sort_values("id", ignore_index=True)
    for column in COLUMNS:
        assert found[column].equals(reference[column].astype(found[column].dtype)), column
    assert (found.geom_type == "MultiPolygon").all()
    assert found.geometry.is_valid.all()


@ENDINGS
def test_geometry_is_kept_to_the_last_bit(tmp_path, ending, reference):
    found = segment(tmp_path / f"map{ending}").features().sort_values("id")
    if ending == ".geojson":
        back = found.to_crs(UTM).geometry
        distance = [a.hausdorff_distance(b) for a, b in zip(back, reference.geometry, strict=True)]
        assert max(distance) < 0.05
        return
    assert found.geometry.map(canonical).tolist() == reference.geometry.map(canonical).tolist()


@ENDINGS
def test_shells_turn_left(tmp_path, ending):
    found = segment(tmp_path / f"map{ending}").features()
    for polygon in found.geometry.explode():
        assert polygon.exterior.is_ccw
        assert not any(ring.is_ccw for ring in polygon.interiors)


@ENDINGS
def test_two_runs_give_the_same_bytes_and_leave_nothing_else(tmp_path, ending):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for folder in "ab":
        segment(tmp_path / folder / f"map{ending}")
    assert [p.name for p in (tmp_path / "a").iterdir()] == [f"map{ending}"]
    first, second = ((tmp_path / f / f"map{ending}").read_bytes() for f in "ab")
    assert first == second


@ENDINGS
def test_an_output_that_is_there_is_kept_unless_told(tmp_path, ending):
    path = tmp_path / f"map{ending}"
    path.write_text("precious")
    with pytest.raises(OutputError, match="is already there; pass --overwrite to replace it"):
        segment(path)
    assert path.read_text() == "precious"
    assert len(segment(path, overwrite=True).features()) == COUNT


@pytest.mark.parametrize("ending", [".gpkg", ".parquet", ".fgb"])
def test_without_a_crs_areas_are_empty(tmp_path, ending):
    found = segment(tmp_path / f"map{ending}", crs=None).features()
    assert found["area_ha"].isna().all()
    assert found["perimeter_m"].isna().all()
    assert found["score"].notna().all()
    # GeoPackage has a name for no CRS.
    assert found.crs is None or found.crs.name == "Undefined Cartesian SRS"
    assert found.area.sum() == (IDS > 0).sum() * 100


def test_geojson_needs_a_crs(tmp_path):
    with pytest.raises(OutputError, match=r"the raster has no CRS; use \.gpkg, \.parquet or"):
        segment(tmp_path / "map.geojson", crs=None)
    assert not list(tmp_path.iterdir())


def test_measures_are_those_of_the_frame(reference):
    # UTM near its central meridian: 0.9996 squared.
    ratio = reference["area_ha"] * 1e4 / reference.area
    assert ratio.between(1 / 0.9996**2 - 1e-3, 1 / 0.9996**2 + 1e-3).all()
    assert (reference["perimeter_m"] / reference.length).between(1.0, 1.001).all()


def test_the_recipe_is_in_the_file(tmp_path):
    segment(tmp_path / "map.parquet")
    segment(tmp_path / "map.gpkg")
    stored = pq.read_schema(tmp_path / "map.parquet").metadata[b"geoseg"]
    recipe = json.loads(stored)
    assert recipe["tile"] == 40
    assert recipe["backend"] == "by-identity"
    assert recipe["legend"]["classes"][0]["name"] == "c0"
    info = pyogrio.read_info(tmp_path / "map.gpkg", layer="features")
    assert json.loads(info["layer_metadata"]["geoseg"]) == recipe


def test_parquet_says_that_it_is_geoparquet(tmp_path):
    path = segment(tmp_path / "map.parquet").path
    geo = json.loads(pq.read_schema(path).metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    column = geo["columns"][geo["primary_column"]]
    assert column["encoding"] == "WKB"
    assert column["orientation"] == "counterclockwise"
    assert pyproj.CRS.from_json_dict(column["crs"]) == pyproj.CRS(UTM)


def test_geojson_is_longitude_and_latitude(tmp_path):
    found = json.loads(segment(tmp_path / "map.geojson").path.read_text())
    assert "crs" not in found
    x, y = found["features"][0]["geometry"]["coordinates"][0][0][0]
    assert (x, y) == (pytest.approx(15, abs=0.1), pytest.approx(45.15, abs=0.1))


@pytest.mark.parametrize("ending", [".gpkg", ".parquet", ".fgb", ".geojson"])
def test_an_empty_map_is_a_map(tmp_path, ending):
    nothing = np.zeros((40, 40), np.int32)
    run = geoseg.segment(
        raster(nothing), THINGS, backend=ByIdentity((0,)), out=tmp_path / f"map{ending}"
    )
    assert run.count == 0
    found = run.features()
    assert len(found) == 0
    # GeoJSON has no columns without rows.
    assert ending == ".geojson" or list(found.columns) == [*COLUMNS, "geometry"]


@ENDINGS
def test_failed_tiles_are_told_in_every_format(tmp_path, ending):
    class Failing(ByIdentity):
        def answer(self, tile):
            if tile.window.x0 == 0:
                raise RuntimeError("out of luck")
            return super().answer(tile)

    path = tmp_path / f"map{ending}"
    run = geoseg.segment(
        raster(IDS), THINGS, backend=Failing(CLASSES), out=path, tile=40, overlap=8
    )
    assert not run.complete
    other = path.with_name(f"map_failed_tiles{ending}")
    if ending == ".gpkg":
        assert not other.exists()
        holes = gpd.read_file(path, layer="failed_tiles")
    else:
        holes = read(other)
    assert sorted(holes["tile"]) == sorted(run.failed)
    assert len(run.features()) == run.count
    segment(path, retry_failed=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]


def test_a_writer_that_fails_leaves_the_old_map(tmp_path, monkeypatch):
    path = tmp_path / "map.parquet"
    path.write_text("precious")

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_batch", full)
    with pytest.raises(OutputError, match=r"cannot write .*map\.parquet: the disk is full"):
        segment(path, overwrite=True)
    assert path.read_text() == "precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["map.parquet", "map.parquet.geoseg"]


def test_formats_go_by_the_ending():
    assert format_of("a/B.GPKG") == "GPKG"
    assert format_of(Path("x.fgb")) == "FlatGeobuf"
    with pytest.raises(OutputError, match=r"has the ending '.shp'.*--out takes .gpkg, .parquet"):
        format_of("a.shp")
    with pytest.raises(OutputError, match="has the ending ''"):
        format_of("map")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="is not writable"):
        check_output(tmp_path / "map.gpkg", overwrite=False, crs=None)


def test_a_device_is_no_output():
    with pytest.raises(OutputError, match="has the ending ''"):
        check_output(Path("/dev/null"), overwrite=True, crs=None)


def test_a_pipe_is_no_output(tmp_path):
    pipe = tmp_path / "map.gpkg"
    os.mkfifo(pipe)
    with pytest.raises(OutputError, match="is not a regular file"):
        check_output(pipe, overwrite=True, crs=None)


def test_ids_follow_the_first_pixel(reference):
    tops = [-g.bounds[3] for g in reference.geometry]
    assert tops == sorted(tops)
    assert shapely.union_all(reference.geometry.to_numpy()).area == reference.area.sum()
