"""What does a person get who looks at a sample? A GeoPackage with a form for QGIS.

The form offers the classes for `reference`, and does not show what the map says, which must not
sway anybody. The design of the sample is stored with the points, and with the table `strata`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError

from geoseg.analysis.classed import UNMAPPED
from geoseg.analysis.design import REFERENCE, Design
from geoseg.analysis.tables import put_layers
from geoseg.export.style import as_qml
from geoseg.runfolder import alone

if TYPE_CHECKING:
    import geopandas as gpd

    from geoseg.analysis.design import Sample

LAYER, STRATA = "points", "strata"

_KEY = "geoseg_sample"
_HIDDEN = ("stratum", "map_class")


def save_sample(found: Sample, out: Path) -> None:
    """Write a sample as .gpkg.

    Args:
        found: The sample.
        out: The file; one that is there is replaced.

    Raises:
        WriteFailedError: It could not be written; what was there is still there.
        OutputError: The place is in use.
    """
    with alone(out) as place:
        put_layers(
            out,
            place,
            {LAYER: found.points, STRATA: found.design.strata},
            metadata={_KEY: found.design.text()},
            style=_form(found.points, found.classes),
        )


def design_in(points: str | Path) -> Design | None:
    """Return the design that a file of points holds, if it does.

    It is with the layer of points, or, where a script wrote that one anew, with the strata.

    Raises:
        ConfigError: It is damaged.
    """
    path, _, layer = str(points).partition("|layername=")
    try:
        # What cannot be read is told of where its points are read.
        has = pyogrio.list_layers(path)[:, 0]
        places = (layer or LAYER, STRATA) if layer in ("", LAYER) else (layer,)
        if places[0] not in has:
            return None
        for name in places:
            metadata = pyogrio.read_info(path, layer=name)["layer_metadata"] if name in has else {}
            if _KEY in (metadata or {}):
                return Design.parse(metadata[_KEY], path)
    except (DataSourceError, DataLayerError):
        pass
    return None


def _form(points: gpd.GeoDataFrame, classes: tuple[str, ...]) -> str:
    """Return QML of the columns: a list of classes for the reference, and what is hidden."""
    root = ET.Element("qgis", version="3.22", styleCategories="Fields|Forms|AttributeTable")
    fields = ET.SubElement(root, "fieldConfiguration")
    columns = ET.SubElement(ET.SubElement(root, "attributetableconfig"), "columns")
    for name in points.columns.drop(points.geometry.name):
        hidden = str(int(name in _HIDDEN))
        ET.SubElement(columns, "column", type="field", name=name, hidden=hidden)
        if name != REFERENCE and name not in _HIDDEN:
            continue
        kind = "ValueMap" if name == REFERENCE else "Hidden"
        field = ET.SubElement(fields, "field", name=name)
        config = ET.SubElement(ET.SubElement(field, "editWidget", type=kind), "config")
        if name == REFERENCE:
            _choices(config, classes)
    return as_qml(root)


def _choices(config: ET.Element, classes: tuple[str, ...]) -> None:
    options = ET.SubElement(ET.SubElement(config, "Option", type="Map"), "Option", name="map")
    options.set("type", "List")
    for name in classes:
        label = "none of these" if name == UNMAPPED else name
        one = ET.SubElement(options, "Option", type="Map")
        ET.SubElement(one, "Option", name=label, type="QString", value=name)
