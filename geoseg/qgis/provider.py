"""What does the toolbox show under geoseg, and which command does it run?"""

from __future__ import annotations

import configparser
import os
from pathlib import Path

from processing.core.ProcessingConfig import ProcessingConfig, Setting
from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .change import Change
from .command import find_command
from .evaluate import Evaluate
from .segment import Segment

FOLDER = Path(__file__).parent

ALGORITHMS = (Segment, Change, Evaluate)

_EXECUTABLE = "GEOSEG_EXECUTABLE"


def command() -> str:
    """Return the path of the `geoseg` command.

    Raises:
        CommandError: There is none.
    """
    setting = ProcessingConfig.getSetting(_EXECUTABLE)
    return find_command(str(setting or "").strip(), os.environ, FOLDER)


class Provider(QgsProcessingProvider):
    """The algorithms, and the setting with the path of the command."""

    def load(self) -> bool:
        """Add the setting, then the algorithms."""
        ProcessingConfig.settingIcons[self.name()] = self.icon()
        ProcessingConfig.addSetting(
            Setting(
                self.name(),
                _EXECUTABLE,
                "Path of the command geoseg (empty: it is looked for)",
                "",
                valuetype=Setting.FILE,
            )
        )
        ProcessingConfig.readSettings()
        self.refreshAlgorithms()
        return True

    def unload(self) -> None:
        """Take the setting away."""
        ProcessingConfig.removeSetting(_EXECUTABLE)

    def loadAlgorithms(self) -> None:
        """Add the algorithms."""
        for algorithm in ALGORITHMS:
            self.addAlgorithm(algorithm(command))

    def id(self) -> str:
        """Return what stands before the colon of an algorithm's name."""
        return "geoseg"

    def name(self) -> str:
        """Return what the toolbox shows."""
        return "geoseg"

    def longName(self) -> str:
        """Return what is said of it in one line."""
        return "geoseg: polygons out of imagery with words"

    def versionInfo(self) -> str:
        """Return the version of the plugin."""
        metadata = configparser.ConfigParser()
        metadata.read(FOLDER / "metadata.txt", "utf-8")
        return metadata["general"]["version"]

    def icon(self) -> QIcon:
        """Return the icon."""
        return QIcon(str(FOLDER / "icon.svg"))

    def supportsNonFileBasedOutput(self) -> bool:
        """Return False: the command writes files, not databases."""
        return False

    def supportedOutputVectorLayerExtensions(self) -> list[str]:
        """Return the endings that any QGIS opens, the usual one first."""
        return ["gpkg", "fgb", "geojson"]

    def defaultVectorFileExtension(self, hasGeometry: bool = True) -> str:  # noqa: ARG002, FBT001, FBT002, N803
        """Return the ending of temporary outputs."""
        return "gpkg"
