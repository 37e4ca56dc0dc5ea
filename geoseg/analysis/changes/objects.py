"""What became of each object? A row for each that appeared, is gone, or has a successor.

same, grown, shrunk   one object, whose area changed by no more than the tolerance, or by more
moved                 as large as before, but half off its place
split, merged         several successors, or several predecessors: a row for each
rearranged            several of both
gone, appeared        nothing that shares half of the smaller one; what moved farther is both
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from geoseg.analysis.burnt import Burnt
from geoseg.analysis.changes.aligned import UNSEEN, Aligned
from geoseg.analysis.changes.linking import Extent, Shared, Strip, shared
from geoseg.analysis.classed import Classed
from geoseg.analysis.pixelarea import pixels_m2
from geoseg.area import Geometries
from geoseg.export.burn import burn
from geoseg.export.style import class_style
from geoseg.export.table import Layer
from geoseg.frame import Frame
from geoseg.legend import LandClass, Legend

if TYPE_CHECKING:
    import pyarrow as pa

Ints = NDArray[np.int64]

LAYER = "objects"

TOLERANCE = 0.1
"""Part of an object's area by which it may change and be the same."""

COLOURS = {
    "same": "#bdbdbd",
    "grown": "#4393c3",
    "shrunk": "#f4a582",
    "moved": "#9970ab",
    "split": "#fdb863",
    "merged": "#5e3c99",
    "rearranged": "#878787",
    "gone": "#d6604d",
    "appeared": "#2166ac",
}
"""Every status, and how QGIS draws it."""

STATUS = tuple(COLOURS)

ROW = np.dtype(
    [
        ("cls", "<i4"),
        ("status", "i1"),
        ("before", "<i8"),
        ("after", "<i8"),
        ("before_ha", "<f8"),
        ("after_ha", "<f8"),
        ("iou", "<f8"),
        ("partial", "?"),
    ]
)
"""Common class, place in STATUS, position (from 1) in the layers before and after (0: none there),
hectares of each on ground that was compared, IoU, and whether a part of either was not compared."""


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """What became of objects."""

    rows: NDArray[np.void]
    """(n,) of ROW, by position after, then before; those without an object after come last."""
    not_compared: tuple[int, int]
    """Objects before and after of which no pixel was compared: no pixel of the grid has its centre
    in them, or the other date has not seen it."""

    def counts(self) -> dict[str, int]:
        """Return the number of rows of each status."""
        found = np.bincount(self.rows["status"], minlength=len(STATUS))
        return {name: int(n) for name, n in zip(STATUS, found, strict=True) if n}


def compare_objects(
    aligned: Aligned,
    layers: tuple[Classed, Classed],
    folder: Path,
    tolerance: float = TOLERANCE,
    *,
    dates: tuple[int, int] = (0, 1),
) -> Objects:
    """Compare the objects of two dates, class by class.

    Args:
        aligned: Dates on one grid.
        layers: The polygons of the two.
        folder: Where rasters grow; nothing stays.
        tolerance: Part of an object's area by which it may change and be the same.
        dates: Which two they are: before, after.
    """
    rows, missed = [np.zeros(0, ROW)], np.zeros(2, np.int64)
    for number, land_class in enumerate(aligned.classes):
        if land_class.kind == "cover":
            continue
        things = [
            burnt_things(layer, land_class.name, aligned.frame, folder / f"things{k}.tif")
            for k, layer in enumerate(layers)
        ]
        strips = strips_of(aligned, dates, (things[0].burnt, things[1].burnt))
        found = shared(strips, (layers[0].count, layers[1].count))
        table = statuses(found, tolerance)
        table["cls"] = number
        for side, (extent, thing) in enumerate(
            zip((found.before, found.after), things, strict=True)
        ):
            missed[side] += int((extent.px[thing.number] == 0).sum())
            cut = extent.px < extent.whole_px
            cut[thing.outside] = True
            table["partial"] |= cut[table["before" if side == 0 else "after"]]
            thing.burnt.path.unlink()
        rows.append(table)
    every = np.concatenate(rows)
    last = np.iinfo(np.int64).max
    after = np.where(every["after"] > 0, every["after"], last)
    return Objects(every[np.lexsort((every["before"], after))], (int(missed[0]), int(missed[1])))


