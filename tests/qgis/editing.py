"""What somebody does to a map in QGIS; run by QGIS's own Python, prints JSON lines.

python3 editing.py MAP

Edits, waits for a line on stdin with the layer in edit mode, saves, and tells what it sees.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from qgis.core import (
    QgsApplication,
    QgsFeature,
    QgsFeatureRequest,
    QgsGeometry,
    QgsRectangle,
    QgsVectorLayer,
)

MAP = sys.argv[1]


def tell(**facts: Any) -> None:
    """Print one line."""
    print(json.dumps(facts), flush=True)  # noqa: T201


def feature(layer: Any, number: int) -> Any:
    """Return the feature of an id."""
    return next(layer.getFeatures(QgsFeatureRequest().setFilterExpression(f'"id" = {number}')))


def edit(layer: Any) -> None:
    """Delete, move, relabel, copy and add a feature each."""
    layer.startEditing()
    layer.deleteFeature(feature(layer, 3).id())
    moved = QgsGeometry(feature(layer, 4).geometry())
    moved.translate(1000, 1000)
    layer.changeGeometry(feature(layer, 4).id(), moved)
    layer.changeAttributeValue(feature(layer, 5).id(), layer.fields().indexOf("class"), "barn")
    copied = QgsFeature(layer.fields())
    copied.setAttributes(feature(layer, 1).attributes())
    copied.setAttribute("fid", None)
    copied.setGeometry(feature(layer, 1).geometry())
    added = QgsFeature(layer.fields())
    added.setAttribute("class", "hut")
    added.setGeometry(QgsGeometry.fromWkt(
        "MultiPolygon(((500024 4999974, 500026 4999974, 500026 4999976, 500024 4999976,"
        " 500024 4999974)))"
    ))  # fmt: skip
    layer.addFeatures([copied, added])


def seen(layer: Any) -> dict[str, Any]:
    """Return what QGIS sees of a layer."""
    near = layer.getFeatures(QgsFeatureRequest(QgsRectangle(500024, 4999974, 500026, 4999976)))
    renderer = layer.renderer()
    return {
        "fields": [field.name() for field in layer.fields()],
        "reviews": {str(f["id"]): f["review"] for f in layer.getFeatures() if f["review"]},
        "count": layer.featureCount(),
        "near": sorted(f["class"] for f in near),
        "extent": [round(v, 3) for v in (layer.extent().xMaximum(), layer.extent().yMaximum())],
        "classes": [c.value() for c in renderer.categories() if c.value()],
    }


def main() -> None:
    """Open, edit, wait, save, look."""
    application = QgsApplication([], False)  # noqa: FBT003
    application.initQgis()
    layer = QgsVectorLayer(f"{MAP}|layername=features", "features")
    tell(before=seen(layer))
    edit(layer)
    tell(editing=layer.isEditable())
    sys.stdin.readline()
    saved = layer.commitChanges()
    tell(saved=saved, errors=[e for e in layer.commitErrors() if not e.startswith("SUCCESS")])
    sys.stdin.readline()
    again = QgsVectorLayer(f"{MAP}|layername=features", "again")
    tell(after=seen(again))
    del layer, again
    application.exitQgis()


main()
