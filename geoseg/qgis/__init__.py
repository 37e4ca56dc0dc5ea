"""The QGIS plugin: runs the `geoseg` command from the Processing toolbox.

`geoseg qgis install` copies this folder into a QGIS profile. It imports the standard library and
QGIS only: QGIS has a numpy, a GDAL and a PROJ of its own, and does not survive a second set.
"""

from __future__ import annotations

from typing import Any


def classFactory(_iface: Any) -> Any:
    """Return the plugin."""
    from .plugin import Plugin

    return Plugin()
