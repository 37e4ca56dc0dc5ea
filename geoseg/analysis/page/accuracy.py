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
    names = [str(c) for c in found.classes["class"]]
    counts, matrix = found.counts.to_numpy(), found.matrix.to_numpy()
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
        _by_class(found, colours),
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
            "Estimated areas are corrected for the errors of the map; they are the ones to report.",
            class_="note",
        ),
        *(element("p", name(note), class_="note") for note in found.notes),
        anchor="accuracy",
    )


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


def _by_class(found: Assessment, colours: Mapping[str, str]) -> ET.Element:
    rows_ = found.classes
    has_ha = bool(rows_["area_ha"].notna().any())
    n = len(rows_)
    if has_ha:
        ha = column([*rows_["map_ha"], *rows_["area_ha"], *rows_["area_ci95_ha"]])
        columns = [Column("On the map", "ha"), Column("Estimated area", "ha"),
                   Column("\N{PLUS-MINUS SIGN}", "ha")]  # fmt: skip
        areas: list[list[Node]] = [
            [ha[k], element("strong", ha[n + k]), ha[2 * n + k]] for k in range(n)
        ]
    else:
        columns = [Column("Estimated share", "%")]
        shares = zip(rows_["share"], rows_["share_ci95"], strict=True)
        areas = [[interval(*pair)] for pair in shares]
    columns = [
        Column("Class", number=False), *columns,
        Column("User's accuracy", "%"), Column("Producer's accuracy", "%"),
    ]  # fmt: skip
    rows: list[list[Node]] = [
        [
            _class(str(row["class"]), colours),
            *areas[k],
            interval(row["users"], row["users_ci95"]),
            interval(row["producers"], row["producers_ci95"]),
        ]
        for k, (_, row) in enumerate(rows_.iterrows())
    ]
    return table("Area and accuracy of each class, with 95 % intervals", columns, rows)


def _class(text: str, colours: Mapping[str, str]) -> ET.Element:
    colour = colours.get(text)
    return element("span", None if colour is None else swatch(colour), name(text))
