"""What has been pointed at so far, one thing after the other?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import shapely

from geoseg.interactive.pointed import Pointed


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """One thing that was pointed at."""

    kind: Literal["point", "box", "mask"]
    """What it is."""
    geometry: shapely.Geometry
    """A point, a box or a multipolygon, in the raster's CRS."""
    positive: bool
    """False of a point outside of the object."""
    pixels: shapely.Geometry
    """The same in pixel corner coordinates."""


def together(said: Sequence[Said]) -> Pointed:
    """Return what is known of the object: every point, the last box and the last mask."""
    points = tuple((s.pixels.x, s.pixels.y, s.positive) for s in said if s.kind == "point")
    boxes = [s.pixels for s in said if s.kind == "box"]
    masks = [s.pixels for s in said if s.kind == "mask"]
    return Pointed(points, boxes[-1].bounds if boxes else None, masks[-1] if masks else None)
