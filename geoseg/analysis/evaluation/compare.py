"""How good is a map, held against reference polygons?

Classes of kind `object` are judged polygon by polygon, those of kind `cover` pixel by pixel; both
in the whole map, near the seams of its tiles, and in the interior.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.analysis.classed import CLASS_COLUMN
from geoseg.analysis.evaluation.counts import Counts, part
from geoseg.analysis.evaluation.covers import Agreement, compare_covers
from geoseg.analysis.evaluation.ground import Found, find_ground
from geoseg.analysis.evaluation.layers import Pair, numbered, open_pair
from geoseg.analysis.evaluation.matching import coco_evaluator, count, match_class, panoptic
from geoseg.analysis.evaluation.overlaps import find_overlaps
from geoseg.analysis.evaluation.report import MICRO, Evaluation, Row, as_table, mean_row
from geoseg.analysis.evaluation.zones import ZONES
from geoseg.errors import ConfigError
from geoseg.units import parse_length

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

_MOST_PX = 512
"""Largest tolerance of boundaries: so far is looked around every window."""

_NO_OBJECT = "no object of the reference lies in the map"
_NO_COVER = "no cover of the reference lies in the map"
_NO_SCORE = "polygons of the map have no score: average precision cannot be computed"


def evaluate(  # noqa: PLR0913
    mapped: str | Path | gpd.GeoDataFrame,
    reference: str | Path | gpd.GeoDataFrame,
    *,
    column: str = CLASS_COLUMN,
    class_name: str | None = None,
    match: Mapping[str, str] | None = None,
    aoi: str | Path | gpd.GeoDataFrame | None = None,
    iou: float = 0.5,
    boundary: str = "2px",
    seam_px: float = 64,
    only: str | None = None,
) -> Evaluation:
    """Judge a map by reference polygons, which may be in another CRS.

    Args:
        mapped: A map of geoseg (.gpkg, .parquet), or another layer of polygons with classes.
        reference: Polygons with classes; all there is within the raster of the map, or the area.
        column: Column of the reference that holds its classes.
        class_name: The class of all polygons of the reference, which then needs no column.
        match: Class of the map by class of the reference, where their names differ.
        aoi: Polygons within which the reference is complete: pixels count whose centre, and
            polygons whose centroid lies in them. A pair of polygons counts where that of the
            reference does.
        iou: Least IoU, 0..1, at which polygons match for precision, recall and F1: best score
            first, as COCO does; for panoptic quality it is above 0.5, best IoU first.
        boundary: How far apart boundaries of covers may be: `2px`, `5m`.
        seam_px: How far the zone of seams reaches to each side of a seam, in pixels.
        only: `accepted` or `kept`: what a reviewer of the map accepted or put right, or all but
            what was rejected, alone counts.

    Raises:
        ConfigError: A layer or a setting cannot be used, or they have no class in common.
        MapError: A map of geoseg is damaged or in use, or nobody has reviewed it.
        MissingDependencyError: Objects are to be judged, and pycocotools is not installed.
    """
    measure = _Measure(iou, boundary, seam_px)
    pair = open_pair(
        mapped, reference, column=column, class_name=class_name, match=match, only=only
    )
    if pair.of_kind("object"):
        coco_evaluator()
    with tempfile.TemporaryDirectory(prefix="geoseg-") as name:
        folder = Path(name)
        found = find_ground(pair.map, aoi, seam_px, folder)
        tolerance_px = measure.tolerance_px(found.ground.frame.gsd_m)
        zones = ZONES if found.zoned else ZONES[:1]
        rows, notes = _judge_objects(pair, found, measure.iou, zones)
        confusion: list[dict[str, Any]] = []
        if pair.of_kind("cover"):
            seen = compare_covers(pair, found.ground, tolerance_px, folder)
            for zone in zones:
                rows += _cover_rows(pair, seen, zone)
                confusion += _confusion(seen, zone)
            if not seen.confusion("whole")[:, 1:].any():
                notes.append(_NO_COVER)
    kinds = [kind for kind in ("object", "cover") if pair.of_kind(kind)]
    if len({_NO_OBJECT, _NO_COVER} & set(notes)) == len(kinds):
        raise ConfigError(
            f"nothing of {pair.reference.name} lies in {pair.map.name}: is the CRS of either wrong?"
        )
    facts = {
        "map": pair.map.name,
        "reference": pair.reference.name,
        "iou": iou,
        "boundary_px": tolerance_px,
        "seam_px": seam_px if found.zoned else None,
        "only": only,
    }
    rows.sort(key=lambda row: zones.index(row.zone))
    return Evaluation(
        as_table(rows),
        _frame(confusion),
        facts,
        (*pair.notes, *found.notes, *notes),
        found.failed_tiles,
    )


@dataclass(frozen=True, slots=True)
class _Measure:
    """How a map is judged."""

    iou: float
    boundary: str
    seam_px: float

    def __post_init__(self) -> None:
        if not 0 < self.iou <= 1:
            raise ConfigError(f"--iou {self.iou:g} is outside 0 < iou <= 1; 0.5 is usual")
        if not (math.isfinite(self.seam_px) and self.seam_px > 0):
            raise ConfigError(f"--seam {self.seam_px:g} is not above 0; 64 pixels are usual")
        try:
            parse_length(self.boundary)
        except ValueError as error:
            raise ConfigError(f"--boundary {self.boundary!r}: {error}") from error

    def tolerance_px(self, gsd_m: float | None) -> float:
        """Return the tolerance of boundaries in pixels that have such a side on the ground."""
        found = parse_length(self.boundary).in_pixels(gsd_m, 1)
        if found > _MOST_PX:
            raise ConfigError(
                f"--boundary {self.boundary} is {found:.0f} pixels; at most {_MOST_PX} can be "
                "looked at, give less"
            )
        return found


def _judge_objects(
    pair: Pair, found: Found, iou: float, zones: tuple[str, ...]
) -> tuple[list[Row], list[str]]:
    """Return rows of the objects and of their means, and what is to be known of them."""
    names = pair.of_kind("object")
    if not names:
        return [], []
    mapped, truth = numbered(pair.map, names), numbered(pair.reference, names)
    overlaps = find_overlaps(mapped, truth, found.ground, min(0.5, iou), found.cut)
    rows, counts = [], {zone: [Counts(0, 0, 0)] for zone in zones}
    for cls, name in enumerate(names):
        matched = match_class(overlaps, cls, iou)
        plain, best = count(overlaps, cls, matched.pairs), panoptic(overlaps, cls)
        for zone in zones:
            average = matched.precision[ZONES.index(zone)]
            figures = {
                "AP": float(average.mean()),
                "AP50": float(average[0]),
                "AP75": float(average[5]),
                **_quality(*best[zone]),
            }
            rows.append(Row(zone, name, "object", {**figures, **_figures(plain[zone])}))
            counts[zone].append(plain[zone])
    for zone in zones:
        rows.append(mean_row(zone, "object", [r for r in rows if r.zone == zone]))
        rows.append(Row(zone, MICRO, "object", _figures(reduce(add, counts[zone]))))
    notes = [_NO_SCORE] if np.isnan(overlaps.map.score).any() else []
    if len(overlaps.reference.cls) == 0:
        notes.append(_NO_OBJECT)
    return rows, notes


def _quality(counts: Counts, sum_of_iou: float) -> dict[str, float]:
    segmentation, recognition = part(sum_of_iou, counts.right), counts.f1
    product = 0.0 if recognition == 0 else segmentation * recognition
    return {"PQ": product, "SQ": segmentation, "RQ": recognition}


def _figures(counts: Counts) -> dict[str, float]:
    return {
        "precision": counts.precision,
        "recall": counts.recall,
        "F1": counts.f1,
        "right": counts.right,
        "false": counts.false,
        "missed": counts.missed,
    }


def _cover_rows(pair: Pair, seen: Agreement, zone: str) -> Iterator[Row]:
    names = pair.of_kind("cover")
    every = [seen.counts(zone, name) for name in names]
    rows = []
    for name, counts in zip(names, every, strict=True):
        precision, recall, f1 = seen.edges(zone, name)
        figures = {
            "boundary_precision": precision, "boundary_recall": recall, "boundary_F1": f1,
        }  # fmt: skip
        figures = {"IoU": counts.iou, **_figures(counts), **figures}
        rows.append(Row(zone, name, "cover", figures))
    yield from rows
    yield mean_row(zone, "cover", rows)
    total = reduce(add, every)
    yield Row(zone, MICRO, "cover", {"IoU": total.iou, **_figures(total)})


def _confusion(seen: Agreement, zone: str) -> Iterator[dict[str, Any]]:
    table = seen.confusion(zone)
    for row, one in enumerate(seen.labels):
        for column, other in enumerate(seen.labels):
            yield {"zone": zone, "map": one, "reference": other, "pixels": int(table[row, column])}


def _frame(records: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(records, columns=["zone", "map", "reference", "pixels"])
