"""Where are the files of a map now? Where they were, or beside the map: folders are moved whole."""

from __future__ import annotations

import os
from pathlib import Path

from geoseg.access import is_local
from geoseg.errors import MapError


def find(place: str, beside: Path, knob: str) -> str:
    """Return where a file is.

    Args:
        place: Its whole path when the map was made, or a URL, which is taken as it is.
        beside: The map.
        knob: The option that tells its new place, for messages.

    Raises:
        MapError: It is in neither place.
    """
    if not is_local(place) or os.path.exists(place):  # noqa: PTH110  too long a name is no error
        return place
    moved = beside.absolute().parent / Path(place).name
    if os.path.exists(moved):  # noqa: PTH110  likewise
        return str(moved)
    raise MapError(
        f"{place}, of which {beside} was made, is neither there nor beside the map; pass {knob}"
    )


def from_folder(place: str, folder: Path) -> str:
    """Return a path as seen from a folder, with slashes; a URL as it is."""
    if not is_local(place):
        return place
    # Both as they are on the disk: through a link, `..` leads elsewhere.
    seen = os.path.relpath(Path(place).resolve(), folder.resolve()).replace(os.sep, "/")
    return seen if seen.startswith("../") else f"./{seen}"
