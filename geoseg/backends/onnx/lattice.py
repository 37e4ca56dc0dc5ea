"""Which windows of the raster is a net shown, and which of them decides a pixel?

Nets see fixed windows, and near the edge of a window they guess. So the raster is covered by a
lattice of cells anchored at its first pixel; a cell is decided by the one window that is wider by
`margin_px` on each side (the overlap-tile strategy of Ronneberger et al. 2015, arXiv:1505.04597).
The lattice knows nothing of tiles, hence neither do the answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from geoseg.window import Window


@dataclass(frozen=True, slots=True)
class Lattice:
    """A cover of the plane by windows of one size."""

    size_px: int
    """Side of a window."""
    margin_px: int
    """How much of it, on each side, decides nothing."""

    @property
    def stride_px(self) -> int:
        """Side of a cell."""
        return self.size_px - 2 * self.margin_px

    @property
    def halo_px(self) -> int:
        """How far from a pixel its window reaches, and one more.

        The first pixel of a cell sees `size_px - margin_px - 1` to its right. With the one more,
        a core of whole cells in a tile of core + 2 * halo begins and ends where cells do, and no
        window is run for two tiles: 1024 px at windows of 256 with a margin of 32 or 64.
        """
        return self.size_px - self.margin_px

    def cells(self, wanted: Window) -> Iterator[tuple[Window, Window]]:
        """Yield (cell, window) for each cell that has pixels of `wanted`, row by row."""
        stride, margin = self.stride_px, self.margin_px
        for y in range(wanted.y0 // stride * stride, wanted.y1, stride):
            for x in range(wanted.x0 // stride * stride, wanted.x1, stride):
                yield (
                    Window(x, y, x + stride, y + stride),
                    Window(x - margin, y - margin, x + stride + margin, y + stride + margin),
                )