@dataclass(frozen=True, slots=True, eq=False)
class Things:
    """The polygons of one class on a grid."""

    burnt: Burnt
    """Position in the layer, from 1, of the polygon at each pixel."""
    number: Ints
    """Positions of the class's polygons in their layer, from 1."""
    outside: Ints
    """Of those that reach beyond the grid."""


def burnt_things(layer: Classed, name: str, frame: Frame, path: Path) -> Things:
    """Burn the positions of the polygons of one class into a raster."""
    wanted = next((k for k, c in enumerate(layer.classes) if c.name == name), -1)
    mine, outside = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]

    def painted() -> Iterator[tuple[Geometries, Ints]]:
        first = 1
        for batch, shapes, owner in layer.in_pixels(frame):
            here = batch.cls[owner] == wanted
            number = owner[here] + first
            x0, y0, x1, y1 = shapely.bounds(shapes[here]).T
            inside = (x0 >= 0) & (y0 >= 0) & (x1 <= frame.width) & (y1 <= frame.height)
            # What is off the grid altogether may be the same a turn of the globe away.
            near = (x1 > 0) & (y1 > 0) & (x0 < frame.width) & (y0 < frame.height)
            outside.append(np.unique(number[near & ~inside]))
            mine.append(np.flatnonzero(batch.cls == wanted) + first)
            yield shapes[here], number
            first += len(batch.id)

    burn(path, frame, "uint32", painted())
    return Things(Burnt(path, frame), np.concatenate(mine), np.concatenate(outside))


def strips_of(
    aligned: Aligned, dates: tuple[int, int], things: tuple[Burnt, Burnt]
) -> Iterator[Strip]:
    """Yield whole rows of the numbers of things at two dates, as `shared` takes them."""
    for window, (one, other), asked in aligned.strips(*dates):
        m2 = np.broadcast_to(pixels_m2(aligned.frame, window), window.shape)
        compared = asked & (one != UNSEEN) & (other != UNSEEN)
        yield Strip(things[0].read(window), things[1].read(window), compared, m2)


def statuses(found: Shared, tolerance: float) -> NDArray[np.void]:
    """Return a row of ROW for each object with a compared pixel, one for each pair that is related.

    Args:
        found: What objects of one class share.
        tolerance: Part of an object's area by which it may change and be the same.
    """
    a, b = found.a[found.related], found.b[found.related]
    n_before, n_after = len(found.before.px), len(found.after.px)
    successors, predecessors = np.bincount(a, minlength=n_before), np.bincount(b, minlength=n_after)
    gone = np.flatnonzero((found.before.px > 0) & (successors == 0))
    appeared = np.flatnonzero((found.after.px > 0) & (predecessors == 0))
    rows = np.zeros(len(a) + len(gone) + len(appeared), ROW)
    rows["before"] = np.r_[a, gone, np.zeros(len(appeared), np.int64)]
    rows["after"] = np.r_[b, np.zeros(len(gone), np.int64), appeared]
    rows["before_ha"] = _hectares(found.before, rows["before"])
    rows["after_ha"] = _hectares(found.after, rows["after"])
    rows["iou"] = np.nan
    rows["iou"][: len(a)] = found.iou[found.related]
    parts, wholes = successors[a] > 1, predecessors[b] > 1
    change = found.after.m2[b] / found.before.m2[a] - 1
    kinds = [
        (parts & wholes, "rearranged"),
        (parts, "split"),
        (wholes, "merged"),
        (change > tolerance, "grown"),
        (change < -tolerance, "shrunk"),
        (~found.linked[found.related], "moved"),
    ]
    rows["status"][: len(a)] = np.select(
        [mask for mask, _ in kinds],
        [STATUS.index(name) for _, name in kinds],
        STATUS.index("same"),
    )
    rows["status"][len(a) : len(a) + len(gone)] = STATUS.index("gone")
    rows["status"][len(a) + len(gone) :] = STATUS.index("appeared")
    return rows


