"""How right is the map? What a sample of places, that somebody looked at, says of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from geoseg.analysis.page.document import Node, element, name, section
from geoseg.analysis.page.figures import NOTHING, column, count, percent
from geoseg.analysis.page.tables import Column, square, swatch, table

if TYPE_CHECKING:
    from geoseg.analysis.assess import Assessment


def accuracy_section(found: Assessment, colours: Mapping[str, str]) -> ET.Element:
    """Return what a sample says of a map.

    Args:
        found: The estimates.
        colours: `#rrggbb` of the classes of the map.
    """
    names = _order(found, colours)
    counts, matrix = (t.loc[names, names].to_numpy() for t in (found.counts, found.matrix))
    return section(
        "How right it is",
        element(
            "p",
            f"{count(found.points)} places were looked at and compared with the map. It is right "
            "on ",
            element("strong", f"{interval(found.overall, found.overall_ci95)} %"),
            " of the ground. Values after \N{PLUS-MINUS SIGN} are half of a 95 % confidence "
            "interval.",
        ),
        _missing(found),
        _by_class(found, names, colours),
        *square(
            "Error matrix: places that were looked at",
            "Map",
            names,
            [[count(int(n)) for n in row] for row in counts],
            ("All", [count(int(n)) for n in counts.sum(axis=1)]),
        ),
        *square(
            "Error matrix: estimated part of the ground, %",
            "Map",
            names,
            [[percent(float(p)) for p in row] for row in matrix],
            ("All", [percent(float(p)) for p in matrix.sum(axis=1)]),
        ),
        element(
            "p",
            f"Sample: {found.design}. Rows of a matrix are what the map says, columns what is "
            "there; what is right stands in bold. User's accuracy: how much of a class on the map "
            "is that class. Producer's accuracy: how much of a class on the ground is on the map. "
            "Estimated areas are corrected for the errors of the map; they are the ones to report. "
            "What is on the map is counted in pixels here, and may be a little less or more than "
            "its polygons.",
            class_="note",
        ),
        *(element("p", name(note), class_="note") for note in found.notes),
        anchor="accuracy",
    )


def _order(found: Assessment, colours: Mapping[str, str]) -> list[str]:
    """Return the classes as in the legend, then those that are none of it."""
    known = [str(c) for c in found.classes["class"]]
    return [*(c for c in colours if c in known), *(c for c in known if c not in colours)]


def _missing(found: Assessment) -> ET.Element | None:
    if not found.empty:
        return None
    places = "place has" if found.empty == 1 else "places have"
    return element(
        "p",
        element("strong", f"{count(found.empty)} {places} not been looked at: "),
        "these estimates are not final.",
        class_="warning",
    )


def interval(value: float, half: float) -> str:
    """Return a part, 0..1, in percent, and half of its interval."""
    if not math.isfinite(value):
        return NOTHING
    return f"{percent(value)} \N{PLUS-MINUS SIGN} {percent(half)}"


def _by_class(found: Assessment, names: list[str], colours: Mapping[str, str]) -> ET.Element:
    known = found.classes.set_index("class").loc[names]
    has_ha = bool(known["area_ha"].notna().any())
    n = len(known)
    if has_ha:
        ha = column([*known["map_ha"], *known["area_ha"], *known["area_ci95_ha"]])
        columns = [Column("On the map", "ha"), Column("Estimated area", "ha"),
                   Column("\N{PLUS-MINUS SIGN}", "ha")]  # fmt: skip
        areas: list[list[Node]] = [
            [ha[k], element("strong", ha[n + k]), ha[2 * n + k]] for k in range(n)
        ]
    else:
        columns = [Column("Estimated share", "%")]
        shares = zip(known["share"], known["share_ci95"], strict=True)
        areas = [[interval(*pair)] for pair in shares]
    columns = [
        Column("Class", number=False), *columns,
        Column("User's accuracy", "%"), Column("Producer's accuracy", "%"),
    ]  # fmt: skip
    rows: list[list[Node]] = [
        [
            _class(str(c), colours),
            *areas[k],
            interval(row["users"], row["users_ci95"]),
            interval(row["producers"], row["producers_ci95"]),
        ]
        for k, (c, row) in enumerate(known.iterrows())
    ]
    return table("Area and accuracy of each class, with 95 % intervals", columns, rows)


def _class(text: str, colours: Mapping[str, str]) -> ET.Element:
    colour = colours.get(text)
    return element("span", None if colour is None else swatch(colour), name(text))
