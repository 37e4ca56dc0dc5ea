"""A GeoPackage opens in the colours of its legend."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from xml.etree import ElementTree as ET

import pyogrio
from maps import FAULTS, Beside, target

from geoseg.export import write
from geoseg.export.style import class_style, failed_style, rgb
from geoseg.legend import LandClass, Legend


def colours(qml: str) -> dict[str, str]:
    """Return the fill of each category, looked up as QGIS does: by the name of its symbol."""
    renderer = ET.fromstring(qml).find("renderer-v2")  # noqa: S314  made here
    assert renderer.get("type") == "categorizedSymbol"
    assert renderer.get("attr") == "class"
    fills = {
        symbol.get("name"): symbol.find("layer/Option/Option[@name='color']").get("value")
        for symbol in renderer.iter("symbol")
    }
    return {c.get("value"): fills[c.get("symbol")] for c in renderer.iter("category")}


def test_each_class_has_its_colour():
    names = ("water", '<b> & "x"', "森")
    classes = tuple(LandClass(name=n, colour=f"#0a14{k:02x}") for k, n in enumerate(names))
    assert colours(class_style(Legend(classes=classes))) == {
        n: f"10,20,{k},140" for k, n in enumerate(names)
    }
    assert rgb("#ff8001") == (255, 128, 1)


def test_old_and_new_qgis_find_the_same_settings():
    for qml in (class_style(Legend.parse("a, b")), failed_style()):
        for layer in ET.fromstring(qml).iter("layer"):  # noqa: S314  made here
            new = {o.get("name"): o.get("value") for o in layer.findall("Option/Option")}
            assert new == {p.get("k"): p.get("v") for p in layer.findall("prop")}


def test_styles_are_where_qgis_looks(tmp_path):
    path = tmp_path / "map.gpkg"
    write(target(path), FAULTS.features(9), FAULTS.holes(2), Beside(tmp_path / "grow"))
    assert [list(row) for row in pyogrio.list_layers(path)] == [
        ["features", "MultiPolygon"], ["failed_tiles", "Polygon"], ["layer_styles", None],
    ]  # fmt: skip
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute(
            "SELECT f_table_catalog, f_table_schema, f_table_name, f_geometry_column, useAsDefault,"
            " update_time, styleQML FROM layer_styles"
        ).fetchall()
        kind = db.execute(
            "SELECT data_type FROM gpkg_contents WHERE table_name = 'layer_styles'"
        ).fetchall()
    assert kind == [("attributes",)]
    assert [row[:5] for row in rows] == [
        ("", "", "features", "geom", 1), ("", "", "failed_tiles", "geom", 1),
    ]  # fmt: skip
    assert {row[5] for row in rows} == {"1970-01-01T00:00:00.000Z"}
    assert rows[0][6] == class_style(target(path).legend)


def test_the_spatial_index_and_the_version_are_there(tmp_path):
    path = tmp_path / "map.gpkg"
    write(target(path), FAULTS.features(9), [], Beside(tmp_path / "grow"))
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (10300,)
        assert db.execute("SELECT extension_name FROM gpkg_extensions").fetchall() == [
            ("gpkg_rtree_index",), ("gpkg_metadata",), ("gpkg_metadata",),
        ]  # fmt: skip
