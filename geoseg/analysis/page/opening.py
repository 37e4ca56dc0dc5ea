"""What comes first? What the map is, in a few numbers and a picture; above them what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from geoseg.analysis.page.document import Node, element, name
from geoseg.analysis.page.figures import count
from geoseg.analysis.page.tables import Column, table
from geoseg.export.table import Failed

_LISTED = 20
"""Failed tiles that are named one by one."""


@dataclass(frozen=True, slots=True)
class Key:
    """A number that readers look for first."""

    value: str
    """As it is written."""
    unit: str
    """In what; empty where the label says it."""
    label: tuple[Node, ...]
    """What it is."""


def title_of(text: str, lead: Sequence[Node]) -> ET.Element:
    """Return the head of the page."""
    return element("header", element("h1", text), element("p", *lead, class_="lead"))


def keys(numbers: list[Key]) -> ET.Element:
    """Return the first numbers."""
    return element("dl", *(_key(number) for number in numbers), class_="key")


def _key(number: Key) -> ET.Element:
    unit = element("span", f" {number.unit}", class_="unit") if number.unit else None
    return element("div", element("dt", *number.label),
                   element("dd", number.value, unit))  # fmt: skip


def map_figure(url: str, classes: list[str], raster: str) -> ET.Element:
    """Return the picture of a map.

    Args:
        url: It, inside a URL.
        classes: Those that are in it.
        raster: What the raster is called.
    """
    shown = ", ".join(classes) or "no polygon"
    image = element("img", src=url, alt=f"Map over the raster {raster}, showing {shown}; the areas "
                    "of all classes are in the table below.")  # fmt: skip
    caption = element(
        "figcaption", "The map over its raster ", name(raster), ". Colours are those of the table "
        "below; numbers at the edges are coordinates of the map's reference system.",
    )  # fmt: skip
    return element("figure", image, caption)


def alarm(failed: Failed, lost: str) -> ET.Element:
    """Return a box that says which tiles are missing.

    Args:
        failed: Name, reason and outline of each.
        lost: How much ground that is.
    """
    tiles = f"{count(len(failed))} {'tile' if len(failed) == 1 else 'tiles'}"
    columns = [Column("Tile", number=False), Column("Reason", number=False)]
    rows: list[list[Node]] = [[tile, name(reason)] for tile, reason, _ in failed[:_LISTED]]
    more = len(failed) - len(rows)
    return element(
        "section",
        element("h2", f"This map is incomplete: {tiles} failed", id="failed"),
        element(
            "p",
            f"Nothing is known of {lost}. All numbers below lack what is there; on the picture it "
            "is hatched in red. Run the map again with --retry-failed before it is used.",
        ),
        table("Failed tiles", columns, rows),
        element("p", f"And {count(more)} more.", class_="note") if more else None,
        class_="alarm",
        aria_labelledby="failed",
    )
