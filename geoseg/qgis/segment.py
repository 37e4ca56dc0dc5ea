"""The algorithm `geoseg:segment`: a raster and words become polygons."""

from __future__ import annotations

import os
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingOutputNumber,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
)

from .layers import raster_place, save_polygons, show
from .words import TEXTS, WordsAlgorithm

_TEXTS = {**TEXTS, "device": "DEVICE"}
_NUMBERS = {"tile": "TILE", "overlap": "OVERLAP", "workers": "WORKERS"}


class Segment(WordsAlgorithm):
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
        self.add_words("spectral")
        self.add_area(
            "Polygons, in any coordinate reference system: nothing else is read, and the map is "
            "cut to them."
        )

    def _add_how(self) -> None:
        whole, decimal = QgsProcessingParameterNumber.Integer, QgsProcessingParameterNumber.Double
        self.add(
            QgsProcessingParameterNumber(
                "THRESHOLD", "Least score", decimal, None, optional=True, minValue=0, maxValue=1
            ),
            "For classes without a threshold of their own. Not set: what the backend uses.",
        )
        self.add_bands()
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
        self.add_rest(
            "As in a terminal (geoseg segment --help): --fresh, --retry-failed, --keep-going, "
            "--trust-input, --composite nir,red,green, --mask-clouds csmask, --offline."
        )

    def prepareAlgorithm(self, parameters: Any, context: Any, _feedback: Any) -> bool:
        """Look at the raster layer where this is allowed: in the main thread."""
        self._raster = raster_place(self.parameterAsRasterLayer(parameters, "INPUT", context))
        return True

    def processAlgorithm(self, parameters: Any, context: Any, feedback: Any) -> dict[str, Any]:
        """Run the command; returns where the map is, and how many polygons and failed tiles."""
        place = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        options = {"out": os.path.abspath(place), "overwrite": True}  # noqa: PTH100
        options.update(self.texts(parameters, context, _TEXTS))
        for option, name in _NUMBERS.items():
            if parameters.get(name) is not None:
                options[option] = self.parameterAsInt(parameters, name, context)
        if parameters.get("THRESHOLD") is not None:
            options["threshold"] = self.parameterAsDouble(parameters, "THRESHOLD", context)
        source = self.parameterAsSource(parameters, "AOI", context)
        if source is not None:
            options["aoi"] = save_polygons(source, context, feedback)
        extra = self.parameterAsString(parameters, "EXTRA", context)
        result = self.result_of(options, extra, [self._raster], feedback)
        show(place, context, incomplete=not result["complete"])
        count, failed = result["features"], len(result["failed"])
        return {"OUTPUT": place, "POLYGONS": count, "FAILED_TILES": failed}
