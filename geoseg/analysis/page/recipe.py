"""What is said of how the map was made? Everything that the map says of itself.

Folders stay private: of files, names are shown.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from xml.etree import ElementTree as ET

import pyproj

from geoseg.access import is_local
from geoseg.analysis.page.document import Node, element, name, section
from geoseg.analysis.page.figures import NOTHING, count
from geoseg.analysis.page.tables import Column, facts, swatch, table
from geoseg.frame import Frame
from geoseg.legend import Legend
from geoseg.recipe import BY_HAND, IN_MEMORY, Recipe

_SAID = {
    "backend": "Backend as asked for",
    "models": "Options of the models",
    "boxes": "Boxes and points outlined",
    "aoi": "Area of interest",
    "mask_clouds": "Cloud mask",
    "bands": "Bands as asked for",
    "sensor": "Sensor",
    "composite": "Composite",
    "simplify": "Outlines simplified by at most",
    "smooth": "Outlines smoothed",
    "min_area": "Least area of a polygon",
    "min_hole": "Least area of a hole",
    "small": "Smaller covers",
    "regularize": "Classes with right angles",
    "columns": "Further columns",
}
"""What may have been asked for, and is not said elsewhere."""

_TOLD = {"format", "backend", "tile", "overlap", "legend", "versions", "models", "frame", "asked",
         "composite", BY_HAND}  # fmt: skip

_SHA_DIGITS = 12


def recipe_section(recipe: Recipe, file_name: str) -> ET.Element:
    """Return how a map was made.

    Args:
        recipe: What the map says.
        file_name: Of the map.
    """
    return section(
        "How the map was made",
        _legend(recipe.legend),
        element("div", facts("Settings", _settings(recipe)), class_="facts"),
        *_models(recipe.facts["models"]),
        element("p", "The map holds this recipe; ", *_again(recipe, file_name), class_="note"),
        anchor="recipe",
    )


def _again(recipe: Recipe, file_name: str) -> list[Node]:
    """Return whether the map can be made again."""
    if BY_HAND in recipe.facts:
        return ["its polygons were drawn by hand, so that no command makes it again."]
    command = element("code", "geoseg rerun ", name(file_name))
    return [command, " makes it again where the raster is at hand."]


def _legend(legend: Legend) -> ET.Element:
    columns = [Column("Class", number=False), Column("Kind", number=False),
               Column("Words looked for", number=False), Column("Least score")]  # fmt: skip
    rows: list[list[Node]] = [
        [
            element("span", swatch(c.colour), name(c.name)),
            c.kind,
            ", ".join(c.prompts),
            NOTHING if c.threshold is None else f"{c.threshold:g}",
        ]
        for c in legend.classes
    ]
    return table("Legend: objects are counted, covers measured", columns, rows)


def _settings(recipe: Recipe) -> list[tuple[str, Node]]:
    known, asked = recipe.facts, recipe.asked
    rows: list[tuple[str, Node]] = [*_rasters(recipe), *_grid(recipe.frame)]
    rows.append(("Backend", str(known["backend"])))
    rows.append(("Tile", f"{known['tile']} px, overlap {known['overlap']} px"))
    if recipe.legend.exclusive and any(c.kind == "cover" for c in recipe.legend.classes):
        rows.append(("Covers", "exclusive: they share no ground"))
    rows += [(label, _words(asked[key])) for key, label in _SAID.items() if asked.get(key)]
    if asked[IN_MEMORY]:
        rows.append(("Given as objects in Python", ", ".join(asked[IN_MEMORY])))
    rows += [
        (key, _words(value))
        for key, value in known.items()
        if key not in _TOLD and not key.startswith("raster.")
    ]
    versions = known.get("versions", {})
    rows.append(("Versions", ", ".join(f"{k} {v}" for k, v in sorted(versions.items()))))
    return rows


def _rasters(recipe: Recipe) -> list[tuple[str, Node]]:
    known = recipe.raster
    parts = [v for k, v in sorted(known.items()) if k.startswith("source.")]
    rows: list[tuple[str, Node]] = [("Raster", _file(part)) for part in parts or [known]]
    roles = (parts or [known])[0].get("roles", {})
    bands = ", ".join(f"{role} {number}" for role, number in sorted(roles.items(), key=_number))
    return [*rows, *([("Bands by role", bands)] if bands else [])]


def _number(role: tuple[str, int]) -> int:
    return role[1]


def _file(part: Mapping[str, Any]) -> str:
    """Return what is known of a raster: its name, size, time of change and digest."""
    words = [short(part["path"]) if "path" in part else "in memory"]
    if isinstance(part.get("bytes"), int):
        words.append(f"{count(part['bytes'])} bytes")
    changed = when_changed(part)
    if changed is not None:
        words.append(f"last changed {changed}")
    if isinstance(part.get("ends_sha256"), str):
        words.append(f"SHA-256 of its ends {part['ends_sha256'][:_SHA_DIGITS]}…")
    return ", ".join(words)


def when_changed(part: Mapping[str, Any]) -> str | None:
    """Return when the file of a raster was last changed, in UTC."""
    nanoseconds = part.get("mtime_ns")
    if not isinstance(nanoseconds, int):
        return None
    try:
        return f"{datetime.fromtimestamp(nanoseconds // 10**9, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return None


def short(place: str) -> str:
    """Return the name of a file, whichever system its path is of; a URL as it is."""
    if not is_local(place):
        return place
    return PurePosixPath(PureWindowsPath(place).name).name if "\\" in place else (
        PurePosixPath(place).name or place
    )  # fmt: skip


def _grid(frame: Frame) -> list[tuple[str, Node]]:
    rows: list[tuple[str, Node]] = [
        ("Size", f"{count(frame.width)} x {count(frame.height)} pixels")
    ]
    if frame.gsd_m is not None:
        rows.append(("Side of a pixel on the ground", f"{frame.gsd_m:.3g} m"))
    return [*rows, ("Coordinate reference system", crs_name(frame))]


def crs_name(frame: Frame) -> str:
    """Return what a CRS is called, and its code."""
    if frame.crs is None:
        return "none: areas are not known"
    crs = pyproj.CRS.from_wkt(frame.crs)
    code = crs.to_authority()
    return crs.name + ("" if code is None else f" ({code[0]}:{code[1]})")


def _words(value: Any) -> str:
    """Return a setting as readers know it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        path, mark, layer = value.partition("|layername=")
        return short(path) + mark + layer
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_words(v)}" for k, v in value.items())
    return json.dumps(value)


def _models(models: list[Mapping[str, Any]]) -> list[ET.Element]:
    if not models:
        return []
    columns = [Column(head, number=False) for head in
               ("Weights", "Of", "Revision", "SHA-256", "Licence")]  # fmt: skip
    rows: list[list[Node]] = [
        [
            name(short(str(model.get("source", NOTHING)))),
            str(model.get("family", NOTHING)),
            str(model.get("revision") or NOTHING),
            str(model.get("sha256") or NOTHING)[:_SHA_DIGITS],
            str(model.get("licence", NOTHING)),
        ]
        for model in models
    ]
    return [table("Models", columns, rows)]
