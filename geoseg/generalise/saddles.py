"""Where pixels meet crosswise, who passes? Of two pairs that face each other, one of a class.

Left as they are, such points are fixed, and a band of single pixels becomes a string of beads. So
the two features of the pair that passes get a short border, and its ends, to either side of the
point, are the corners of the two that are held back. A band has the same width all along then, and
the same area.

Around a point ways go up, right, down, left: 0 to 3; quadrant q lies between ways q and q + 1.
The pair with quadrants 0 and 2 is pair 0, the other one pair 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.generalise.lines import GRID, Ints, Mask, Shorts

Pairs = NDArray[np.uint8]
"""Which pair passes at a point: 0 for none, or one more than the number of the pair."""

_SHIFT = GRID // 4
"""How far the point moves, in 1/GRID px, right or left, and up or down: a band of single pixels
has the width sqrt(1/2) px, and as many square pixels as it had."""

MOVED_PX = _SHIFT * 2**0.5 / GRID
"""How far the point moves."""

_TOWARDS = np.array([(1, -1), (1, 1), (-1, 1), (-1, -1)])
"""Where the quadrants are."""


@dataclass(frozen=True, slots=True, eq=False)
class Owners:
    """Whose rings are they?"""

    polygon: Shorts
    """(r,) the polygon of each ring; anything where it stays as it is."""
    still: Mask
    """(r,) whether it stays as it is."""
    feature: Shorts
    """(p,) the feature of each polygon."""
    cls: Ints
    """(p,) its class."""
    area: NDArray[np.float32]
    """(p,) of the polygon, in pixels."""


def way(step: Ints) -> Ints:
    """Return in which direction level and upright steps (n, 2) go."""
    found: Ints = (step[:, 0] > 0) + 2 * (step[:, 1] > 0) + 3 * (step[:, 0] < 0)
    return found


def turn(into: Ints, out: Ints) -> tuple[Ints, Mask]:
    """Return the quadrant around which a ring turns at a point, and whether it is of the polygon.

    Args:
        into: (n,) the way, seen from the point, on which the ring comes.
        out: (n,) the way on which it goes on, right or left of the other one.
    """
    # Polygons are to the right of their rings.
    own = (into - out) % 4 == 1
    return np.where(own, out, into), own


def moved(pair: Pairs, way: Ints) -> Ints:
    """Return (n, 2) by how much the end of a line moves that leaves a point on a way."""
    held = np.where(way % 2 == pair % 2, way, way - 1) % 4
    found: Ints = np.where(pair > 0, _SHIFT, 0)[:, None] * _TOWARDS[held]
    return found


def border(pair: Pairs) -> Ints:
    """Return (n, 2, 2) where the border of the two that pass begins and ends, from the point."""
    held = pair % 2
    found: Ints = _SHIFT * np.stack((_TOWARDS[held], _TOWARDS[held + 2]), axis=1)
    return found


def passing(points: Ints, edges: tuple[Ints, Ints, Ints], owners: Owners) -> Pairs:
    """Return which pair passes at points where four unit edges end, and no ring goes straight on.

    It is a pair of two features of one class; of two such pairs the one with the smallest polygon,
    or pair 0.

    Args:
        points: (n, 2) row by row.
        edges: Where the edges of rings begin and end, (e, 2), and their rings, (e,); all that end
            in one of the points.
        owners: Of all rings.
    """
    a, b, ring = edges
    point, ring, out = _ends(points, a, b, ring)
    into = _ends(points, b, a, edges[2])[2]
    quadrant, own = turn(into, out)
    place = (point * 2 + ~own) * 4 + quadrant
    count = np.bincount(place, minlength=8 * len(points)).reshape(-1, 8)
    # What lies over others, or on the edge of everything, is left alone.
    clear: Mask = count.max(axis=1) <= 1
    clear[point[owners.still[ring]]] = False
    polygon = np.full(8 * len(points), -1)
    mine = clear[point]
    polygon[place[mine]] = owners.polygon[ring[mine]]
    own_of, around = np.moveaxis(polygon.reshape(-1, 2, 4), 1, 0)
    least = np.stack([_least(own_of, around, pair, owners) for pair in (0, 1)])
    found: Pairs = np.where(np.isinf(least).all(axis=0), 0, 1 + least.argmin(axis=0))
    return found.astype(np.uint8)


def _least(own: Ints, around: Ints, pair: int, owners: Owners) -> NDArray[np.float32]:
    """Return the area of the smaller polygon of a pair; infinite where it may not pass.

    Args:
        own: (n, 4) the polygon that has a corner in a quadrant, or -1.
        around: (n, 4) the polygon that has everything but that quadrant, or -1.
        pair: Its number.
        owners: As of `passing`.
    """
    one, other = own[:, pair], own[:, pair + 2]
    # Where a polygon is held back on both sides, its two rings become one.
    may = (around[:, pair] == around[:, pair + 2]) & (one >= 0) & (other >= 0)
    at = np.flatnonzero(may)
    one, other = one[at], other[at]
    alike = owners.cls[one] == owners.cls[other]
    alike &= owners.feature[one] != owners.feature[other]
    least = np.full(len(own), np.inf, np.float32)
    least[at[alike]] = np.minimum(owners.area[one], owners.area[other])[alike]
    return least


def _ends(points: Ints, at: Ints, other: Ints, ring: Ints) -> tuple[Ints, Ints, Ints]:
    """Return points in which edges end, the edges' rings and ways; by point and ring."""
    numbers, here = (p[:, 1] << 32 | p[:, 0] for p in (points, at))
    point = np.searchsorted(numbers, here)
    mine = np.flatnonzero(np.append(numbers, -1)[point] == here)
    mine = mine[np.lexsort((ring[mine], point[mine]))]
    return point[mine], ring[mine], way(other[mine] - at[mine])
