"""What is to be found in rasters, and by which model? Asked alike by what segments them."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFile,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
)

from .algorithm import CommandAlgorithm

TEXTS = {
    "prompt": "PROMPT",
    "legend": "LEGEND",
    "backend": "BACKEND",
    "bands": "BANDS",
    "sensor": "SENSOR",
}
"""Parameters by option."""


class WordsAlgorithm(CommandAlgorithm):
    """A subcommand that looks for words in rasters."""

    def add_words(self, backend: str | None) -> None:
        """State what to look for.

        Args:
            backend: The one that is taken unless another is given; None leaves it to the command.
        """
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
        asked = QgsProcessingParameterString(
            "BACKEND", "Backend", backend, optional=backend is None
        )
        asked.setMetadata({"widget_wrapper": {"class": f"{__package__}.widgets.BackendWidget"}})
        self.add(
            asked,
            "What finds the classes: spectral needs no weights and no GPU; a detector+segmenter "
            "takes any words. Other weights go after a colon.",
        )

    def add_area(self, help_: str) -> None:
        """Ask for an area of interest."""
        polygons = [QgsProcessing.TypeVectorPolygon]
        self.add(
            QgsProcessingParameterFeatureSource("AOI", "Area of interest", polygons, optional=True),
            help_,
        )

    def add_bands(self) -> None:
        """Ask what the bands are."""
        self.add(
            QgsProcessingParameterString("SENSOR", "Sensor", optional=True),
            "Order of the bands, where the file does not say it: rgb, naip, landsat8, sentinel2, "
            "planetscope.",
        )
        self.add(
            QgsProcessingParameterString("BANDS", "Bands by role", optional=True),
            "As red=4,green=3,blue=2,nir=8. Counts more than the sensor.",
        )

    def add_rest(self, help_: str) -> None:
        """Ask for processes, and for options that have no parameter of their own."""
        whole = QgsProcessingParameterNumber.Integer
        self.add_advanced(
            QgsProcessingParameterNumber("WORKERS", "Processes", whole, 1, minValue=1),
            "More than one is faster on many cores and takes more memory; the map is the same.",
        )
        self.add_advanced(
            QgsProcessingParameterString("EXTRA", "Further options", optional=True), help_
        )

    def checkParameterValues(self, parameters: Any, context: Any) -> tuple[bool, str]:
        """Return whether they can be used, and why not."""
        words = self.parameterAsString(parameters, "PROMPT", context).strip()
        if words and self.parameterAsString(parameters, "LEGEND", context).strip():
            return False, "give classes in words or a legend, not both"
        fine, why = super().checkParameterValues(parameters, context)
        return fine, why
