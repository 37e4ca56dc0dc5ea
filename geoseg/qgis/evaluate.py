"""The algorithm `geoseg:evaluate`: how good is a map, held against polygons that are right?"""

from __future__ import annotations

import os
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingOutputNumber,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorLayer,
)

from .algorithm import CommandAlgorithm
from .events import Event, figures, judged
from .layers import save_polygons, vector_place

_TEXTS = {
    "class-column": "CLASS_FIELD",
    "class": "CLASS",
    "match": "MATCH",
    "boundary": "BOUNDARY",
}
_OUTPUTS = {
    "AP": "Average precision (objects)",
    "AP50": "Average precision at IoU 0.5 (objects)",
    "PQ": "Panoptic quality (objects)",
    "F1": "F1 (objects)",
    "MIOU": "Mean IoU (covers)",
    "BOUNDARY_F1": "F1 of boundaries (covers)",
    "FAILED_TILES": "Number of failed tiles",
}


class Evaluate(CommandAlgorithm):
    """Runs `geoseg evaluate`."""

    def name(self) -> str:
        """Return what scripts call it."""
        return "evaluate"

    def displayName(self) -> str:
        """Return what the toolbox shows."""
        return "Evaluate a map"

    def tags(self) -> list[str]:
        """Return what else the toolbox finds it by."""
        return ["accuracy", "quality", "validation", "IoU", "F1", "COCO", "panoptic", "confusion"]

    def shortHelpString(self) -> str:
        """Return what the dialog tells beside the parameters."""
        return (
            "Holds a map against polygons that are right. Objects are judged one by one (average "
            "precision as COCO has it, panoptic quality, precision, recall), covers pixel by pixel "
            "(IoU, precision, recall, and F1 of boundaries), per class: in the whole map, near the "
            "seams of its tiles, and in the interior.\n"
            "The reference must be complete within the raster of the map, or within the area of "
            "interest. Figures that cannot be computed are empty."
        )

    def initAlgorithm(self, _configuration: Any = None) -> None:
        """State the parameters."""
        polygons = [QgsProcessing.TypeVectorPolygon]
        self.add(
            QgsProcessingParameterVectorLayer("MAP", "Map", polygons),
            "A map that geoseg wrote, as a file; or any layer of polygons with the field class.",
        )
        self.add(
            QgsProcessingParameterVectorLayer("REFERENCE", "Reference", polygons),
            "Polygons that are right, as a file in any coordinate reference system.",
        )
        self.add(
            QgsProcessingParameterField(
                "CLASS_FIELD", "Class field of the reference", None, "REFERENCE", optional=True
            ),
            "The field that holds the classes, as the map calls them. Not set: class.",
        )
        self.add(
            QgsProcessingParameterString("CLASS", "Class of all of the reference", optional=True),
            "For a reference without a field of classes, as building footprints: building.",
        )
        self.add(
            QgsProcessingParameterFeatureSource("AOI", "Area of interest", polygons, optional=True),
            "Polygons within which the reference is complete. Not set: the raster of the map.",
        )
        self._add_how()
        self.add(
            QgsProcessingParameterFileDestination(
                "OUTPUT", "Table", "CSV (*.csv);;JSON (*.json)", optional=True
            ),
            "Figures per class and zone. A file that is there is replaced.",
        )
        for name, label in _OUTPUTS.items():
            self.addOutput(QgsProcessingOutputNumber(name, label))

    def _add_how(self) -> None:
        decimal = QgsProcessingParameterNumber.Double
        self.add(
            QgsProcessingParameterNumber("IOU", "Least IoU", decimal, 0.5, minValue=0, maxValue=1),
            "How well polygons must overlap to match, for precision, recall and F1.",
        )
        self.add_advanced(
            QgsProcessingParameterString("MATCH", "Classes that match", optional=True),
            "Where names differ: house=building, lake=water (of the reference = of the map).",
        )
        self.add_advanced(
            QgsProcessingParameterString("BOUNDARY", "Tolerance of boundaries", "2px"),
            "How far apart boundaries of covers may be: 2px, 5m.",
        )
        self.add_advanced(
            QgsProcessingParameterNumber("SEAM", "Zone of seams (pixels)", decimal, 64, minValue=1),
            "How far from a seam of the tiles its zone reaches.",
        )

    def prepareAlgorithm(self, parameters: Any, context: Any, _feedback: Any) -> bool:
        """Look at the layers where this is allowed: in the main thread."""
        self._places = [
            vector_place(self.parameterAsVectorLayer(parameters, name, context), words)
            for name, words in (("MAP", "map"), ("REFERENCE", "reference"))
        ]
        return True

    def processAlgorithm(self, parameters: Any, context: Any, feedback: Any) -> dict[str, Any]:
        """Run the command; returns where the table is, and the figures of the whole map."""
        options = {"quiet": True, **self.texts(parameters, context, _TEXTS)}
        options["iou"] = self.parameterAsDouble(parameters, "IOU", context)
        options["seam"] = self.parameterAsDouble(parameters, "SEAM", context)
        place = self.parameterAsFileOutput(parameters, "OUTPUT", context)
        if place:
            options.update(out=os.path.abspath(place), overwrite=True)  # noqa: PTH100
        source = self.parameterAsSource(parameters, "AOI", context)
        if source is not None:
            options["aoi"] = save_polygons(source, context, feedback)
        result = self.result_of(options, "", self._places, feedback)
        found: dict[str, Any] = {"OUTPUT": place} if place else {}
        return {**found, **figures(result)}

    def tell_result(self, result: Event, feedback: Any) -> None:
        """Log the table."""
        for line in judged(result):
            feedback.pushInfo(line)
        for note in result.get("notes") or ():
            feedback.pushWarning(note)
        if result.get("failed_tiles"):
            feedback.reportError(
                f"the map is incomplete: {result['failed_tiles']} tiles failed and do not count"
            )
