"""How do layers of QGIS become files for the command, and its file a layer?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

from qgis.core import (
    QgsFeature,
    QgsFeatureRequest,
    QgsFields,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeatureSource,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingUtils,
    QgsVectorFileWriter,
    QgsVectorLayer,
    QgsWkbTypes,
)
from qgis.PyQt import sip

from .command import raster_name


def raster_place(layer: Any) -> str:
    """Return the path or URL of a raster layer.

    Raises:
        QgsProcessingException: It is no file.
    """
    if layer is None:
        raise QgsProcessingException("the raster cannot be opened")
    if layer.providerType() != "gdal":
        raise QgsProcessingException(
            f"layer '{layer.name()}' comes from a service ({layer.providerType()}), geoseg reads "
            "files; save it as a raster file first (Export > Save As)"
        )
    place = raster_name(layer.source())
    return os.path.abspath(place) if os.path.exists(place) else place  # noqa: PTH100, PTH110


def vector_place(layer: Any, words: str) -> str:
    """Return the file of a vector layer as the command reads it: `FILE`, `FILE|layername=NAME`.

    Args:
        layer: The layer.
        words: What it is, for messages.

    Raises:
        QgsProcessingException: It is no file.
    """
    if layer is None:
        raise QgsProcessingException(f"the {words} cannot be opened")
    path, _, rest = layer.source().partition("|")
    if layer.providerType() != "ogr" or not os.path.isfile(path):  # noqa: PTH113
        raise QgsProcessingException(
            f"the {words}, layer '{layer.name()}', is no file ({layer.providerType()}), geoseg "
            "reads files; save it as one first (Export > Save Features As)"
        )
    named = [part for part in rest.split("|") if part.startswith("layername=")]
    if not layer.isEditable() and not layer.subsetString():
        return "|".join([os.path.abspath(path), *named])  # noqa: PTH100
    raise QgsProcessingException(
        f"the {words}, layer '{layer.name()}', has edits that are not saved, or a filter; save "
        "it as a file of its own first (Export > Save Features As)"
    )


def save_polygons(source: Any, context: Any, feedback: Any) -> str:
    """Write the polygons of a source to a temporary file, and return its path.

    What QGIS shows counts, not what is on a disk: selection, filter, edits, layers in memory.

    Raises:
        QgsProcessingException: They cannot be written.
    """
    # A GeoPackage cannot say that there is no coordinate reference system.
    path: str = QgsProcessingUtils.generateTempFilename("area_of_interest.fgb")
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "FlatGeobuf"
    kind = QgsWkbTypes.MultiPolygon
    crs, transforms = source.sourceCrs(), context.transformContext()
    writer = QgsVectorFileWriter.create(path, QgsFields(), kind, crs, transforms, options)
    request = QgsFeatureRequest().setSubsetOfAttributes([])
    # The command mends polygons that cross themselves.
    unchecked = QgsProcessingFeatureSource.FlagSkipGeometryValidityChecks
    for feature in source.getFeatures(request, unchecked):
        if feedback.isCanceled():
            raise QgsProcessingException("cancelled")
        for geometry in feature.geometry().coerceToType(kind):
            plain = QgsFeature()
            plain.setGeometry(geometry)
            writer.addFeature(plain)
    wrong = writer.errorMessage()
    # Only then the file is whole.
    del writer
    if wrong:
        raise QgsProcessingException(f"the area cannot be written to {path}: {wrong}")
    return path


def show(place: str, context: Any, *, incomplete: bool) -> None:
    """Let QGIS draw a map with its own style, if it is loaded, and what is missing beside it."""
    if not context.willLoadLayerOnCompletion(place):
        return
    context.layerToLoadOnCompletionDetails(place).setPostProcessor(_DefaultStyle.alive())
    gaps = failed_tiles(place)
    if incomplete and gaps is not None:
        details = QgsProcessingContext.LayerDetails("failed tiles", context.project(), "")
        details.forceName = True
        context.addLayerToLoadOnCompletion(gaps, details)


def failed_tiles(place: str) -> str | None:
    """Return where the command draws tiles that failed; None if it did not."""
    path = Path(place)
    if path.suffix.lower() == ".gpkg":
        return f"{place}|layername=failed_tiles"
    beside = path.with_name(f"{path.stem}_failed_tiles{path.suffix}")
    return str(beside) if beside.exists() else None


class _DefaultStyle(QgsProcessingLayerPostProcessorInterface):
    """Draws a layer as its file says."""

    _alive: ClassVar[list[_DefaultStyle]] = []
    """QGIS deletes one with the run it was made for, but does not keep it alive till then."""

    @classmethod
    def alive(cls) -> _DefaultStyle:
        """Return a new one."""
        one = cls()
        cls._alive = [*(kept for kept in cls._alive if not sip.isdeleted(kept)), one]
        return one

    def postProcessLayer(self, layer: Any, _context: Any, _feedback: Any) -> None:
        """Load the style."""
        if isinstance(layer, QgsVectorLayer):
            layer.loadDefaultStyle()
            layer.triggerRepaint()
