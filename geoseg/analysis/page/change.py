"""What became of what? Transitions between two dates, and what each class lost and gained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from geoseg.analysis.page.document import Node, element, name, section
from geoseg.analysis.page.figures import NOTHING, column, count
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
    """Those that took part; n of them."""
    ha: Floats
    """(n, n) hectares of polygons, by class before (row) and after (column)."""
    unchanged: bool
    """Whether ground that stayed the same class is in it, on the diagonal."""
    failed: int
    """Tiles that are missing, of either date."""


def read_change(path: Path, found: Map) -> Transitions:
    """Read a map of change.

    Args:
        path: What `geoseg change` wrote: .gpkg or .parquet.
        found: The map of one of the two dates.

    Raises:
        MapError: It is none, or of other dates.
    """
    change = open_map(path)
    facts = change.made_by().facts.get("change")
    lacking = [side for side in _SIDES if side not in change.fields.names]
    if not isinstance(facts, Mapping) or lacking:
        raise MapError(f"{path} is no map of change; --change takes what geoseg change wrote")
    sources = [s for s in facts.get("source") or [] if isinstance(s, str)]
    _check_same(path, sources, change, found)
    sums: dict[tuple[str, str], float] = {}
    for batch in change.batches():
        ends = [batch.column(side).to_pylist() for side in _SIDES]
        for before, after, ha in zip(*ends, batch.column("area_ha").to_pylist(), strict=True):
            pair = str(before), str(after)
            sums[pair] = sums.get(pair, 0.0) + (math.nan if ha is None else float(ha))
    order = [c.name for c in found.legend.classes]
    met = {side for pair in sums for side in pair}
    classes = [*(c for c in order if c in met), *sorted(met - set(order))]
    ha = np.array([[sums.get((b, a), 0.0) for a in classes] for b in classes])
    dates = (sources[0], sources[-1]) if sources else _SIDES
    return Transitions(
        (short(dates[0]), short(dates[1])),
        tuple(classes),
        ha.reshape(len(classes), len(classes)),
        facts.get("unchanged") is True,
        len(change.failed()),
    )


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
    moved = found.ha - np.diag(np.diag(found.ha))
    total = float(moved.sum())
    heading = "What changed"
    said = element(
        "p", f"{column([total])[0]} ha changed class between ", name(found.dates[0]), " and ",
        name(found.dates[1]), ".",
    )  # fmt: skip
    missing = None
    if found.failed:
        missing = element(
            "p",
            element("strong", f"{count(found.failed)} tiles of these dates failed: "),
            "what changed there is not known, and not in these numbers.",
            class_="warning",
        )
    tables = [] if total == 0 else [_balance(found, moved, colours), *_matrix(found)]
    note = "Areas are those of the polygons of change, after the least area that they may have."
    return section(heading, said, missing, *tables, element("p", note, class_="note"),
                   anchor="change")  # fmt: skip


def _balance(found: Transitions, moved: Floats, colours: Mapping[str, str]) -> ET.Element:
    lost, gained = moved.sum(axis=1), moved.sum(axis=0)
    n = len(found.classes)
    plain = column([*lost, *gained, *(gained - lost)])
    net = column([*lost, *gained, *(gained - lost)], signed=True)[2 * n :]
    columns = [Column("Class", number=False), Column("Lost", "ha"), Column("Gained", "ha"),
               Column("Net", "ha")]  # fmt: skip
    rows: list[list[Node]] = [
        [
            element("span", swatch(colours[c]) if c in colours else None, name(c)),
            plain[k],
            plain[n + k],
            net[k],
        ]
        for k, c in enumerate(found.classes)
    ]
    return table("What each class lost and gained", columns, rows)


def _matrix(found: Transitions) -> list[ET.Element]:
    """Return hectares from class to class; what is nothing is left blank, to be seen through."""
    n = len(found.classes)
    shown = found.ha.copy()
    if not found.unchanged:
        np.fill_diagonal(shown, np.nan)
    sums = np.nansum(shown, axis=1)
    written = column([*shown.ravel(), *sums])
    cells = [
        [NOTHING if shown[i, j] == 0 else written[i * n + j] for j in range(n)] for i in range(n)
    ]
    of_all = "All, ha" if found.unchanged else "All that changed, ha"
    return square(
        f"From (rows, {found.dates[0]}) to (columns, {found.dates[1]}), ha",
        "From",
        found.classes,
        cells,
        (of_all, written[n * n :]),
    )
