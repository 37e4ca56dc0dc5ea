"""How do arcs become features again?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.features import Drawn
from geoseg.generalise.lines import GRID, Ints, corners, curves, expand
from geoseg.generalise.network import Network
from geoseg.generalise.relax import Rules
from geoseg.generalise.spooled import Spooled


@dataclass(frozen=True, slots=True, eq=False)
class _Nested:
    """How many features, polygons, rings and arcs there are up to each of those above them."""

    polygons: Ints
    """(features + 1,)"""
    rings: Ints
    """(polygons + 1,)"""
    arcs: Ints
    """(rings + 1,)"""


def rebuilt(spooled: Spooled, network: Network, rules: Rules) -> Iterator[Drawn]:
    """Yield the features that were spooled, batch by batch, as their arcs are drawn now."""
    nested = _Nested(
        *(
            np.r_[0, np.cumsum(count)]
            for count in (spooled.per_feature, network.per_polygon, network.per_ring)
        )
    )
    first = 0
    for drawn in spooled.drawn:
        stop = first + len(drawn.number)
        yield replace(drawn, outline=_outlines(network, rules, nested, (first, stop)))
        first = stop


def _outlines(
    network: Network, rules: Rules, nested: _Nested, features: tuple[int, int]
) -> NDArray[np.object_]:
    """Return the outlines of a stretch of features in pixel corner coordinates."""
    of_feature = nested.polygons[features[0] : features[1] + 1]
    of_polygon = nested.rings[of_feature[0] : of_feature[-1] + 1]
    of_ring = nested.arcs[of_polygon[0] : of_polygon[-1] + 1]
    walked = slice(of_ring[0], of_ring[-1])
    arcs, which = np.unique(network.walked[walked], return_inverse=True)
    lines = network.lines(arcs)
    drawn = curves(lines, corners(lines, rules.rounding))
    # The last point of an arc is the first one of the next.
    first, size = drawn.start[:-1][which], np.diff(drawn.start)[which] - 1
    step, arc = expand(np.zeros_like(size), size)
    point = np.where(network.backward[walked][arc], size[arc] - step, step) + first[arc]
    xy = drawn.xy[point] / GRID
    begins = np.r_[0, np.cumsum(size)][of_ring - of_ring[0]]
    # Each ring ends where it begins.
    xy = np.insert(xy, begins[1:], xy[begins[:-1]], axis=0)
    offsets = (
        begins + np.arange(len(begins)),
        of_polygon - of_polygon[0],
        of_feature - of_feature[0],
    )
    found: NDArray[np.object_] = shapely.from_ragged_array(
        shapely.GeometryType.MULTIPOLYGON, xy, offsets
    )
    return found
