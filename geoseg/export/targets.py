"""Which format does a name ask for?"""

from __future__ import annotations

from pathlib import Path

from geoseg.errors import OutputError
from geoseg.export.place import FORMATS

RASTER, LABELS, PROJECT, CATALOGUE = "cog", "coco", "qgz", "stac"

_BY_ENDING = {
    **FORMATS,
    ".tif": RASTER,
    ".tiff": RASTER,
    ".qgz": PROJECT,
    "coco.json": LABELS,
    "stac.json": CATALOGUE,
}

ENDINGS = (*FORMATS, ".tif", "coco.json", ".qgz", "stac.json")
"""What an output may end in, for messages."""

JSON = (LABELS, CATALOGUE)
"""Formats that a name may leave open."""


def target_of(path: Path, chosen: str | None) -> str:
    """Return a format: one of FORMATS' values, or `cog`, `coco`, `qgz`, `stac`.

    Args:
        path: The output.
        chosen: What a `.json` is to be, `coco` or `stac`; None: as its name says.

    Raises:
        OutputError: The name asks for none, leaves it open, or asks for another.
    """
    name = path.name.lower()
    named = next((kind for end, kind in _BY_ENDING.items() if name.endswith(end)), None)
    if chosen is not None:
        if chosen not in JSON or path.suffix.lower() != ".json":
            raise OutputError(
                f"--format {chosen} for '{path}': it says what a .json is ({' or '.join(JSON)}); "
                "other formats go by the ending"
            )
        return chosen
    if named is None and path.suffix.lower() == ".json":
        raise OutputError(
            f"'{path}' may be of two formats; call it coco.json or stac.json, or pass --format "
            f"{' or '.join(JSON)}"
        )
    if named is None and not path.suffix:
        raise OutputError(
            f"--to {path} is no format and no file; it takes coco or yolo, with --out FOLDER, or a "
            f"file that ends in {', '.join(ENDINGS)}"
        )
    if named is None:
        raise OutputError(
            f"output '{path}' has the ending '{path.suffix}', which is no known format; --to "
            f"takes {', '.join(ENDINGS)}"
        )
    return named
