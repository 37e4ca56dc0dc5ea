"""How right is the map? What a sample of places, that somebody looked at, says of it."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree import ElementTree as ET

import numpy as np

from geoseg.analysis.estimators import Accuracy, Estimates
from geoseg.analysis.page.document import Node, element, name, section
from geoseg.analysis.page.figures import NOTHING, column, count, percent
from geoseg.analysis.page.tables import Column, cut, swatch, table


def accuracy(found: Accuracy, colours: Mapping[str, str]) -> ET.Element:
    """Return what a sample says of a map.

    Args:
        found: The estimates; sizes are in hectares.
        colours: `#rrggbb` of the classes of the map.
    """
    units = count(int(found.counts.sum()))
    return section(
        "How right it is",
        element(
            "p",
            f"A sample of {units} places was compared with the map. It is right on ",
            element("strong", f"{plus_minus(found.overall, 0)} %"),
            " of the area. Values after ± are half of a 95 % confidence interval.",
        ),
        _by_class(found, colours),
        *_matrix(found, "Error matrix: places in the sample",
                 [[count(int(n)) for n in row] for row in found.counts],
                 [count(int(n)) for n in found.counts.sum(axis=1)]),
        *_matrix(found, "Error matrix: estimated part of the area, %",
                 [[percent(float(p)) for p in row] for row in found.matrix],
                 [percent(float(p)) for p in found.matrix.sum(axis=1)]),
        element(
            "p",
            "Rows of a matrix are what the map says, columns what is there; numbers on the "
            "diagonal are right. User's accuracy: how much of a class on the map is that class. "
            "Producer's accuracy: how much of a class on the ground is on the map. Estimated "
            "areas are corrected for the errors of the map, and are those to report.",
            class_="note",
        ),
        anchor="accuracy",
    )  # fmt: skip


def plus_minus(estimates: Estimates, k: int) -> str:
    """Return an estimated part in percent, and half of its interval."""
    value, half = (float(v[k]) for v in (estimates.value, estimates.half_width))
    if not np.isfinite(value):
        return NOTHING
    return f"{percent(value)} ± {percent(half)}" if np.isfinite(half) else percent(value)


def _by_class(found: Accuracy, colours: Mapping[str, str]) -> ET.Element:
    mapped = found.matrix.sum(axis=1) * found.total
    n = len(found.classes)
    ha = column([*mapped, *found.area.value, *found.area.half_width])
    columns = [
        Column("Class", number=False),
        Column("On the map", "ha"),
        Column("Estimated area", "ha"),
        Column("±", "ha"),
        Column("User's accuracy", "%"),
        Column("Producer's accuracy", "%"),
    ]
    rows: list[list[Node]] = [
        [
            _class(c, colours),
            ha[k],
            element("strong", ha[n + k]),
            ha[2 * n + k],
            plus_minus(found.users, k),
            plus_minus(found.producers, k),
        ]
        for k, c in enumerate(found.classes)
    ]
    return table("Area and accuracy of each class, with 95 % intervals", columns, rows)


def _class(text: str, colours: Mapping[str, str]) -> ET.Element:
    colour = colours.get(text)
    return element("span", None if colour is None else swatch(colour), name(text))


def _matrix(
    found: Accuracy, caption: str, cells: list[list[str]], totals: list[str]
) -> list[ET.Element]:
    return square(caption, "Map", found.classes, cells, ("All", totals))


def square(
    caption: str,
    corner: str,
    names: tuple[str, ...],
    cells: list[list[str]],
    sums: tuple[str, list[str]],
) -> list[ET.Element]:
    """Return a matrix of classes by classes, in as many tables as a page is wide for.

    Args:
        caption: What it shows.
        corner: What its rows are.
        names: Of rows and columns.
        cells: (row, column), as they are written.
        sums: What the sums of rows are called, and each as it is written.
    """
    made = []
    for part in cut(names):
        columns = [Column(corner, number=False), *(Column(n, outside=True) for n in names[part]),
                   Column(sums[0])]  # fmt: skip
        rows: list[list[Node]] = []
        for i, row in enumerate(cells):
            marked: list[Node] = [
                element("strong", cell) if i == j + part.start else cell
                for j, cell in enumerate(row[part])
            ]
            rows.append([name(names[i]), *marked, sums[1][i]])
        made.append(table(caption, columns, rows))
    return made
