"""The algorithm `geoseg:change`: what changed between two dates?"""

from __future__ import annotations

import os
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingOutputNumber,
    QgsProcessingParameterField,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterMapLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
    QgsRasterLayer,
)

from .events import Event, balance, changed
from .layers import raster_place, save_polygons, show, vector_place
from .words import TEXTS, WordsAlgorithm

_TEXTS = {
    **TEXTS,
    "mask-clouds": "MASK_CLOUDS",
    "maps": "MAPS",
    "column": "CLASS_FIELD",
    "min-area": "MIN_AREA",
    "simplify": "SIMPLIFY",
}
_DATES = {"BEFORE": "earlier date", "AFTER": "later date"}
_OUTPUTS = {
    "POLYGONS": "Number of polygons",
    "LOST_HA": "Hectares that classes lost, all together",
    "GAINED_HA": "Hectares that classes gained, all together",
    "NOT_COMPARED_HA": "Hectares that either date has not seen",
    "FAILED_TILES": "Number of failed tiles, of both dates",
}


class Change(WordsAlgorithm):
    """Runs `geoseg change`."""

    def name(self) -> str:
        """Return what scripts call it."""
        return "change"

    def displayName(self) -> str:
        """Return what the toolbox shows."""
        return "Find change between two dates"

    def tags(self) -> list[str]:
        """Return what else the toolbox finds it by."""
        words = "change detection,deforestation,transition matrix,loss,gain,difference,monitoring"
        return words.split(",")

    def shortHelpString(self) -> str:
        """Return what the dialog tells beside the parameters."""
        return (
            "Compares two rasters, which are segmented with the same words, or two maps. The "
            "result is a polygon wherever a class became another, with the class before and after, "
            "and hectares from each class to each other.\n"
            "Both dates are laid on the pixel grid of the later one. Ground that either has not "
            "seen (nodata, clouds, failed tiles, outside) is told, and never read as change. How "
            "far the two images lie off each other is measured and told, and not corrected.\n"
            "Hectares are counted in pixels, before any least area of polygons. What goes from one "
            "class to another is lost by the one and gained by the other.\n"
            "When it is cancelled, what is done is kept beside the output file: run the same again "
            "to continue."
        )

    def initAlgorithm(self, _configuration: Any = None) -> None:
        """State the parameters."""
        self._add_dates()
        self.add_words(None)
        self.add_area(
            "Polygons, in any coordinate reference system: nothing else is compared, and the map "
            "is cut to them."
        )
        self.add_bands()
        self._add_how()
        self.add(
            QgsProcessingParameterVectorDestination(
                "OUTPUT", "Polygons of change", QgsProcessing.TypeVectorPolygon
            ),
            "GeoPackage (it holds the objects and the hectares, too), FlatGeobuf or GeoJSON. A "
            "file that is there is replaced.",
        )
        self.add(
            QgsProcessingParameterFileDestination(
                "MATRIX",
                "Table of hectares",
                "CSV (*.csv);;JSON (*.json)",
                optional=True,
                createByDefault=False,
            ),
            "Hectares from each class (rows) to each other (columns). A file that is there is "
            "replaced.",
        )
        for name, label in _OUTPUTS.items():
            self.addOutput(QgsProcessingOutputNumber(name, label))

    def _add_dates(self) -> None:
        kinds = [QgsProcessing.TypeRaster, QgsProcessing.TypeVectorPolygon]
        self.add(
            QgsProcessingParameterMapLayer("BEFORE", "Earlier date", types=kinds),
            "A raster; or a map that geoseg wrote, or any layer of polygons with a field of "
            "classes, as a file. Of two maps, one must be of geoseg: it has a grid of pixels.",
        )
        self.add(
            QgsProcessingParameterMapLayer("AFTER", "Later date", types=kinds),
            "Of the same kind as the earlier date.",
        )

    def _add_how(self) -> None:
        self.add(
            QgsProcessingParameterString("MIN_AREA", "Least area", optional=True),
            "Of a polygon of change: 0.5ha, 500m2, 20px. Smaller ones are merged into the change "
            "they share most border with. The hectares are of all pixels nevertheless.",
        )
        self.add(
            QgsProcessingParameterString("SIMPLIFY", "Simplify outlines by", optional=True),
            "The farthest that an outline may move: 2px, 1.5m. Neighbours stay neighbours.",
        )
        self.add_advanced(
            QgsProcessingParameterField(
                "CLASS_FIELD", "Class field of layers of others", None, "BEFORE", optional=True
            ),
            "For layers that are no maps of geoseg; the same for both dates. Not set: class.",
        )
        self.add_advanced(
            QgsProcessingParameterString("MASK_CLOUDS", "Cloud mask", optional=True),
            "For rasters: the backend that knows cloud and shadow, csmask. Ground that is hidden "
            "at either date is not compared.",
        )
        self.add_advanced(
            QgsProcessingParameterFile(
                "MAPS",
                "Folder for the maps of two rasters",
                QgsProcessingParameterFile.Folder,
                optional=True,
            ),
            "They are called NAME_before.gpkg and NAME_after.gpkg, after the output NAME, and are "
            "taken as they are by the next run if it asks for the same; other maps of these names "
            "are replaced. Not set: the folder of the output.",
        )
        self.add_rest(
            "As in a terminal (geoseg change --help): --unchanged, --tolerance 0.2, --threshold "
            "0.4, --smooth, --min-hole 20px, --small drop, --before-raster FILE, --after-raster "
            "FILE, --keep-going, --trust-input."
        )

    def prepareAlgorithm(self, parameters: Any, context: Any, _feedback: Any) -> bool:
        """Look at the layers where this is allowed: in the main thread."""
        layers = [self.parameterAsLayer(parameters, name, context) for name in _DATES]
        self._places = [
            raster_place(layer) if isinstance(layer, QgsRasterLayer) else vector_place(layer, words)
            for layer, words in zip(layers, _DATES.values())
        ]
        # Maps are there; of rasters, they are made first, and those of clouds after them.
        self.parts = ("change",)
        if any(isinstance(layer, QgsRasterLayer) for layer in layers):
            clouds = self.parameterAsString(parameters, "MASK_CLOUDS", context).strip()
            masks = ("before_clouds", "after_clouds") if clouds else ()
            self.parts = ("before", "after", *masks, "change")
        return True

    def processAlgorithm(self, parameters: Any, context: Any, feedback: Any) -> dict[str, Any]:
        """Run the command; returns where map and table are, and how much changed."""
        place = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        options = {"out": os.path.abspath(place), "overwrite": True}  # noqa: PTH100
        options.update(self.texts(parameters, context, _TEXTS))
        table = self.parameterAsFileOutput(parameters, "MATRIX", context)
        if table:
            options["matrix"] = os.path.abspath(table)  # noqa: PTH100
        options["workers"] = self.parameterAsInt(parameters, "WORKERS", context)
        source = self.parameterAsSource(parameters, "AOI", context)
        if source is not None:
            options["aoi"] = save_polygons(source, context, feedback)
        extra = self.parameterAsString(parameters, "EXTRA", context)
        result = self.result_of(options, extra, self._places, feedback)
        show(place, context, incomplete=not result["complete"])
        found: dict[str, Any] = {"OUTPUT": place, **({"MATRIX": table} if table else {})}
        counts = {"POLYGONS": result["features"], "FAILED_TILES": len(result["failed"])}
        return {**found, **counts, **balance(result)}

    def tell_result(self, result: Event, feedback: Any) -> None:
        """Log what changed, what to be careful of, and what is missing."""
        for line in changed(result):
            feedback.pushInfo(line)
        for note in result["notes"]:
            feedback.pushWarning(note)
        if result["failed"]:
            feedback.reportError(
                f"the map is incomplete: {len(result['failed'])} tiles of the two dates failed and "
                f"were not compared (see the layer of failed tiles); the first is "
                f"{result['failed'][0]}"
            )
