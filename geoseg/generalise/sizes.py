"""Which features are drawn smaller than the least area? Their lines are made finer.

The least area is that of the minimum mapping unit: what it left in the map has that area in pixels,
and is to have it as it is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.features import Drawn
from geoseg.frame import Frame
from geoseg.generalise.conflicts import areas
from geoseg.generalise.lines import DROPPED, GRID, Curves, Ints, cross
from geoseg.generalise.network import Network
from geoseg.units import Size

_SPARE = 1.001
"""How much more is kept: how large a pixel is is known at the middle of a feature only."""


def least_px(least: Size, drawn: Drawn, frame: Frame) -> NDArray[np.float64]:
    """Return (n,) the least area in pixels of features whose outlines follow pixel edges.

    Those that are smaller are to stay as they are.
    """
    if not least.on_ground:
        return np.full(len(drawn.number), least.value)
    x0, y0, x1, y1 = np.array([outline.bounds for outline in drawn.outline]).T
    pixel_m2 = frame.pixels_m2(np.column_stack(((x0 + x1) / 2, (y0 + y1) / 2)))
    found: NDArray[np.float64] = least.value / pixel_m2
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Sizes:
    """How large features are as they are drawn."""

    least: Ints
    """(n,) twice the least area of each feature, in 1/GRID px squared."""
    begins: Ints
    """(n + 1,) where in the walked arcs each feature begins, and the last one ends."""
    now: Ints
    """(m,) what each arc adds to twice the area of what is to one side of it; changes. Sums may
    run over, and are right all the same once they are those of whole rings."""

    @classmethod
    def of(cls, network: Network, per_feature: Ints, least: NDArray[np.float64]) -> Sizes:
        """Take down who walks which arcs.

        Args:
            network: The arcs, none drawn yet.
            per_feature: (n,) polygons of each feature.
            least: (n,) least area of each, in pixels.
        """
        rings = np.r_[0, np.cumsum(network.per_polygon)]
        arcs = np.r_[0, np.cumsum(network.per_ring, dtype=np.int64)]
        polygons = np.r_[0, np.cumsum(per_feature)]
        twice = np.ceil(2 * _SPARE * least * GRID**2).astype(np.int64)
        return cls(twice, arcs[rings[polygons]], np.zeros(len(network.first), np.int64))

    def draw(self, arcs: Ints, drawn: Curves) -> None:
        """Note how arcs are drawn now."""
        first, last = drawn.xy[drawn.start[:-1]], drawn.xy[drawn.start[1:] - 1]
        self.now[arcs] = areas(drawn.xy, drawn.start) + cross(first, last)

    def too_small(self, network: Network) -> Ints:
        """Return what makes up features that are too small, as indices of corners and causes.

        Chords get one more corner, as long as there is one; then corners are not rounded.
        """
        if len(self.least) == 0:
            return np.zeros(0, np.int64)
        # After those of features come the rings of the edge.
        walked = network.walked[: self.begins[-1]]
        signed = np.where(network.backward[: len(walked)], -self.now[walked], self.now[walked])
        small = np.abs(np.add.reduceat(signed, self.begins[:-1])) < self.least
        arcs = np.unique(walked[np.repeat(small, np.diff(self.begins))])
        arcs = arcs[~network.fixed[arcs]]
        if len(arcs) == 0:
            return np.zeros(0, np.int64)
        at, start = network.corners(arcs)
        state = network.state[at]
        coarse = np.logical_or.reduceat(state == DROPPED, start[:-1])
        kept = state != DROPPED
        found: Ints = 2 * at[kept] + ~np.repeat(coarse, np.diff(start))[kept]
        return found
