"""Are names data, whatever they look like? Of classes and of files, through every format."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
from scenes import ByIdentity, raster

import geoseg
from geoseg import LandClass, Legend
from geoseg.errors import ConfigError

HOSTILE = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "'; DROP TABLE features;--",
    '"; DELETE FROM gpkg_contents; --', "../../etc/passwd", "$(reboot)", "`id`", "| touch x",
    "=1+1", "+1", "-1", "@SUM(A1)", "%s%n{0}{id}", "class", "id", "geometry", "NULL", "nan",
    "100%", 'it\'s "x"', "a\\b", "sqlite_master", "gpkg_contents", "{{7*7}}", "${7*7}",
    "\u202eesrever", "卫星 🛰", "e\u0301te\u0301", "مياه",
)  # fmt: skip

OUTPUTS = (
    "my map 2026", "scène_卫星_🛰",
    'it\'s "x"; DROP TABLE layers;--', "<img src=x onerror=alert(1)>",
 "-rf", "100%_{id}_%s", "GTIFF_DIR:1:x", "a.b.c.tar", "[a-z]*", "$(reboot)", "gpkg_x",
    "\U0001f6f0" * 55, "x" * 231,
)  # fmt: skip

FORMATS = (".gpkg", ".fgb", ".parquet", ".geojson")


def segment(out: Path, names: tuple[str, ...]) -> None:
    """Draw a box for each name."""
    ids = np.zeros((12, 6 * len(names)), np.int32)
    for k in range(len(names)):
        ids[2:9, 6 * k + 1 : 6 * k + 5] = k + 1
    legend = Legend(classes=tuple(LandClass(name=name, kind="object") for name in names))
    geoseg.segment(
        raster(ids), legend, backend=ByIdentity(tuple(range(len(names)))), out=out, tile=64,
        overlap=16,
    )  # fmt: skip


def read(path: Path) -> gpd.GeoDataFrame:
    if path.suffix == ".parquet":
        return gpd.read_parquet(path)
    return gpd.read_file(path, layer="features") if path.suffix == ".gpkg" else gpd.read_file(path)


@pytest.mark.parametrize("ending", FORMATS)
def test_class_names_come_back_as_they_went(tmp_path, ending):
    out = tmp_path / f"map{ending}"
    segment(out, HOSTILE)
    asked = [LandClass(name=name).name for name in HOSTILE]
    assert list(read(out).sort_values("id")["class"]) == asked
    assert list(tmp_path.iterdir()) == [out]


def test_class_names_make_no_tables(tmp_path):
    for k, names in enumerate((("water",), HOSTILE)):
        segment(tmp_path / f"{k}.gpkg", names)
    layers = pyogrio.list_layers(tmp_path / "1.gpkg")[:, 0]
    assert list(layers) == ["features", "layer_styles"]
    tables = []
    for k in (0, 1):
        with closing(sqlite3.connect(tmp_path / f"{k}.gpkg")) as base:
            tables.append(set(base.execute("SELECT type, name FROM sqlite_master")))
    assert tables[0] == tables[1]


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("stem", OUTPUTS)
def test_the_map_has_the_name_that_was_asked_for_and_nothing_lies_beside(tmp_path, stem, ending):
    out = tmp_path / f"{stem}{ending}"
    segment(out, ("water",))
    assert [p.name for p in tmp_path.iterdir()] == [out.name]
    plain = tmp_path / f"plain{ending}"
    out.rename(plain)
    assert list(read(plain)["class"]) == ["water"]


def test_a_name_in_the_working_folder_is_no_option_and_no_connection(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("-rf.gpkg", "GPKG:x.gpkg", "PG:dbname=x.fgb"):
        segment(Path(name), ("water",))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "-rf.gpkg",
        "GPKG:x.gpkg",
        "PG:dbname=x.fgb",
    ]


@pytest.mark.parametrize("stem", ["x" * 250, "\U0001f6f0" * 60])
def test_too_long_a_name_is_refused_before_any_work(tmp_path, stem):
    with pytest.raises(ConfigError, match=r"--out: the file name has \d+ bytes, at most 240"):
        segment(tmp_path / f"{stem}.gpkg", ("water",))
    assert not list(tmp_path.iterdir())


def test_a_path_that_could_not_be_written_in_the_end_is_refused_at_once(tmp_path):
    folder = tmp_path / "a\tb"
    folder.mkdir()
    for out, code in ((tmp_path / "a\nb.gpkg", "000A"), (folder / "map.fgb", "0009")):
        with pytest.raises(ConfigError, match=f"--out: the path has the character U\\+{code}"):
            segment(out, ("water",))
    assert list(tmp_path.iterdir()) == [folder]
