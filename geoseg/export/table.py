"""What does the output layer look like, and may it be written where it is asked for?"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.errors import OutputError
from geoseg.legend import Legend

if TYPE_CHECKING:
    import pyarrow as pa

    from geoseg.features import Features

COLUMNS = ("id", "class", "score", "area_ha", "perimeter_m", "n_tiles", "seam_iou")

FORMATS = {
    ".gpkg": "GPKG",
    ".parquet": "Parquet",
    ".fgb": "FlatGeobuf",
    ".geojson": "GeoJSON",
}
"""Formats by file name ending."""

LAYER = "features"
FAILED_LAYER = "failed_tiles"


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


def format_of(path: str | Path) -> str:
    """Return the format that a file name asks for.

    Raises:
        OutputError: Its ending is not one of FORMATS.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise OutputError(
            f"output '{path}' has the ending '{suffix}', which is no known format; "
            f"--out takes {', '.join(FORMATS)}"
        )
    return FORMATS[suffix]


def failed_path(path: Path) -> Path:
    """Return where failed tiles go if the format has one layer only."""
    return path.with_name(f"{path.stem}_{FAILED_LAYER}{path.suffix}")


def check_output(
    path: Path, *, overwrite: bool, crs: str | None, sources: Sequence[str] = ()
) -> None:
    """Refuse an output that could not be written in the end, before any work.

    Raises:
        OutputError: Says why, and what to change.
    """
    kind = format_of(path)
    if path.is_dir():
        raise OutputError(f"output {path} is a folder; give a file name in it")
    if path.exists() and any(Path(s).exists() and path.samefile(s) for s in sources):
        raise OutputError(f"output {path} is the input; give another --out")
    if path.exists() and not path.is_file():
        raise OutputError(f"output {path} is not a regular file; give another --out")
    if path.exists() and not overwrite:
        raise OutputError(f"output {path} is already there; pass --overwrite to replace it")
    side = failed_path(path)
    if kind != "GPKG" and side.exists() and not overwrite:
        raise OutputError(f"{side} is already there; pass --overwrite to replace it")
    if not path.parent.is_dir():
        raise OutputError(f"output folder {path.parent} does not exist; make it first")
    if kind == "GeoJSON" and crs is None:
        raise OutputError(
            "GeoJSON is always longitude and latitude, and the raster has no CRS; "
            "use .gpkg, .parquet or .fgb"
        )
    _probe(path)


def _probe(path: Path) -> None:
    try:
        # Nameless where the system can: a run that is killed here leaves nothing.
        with tempfile.TemporaryFile(prefix=".geoseg-", dir=path.parent) as file:
            file.write(b"?")
    except OSError as error:
        raise OutputError(
            f"output folder {path.parent} is not writable: {error.strerror}"
        ) from error


def schema() -> pa.Schema:
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
            ("geometry", pa.binary()),
        ]
    )


def record_batches(found: Iterable[Features], target: Target) -> Iterator[pa.RecordBatch]:
    """Turn features into Arrow record batches, one each."""
    import numpy as np
    import pyarrow as pa
    import shapely

    names = np.array([c.name for c in target.legend.classes], dtype=object)
    fields = schema()
    for features in found:
        columns: list[Any] = [
            features.number,
            names[features.cls],
            features.score,
            features.area_ha,
            features.perimeter_m,
            features.n_tiles,
            features.seam_iou,
            shapely.to_wkb(features.geometry),
        ]
        yield pa.RecordBatch.from_arrays(
            [
                pa.array(column, field.type, from_pandas=True)
                for column, field in zip(columns, fields, strict=True)
            ],
            schema=fields,
        )
