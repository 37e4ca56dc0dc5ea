"""How much of a raster's ground was looked at? What has data, was asked for and did not fail.

Told by the pixels of an overview: all of a raster of up to 1600 px, every n-th of a larger one. The
share of some ground among so many pixels is right to a thousandth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import rasterio.features
from affine import Affine
from numpy.typing import NDArray

from geoseg.analysis.looked import area_if_known, failed_of
from geoseg.area import Geometries
from geoseg.export.read import Map
from geoseg.frame import Floats, Frame
from geoseg.overview import SIDE_PX, Overview

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
    area, lost = area_if_known(found)
    if area is not None:
        good &= _inside(area.polygons, shape, step)
    holes = failed_of(found)
    if len(holes):
        good &= ~_inside(holes, shape, step)
    known = False if lost else None if area is None else True
    return Ground(part_of(frame, good, step), seen is not None, known, len(holes) == 0)


def _inside(shapes: Geometries, shape: tuple[int, int], step: int) -> Mask:
    burnt = rasterio.features.rasterize(
        shapes.tolist(), out_shape=shape, transform=Affine.scale(step), dtype=np.uint8
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
