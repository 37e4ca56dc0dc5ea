"""What came out? Figures per class and zone, as a table, as JSON, and in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geoseg.analysis.tables import aligned

if TYPE_CHECKING:
    import pandas as pd

MACRO = "(mean of classes)"
MICRO = "(all classes)"

OBJECT = ("AP", "AP50", "AP75", "PQ", "SQ", "RQ", "precision", "recall", "F1")
COVER = ("IoU", "precision", "recall", "F1", "boundary_precision", "boundary_recall", "boundary_F1")
COUNTS = ("right", "false", "missed")
"""Polygons of objects, pixels of covers."""

MEASURES = (*OBJECT[:6], "IoU", *OBJECT[6:], *COVER[4:], *COUNTS)
_SHOWN = 12
"""Most classes whose confusion is shown to people."""

KINDS = {"object": OBJECT, "cover": COVER}


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one class, or of all, in one zone."""

    zone: str
    """One of ZONES."""
    name: str
    """The class; MACRO, or MICRO."""
    kind: str
    """`object` or `cover`."""
    figures: Mapping[str, float]
    """By MEASURES; NaN where one cannot be computed."""


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """How good a map is."""

    table: pd.DataFrame
    """A row per zone and class: zone, class, kind, and MEASURES; NaN where one has no value."""
    confusion: pd.DataFrame
    """Pixels by zone, class of the map (`map`) and class of the reference (`reference`)."""
    facts: Mapping[str, Any]
    """What was compared, and how: JSON-able."""
    notes: tuple[str, ...]
    """What is to be known of the figures."""
    failed_tiles: int
    """Tiles that are missing in the map; they do not count."""

    @property
    def complete(self) -> bool:
        """Whether no tile is missing in the map."""
        return self.failed_tiles == 0

    def nested(self) -> dict[str, Any]:
        """Return everything, JSON-able: zones, in them classes, in them figures; null for none."""
        zones: dict[str, Any] = {}
        for row in self.table.to_dict("records"):
            figures = {k: _plain(row[k]) for k in (*KINDS[row["kind"]], *COUNTS)}
            of_zone = zones.setdefault(row["zone"], {"classes": {}, "mean": {}, "all": {}})
            if row["class"] == MACRO:
                of_zone["mean"][row["kind"]] = {k: figures[k] for k in KINDS[row["kind"]]}
            elif row["class"] == MICRO:
                of_zone["all"][row["kind"]] = figures
            else:
                of_zone["classes"][row["class"]] = {"kind": row["kind"], **figures}
        for zone, part in self.confusion.groupby("zone", sort=False):
            zones[str(zone)]["confusion"] = [
                {"map": m, "reference": r, "pixels": int(n)}
                for m, r, n in zip(part["map"], part["reference"], part["pixels"], strict=True)
            ]
        return {
            **self.facts,
            "complete": self.complete,
            "failed_tiles": self.failed_tiles,
            "notes": list(self.notes),
            "zones": zones,
        }

    def words(self) -> str:
        """Return tables for people: one per kind, and the confusion of covers in the whole map."""
        blocks = []
        for kind, measures in KINDS.items():
            part = self.table[self.table["kind"] == kind]
            if part.empty:
                continue
            if len(set(part["class"])) == 3:
                # The means of one class are that class.
                part = part[~part["class"].isin((MACRO, MICRO))]
            unit = "polygons" if kind == "object" else "pixels"
            head = [f"{kind}s", "zone", *measures, f"right {unit}", "false", "missed"]
            rows = [
                [r["class"], r["zone"], *(_shown(r[m]) for m in measures),
                 *(_shown(r[m], whole=True) for m in COUNTS)]
                for r in part.to_dict("records")
            ]  # fmt: skip
            blocks.append(aligned([head, *rows], 2))
        whole = self.confusion[self.confusion["zone"] == "whole"]
        names = list(dict.fromkeys(whole["map"]))
        if 0 < len(names) <= _SHOWN:
            pixels = whole["pixels"].to_numpy().reshape(len(names), len(names))
            rows = [[n, "", *map(str, row)] for n, row in zip(names, pixels.tolist(), strict=True)]
            blocks.append(aligned([["pixels: map", "reference:", *names], *rows], 2))
        return "\n\n".join("\n".join(lines) for lines in blocks)


def _plain(value: float) -> float | int | None:
    if math.isnan(value):
        return None
    return int(value) if float(value).is_integer() and value > 1 else float(value)


def _shown(value: float, *, whole: bool = False) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.0f}" if whole else f"{value:.3f}"


def mean_row(zone: str, kind: str, rows: Iterable[Row]) -> Row:
    """Return the mean over classes of each figure, over those classes that have it (macro)."""
    rows = list(rows)
    figures = {}
    for measure in KINDS[kind]:
        known = [v for row in rows if not math.isnan(v := row.figures[measure])]
        figures[measure] = sum(known) / len(known) if known else math.nan
    return Row(zone, MACRO, kind, figures)


def as_table(rows: Iterable[Row]) -> pd.DataFrame:
    """Return rows as a table."""
    import pandas as pd

    records = [
        {
            "zone": row.zone,
            "class": row.name,
            "kind": row.kind,
            **{m: float(row.figures.get(m, math.nan)) for m in MEASURES},
        }
        for row in rows
    ]
    return pd.DataFrame(records, columns=["zone", "class", "kind", *MEASURES])
