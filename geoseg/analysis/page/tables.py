"""How is a table built that can be read aloud, and is not cut on paper?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from geoseg.analysis.page.document import Node, element, name

ACROSS = 7
"""Columns of numbers that fit on a page of A4; a wider table goes on below."""


SHORT = 24
"""Rows of a table that is kept on one page; a longer one goes on, under its head, on the next."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    head: str
    """What is in it."""
    unit: str = ""
    """In what."""
    number: bool = True
    """Whether it holds numbers, which are aligned at their end."""
    outside: bool = False
    """Whether the head comes from outside, and its direction of writing stays its own."""


Row = Sequence[Node]


def table(
    caption: str, columns: Sequence[Column], rows: Sequence[Row], *, total: Row | None = None
) -> ET.Element:
    """Return a table, whose first cell of each row says what the row is.

    Args:
        caption: What the table shows.
        columns: One for each cell of a row.
        rows: Cells.
        total: A last row that sums up the others.
    """
    head = element("tr", *(_head(column) for column in columns))
    foot = None if total is None else element("tfoot", _row(columns, total))
    made = element(
        "table",
        element("caption", caption),
        element("thead", head),
        element("tbody", *(_row(columns, row) for row in rows)),
        foot,
    )
    # What is too wide for a small screen is moved, not squeezed.
    kind = "table short" if len(rows) <= SHORT else "table"
    return element("div", made, class_=kind, tabindex=0, role="group", aria_label=caption)


def cut(columns: Sequence[str]) -> list[slice]:
    """Return parts of a wide table's columns of numbers that fit on a page, about equally wide."""
    parts = max(-(-len(columns) // ACROSS), 1)
    width = max(-(-len(columns) // parts), 1)
    return [slice(start, start + width) for start in range(0, max(len(columns), 1), width)]


def square(
    caption: str,
    corner: str,
    names: Sequence[str],
    cells: Sequence[Sequence[str]],
    sums: tuple[str, Sequence[str]],
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


def facts(caption: str, rows: Sequence[tuple[str, Node]]) -> ET.Element:
    """Return a table of names and what is known of each."""
    return table(caption, [Column("What", number=False), Column("Value", number=False)], rows)


def _head(column: Column) -> ET.Element:
    unit = element("span", column.unit, class_="unit") if column.unit else None
    label = element("bdi", column.head) if column.outside else column.head
    return element("th", label, " " if unit is not None else None, unit, scope="col",
                   class_=_kind(column))  # fmt: skip


def _row(columns: Sequence[Column], cells: Row) -> ET.Element:
    first, *others = cells
    return element(
        "tr",
        element("th", first, scope="row"),
        *(
            element("td", cell, class_=_kind(column))
            for column, cell in zip(columns[1:], others, strict=True)
        ),
    )


def _kind(column: Column) -> str:
    return "number" if column.number else "text"


def swatch(colour: str) -> ET.Element:
    """Return a small square in a colour: drawn, as printers leave out backgrounds.

    Args:
        colour: `#rrggbb`, as LandClass makes sure.
    """
    square = element("rect", x=0.5, y=0.5, width=13, height=13, rx=2, fill=colour,
                     stroke="#00000059")  # fmt: skip
    return element("svg", square, class_="swatch", viewBox="0 0 14 14", width=14, height=14,
                   aria_hidden="true")  # fmt: skip


def bar(part: float, colour: str) -> ET.Element:
    """Return a bar as long as a part, 0..1, of its cell; for the eye only."""
    length = round(100 * min(max(part, 0.0), 1.0), 2)
    drawn = element("rect", x=0, y=0, width=length, height=10, fill=colour)
    ground = element("rect", x=0, y=0, width=100, height=10, fill="#ecebe6")
    return element("svg", ground, drawn, class_="bar", viewBox="0 0 100 10",
                   preserveAspectRatio="none", aria_hidden="true")  # fmt: skip
