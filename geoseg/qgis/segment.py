"""The algorithm `geoseg:segment`: a raster and words become polygons."""

from __future__ import annotations

import os
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingException,
    QgsProcessingOutputNumber,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFile,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
)

from .algorithm import CommandAlgorithm
from .command import CommandError, arguments
from .layers import raster_place, save_polygons, show

_TEXTS = {
    "prompt": "PROMPT",
    "legend": "LEGEND",
    "backend": "BACKEND",
    "bands": "BANDS",
    "sensor": "SENSOR",
    "device": "DEVICE",
}
_NUMBERS = {"tile": "TILE", "overlap": "OVERLAP", "workers": "WORKERS"}


class Segment(CommandAlgorithm):
    """Runs `geoseg segment`."""

    def name(self) -> str:
        """Return what scripts call it."""
        return "segment"

    def displayName(self) -> str:
        """Return what the toolbox shows."""
        return "Segment a raster with words"

    def tags(self) -> list[str]:
        """Return what else the toolbox finds it by."""
        words = (
            "segmentation,classify,land cover,polygonize,SAM,Grounding DINO,deep learning,prompt"
        )
        return words.split(",")

    def shortHelpString(self) -> str:
        """Return what the dialog tells beside the parameters."""
        return (
            "Turns a raster of any size and words into polygons with class, score, area and "
            "perimeter. The raster is cut into overlapping tiles; the map does not depend on how.\n"
            'Say what to look for in words ("forest, water") or with a legend file.\n'
            "The work is done by the command geoseg in a process of its own. When it is cancelled, "
            "what is done is kept beside the output file (NAME.geoseg): run the same again to "
            "continue, or give the further option --fresh to begin anew."
        )

    def initAlgorithm(self, _configuration: Any = None) -> None:
        """State the parameters."""
        self._add_what()
        self._add_how()
        self.add(
            QgsProcessingParameterVectorDestination(
                "OUTPUT", "Polygons", QgsProcessing.TypeVectorPolygon
            ),
            "GeoPackage, FlatGeobuf or GeoJSON. A file that is there is replaced.",
        )
        self.addOutput(QgsProcessingOutputNumber("POLYGONS", "Number of polygons"))
        self.addOutput(QgsProcessingOutputNumber("FAILED_TILES", "Number of failed tiles"))

    def _add_what(self) -> None:
        self.add(
            QgsProcessingParameterRasterLayer("INPUT", "Raster"),
            "A raster file: GeoTIFF, COG, VRT, JPEG 2000 and others; also by URL.",
        )
        self.add(
            QgsProcessingParameterString("PROMPT", "Classes in words", optional=True),
            "Separated by commas: forest, water. Give these or a legend, not both.",
        )
        self.add(
            QgsProcessingParameterFile(
                "LEGEND",
                "Legend: a file, or landuse, wetland, deforestation",
                optional=True,
                fileFilter="Legends (*.toml);;All files (*)",
            ),
            "A TOML file with classes, their words, kinds, colours and thresholds; or the name of "
            "a ready-made one: landuse, wetland, deforestation.",
        )
        backend = QgsProcessingParameterString("BACKEND", "Backend", "spectral")
        backend.setMetadata({"widget_wrapper": {"class": f"{__package__}.widgets.BackendWidget"}})
        self.add(
            backend,
            "What finds the classes: spectral needs no weights and no GPU; a detector+segmenter "
            "takes any words. Other weights go after a colon.",
        )
        self.add(
            QgsProcessingParameterFeatureSource(
                "AOI", "Area of interest", [QgsProcessing.TypeVectorPolygon], optional=True
            ),
            "Polygons, in any coordinate reference system: nothing else is read, and the map is "
            "cut to them.",
        )

    def _add_how(self) -> None:
        whole, decimal = QgsProcessingParameterNumber.Integer, QgsProcessingParameterNumber.Double
        self.add(
            QgsProcessingParameterNumber(
                "THRESHOLD", "Least score", decimal, None, optional=True, minValue=0, maxValue=1
            ),
            "For classes without a threshold of their own. Not set: what the backend uses.",
        )
        self.add(
            QgsProcessingParameterString("SENSOR", "Sensor", optional=True),
            "Order of the bands, where the file does not say it: rgb, naip, landsat8, sentinel2, "
            "planetscope.",
        )
        self.add(
            QgsProcessingParameterString("BANDS", "Bands by role", optional=True),
            "As red=4,green=3,blue=2,nir=8. Counts more than the sensor.",
        )
        self.add_advanced(
            QgsProcessingParameterNumber(
                "TILE", "Tile (pixels)", whole, None, optional=True, minValue=1
            ),
            "Side of a tile. Not set: 1024, or what the backend wants.",
        )
        self.add_advanced(
            QgsProcessingParameterNumber(
                "OVERLAP", "Overlap (pixels)", whole, None, optional=True, minValue=0
            ),
            "What neighbouring tiles share. Not set: 128, or what the backend needs.",
        )
        self.add_advanced(
            QgsProcessingParameterString("DEVICE", "Device", "auto"),
            "Where models run: auto, cuda, cuda:1, mps, cpu.",
        )
        self.add_advanced(
            QgsProcessingParameterNumber("WORKERS", "Processes", whole, 1, minValue=1),
            "More than one is faster on many cores and takes more memory; the map is the same.",
        )
        self.add_advanced(
            QgsProcessingParameterString("EXTRA", "Further options", optional=True),
            "As in a terminal (geoseg segment --help): --fresh, --retry-failed, --keep-going, "
            "--trust-input, --composite nir,red,green, --mask-clouds csmask, --offline.",
        )

    def checkParameterValues(self, parameters: Any, context: Any) -> tuple[bool, str]:
        """Return whether they can be used, and why not."""
        words = self.parameterAsString(parameters, "PROMPT", context).strip()
        if words and self.parameterAsString(parameters, "LEGEND", context).strip():
            return False, "give classes in words or a legend, not both"
        fine, why = super().checkParameterValues(parameters, context)
        return fine, why

    def prepareAlgorithm(self, parameters: Any, context: Any, _feedback: Any) -> bool:
        """Look at the raster layer where this is allowed: in the main thread."""
        self._raster = raster_place(self.parameterAsRasterLayer(parameters, "INPUT", context))
        return True

    def processAlgorithm(self, parameters: Any, context: Any, feedback: Any) -> dict[str, Any]:
        """Run the command; returns where the map is, and how many polygons and failed tiles."""
        place = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        options: dict[str, Any] = {"out": os.path.abspath(place), "overwrite": True}  # noqa: PTH100
        for option, name in _TEXTS.items():
            options[option] = self.parameterAsString(parameters, name, context).strip()
        for option, name in _NUMBERS.items():
            if parameters.get(name) is not None:
                options[option] = self.parameterAsInt(parameters, name, context)
        if parameters.get("THRESHOLD") is not None:
            options["threshold"] = self.parameterAsDouble(parameters, "THRESHOLD", context)
        source = self.parameterAsSource(parameters, "AOI", context)
        if source is not None:
            options["aoi"] = save_polygons(source, context, feedback)
        extra = self.parameterAsString(parameters, "EXTRA", context)
        try:
            asked = arguments("segment", options, extra, [self._raster])
        except CommandError as error:
            raise QgsProcessingException(str(error)) from error
        result = self.result_of(asked, feedback)
        show(place, context, incomplete=not result["complete"])
        count, failed = result["features"], len(result["failed"])
        return {"OUTPUT": place, "POLYGONS": count, "FAILED_TILES": failed}
