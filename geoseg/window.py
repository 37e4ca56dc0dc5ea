"""Which pixels? An integer, half-open rectangle of a raster."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """The pixels with `x0 <= col < x1` and `y0 <= row < y1`; may be empty."""

    x0: int
    """First column."""
    y0: int
    """First row."""
    x1: int
    """One past the last column."""
    y1: int
    """One past the last row."""

    @property
    def width(self) -> int:
        """Number of columns."""
        return max(self.x1 - self.x0, 0)

    @property
    def height(self) -> int:
        """Number of rows."""
        return max(self.y1 - self.y0, 0)

    @property
    def shape(self) -> tuple[int, int]:
        """Size as (rows, cols)."""
        return self.height, self.width

    @property
    def area(self) -> int:
        """Number of pixels."""
        return self.width * self.height

    def intersection(self, other: Window) -> Window:
        """Return the pixels of both; empty (area 0) where they are disjoint."""
        return Window(
            max(self.x0, other.x0),
            max(self.y0, other.y0),
            min(self.x1, other.x1),
            min(self.y1, other.y1),
        )

    def grow(self, px: int, within: Window) -> Window:
        """Return this window with `px` more on each side, cut to `within`."""
        return Window(self.x0 - px, self.y0 - px, self.x1 + px, self.y1 + px).intersection(within)

    def trusted(self, margin: int, raster: Window) -> Window:
        """Return it without a margin on each side that is not the raster's edge.

        Beyond the raster there is nothing to look at, in any tiling: all is trusted there.
        """
        return Window(
            self.x0 + margin * (self.x0 > raster.x0),
            self.y0 + margin * (self.y0 > raster.y0),
            self.x1 - margin * (self.x1 < raster.x1),
            self.y1 - margin * (self.y1 < raster.y1),
        )

    def shift(self, dx: int, dy: int) -> Window:
        """Return this window moved by `dx` columns and `dy` rows."""
        return Window(self.x0 + dx, self.y0 + dy, self.x1 + dx, self.y1 + dy)

    def slices_in(self, outer: Window) -> tuple[slice, slice]:
        """Return the (row, col) slices of this window in an array that covers `outer`."""
        return (
            slice(self.y0 - outer.y0, self.y1 - outer.y0),
            slice(self.x0 - outer.x0, self.x1 - outer.x0),
        )
