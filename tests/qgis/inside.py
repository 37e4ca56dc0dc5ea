"""What the plugin does inside QGIS; run by QGIS's own Python, prints one JSON object.

python3 inside.py FOLDER RASTER LATER TORN LEGEND
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsGeometry,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsProcessingContext,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProcessingOutputLayerDefinition,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor

FOLDER, RASTER, LATER, TORN, LEGEND = map(Path, sys.argv[1:])


class Listener(QgsProcessingFeedback):
    """Keeps what is reported; may cancel as soon as tiles are looked at."""

    def __init__(self, *, cancels: bool = False) -> None:
        super().__init__(False)  # noqa: FBT003
        self.errors: list[str] = []
        self._cancels = cancels

    def reportError(self, error: str, fatalError: bool = False) -> None:  # noqa: FBT001, FBT002, N802, N803, ARG002
        self.errors.append(error)

    def setProgressText(self, text: str) -> None:  # noqa: N802
        if self._cancels and text.startswith("detect: "):
            self.cancel()


def run_and_load(listener: Listener, **parameters: Any) -> tuple[dict[str, Any], list[Any]]:
    """Run as the toolbox does; returns the results and the layers that were added."""
    from processing.gui.Postprocessing import handleAlgorithmResults

    project = QgsProject.instance()
    project.removeAllMapLayers()
    name = parameters.pop("algorithm", "geoseg:segment")
    context = QgsProcessingContext()
    context.setProject(project)
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(name)
    place = parameters.pop("OUTPUT", "TEMPORARY_OUTPUT")
    parameters["OUTPUT"] = QgsProcessingOutputLayerDefinition(place, project)
    results, fine = algorithm.run(parameters, context, listener)
    if not fine:
        return {"errors": listener.errors}, []
    handleAlgorithmResults(algorithm, context, listener, parameters=parameters)
    return results, list(project.mapLayers().values())


def drawn(layer: Any) -> dict[str, Any]:
    """Return how a layer is drawn."""
    renderer = layer.renderer()
    # Symbols die with the list they are in.
    categories = list(renderer.categories()) if renderer.type() == "categorizedSymbol" else []
    return {
        "renderer": renderer.type(),
        "attribute": renderer.classAttribute() if categories else None,
        "colours": {c.value(): c.symbol().color().name() for c in categories if c.value()},
    }


def area() -> Any:
    """Return a layer in memory, with a polygon around each lake; the first is selected."""
    layer = QgsVectorLayer("Polygon?crs=EPSG:32633&field=name:string", "areas", "memory")
    for x, y in ((500100, 4999900), (501000, 4999400)):
        box = f"{x} {y}, {x} {y - 700}, {x + 700} {y - 700}, {x + 700} {y}, {x} {y}"
        feature = QgsFeature(layer.fields())
        feature.setGeometry(QgsGeometry.fromWkt(f"POLYGON(({box}))"))
        layer.dataProvider().addFeature(feature)
    layer.updateExtents()
    layer.selectByIds([1])
    QgsProject.instance().addMapLayer(layer)
    return layer


def styled() -> dict[str, Any]:
    """Segment with a legend; the layer is loaded."""
    out = str(FOLDER / "styled.gpkg")
    results, layers = run_and_load(
        Listener(), INPUT=QgsRasterLayer(str(RASTER), "lakes"), LEGEND=str(LEGEND), OUTPUT=out
    )
    (layer,) = layers
    again = QgsVectorLayer(f"{out}|layername=features", "again")
    return {
        "results": results,
        "count": layer.featureCount(),
        "loaded": drawn(layer),
        "opened": drawn(again),
        "png": picture([layer], FOLDER / "styled.png"),
    }


def changed() -> dict[str, Any]:
    """Compare two rasters; the layer is loaded."""
    results, layers = run_and_load(
        Listener(),
        algorithm="geoseg:change",
        BEFORE=QgsRasterLayer(str(RASTER), "lakes"),
        AFTER=QgsRasterLayer(str(LATER), "later"),
        LEGEND=str(LEGEND),
        OUTPUT=str(FOLDER / "changed.gpkg"),
    )
    (layer,) = layers
    return {"results": results, "count": layer.featureCount(), "loaded": drawn(layer)}


def picture(layers: list[Any], path: Path) -> str:
    """Draw layers over the extent of the raster, pixel by pixel."""
    raster = QgsRasterLayer(str(RASTER), "extent")
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setDestinationCrs(raster.crs())
    settings.setExtent(raster.extent())
    settings.setOutputSize(QSize(raster.width(), raster.height()))
    settings.setBackgroundColor(QColor("white"))
    settings.setFlag(QgsMapSettings.Antialiasing, False)  # noqa: FBT003
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    job.renderedImage().save(str(path))
    return str(path)


def within() -> dict[str, Any]:
    """Segment inside the selected polygon of a layer in memory."""
    definition = QgsProcessingFeatureSourceDefinition(area().id(), selectedFeaturesOnly=True)
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    parameters = {"INPUT": str(RASTER), "PROMPT": "water", "AOI": definition}
    parameters["OUTPUT"] = str(FOLDER / "within.gpkg")
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("geoseg:segment")
    results, fine = algorithm.run(parameters, context, Listener())
    return {"results": results, "fine": fine}


def incomplete() -> dict[str, Any]:
    """Segment a torn raster."""
    listener = Listener()
    results, layers = run_and_load(
        listener,
        INPUT=str(TORN),
        PROMPT="vegetation",
        TILE=64,
        OVERLAP=8,
        EXTRA="--keep-going",
    )
    names = {layer.name(): layer.featureCount() for layer in layers}
    return {"results": results, "errors": listener.errors, "layers": names}


def cancelled() -> dict[str, Any]:
    """Cancel after the first tiles."""
    listener = Listener(cancels=True)
    out = str(FOLDER / "cancelled.gpkg")
    asked = {"INPUT": str(RASTER), "PROMPT": "water", "TILE": 16, "OVERLAP": 8, "OUTPUT": out}
    results, _ = run_and_load(listener, **asked)
    return {"errors": results.get("errors"), "written": os.path.exists(out)}  # noqa: PTH110


def refused() -> dict[str, Any]:
    """Ask for what cannot be done."""
    from processing.core.ProcessingConfig import ProcessingConfig

    both, service, unplaced, nowhere = (Listener() for _ in range(4))
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("geoseg:segment")
    context = QgsProcessingContext()
    asked = {"INPUT": str(RASTER), "PROMPT": "water", "OUTPUT": str(FOLDER / "refused.gpkg")}
    fine, why = algorithm.checkParameterValues({**asked, "LEGEND": str(LEGEND)}, context)
    both.reportError(f"{fine}: {why}")
    layer = QgsRasterLayer("type=xyz&url=http://127.0.0.1:9/%7Bz%7D", "tiles", "wms")
    algorithm.run({**asked, "INPUT": layer}, context, service)
    box = QgsFeature()
    box.setGeometry(QgsGeometry.fromWkt("POLYGON((0 0, 0 1, 1 1, 0 0))"))
    layer = QgsVectorLayer("Polygon", "unplaced", "memory")
    layer.setCrs(QgsCoordinateReferenceSystem())
    layer.dataProvider().addFeature(box)
    algorithm.run({**asked, "AOI": layer}, context, unplaced)
    # The setting counts more than the variable.
    ProcessingConfig.setSettingValue("GEOSEG_EXECUTABLE", str(RASTER))
    algorithm.run(asked, context, nowhere)
    ProcessingConfig.setSettingValue("GEOSEG_EXECUTABLE", "")
    told = {"both": both, "service": service, "unplaced": unplaced, "nowhere": nowhere}
    return {name: listener.errors for name, listener in told.items()}


def dialog() -> dict[str, Any]:
    """Open the dialogs, and wait for the backends to choose from."""
    from processing.gui.AlgorithmDialog import AlgorithmDialog

    registry = QgsApplication.processingRegistry()
    window, other = (
        AlgorithmDialog(registry.createAlgorithmById(f"geoseg:{name}"))
        for name in ("segment", "change")
    )
    unset = other.mainWidget().wrappers["BACKEND"].parameterValue()
    wrapper = window.mainWidget().wrappers["BACKEND"]
    box, until = wrapper.wrappedWidget() or wrapper.widget, time.monotonic() + 20
    first = box.count()
    while box.count() == 0 and time.monotonic() < until:
        QgsApplication.processEvents()
        time.sleep(0.02)
    found = [box.itemText(k) for k in range(box.count())]
    shown = wrapper.parameterValue()
    box.setEditText("owlv2:/my/weights")
    typed = wrapper.parameterValue()
    return {"first": first, "found": found, "shown": shown, "typed": typed, "unset": unset}


def main() -> None:
    """Run everything."""
    application = QgsApplication([], True)  # noqa: FBT003
    sys.path.append(str(Path(QgsApplication.pkgDataPath()) / "python" / "plugins"))
    profile = Path(os.environ["QGIS_CUSTOM_CONFIG_PATH"]) / "profiles" / "default"
    sys.path.append(str(profile / "python" / "plugins"))
    application.initQgis()
    from processing.core.Processing import Processing

    Processing.initialize()
    import geoseg_qgis

    plugin = geoseg_qgis.classFactory(None)
    plugin.initGui()
    steps = (styled, within, changed, incomplete, cancelled, refused, dialog)
    print(json.dumps({step.__name__: step() for step in steps}))  # noqa: T201
    plugin.unload()
    gone = QgsApplication.processingRegistry().algorithmById("geoseg:segment") is None
    sys.stdout.flush()
    # QGIS may crash when layers outlive it.
    os._exit(0 if gone else 1)


if __name__ == "__main__":
    main()
