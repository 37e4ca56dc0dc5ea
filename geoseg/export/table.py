"""What do the layers of an output look like? The features, and the tiles that failed."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.export.style import class_style, failed_style
from geoseg.legend import Legend

if TYPE_CHECKING:
    import pyarrow as pa
    import shapely

    from geoseg.features import Features

COLUMNS = ("id", "class", "score", "area_ha", "perimeter_m", "n_tiles", "seam_iou")

LAYER = "features"
FAILED_LAYER = "failed_tiles"

REASON_CHARS = 500
"""Most characters of the reason of a failed tile; what libraries say may be a megabyte."""

Failed = list[tuple[str, str, "shapely.Polygon"]]
"""Name, reason and outline (in the CRS of the map) of each tile that failed."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a map goes."""

    path: Path
    """The final file."""
    crs: str | None
    """WKT of the CRS, or None."""
    legend: Legend
    """Gives class indices their names."""
    recipe: str
    """JSON of what made the map, stored in the file where the format can."""
    extra: tuple[tuple[str, str], ...] = ()
    """Name and Arrow type of each further column, as `("clipped", "bool")`."""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A layer to write."""

    name: str
    """What it is called in formats that name layers."""
    shape: str
    """Type of its geometries: `MultiPolygon` or `Polygon`; empty of a table without geometry, which
    a GeoPackage can hold beside layers."""
    fields: pa.Schema
    """Columns; the last is the geometry as WKB, but of a table."""
    batches: Iterable[pa.RecordBatch]
    """Its rows, once."""
    style: str = ""
    """QML in which QGIS draws it, where the format can hold it; none where empty."""


def schema(target: Target) -> pa.Schema:
    """Return the Arrow schema of the layer; geometry is WKB."""
    import pyarrow as pa

    return pa.schema(
        [
            ("id", pa.int64()),
            ("class", pa.string()),
            ("score", pa.float64()),
            ("area_ha", pa.float64()),
            ("perimeter_m", pa.float64()),
            ("n_tiles", pa.int32()),
            ("seam_iou", pa.float64()),
            *((name, pa.type_for_alias(kind)) for name, kind in target.extra),
            ("geometry", pa.binary()),
        ]
    )


def feature_layer(found: Iterable[Features], target: Target) -> Layer:
    """Return the features as a layer."""
    rows = record_batches(found, target)
    return Layer(LAYER, "MultiPolygon", schema(target), rows, class_style(target.legend))


def failed_layer(failed: Failed) -> Layer:
    """Return the tiles that failed as a layer: tile, reason, outline."""
    import pyarrow as pa
    import shapely

    fields = pa.schema([("tile", pa.string()), ("reason", pa.string()), ("geometry", pa.binary())])
    names, reasons, outlines = zip(*failed, strict=True)
    turned = shapely.orient_polygons(list(outlines), exterior_cw=False)
    columns = [list(names), [plain(r) for r in reasons], list(shapely.to_wkb(turned))]
    rows = pa.RecordBatch.from_arrays(
        [pa.array(c, f.type) for c, f in zip(columns, fields, strict=True)], schema=fields
    )
    return Layer(FAILED_LAYER, "Polygon", fields, [rows], failed_style())


def plain(text: str) -> str:
    """Return text that every format can hold: one line, no control characters, not too long.

    NUL would cut the text of a GeoPackage, and a lone surrogate is no UTF-8.
    """
    # What spaces and control characters take away is found in a stretch, not in a megabyte.
    stretch = text[: 4 * REASON_CHARS]
    kept = "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in stretch)
    line = " ".join(kept.split())
    cut = len(line) > REASON_CHARS or len(text) > len(stretch)
    return line[: REASON_CHARS - 1] + "…" if cut else line


def record_batches(found: Iterable[Features], target: Target) -> Iterator[pa.RecordBatch]:
    """Turn features into Arrow record batches, one each; what is not finite becomes null."""
    import numpy as np
    import pyarrow as pa
    import shapely

    names = np.array([c.name for c in target.legend.classes], dtype=object)
    fields = schema(target)
    for features in found:
        columns: list[Any] = [
            features.number,
            names[features.cls],
            features.score,
            features.area_ha,
            features.perimeter_m,
            features.n_tiles,
            features.seam_iou,
            *(features.extra[name] for name, _ in target.extra),
            shapely.to_wkb(features.geometry),
        ]
        yield pa.RecordBatch.from_arrays(
            [
                # GeoJSON has no number for infinity: GDAL leaves out the whole column.
                pa.array(column, field.type, mask=~np.isfinite(column))
                if pa.types.is_floating(field.type)
                else pa.array(column, field.type)
                for column, field in zip(columns, fields, strict=True)
            ],
            schema=fields,
        )
