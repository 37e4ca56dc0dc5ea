"""How do raster and polygons open together in QGIS? A project file: zipped XML.

Paths are relative to it, so that it opens after its folder was moved. The raster is shown as the
run saw it, the polygons in the colours of the legend.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pyproj

from geoseg.errors import MapError
from geoseg.export.read import Map
from geoseg.export.single import put_bytes
from geoseg.export.style import class_renderer, failed_renderer
from geoseg.export.table import FAILED_LAYER, LAYER
from geoseg.export.write import Place
from geoseg.whereabouts import from_folder

QGIS = "3.22.16-Białowieża"
"""Version whose project files these are; later ones read them."""


_ID = "geoseg_layer_"
"""Begins the id of each layer: QGIS throws away ids of ten characters or less."""

_COLOURS = ("red", "green", "blue")


@dataclass(frozen=True, slots=True)
class Shown:
    """How a raster is shown."""

    paths: tuple[str, ...]
    """Its files or URLs."""
    bands: tuple[int, int, int] | None
    """1-based numbers in the file of red, green and blue; None: as QGIS finds usual."""
    low: tuple[float, float, float] = (0, 0, 0)
    """Samples that become black."""
    high: tuple[float, float, float] = (255, 255, 255)
    """Samples that become white."""


def write_project(final: Path, found: Map, shown: Shown, place: Place) -> None:
    """Write a QGIS project of a GeoPackage and its raster.

    Raises:
        MapError: The map is no GeoPackage: QGIS opens GeoParquet only where its GDAL was built so.
        OutputError: It cannot be written.
    """
    if found.kind != "GPKG":
        raise MapError(
            f"a QGIS project is of a GeoPackage, and {found.path} is none; export it to .gpkg first"
        )
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        # A fixed time: equal projects are equal, byte for byte.
        entry = zipfile.ZipInfo(f"{final.stem}.qgs", (1980, 1, 1, 0, 0, 0))
        entry.compress_type = zipfile.ZIP_DEFLATED
        packed.writestr(entry, project(final.absolute().parent, found, shown))
    put_bytes(final, place, [archive.getvalue()])


def project(folder: Path, found: Map, shown: Shown) -> bytes:
    """Return the XML of a project that lies in a folder."""
    frame = found.made_by().frame
    root = ET.Element("qgis", projectname=found.path.stem, version=QGIS)
    ET.SubElement(root, "homePath", path="")
    ET.SubElement(root, "title").text = found.path.stem
    _crs(ET.SubElement(root, "projectCrs"), frame.crs)
    tree = ET.SubElement(root, "layer-tree-group")
    canvas = ET.SubElement(root, "mapcanvas", name="theMapCanvas")
    layers = ET.SubElement(root, "projectlayers")
    order = ET.SubElement(root, "layerorder")

    corners = [(0, 0), (frame.width, 0), (frame.width, frame.height), (0, frame.height)]
    xy = frame.to_crs(np.array(corners))
    extent = ET.SubElement(canvas, "extent")
    for name, value in zip(
        ("xmin", "ymin", "xmax", "ymax"), (*xy.min(axis=0), *xy.max(axis=0)), strict=True
    ):
        ET.SubElement(extent, name).text = repr(float(value))
    _crs(ET.SubElement(canvas, "destinationsrs"), frame.crs)

    vector = from_folder(str(found.path), folder)
    parts = [
        *([_vector(FAILED_LAYER, vector, failed_renderer())] if found.failed() else []),
        _vector(LAYER, vector, class_renderer(found.legend)),
        *(_raster(k, from_folder(p, folder), shown) for k, p in enumerate(shown.paths, 1)),
    ]
    for layer in parts:
        _crs(_at(layer, "srs"), frame.crs)
        layers.append(layer)
        name, key = _text(layer, "layername"), _text(layer, "id")
        leaf = {"name": name, "id": key, "source": _text(layer, "datasource"), "expanded": "1"}
        provider = "gdal" if layer.get("type") == "raster" else "ogr"
        ET.SubElement(tree, "layer-tree-layer", leaf, checked="Qt::Checked", providerKey=provider)
        ET.SubElement(order, "layer", id=key)
    properties = ET.SubElement(root, "properties")
    paths = ET.SubElement(properties, "Paths")
    ET.SubElement(paths, "Absolute", type="bool").text = "false"
    if frame.crs is not None:
        # Else QGIS passes by the project's CRS.
        system = ET.SubElement(properties, "SpatialRefSys")
        ET.SubElement(system, "ProjectionsEnabled", type="int").text = "1"
    page: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return page


def _crs(parent: ET.Element, wkt: str | None) -> None:
    if wkt is None:
        return
    crs = pyproj.CRS.from_wkt(wkt)
    known = crs.to_authority()
    system = ET.SubElement(parent, "spatialrefsys", nativeFormat="Wkt")
    for name, value in (
        ("wkt", wkt),
        ("srid", known[1] if known and known[0] == "EPSG" else "0"),
        ("authid", ":".join(known) if known else ""),
        ("description", crs.name),
        ("geographicflag", "true" if crs.is_geographic else "false"),
    ):
        ET.SubElement(system, name).text = value


def _vector(name: str, path: str, renderer: ET.Element) -> ET.Element:
    layer = _layer("vector", name, f"{path}|layername={name}")
    layer.set("geometry", "Polygon")
    ET.SubElement(layer, "provider", encoding="UTF-8").text = "ogr"
    layer.append(renderer)
    return layer


def _raster(number: int, path: str, shown: Shown) -> ET.Element:
    scheme = path.partition("://")[0]
    source = {
        "http": f"/vsicurl/{path}",
        "https": f"/vsicurl/{path}",
        "s3": path.replace("s3://", "/vsis3/", 1),
    }.get(scheme, path)
    layer = _layer("raster", Path(path).stem, source)
    _at(layer, "id").text = f"{_ID}raster_{number}"
    ET.SubElement(layer, "provider").text = "gdal"
    if shown.bands is None:
        return layer
    renderer = ET.SubElement(
        ET.SubElement(layer, "pipe"),
        "rasterrenderer",
        type="multibandcolor",
        opacity="1",
        alphaBand="-1",
        nodataColor="",
    )
    for colour, band, low, high in zip(_COLOURS, shown.bands, shown.low, shown.high, strict=True):
        renderer.set(f"{colour}Band", str(band))
        contrast = ET.SubElement(renderer, f"{colour}ContrastEnhancement")
        ET.SubElement(contrast, "minValue").text = repr(float(low))
        ET.SubElement(contrast, "maxValue").text = repr(float(high))
        ET.SubElement(contrast, "algorithm").text = "StretchToMinimumMaximum"
    return layer


def _layer(kind: str, name: str, source: str) -> ET.Element:
    layer = ET.Element("maplayer", type=kind)
    for tag, text in (
        ("id", f"{_ID}{name}"),
        ("datasource", source),
        ("layername", name),
        ("srs", None),
    ):
        ET.SubElement(layer, tag).text = text
    return layer


def _at(layer: ET.Element, tag: str) -> ET.Element:
    found = layer.find(tag)
    assert found is not None  # noqa: S101  _layer made it
    return found


def _text(layer: ET.Element, tag: str) -> str:
    return _at(layer, tag).text or ""
