"""Which polygons of which classes are there? In a map of geoseg, or in any layer with classes.

A map of geoseg is read batch by batch, whatever its size; another layer is read whole.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.area import Geometries, polygonal
from geoseg.errors import ConfigError, MapError
from geoseg.export.read import BATCH_ROWS, Map, open_map
from geoseg.export.table import COLUMNS, LAYER
from geoseg.frame import Floats, Frame
from geoseg.legend import LandClass
from geoseg.reproject import horizontal, in_pixels
from geoseg.reviewed import REVIEW, check_only, check_reviewed, keeps, told_rejected
from geoseg.vectors import read_layer

if TYPE_CHECKING:
    import geopandas as gpd

log = logging.getLogger(__name__)

Ints = NDArray[np.int64]

CLASS_COLUMN = "class"

UNMAPPED = "unmapped"
"""What ground of no class is called, in every table; no class is called so."""

GRID_PX = 4096
"""Pixels along the longer side of a layer that does not say of what raster it is."""

_WANTS = "polygons that have a class"


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Some polygons of a layer."""

    id: Ints
    """(n,) the column `id` of a map; 1, 2, ... in other layers."""
    cls: Ints
    """(n,) index of their class."""
    score: Floats
    """(n,) score 0..1; NaN where the layer has none."""
    shape: Geometries
    """(n,) valid (multi)polygons in the CRS of the layer."""


@dataclass(frozen=True, slots=True, eq=False)
class Classed:
    """A layer of polygons that have a class."""

    name: str
    """What to call it in messages."""
    crs: str | None
    """WKT of its horizontal CRS."""
    classes: tuple[LandClass, ...]
    """In the order of the legend of a map; else by name."""
    count: int
    """Number of polygons."""
    map: Map | None
    """The map of geoseg that it is: one that says what made it; None of other layers."""
    batches: Callable[[], Iterator[Batch]]
    """Yields its polygons, in their order; as often as it is called."""
    rejected: int = 0
    """How many of them a reviewer rejected."""

    @property
    def frame(self) -> Frame | None:
        """Pixel grid that a map was made on; None of other layers."""
        return None if self.map is None or self.map.recipe is None else self.map.recipe.frame

    def in_pixels(self, frame: Frame) -> Iterator[tuple[Batch, Geometries, Ints]]:
        """Yield batches laid over the pixels of a raster, in any CRS.

        Returns:
            Each batch; (k,) single polygons in pixel corner coordinates, and (k,) which polygon of
            the batch each is a part of.

        Raises:
            ConfigError: They cannot be brought to the raster's CRS.
        """
        for batch in self.batches():
            parts, owner = shapely.get_parts(batch.shape, return_index=True)
            placed, which = in_pixels(parts, self.crs, frame, self.name)
            yield batch, placed, owner[which]


def open_classed(
    layer: str | Path | gpd.GeoDataFrame,
    option: str,
    *,
    column: str = CLASS_COLUMN,
    knob: str = "name the column that holds it with --column",
    nameless: str = "the layer",
    only: str | None = None,
) -> Classed:
    """Open a map of geoseg, or another layer of polygons with classes.

    Args:
        layer: A file, `FILE|layername=NAME` where it has several layers, or a GeoDataFrame.
        option: What takes it, for messages.
        column: The column that holds the classes.
        knob: What to do where there is no such column, for messages.
        nameless: What a GeoDataFrame is called there.
        only: `accepted` or `kept`: those polygons alone, by the column `review`.

    Raises:
        ConfigError: It cannot be read, holds no polygons, or polygons without a class.
        MapError: It is a map of geoseg that is damaged or in use; or nobody has reviewed it.
    """
    check_only(only)
    if isinstance(layer, str | Path) and column == CLASS_COLUMN:
        found = _own(_plain(layer), only)
        if found is not None:
            return _of_map(found)
    frame, name = read_layer(layer, option, _WANTS, nameless)
    if column not in frame.columns:
        has = ", ".join(map(str, frame.columns.drop(frame.geometry.name))) or "none"
        raise ConfigError(
            f"{name} has no column '{column}' (its columns: {has}); {option} takes {_WANTS}: {knob}"
        )
    return _of_layer(frame, name, option, column, only)


def _plain(layer: str | Path) -> Path:
    """Return the file of a map: QGIS calls its layer, too."""
    return Path(str(layer).removesuffix(f"|layername={LAYER}"))


def _own(path: Path, only: str | None) -> Map | None:
    """Return a map that says what made it, or what of it is to be read."""
    try:
        found = open_map(path)
    except MapError:
        # It may be any other layer; what is wrong with it is found when it is read.
        return None
    return None if found.recipe is None else found.reviewed(only).edited()


def _of_map(found: Map) -> Classed:
    classes = found.legend.classes
    number = {c.name: k for k, c in enumerate(classes)}

    def batches() -> Iterator[Batch]:
        for batch in found.batches():
            names = batch.column("class").to_pylist()
            shapes = shapely.from_wkb(batch.column("geometry").to_numpy(zero_copy_only=False))
            yield Batch(
                batch.column("id").to_numpy(),
                np.array([number[name] for name in names], np.int64),
                batch.column("score").to_numpy(zero_copy_only=False).astype(np.float64),
                shapes,
            )

    rejected = found.rejected()
    return Classed(str(found.path), found.crs, classes, found.count, found, batches, rejected)


