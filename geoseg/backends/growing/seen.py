"""What is seen in a picture before anybody points? Basins, and the tree of what they unite to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.backends.detections import Picture
from geoseg.backends.growing.basins import Labels, basins
from geoseg.backends.growing.colours import lab, smooth, steepness
from geoseg.backends.growing.tree import Tree, grow_tree
from geoseg.window import Window

_SIGMA_PX = 1.0
"""Noise between pixels and the steps of JPEG blocks go under; what is 3 pixels wide stays."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A picture as regions."""

    leaf: Labels
    """(row, col) the leaf of the tree that a pixel lies in."""
    tree: Tree
    """Of the regions."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols) of the picture."""
        rows, cols = self.leaf.shape
        return rows, cols

    @property
    def window(self) -> Window:
        """The picture."""
        rows, cols = self.shape
        return Window(0, 0, cols, rows)

    def at(self, x: float, y: float) -> int:
        """Return the leaf at a place in the picture; its far edges belong to the last pixels."""
        rows, cols = self.shape
        return int(self.leaf[min(int(y), rows - 1), min(int(x), cols - 1)])


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A part of a picture that an object may be."""

    leaves: NDArray[np.bool_]
    """(n,) which leaves of the tree it consists of."""
    quality: float
    """0..1."""


def see(picture: Picture) -> Seen:
    """Look at a picture (row, col, 3)."""
    planes = smooth(lab(picture), _SIGMA_PX)
    return Seen(*grow_tree(basins(steepness(planes)), planes))
