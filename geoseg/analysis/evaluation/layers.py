"""What is compared? A map and a reference, the classes that both know, and the pixels of the map.

A class that only one of the two layers has cannot be judged: the reference may simply not tell of
it. It is named, and is in no figure but the confusion of covers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyproj
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.analysis.classed import (
    CLASS_COLUMN,
    Batch,
    Classed,
    open_classed,
    tell_rejected,
)
from geoseg.errors import ConfigError
from geoseg.frame import Frame
from geoseg.legend import LandClass
from geoseg.vectors import check_both_placed, read_layer

if TYPE_CHECKING:
    import geopandas as gpd

Ints = NDArray[np.int64]

ABSENT = -1
"""Number of a class that is not among those asked for."""

_GRID_PIXELS = 2**24
"""Pixels of a grid that is made up for a map without one."""


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A map and the reference that it is held against."""

    map: Classed
    """The map."""
    reference: Classed
    """The reference; its classes have the names of the map's."""
    classes: tuple[LandClass, ...]
    """Those that both have, in the order and of the kinds of the map."""
    notes: tuple[str, ...]
    """Which others there are."""

    def of_kind(self, kind: str) -> list[str]:
        """Return the names of those of the classes that are counted, or that are measured."""
        return [c.name for c in self.classes if c.kind == kind]


def open_pair(
    map_: str | Path | gpd.GeoDataFrame,
    reference: str | Path | gpd.GeoDataFrame,
    *,
    column: str = CLASS_COLUMN,
    class_name: str | None = None,
    match: Mapping[str, str] | None = None,
    only: str | None = None,
) -> Pair:
    """Open a map and its reference.

    Args:
        map_: A map of geoseg, or another layer whose classes are in `class`, or in `column`.
        reference: Likewise.
        column: Column of the reference that holds the classes.
        class_name: The class of all polygons of the reference, which then needs no column.
        match: Class of the map by class of the reference, where names differ.
        only: `accepted` or `kept`: those polygons of the map alone, as its reviewers said.

    Raises:
        ConfigError: A layer cannot be used, or they have no class in common.
        MapError: A map of geoseg is damaged or in use, or nobody has reviewed it.
    """
    mapped = _open_map(map_, column, only)
    tell_rejected(mapped)
    truth = _open_reference(reference, column, class_name)
    check_both_placed(truth.crs, truth.name, mapped.crs)
    truth = _renamed(truth, match or {})
    known = {c.name for c in truth.classes}
    both = tuple(c for c in mapped.classes if c.name in known)
    if not both:
        raise ConfigError(
            f"no class of the map is in the reference: the map has {_listed(mapped)}, the "
            f'reference {_listed(truth)}; pass --match "REFERENCE CLASS=MAP CLASS", another '
            "--class-column, or --class NAME"
        )
    names = {c.name for c in both}
    notes = [
        f"{one} has classes that {other} has not, which are not judged: {', '.join(left)}"
        for one, other, layer in (
            ("the map", "the reference", mapped),
            ("the reference", "the map", truth),
        )
        if (left := [c.name for c in layer.classes if c.name not in names])
    ]
    return Pair(mapped, truth, both, tuple(notes))


def _open_map(layer: str | Path | gpd.GeoDataFrame, column: str, only: str | None) -> Classed:
    try:
        return open_classed(layer, "MAP", only=only)
    except ConfigError:
        if column == CLASS_COLUMN:
            raise
        return open_classed(layer, "MAP", column=column, only=only)


def _open_reference(
    layer: str | Path | gpd.GeoDataFrame, column: str, class_name: str | None
) -> Classed:
    if class_name is None:
        return open_classed(
            layer, "REFERENCE", column=column, knob="pass --class-column, or --class NAME"
        )
    plain, name = read_layer(layer, "REFERENCE", "polygons", "the reference")
    alike = plain[[plain.geometry.name]].assign(**{CLASS_COLUMN: class_name})
    return open_classed(alike, "REFERENCE", nameless=name)


def _renamed(layer: Classed, match: Mapping[str, str]) -> Classed:
    """Give classes other names; several may become one."""
    names = [c.name for c in layer.classes]
    unknown = sorted(set(match) - set(names))
    if unknown:
        raise ConfigError(
            f"--match: the reference has no class '{unknown[0]}'; it has {', '.join(names)}"
        )
    to = [match.get(name, name) for name in names]
    merged = list(dict.fromkeys(to))
    number = np.array([merged.index(name) for name in to])
    classes = tuple(LandClass(name=name) for name in merged)
    return replace(renumbered(layer, number), classes=classes)


def renumbered(layer: Classed, number: Ints) -> Classed:
    """Return a layer whose polygons have other numbers of classes.

    Args:
        layer: The layer.
        number: (c,) new number of each of its classes; polygons of those that are ABSENT are left
            out.
    """

    def batches() -> Iterator[Batch]:
        for batch in layer.batches():
            cls = number[batch.cls]
            kept = cls != ABSENT
            yield Batch(batch.id[kept], cls[kept], batch.score[kept], batch.shape[kept])

    return replace(layer, batches=batches)


def numbered(layer: Classed, names: list[str]) -> Classed:
    """Return those polygons of a layer that have one of these classes; its number is its place."""
    number = [names.index(c.name) if c.name in names else ABSENT for c in layer.classes]
    return renumbered(layer, np.array(number, np.int64))


def _listed(layer: Classed) -> str:
    names = [c.name for c in layer.classes]
    return ", ".join(names[:10]) + (f" and {len(names) - 10} others" if len(names) > 10 else "")


def grid_over(layer: Classed, aoi: gpd.GeoDataFrame | None) -> Frame:
    """Return a grid for a layer that has none, in its CRS: over an area, or else over itself.

    Raises:
        ConfigError: The area cannot be brought to its CRS.
    """
    if aoi is None:
        boxes = [shapely.total_bounds(batch.shape) for batch in layer.batches()]
        corners = np.array(boxes)
        bounds = np.concatenate((corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)))
    else:
        try:
            there = aoi if aoi.crs is None or layer.crs is None else aoi.to_crs(layer.crs)
        except pyproj.exceptions.ProjError as error:
            raise ConfigError(f"--aoi cannot be brought to the CRS of {layer.name}") from error
        bounds = there.total_bounds
    x0, y0, x1, y1 = bounds.tolist()
    side = max(math.sqrt((x1 - x0) * (y1 - y0) / _GRID_PIXELS), max(x1 - x0, y1 - y0) / 2**20)
    if not (math.isfinite(side) and side > 0):
        raise ConfigError(f"{layer.name} covers no place on which it could be compared")
    width, height = (max(1, math.ceil(length / side)) for length in (x1 - x0, y1 - y0))
    return Frame(width, height, Affine(side, 0, x0, 0, -side, y1), layer.crs)
