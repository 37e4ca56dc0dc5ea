"""In which colours does a map open in QGIS? Those of the legend, from inside the GeoPackage.

QGIS looks for a table `layer_styles` and takes the style that is marked as default. It finds no
table that is not registered as a layer, and that has its price: readers that are not told a layer
warn (`geopandas.read_file(path)` without `layer=`).
"""

from __future__ import annotations

import sqlite3
from xml.etree import ElementTree as ET

from geoseg.legend import Legend

STYLES = "layer_styles"

FILL_ALPHA = 140
"""Opacity of polygons, of 255: the picture beneath stays visible."""

_FAILED_COLOUR = "#d7191c"

_TABLE = f"""
CREATE TABLE IF NOT EXISTS "{STYLES}" (
"id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, "f_table_catalog" TEXT(256),
"f_table_schema" TEXT(256), "f_table_name" TEXT(256), "f_geometry_column" TEXT(256),
"styleName" TEXT(30), "styleQML" TEXT, "styleSLD" TEXT, "useAsDefault" BOOLEAN,
"description" TEXT, "owner" TEXT(30), "ui" TEXT(30), "update_time" DATETIME)"""

_ROW = f"""
INSERT INTO "{STYLES}" (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName,
styleQML, styleSLD, useAsDefault, description, owner, ui, update_time)
VALUES ('', '', ?, ?, ?, ?, '', 1, 'geoseg', '', '', ?)"""  # noqa: S608  its name is fixed

_REGISTER = """
INSERT OR IGNORE INTO gpkg_contents (table_name, data_type, identifier, description, last_change,
srs_id) VALUES (?, 'attributes', ?, '', ?, 0)"""


def add_style(db: sqlite3.Connection, layer: str, qml: str, when: str) -> None:
    """Make a style the default of a layer of a GeoPackage.

    Args:
        db: The GeoPackage.
        layer: Name of a layer of it.
        qml: The style, as `class_style` or `failed_style` give it.
        when: Time of the change, ISO 8601; a fixed one keeps equal maps equal.
    """
    db.execute(_TABLE)
    db.execute(_REGISTER, (STYLES, STYLES, when))
    column = db.execute(
        "SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?", (layer,)
    ).fetchone()[0]
    db.execute(_ROW, (layer, column, layer, qml, when))


def class_style(legend: Legend, column: str = "class") -> str:
    """Return QML that draws each class of a column in its colour."""
    return _document(class_renderer(legend, column))


def failed_style() -> str:
    """Return QML that draws failed tiles as red outlines."""
    return _document(failed_renderer())


def failed_renderer() -> ET.Element:
    """Return the element `renderer-v2` that draws red outlines."""
    renderer = ET.Element("renderer-v2", type="singleSymbol", symbollevels="0", forceraster="0")
    _symbol(ET.SubElement(renderer, "symbols"), 0, _FAILED_COLOUR, 40)
    return renderer


def class_renderer(legend: Legend, column: str = "class") -> ET.Element:
    """Return the element `renderer-v2` that draws each class in its colour."""
    renderer = ET.Element(
        "renderer-v2", type="categorizedSymbol", attr=column, symbollevels="0", forceraster="0"
    )
    categories = ET.SubElement(renderer, "categories")
    symbols = ET.SubElement(renderer, "symbols")
    for number, land_class in enumerate(legend.classes):
        ET.SubElement(
            categories,
            "category",
            value=land_class.name,
            label=land_class.name,
            symbol=str(number),
            type="string",
            render="true",
        )
        _symbol(symbols, number, land_class.colour, FILL_ALPHA)
    return renderer


def _symbol(symbols: ET.Element, number: int, colour: str, alpha: int) -> None:
    symbol = ET.SubElement(symbols, "symbol", type="fill", name=str(number), alpha="1")
    fill = ET.SubElement(
        symbol, "layer", {"class": "SimpleFill"}, enabled="1", locked="0", **{"pass": "0"}
    )
    red, green, blue = rgb(colour)
    settings = {
        "style": "solid",
        "color": f"{red},{green},{blue},{alpha}",
        "outline_style": "solid",
        "outline_color": f"{red},{green},{blue},255",
        "outline_width": "0.26",
        "outline_width_unit": "MM",
    }
    options = ET.SubElement(fill, "Option", type="Map")
    for name, value in settings.items():
        ET.SubElement(options, "Option", name=name, type="QString", value=value)
    for name, value in settings.items():
        # QGIS before 3.20 knows only these.
        ET.SubElement(fill, "prop", k=name, v=value)


def rgb(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue, 0..255, of `#rrggbb`."""
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue


def _document(renderer: ET.Element) -> str:
    root = ET.Element("qgis", version="3.22", styleCategories="Symbology")
    root.append(renderer)
    return as_qml(root)


def as_qml(root: ET.Element) -> str:
    """Return an element `qgis` as text."""
    kind = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
    return kind + ET.tostring(root, encoding="unicode")