def _of_layer(
    frame: gpd.GeoDataFrame, name: str, option: str, column: str, only: str | None
) -> Classed:
    states: list[str | None] = [None] * len(frame)
    if REVIEW in frame.columns:
        states = [state if isinstance(state, str) else None for state in frame[REVIEW]]
    if only is not None:
        check_reviewed(name, Counter(states), only)
        frame = frame[[keeps(state, only) for state in states]]
    lacking = frame[column].isna() | (frame[column].astype(str).str.strip() == "")
    if lacking.any():
        raise ConfigError(
            f"{name} has {int(lacking.sum())} polygons without a {column}; delete or fill them"
        )
    names = frame[column].astype(str).to_numpy()
    classes = tuple(sorted(set(names.tolist())))
    score = np.full(len(frame), np.nan)
    if "score" in frame.columns:
        score = frame["score"].to_numpy(dtype=np.float64, na_value=np.nan)
    own = set(COLUMNS) <= set(frame.columns)
    ids = frame["id"].to_numpy(np.int64) if own else np.arange(1, len(frame) + 1)
    batch = Batch(ids, np.searchsorted(classes, names), score, valid_polygons(frame, name, option))
    crs = None if frame.crs is None else horizontal(frame.crs, name)
    try:
        land = tuple(LandClass(name=c) for c in classes)
    except ValueError as error:
        raise ConfigError(f"{name} has a class that is no name: {list(classes)[:5]}") from error
    rejected = 0 if only is not None else states.count("rejected")
    return Classed(name, crs, land, len(frame), None, lambda: _parts(batch), rejected)


def _parts(whole: Batch) -> Iterator[Batch]:
    """Yield a batch in parts, so that what is made of one at a time stays small."""
    for start in range(0, len(whole.id), BATCH_ROWS):
        part = slice(start, start + BATCH_ROWS)
        yield Batch(whole.id[part], whole.cls[part], whole.score[part], whole.shape[part])


def valid_polygons(frame: gpd.GeoDataFrame, name: str, option: str) -> Geometries:
    """Return (n,) flat, valid (multi)polygons of a layer.

    Args:
        frame: The layer.
        name: What to call it in messages.
        option: What takes it, for messages.

    Raises:
        ConfigError: It holds something else, or coordinates that are no numbers.
    """
    shapes: Geometries = shapely.force_2d(frame.geometry.to_numpy())
    kinds = set(frame.geometry.geom_type) - {"Polygon", "MultiPolygon"}
    if kinds:
        raise ConfigError(
            f"{name} holds {', '.join(sorted(kinds)).lower()}; {option} takes polygons"
        )
    if not np.isfinite(shapely.get_coordinates(shapes)).all():
        raise ConfigError(f"{name} has coordinates that are no numbers; mend it first")
    wrong = np.flatnonzero(~shapely.is_valid(shapes))
    for k in wrong.tolist():
        mended = shapely.make_valid(shapes[k], method="structure", keep_collapsed=False)
        shapes[k] = shapely.multipolygons(polygonal(shapely.get_parts(np.array([mended]))))
    return shapes


def check_names(names: Iterable[str], source: str) -> None:
    """Refuse a class that is called as ground of no class is, in letters of any case.

    Raises:
        ConfigError: There is one.
    """
    for name in names:
        if name.casefold() == UNMAPPED:
            raise ConfigError(
                f"{source} has a class '{name}', which is what ground of no class is called; "
                "rename it"
            )


def grid_of(found: Classed) -> Frame:
    """Return the pixels of a map's raster; of another layer, a grid over its bounding box.

    Raises:
        MapError: It holds no polygons, and does not say where it lies.
    """
    if found.frame is not None:
        return found.frame
    boxes = [shapely.total_bounds(batch.shape) for batch in found.batches() if len(batch.id)]
    if not boxes:
        raise MapError(f"{found.name} holds no polygons, and does not tell of what raster it is")
    x0, y0 = np.min(boxes, axis=0)[:2].tolist()
    x1, y1 = np.max(boxes, axis=0)[2:].tolist()
    side = max(x1 - x0, y1 - y0) / GRID_PX
    width, height = math.ceil((x1 - x0) / side), math.ceil((y1 - y0) / side)
    # Not quite square, so that they fit.
    transform = Affine((x1 - x0) / width, 0, x0, 0, -(y1 - y0) / height, y1)
    return Frame(width, height, transform, found.crs)


def missing(layer: str | Path) -> int:
    """Return how many tiles failed and are missing in it; 0 of what geoseg did not write."""
    try:
        return len(open_map(_plain(layer)).failed())
    except MapError:
        return 0


def tell_rejected(found: Classed) -> None:
    """Warn that polygons count which a reviewer rejected."""
    if found.rejected:
        log.warning(told_rejected(found.rejected, found.count, found.name))
