"""Which holes of an outline are too small to stay?

A hole is filled only if nothing of the same coverage lies in it. Whatever lies in a hole is whole
inside, so its first pixel tells: no outline has to be compared with any other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.frame import Frame
from geoseg.units import Size

Ints = NDArray[np.int64]
Geometries = NDArray[np.object_]

ANCHOR = np.dtype([("y", "<i4"), ("x", "<i4"), ("coverage", "<i4")])
"""A pixel of something that may lie in a hole, and the number of the coverage it belongs to."""

ANY = -1
"""As a coverage: all of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Inside:
    """What keeps the holes of numbered features open."""

    anchors: NDArray[np.void]
    """(k,) of ANCHOR, by row: a pixel of each connected part of everything small enough to lie in a
    hole that would be filled."""
    rows: Ints
    """(n, 2) first and last row of each feature; the first ones ascend."""

    def of(self, first: int, stop: int) -> NDArray[np.void]:
        """Return the anchors in the rows of some features."""
        rows = self.rows[first:stop]
        y = self.anchors["y"]
        low, high = np.searchsorted(y, rows[:, 0].min()), np.searchsorted(y, rows[:, 1].max())
        return self.anchors[low:high]


def areas(frame: Frame, px: Ints, centres: NDArray[np.float64], size: Size) -> NDArray[np.float64]:
    """Return areas in the unit of a size: pixels, or square metres on the ellipsoid.

    On the ground a pixel counts as much as one at the centre of mass. What is left out is below
    the square of (extent / radius of the Earth): a millionth for 10 km.

    Args:
        frame: Of the raster.
        px: (n,) pixels.
        centres: (n, 2) centre of mass, in pixel corner coordinates.
        size: Has the unit.
    """
    return px * frame.pixels_m2(centres) if size.on_ground else px.astype(np.float64)


def fill(
    outlines: Geometries, coverage: Ints, anchors: NDArray[np.void], least: Size, frame: Frame
) -> tuple[Geometries, int]:
    """Return outlines without holes that are smaller than `least` and hold nothing, and how many.

    Args:
        outlines: (n,) MultiPolygons in pixel corner coordinates.
        coverage: (n,) number of each one's coverage.
        anchors: (k,) of ANCHOR.
        least: Least area of a hole.
        frame: Of the raster.
    """
    parts, owner = shapely.get_parts(outlines, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    hole = np.flatnonzero(np.diff(part, prepend=-1) == 0)
    shapes = shapely.polygons(rings[hole])
    px = np.rint(shapely.area(shapes)).astype(np.int64)
    centres = shapely.get_coordinates(shapely.centroid(shapes))
    small = np.flatnonzero(areas(frame, px, centres, least) < least.value)
    hole, shapes = hole[small], shapes[small]
    points = shapely.points(anchors["x"] + 0.5, anchors["y"] + 0.5)
    anchor, found = shapely.STRtree(shapes).query(points, predicate="within")
    theirs, mine = anchors["coverage"][anchor], coverage[owner[part[hole[found]]]]
    kept_open = found[(theirs == mine) | (theirs == ANY)]
    filled = np.delete(hole, np.unique(kept_open))
    return _without(outlines, (parts, owner), (rings, part), filled), len(filled)


def _without(
    outlines: Geometries,
    parts: tuple[Geometries, Ints],
    rings: tuple[Geometries, Ints],
    filled: Ints,
) -> Geometries:
    """Build those outlines anew that lose rings."""
    changed = np.unique(parts[1][rings[1][filled]])
    if len(changed) == 0:
        return outlines
    kept = np.isin(parts[1][rings[1]], changed)
    kept[filled] = False
    polygons, which = np.unique(rings[1][kept], return_inverse=True)
    whole = shapely.polygons(rings[0][kept], indices=which)
    owner = np.searchsorted(changed, parts[1][polygons])
    out = outlines.copy()
    out[changed] = shapely.multipolygons(whole, indices=owner)
    return out
