"""How much of a raster's ground was looked at? What has data, was asked for and did not fail.

Told by the pixels of an overview: all of a raster of up to 1600 px, every n-th of a larger one. The
share of some ground among so many pixels is right to a thousandth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import rasterio.features
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.access import is_network
from geoseg.aoi import find_area
from geoseg.errors import GeosegError
from geoseg.export.read import Map
from geoseg.frame import Floats, Frame
from geoseg.overview import SIDE_PX, Overview
from geoseg.whereabouts import find

Mask = NDArray[np.bool_]

_BLOCK = 16
"""Pixels of an overview, along a side, whose size on the ground is taken as one."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What the shares of a report are parts of."""

    part: float
    """Of the raster, 0..1."""
    has_data: bool
    """Whether it is known where the raster has data; else all of it is taken for good."""
    area: bool | None
    """Whether the area of interest is known; None where none was asked for."""
    whole: bool
    """Whether no tile failed."""

    @property
    def what(self) -> str:
        """What to call it."""
        return "valid ground" if self.has_data else "whole raster"


def ground(found: Map, seen: Overview | None) -> Ground:
    """Return how much ground a map looked at.

    Args:
        found: The map.
        seen: Its raster; None where it is not at hand.
    """
    frame = found.made_by().frame
    step = -(-max(frame.width, frame.height) // SIDE_PX)
    shape = -(-frame.height // step), -(-frame.width // step)
    good = np.ones(shape, bool) if seen is None else seen.valid.copy()
    area = _area_of(found)
    if isinstance(area, np.ndarray):
        good &= _inside(area.tolist(), shape, step)
    holes = [outline for *_, outline in found.failed()]
    if holes:
        placed = shapely.transform(np.array(holes, object), frame.to_pixels)
        good &= ~_inside(placed.tolist(), shape, step)
    known = None if area is None else isinstance(area, np.ndarray)
    return Ground(part_of(frame, good, step), seen is not None, known, not holes)


def _area_of(found: Map) -> NDArray[np.object_] | bool | None:
    """Return the area of interest in pixels, False where it is not at hand, None where none is."""
    recipe = found.made_by()
    if "aoi" not in recipe.facts:
        return None
    place = recipe.asked.get("aoi")
    if place is None or is_network(place):
        return False
    path, mark, layer = place.partition("|layername=")
    try:
        area = find_area(find(path, found.path, "it") + mark + layer, recipe.frame)
    except GeosegError:
        return False
    # One that was edited since is not what the map was made with.
    return area.polygons if area.identity == recipe.facts["aoi"] else False


def _inside(shapes: Sequence[shapely.Geometry], shape: tuple[int, int], step: int) -> Mask:
    burnt = rasterio.features.rasterize(
        shapes, out_shape=shape, transform=Affine.scale(step), dtype=np.uint8
    )
    inside: Mask = burnt > 0
    return inside


def part_of(frame: Frame, good: Mask, step: int) -> float:
    """Return what part of a raster's ground, 0..1, is marked.

    Args:
        frame: The raster.
        good: (row, col) of every `step`-th pixel.
        step: How many pixels each of them stands for, along a side.
    """
    rows, cols = _sides(frame.height, step), _sides(frame.width, step)
    weight = np.outer(rows, cols)
    tops, lefts = np.arange(0, len(rows), _BLOCK), np.arange(0, len(cols), _BLOCK)
    y, x = _middles(tops, step, frame.height), _middles(lefts, step, frame.width)
    centres = np.column_stack([v.ravel() for v in np.meshgrid(x, y)])
    size = np.ones(len(centres)) if frame.crs is None else frame.pixels_m2(centres)
    size = np.nan_to_num(size).reshape(len(tops), len(lefts))
    marked, whole = (
        float((np.add.reduceat(np.add.reduceat(w, tops, 0), lefts, 1) * size).sum())
        for w in (weight * good, weight)
    )
    return marked / whole


def _sides(size: int, step: int) -> Floats:
    """Return how many pixels each pixel of an overview stands for, along one side."""
    sides = np.full(-(-size // step), float(step))
    sides[-1] = size - step * (len(sides) - 1)
    return sides


def _middles(starts: NDArray[np.int64], step: int, size: int) -> Floats:
    low = starts * step
    return (low + np.minimum(low + _BLOCK * step, size)) / 2