def _hectares(extent: Extent, which: Ints) -> NDArray[np.float64]:
    return np.where(which > 0, extent.m2[which] / 1e4, np.nan)


def object_layer(
    objects: Objects,
    layers: tuple[Classed, Classed],
    classes: tuple[LandClass, ...],
    frame: Frame,
) -> Layer:
    """Return objects as a layer in the CRS of the grid: outlines after, or before if it is gone."""
    import pyarrow as pa

    fields = pa.schema(
        [
            ("id", pa.int64()), ("class", pa.string()), ("status", pa.string()),
            ("id_before", pa.int64()), ("id_after", pa.int64()),
            ("before_ha", pa.float64()), ("after_ha", pa.float64()), ("iou", pa.float64()),
            ("partial", pa.bool_()), ("geometry", pa.binary()),
        ]
    )  # fmt: skip
    drawn = Legend(classes=tuple(
        LandClass(name=name, kind="object", colour=colour) for name, colour in COLOURS.items()
    ))  # fmt: skip
    style = class_style(drawn, "status")
    batches = _batches(objects, layers, np.array([c.name for c in classes], object), frame, fields)
    return Layer(LAYER, "MultiPolygon", fields, batches, style)


def _batches(
    objects: Objects,
    layers: tuple[Classed, Classed],
    names: NDArray[np.object_],
    frame: Frame,
    fields: pa.Schema,
) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    rows = objects.rows
    named = ids_at(layers[0], rows["before"]), ids_at(layers[1], rows["after"])
    split = int((rows["after"] > 0).sum())
    for side, part, key in ((1, slice(split), "after"), (0, slice(split, None), "before")):
        mine = rows[part]
        for first, shapes in _shapes(layers[side], frame):
            low, high = np.searchsorted(mine[key], (first, first + len(shapes)))
            here = mine[low:high]
            if len(here) == 0:
                continue
            at = np.arange(low, high) + (part.start or 0)
            columns = [
                pa.array(at + 1),
                pa.array(names[here["cls"]]),
                pa.array(np.array(STATUS, object)[here["status"]]),
                *(pa.array(ids[at], mask=here[which] == 0)
                  for ids, which in zip(named, ("before", "after"), strict=True)),
                *(pa.array(here[c], mask=np.isnan(here[c]))
                  for c in ("before_ha", "after_ha", "iou")),
                pa.array(here["partial"]),
                pa.array(shapely.to_wkb(shapes[here[key] - first])),
            ]  # fmt: skip
            yield pa.RecordBatch.from_arrays(
                [c.cast(f.type) for c, f in zip(columns, fields, strict=True)], schema=fields
            )


def ids_at(layer: Classed, positions: Ints) -> Ints:
    """Return the ids of polygons at positions from 1; 0 of position 0."""
    wanted, place = np.unique(positions, return_inverse=True)
    ids = np.zeros(len(wanted), np.int64)
    first = 1
    for batch in layer.batches():
        low, high = np.searchsorted(wanted, (first, first + len(batch.id)))
        ids[low:high] = batch.id[wanted[low:high] - first]
        first += len(batch.id)
    return ids[place]


def _shapes(layer: Classed, frame: Frame) -> Iterator[tuple[int, Geometries]]:
    """Yield the position of the first polygon of each batch, and their shapes as multipolygons."""
    first = 1
    for batch in layer.batches():
        shapes = in_crs(batch.shape, layer.crs, frame.crs)
        parts, owner = shapely.get_parts(shapes, return_index=True)
        whole = shapely.orient_polygons(
            shapely.multipolygons(parts, indices=owner), exterior_cw=False
        )
        yield first, whole
        first += len(batch.id)


def in_crs(shapes: Geometries, crs: str | None, wanted: str | None) -> Geometries:
    """Return shapes whose vertices are brought from one CRS to another, if there are two."""
    if crs is None or wanted is None or crs == wanted:
        return shapes
    move = pyproj.Transformer.from_crs(crs, wanted, always_xy=True)
    moved: Geometries = shapely.transform(
        shapes, lambda xy: np.column_stack(move.transform(xy[:, 0], xy[:, 1]))
    )
    return moved
