"""How much of each class is there? On all the ground that was looked at, and by zone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np

from geoseg.analysis.classed import UNMAPPED
from geoseg.analysis.page.document import Node, element, name, section
from geoseg.analysis.page.figures import column, count, percent
from geoseg.analysis.page.ground import Ground
from geoseg.analysis.page.tables import Column, bar, cut, swatch, table
from geoseg.analysis.zones import OUTSIDE
from geoseg.legend import Legend

if TYPE_CHECKING:
    import pandas as pd

_GAP = 5e-4
"""Part of the ground below which there is no row for what has no class: it would be 0.0 %."""


def areas(table_: pd.DataFrame, legend: Legend, looked: Ground) -> ET.Element:
    """Return the areas of all classes.

    Args:
        table_: Of `geoseg.analysis.stats` by class, in the order of the legend.
        legend: The classes.
        looked: What shares are parts of.
    """
    of_raster = table_["share_pct"].to_numpy() / 100
    shares = of_raster / looked.part if looked.part > 0 else np.full(len(of_raster), np.nan)
    ha, counts = table_["area_ha"].to_numpy(), table_["count"].to_numpy()
    whole = float(table_["landscape_ha"].iloc[0]) * looked.part
    # Where classes share ground, their sum is no ground.
    alone = len(set(legend.coverages)) == 1
    gap = 1 - float(shares.sum()) if alone else math.nan
    has_gap = gap > _GAP
    extra = [gap * whole] if has_gap else []
    written = column([*ha, *extra, *([whole] if alone else [])])
    has_ha = math.isfinite(whole)
    rows: list[list[Node]] = [
        [
            element("span", swatch(c.colour), name(c.name)),
            count(int(counts[k])),
            *([written[k]] if has_ha else []),
            percent(float(shares[k])),
            bar(float(np.nan_to_num(shares[k])), c.colour),
        ]
        for k, c in enumerate(legend.classes)
    ]
    if has_gap:
        rows.append([UNMAPPED, "", *([written[len(ha)]] if has_ha else []), percent(gap),
                     bar(gap, "#b9b7b0")])  # fmt: skip
    total: list[Node] | None = None
    if alone:
        total = [looked.what, count(int(counts.sum())), *([written[-1]] if has_ha else []),
                 percent(1.0), ""]  # fmt: skip
    columns = [
        Column("Class", number=False),
        Column("Polygons"),
        *([Column("Area", "ha")] if has_ha else []),
        Column("Share", "%"),
        Column("Share, drawn", number=False),
    ]
    return section(
        "What is there",
        table("Area and share of each class", columns, rows, total=total),
        element("p", _meaning(looked, has_ha=has_ha, alone=alone), class_="note"),
        anchor="areas",
    )


def _meaning(looked: Ground, *, has_ha: bool, alone: bool) -> str:
    """Return what the numbers mean."""
    words = [
        "Areas are geodesic: true on the ellipsoid, whatever the map's projection."
        if has_ha
        else "The raster has no coordinate reference system, so areas in hectares are not known."
    ]
    limits = []
    if looked.has_data:
        limits.append("where the raster has data")
    if looked.area:
        limits.append("inside the area of interest")
    if not looked.whole:
        limits.append("outside of failed tiles")
    words.append(
        f"Shares are of the ground {_all_of(limits)}: {percent(looked.part)} % of the raster."
        if limits
        else "Shares are of the whole raster."
    )
    if not looked.has_data:
        words.append("The raster was not at hand, so all of it is taken for valid.")
    if looked.area is False:
        words.append(
            "The area of interest of the map was not at hand, so ground outside of it is in this."
        )
    if not alone:
        words.append("Classes may lie on each other, so that their areas do not add up.")
    return " ".join(words)


def _all_of(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def by_zone(table_: pd.DataFrame, legend: Legend) -> ET.Element:
    """Return the area of each class in each zone.

    Args:
        table_: Of `geoseg.analysis.stats` by class and zone.
        legend: The classes.
    """
    zones = list(dict.fromkeys(table_["zone"]))
    size = table_.groupby("zone", sort=False)["landscape_ha"].first()
    has_ha = bool(np.isfinite(size.to_numpy()).all())
    value = "area_ha" if has_ha else "share_pct"
    # Ground outside of all zones is told of where there is some.
    zones = [z for z in zones if z != OUTSIDE or _is_there(table_, z)]
    # A zone off the raster has no shares, and a row nevertheless.
    cells = table_.pivot_table(
        index="zone", columns="class", values=value, sort=False, dropna=False
    )
    names = [c.name for c in legend.classes]
    values = cells.loc[zones, names].to_numpy()
    written = column([*values.ravel(), *(size[zones] if has_ha else [])])
    unit = "ha" if has_ha else "%"
    tables = []
    for part in cut(names):
        columns = [
            Column("Zone", number=False),
            *(Column(n, unit, outside=True) for n in names[part]),
            *([Column("Zone inside the raster", "ha")] if has_ha else []),
        ]
        rows: list[list[Node]] = []
        for k, zone in enumerate(zones):
            mine = written[k * len(names) : (k + 1) * len(names)]
            own = [written[len(zones) * len(names) + k]] if has_ha else []
            rows.append([name(str(zone)), *mine[part], *own])
        tables.append(table("Area by zone" if has_ha else "Share by zone", columns, rows))
    return section(
        "Where it is",
        *tables,
        element(
            "p",
            "Polygons are cut at the borders of zones. Ground without data counts as part of a "
            "zone.",
            class_="note",
        ),
        anchor="zones",
    )


def _is_there(table_: pd.DataFrame, zone: str) -> bool:
    mine = table_[table_["zone"] == zone]
    return bool((mine["count"] > 0).any() or mine["landscape_ha"].iloc[0] > 0)
