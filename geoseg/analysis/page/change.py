"""What became of what? Transitions between two dates, and what each class lost and gained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pyogrio
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError

from geoseg.analysis.changes.matrix import LAYER
from geoseg.analysis.page.document import Node, element, name, section
from geoseg.analysis.page.figures import NOTHING, column, count, percent
from geoseg.analysis.page.recipe import short
from geoseg.analysis.page.tables import Column, square, swatch, table
from geoseg.errors import MapError
from geoseg.export.read import Map, open_map

Floats = NDArray[np.float64]

_SIDES = ("before", "after")


@dataclass(frozen=True, slots=True, eq=False)
class Transitions:
    """What a map of change says."""

    dates: tuple[str, str]
    """What was compared: names of files, before and after."""
    classes: tuple[str, ...]
    """Those that occur; n of them."""
    ha: Floats
    """(n, n) hectares of pixels, by class before (row) and after (column)."""
    failed: int
    """Tiles that are missing, of either date."""


def read_change(path: Path, found: Map) -> Transitions:
    """Read what `geoseg change` counted.

    Args:
        path: Its .gpkg.
        found: The map of one of the two dates.

    Raises:
        MapError: It is none, or of other dates.
    """
    change = open_map(path)
    facts = change.made_by().facts.get("change")
    try:
        rows = pyogrio.read_dataframe(path, layer=LAYER, read_geometry=False)
    except (DataLayerError, DataSourceError):
        rows = None
    if rows is None or not isinstance(facts, Mapping) or not {*_SIDES, "ha"} <= set(rows.columns):
        raise MapError(f"{path} is no map of change; --change takes the .gpkg of geoseg change")
    sources = [s for s in facts.get("source") or [] if isinstance(s, str)]
    _check_same(path, sources, change, found)
    order = [c.name for c in found.legend.classes]
    met = {str(c) for side in _SIDES for c in rows[side]}
    classes = [*(c for c in order if c in met), *sorted(met - set(order))]
    ha = np.zeros((len(classes), len(classes)))
    for before, after, size in zip(rows["before"], rows["after"], rows["ha"], strict=True):
        ha[classes.index(str(before)), classes.index(str(after))] += float(size)
    dates = (sources[0], sources[-1]) if sources else _SIDES
    return Transitions((short(dates[0]), short(dates[1])), tuple(classes), ha, len(change.failed()))


def _check_same(path: Path, sources: list[str], change: Map, found: Map) -> None:
    """Refuse a change between other maps, or rasters, than the one of the report."""
    if sources:
        mine = {short(place) for place in found.made_by().rasters} | {found.path.stem}
        named = {short(place) for place in sources}
        same = bool(mine & {*named, *(Path(n).stem for n in named)})
    else:
        same = change.made_by().frame == found.made_by().frame
    if not same:
        raise MapError(
            f"{path} is the change between {' and '.join(short(s) for s in sources) or 'others'}, "
            f"not of {found.path}; give that of this map"
        )


def change_section(found: Transitions, colours: Mapping[str, str]) -> ET.Element:
    """Return what changed.

    Args:
        found: The transitions.
        colours: `#rrggbb` of the classes of the map.
    """
    whole = float(found.ha.sum())
    moved = whole - float(np.trace(found.ha))
    said, compared = column([moved, whole])
    part = f", {percent(moved / whole)} % of the {compared} ha that were compared" if whole else ""
    missing = None
    if found.failed:
        missing = element(
            "p",
            element("strong", f"{count(found.failed)} tiles of these dates failed: "),
            "what changed there is not known, and not in these numbers.",
            class_="warning",
        )
    return section(
        "What changed",
        element("p", f"{said} ha changed class between ", name(found.dates[0]), " and ",
                name(found.dates[1]), f"{part}."),
        missing,
        _balance(found, colours),
        *_matrix(found),
        element(
            "p",
            "Counted in pixels that both dates have seen, before any least area of polygons; "
            "unmapped is ground of no class. What stayed the same stands in bold.",
            class_="note",
        ),
        anchor="change",
    )  # fmt: skip


def _balance(found: Transitions, colours: Mapping[str, str]) -> ET.Element:
    same = np.diag(found.ha)
    before, after = found.ha.sum(axis=1), found.ha.sum(axis=0)
    parts = np.stack([before, after, before - same, after - same, after - before])
    n = len(found.classes)
    plain = column(parts.ravel())
    net = column(parts.ravel(), signed=True)[4 * n :]
    columns = [
        Column("Class", number=False),
        *(Column(head, "ha") for head in ("Before", "After", "Lost", "Gained", "Net")),
    ]
    rows: list[list[Node]] = [
        [
            element("span", swatch(colours[c]) if c in colours else None, name(c)),
            *(plain[i * n + k] for i in range(4)),
            net[k],
        ]
        for k, c in enumerate(found.classes)
    ]
    return table("What each class lost and gained", columns, rows)


def _matrix(found: Transitions) -> list[ET.Element]:
    n = len(found.classes)
    written = column([*found.ha.ravel(), *found.ha.sum(axis=1)])
    cells = [
        [NOTHING if found.ha[i, j] == 0 else written[i * n + j] for j in range(n)] for i in range(n)
    ]
    return square(
        f"From (rows, {found.dates[0]}) to (columns, {found.dates[1]}), ha",
        "From",
        found.classes,
        cells,
        ("All", written[n * n :]),
    )
