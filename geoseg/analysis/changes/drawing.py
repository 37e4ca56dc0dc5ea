"""How does the engine draw change, and what is added to the map that it makes?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.analysis.changes.aligned import Aligned
from geoseg.analysis.changes.given import SIDES, Pair
from geoseg.analysis.changes.objects import in_crs
from geoseg.analysis.changes.polygons import (
    BothDates,
    Transition,
    backend_of,
    legend_of,
    name_of,
)
from geoseg.errors import ResumeMismatchError
from geoseg.export.read import open_map
from geoseg.export.style import class_style
from geoseg.export.table import LAYER, Failed, Layer
from geoseg.run import segment

if TYPE_CHECKING:
    import pyarrow as pa

    from geoseg.progress import Progress


@dataclass(frozen=True, slots=True, eq=False)
class Wish:
    """What is asked of a comparison, besides its dates."""

    final: Path
    """The output."""
    unchanged: bool
    """Whether what stayed the same class is drawn, too."""
    tolerance: float
    """Part of an object's area by which it may change and be the same."""
    drawing: Mapping[str, Any]
    """What is asked of `geoseg.segment` for the polygons."""


def draw(
    aligned: Aligned,
    wanted: Sequence[Transition],
    wish: Wish,
    work: Path,
    progress: Progress | None,
) -> Path:
    """Have the engine draw transitions; returns the map it made."""
    drawn = work / "change.parquet"
    height, width = aligned.frame.window.shape
    facts = {
        "shape": [2, height, width],
        "classes": list(aligned.names),
        "before": aligned.digests[0],
        "after": aligned.digests[1],
    }
    run = partial(
        segment,
        BothDates(aligned.frame, aligned.dates[0], aligned.dates[1], facts),
        legend_of(aligned, wanted),
        out=drawn,
        backend=backend_of(aligned, wanted),
        overlap=0,
        overwrite=True,
        keep_run_folder=True,
        progress=progress,
        **wish.drawing,
    )
    try:
        run()
    except ResumeMismatchError:
        # Another comparison was stopped here: to look pairs up again costs little.
        run(fresh=True)
    return drawn


def recipe_of(drawn: Path, pair: Pair, wish: Wish) -> str:
    """Return what made the map: the engine's recipe, and what was asked for in words.

    The later raster is named as the raster: the map is on its grid, and is shown on it.
    """
    facts = json.loads(open_map(drawn).made_by().text)
    asked = {**pair.asked, "unchanged": wish.unchanged, "tolerance": wish.tolerance}
    later = pair.layers[1].map
    if later is not None and later.recipe is not None:
        for number, path in enumerate(later.recipe.rasters):
            facts[f"raster.source.{number}"] = {"path": path}
        known = {k: later.recipe.asked[k] for k in ("bands", "sensor") if k in later.recipe.asked}
        facts["asked"] |= known
    return json.dumps({**facts, "change": asked}, sort_keys=True)


def features_of(drawn: Path, aligned: Aligned, wanted: Sequence[Transition]) -> Layer:
    """Return polygons with what they were and became."""
    import pyarrow as pa

    found = open_map(drawn)
    names = aligned.names
    ends = {name_of(aligned, (a, b)): (names[a], names[b]) for a, b in wanted}
    *columns, geometry = found.fields
    fields = pa.schema([*columns, ("before", pa.string()), ("after", pa.string()), geometry])

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in found.batches():
            both = [ends[name] for name in batch.column("class").to_pylist()]
            sides = [pa.array([side[k] for side in both], pa.string()) for k in (0, 1)]
            yield pa.RecordBatch.from_arrays(
                [*batch.columns[:-1], *sides, batch.columns[-1]], schema=fields
            )

    return Layer(LAYER, "MultiPolygon", fields, batches(), class_style(found.legend))


def failed_of(pair: Pair, drawn: Path) -> Failed:
    """Return the tiles of either date that are missing, and those of change, if any."""
    failed = open_map(drawn).failed()
    for layer, side in zip(pair.layers, SIDES, strict=True):
        for name, reason, outline in [] if layer.map is None else layer.map.failed():
            [moved] = in_crs(np.array([outline], object), layer.crs, pair.grid.crs)
            failed.append((f"{side} {name}", reason, moved))
    return failed
