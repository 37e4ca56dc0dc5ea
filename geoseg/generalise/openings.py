"""How do arcs end where two features pass crosswise? Apart, and with a border between the two.

A polygon that is held back on both sides of such a point has two rings that meet there, and they
become one (see `links`): otherwise the border would be twice in it.
"""

from __future__ import annotations

import numpy as np

from geoseg.generalise.arcs import Walk
from geoseg.generalise.lines import GRID, Ints
from geoseg.generalise.nodes import Nodes
from geoseg.generalise.saddles import border, moved, turn, way


def opened(found: Walk, coverage: Ints, nodes: Nodes) -> tuple[Walk, Ints]:
    """Move the ends of arcs to where they are drawn, and put in the borders of those that pass.

    Args:
        found: Arcs in pixels.
        coverage: (r,) of the rings.
        nodes: Say who passes.

    Returns:
        Arcs in 1/GRID px; and (j, 2) points at which a polygon is held back on both sides, with
        the place of the arc that begins there: two for each point, maybe not both of them here.
    """
    ring = np.repeat(np.arange(len(found.per_ring)), found.per_ring)
    last = np.cumsum(found.size) - 1
    first = last + 1 - found.size
    xy, key, pair, ways = found.xy * GRID, [], [], []
    for end, next_to_it in ((first, first + 1), (last, last - 1)):
        key.append(nodes.lattice.key(coverage[ring], found.xy[end]))
        pair.append(nodes.passes(key[-1]))
        ways.append(way(found.xy[next_to_it] - found.xy[end]))
        xy[end] += moved(pair[-1], ways[-1])
    before = np.arange(len(ring)) - 1
    stop = np.cumsum(found.per_ring)
    before[stop - found.per_ring] = stop - 1
    # As the ring walks them.
    into = np.where(found.backward, ways[0], ways[1])[before]
    out, begins, who = (np.where(found.backward, v[1], v[0]) for v in (ways, key, pair))
    quadrant, own = turn(into, out)
    passes = (who > 0) & (quadrant % 2 == who - 1)
    met, new = passes & ~own, passes & own
    place = np.arange(len(ring)) + np.cumsum(new)
    at = np.flatnonzero(new)
    ends = found.xy[np.where(found.backward, last, first)[at]][:, None] * GRID + border(who[at])
    more = Walk(
        np.insert(xy, np.repeat(first[at], 2), ends.reshape(-1, 2), axis=0),
        np.insert(found.size, at, 2),
        # No other name is below 0.
        np.insert(found.name, at, -1 - begins[at]),
        np.insert(found.backward, at, np.isin(quadrant[at], (1, 2))),
        np.insert(found.closed, at, False),
        found.per_ring + np.bincount(ring[at], minlength=len(found.per_ring)),
    )
    return more, np.column_stack((begins[met], place[met]))
