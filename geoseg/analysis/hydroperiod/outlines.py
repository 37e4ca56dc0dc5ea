"""What is the outline of each pond's extent? Drawn as soon as its last row is read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.analysis.hydroperiod.counted import CLASSES, COLOURS, Thresholds
from geoseg.analysis.hydroperiod.lineages import ponds_in
from geoseg.analysis.hydroperiod.stack import Stack
from geoseg.analysis.hydroperiod.table import Told
from geoseg.export.style import class_style
from geoseg.export.table import Layer, Target
from geoseg.export.write import write_layers
from geoseg.legend import LandClass, Legend
from geoseg.polygons import outlines
from geoseg.runfolder import alone
from geoseg.runs import RUN, runs_of

if TYPE_CHECKING:
    import pyarrow as pa

    from geoseg.area import Geometries

Ints = NDArray[np.int64]

LAYER = "ponds"


def write_ponds(
    path: Path, stack: Stack, told: Told, thresholds: Thresholds, facts: Mapping[str, str]
) -> None:
    """Write an outline per pond, whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    legend = Legend(classes=tuple(
        LandClass(name=name, kind="object", colour=colour)
        for name, colour in list(zip(CLASSES, COLOURS, strict=True))[1:]
    ))  # fmt: skip
    target = Target(path, stack.frame.crs, legend, json.dumps({"series": facts}, sort_keys=True))
    fields = _fields()
    layer = Layer(LAYER, "MultiPolygon", fields, _batches(stack, told, thresholds, fields),
                  class_style(legend))  # fmt: skip
    with alone(path, "--ponds") as place:
        write_layers(target, layer, [], place)


def _fields() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            ("pond", pa.int64()), ("class", pa.string()), ("extent_ha", pa.float64()),
            ("max_ha", pa.float64()), ("min_ha", pa.float64()), ("observed", pa.int32()),
            ("wet", pa.int32()), ("truncated", pa.bool_()), ("geometry", pa.binary()),
        ]
    )  # fmt: skip


def _batches(
    stack: Stack, told: Told, thresholds: Thresholds, fields: pa.Schema
) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    observed = told.known.sum(axis=0)
    wet = (told.known & (told.watched.parts > 0)).sum(axis=0)
    occurrence = np.divide(wet, observed, out=np.full(len(wet), np.nan), where=observed > 0)
    cls = thresholds.classes(occurrence)
    # Of what was never seen well enough, nothing is said.
    names = np.array([*CLASSES, None], object)[np.minimum(cls, len(CLASSES))]
    area = told.area_ha
    for ponds, shapes in drawn(stack, told):
        columns = [
            ponds,
            names[ponds],
            told.watched.extent_m2[ponds] / 1e4,
            np.fmax.reduce(area[:, ponds]),
            np.fmin.reduce(area[:, ponds]),
            observed[ponds],
            wet[ponds],
            told.watched.cut[:, ponds].any(axis=0),
            shapely.to_wkb(shapes),
        ]
        yield pa.RecordBatch.from_arrays(
            [pa.array(c, f.type, from_pandas=True) for c, f in zip(columns, fields, strict=True)],
            schema=fields,
        )


def drawn(stack: Stack, told: Told) -> Iterator[tuple[Ints, Geometries]]:
    """Yield ponds, and their extents in the CRS of the grid.

    Only runs of ponds that go on below are held.
    """
    last = told.watched.last_row
    held = np.zeros(0, RUN)
    for window in stack.windows():
        pond = ponds_in(stack, told.lineages, window)
        held = np.concatenate((held, runs_of(pond.astype(np.int32), (0, window.y0))))
        ends = last[held["label"]] <= window.y1
        done, held = held[ends], held[~ends]
        if len(done) == 0:
            continue
        ponds, place = np.unique(done["label"], return_inverse=True)
        done["label"] = place + 1
        shapes = shapely.transform(outlines(done, len(ponds)), stack.frame.to_crs)
        yield ponds.astype(np.int64), shapely.orient_polygons(shapes, exterior_cw=False)
