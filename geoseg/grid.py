"""Which pixels does each tile decide, and which may it look at?

A grid cuts a raster into cores; every pixel lies in exactly one core. A tile reads `halo_px`
further on each side, inside the raster, but decides only its core. A read is never larger than
`tile_px`, and no core is a sliver: the last row and column take up the remainder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from geoseg.errors import ConfigError
from geoseg.window import Window


@dataclass(frozen=True, slots=True)
class Tile:
    """One cell of a Grid."""

    row: int
    """Index from the top, counted in cores."""
    col: int
    """Index from the left, counted in cores."""
    core: Window
    """The pixels this tile decides."""
    read: Window
    """The pixels it may look at: the core grown by the halo, inside the raster."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A partition of a raster into cores; iterating yields Tiles in row-major order."""

    raster: Window
    """The full raster, in pixels; its origin is (0, 0)."""
    tile_px: int
    """Largest side of a read."""
    overlap_px: int
    """How many pixels neighbouring reads share; the halo is half of it."""

    def __post_init__(self) -> None:
        if self.tile_px < 1:
            raise ConfigError(f"tile {self.tile_px} px is too small; pass --tile 64 or more")
        if not 0 <= self.overlap_px < self.tile_px:
            raise ConfigError(
                f"overlap {self.overlap_px} px is outside 0 <= overlap < tile ({self.tile_px} px); "
                "lower --overlap or raise --tile"
            )
        if self.core_px < 1:
            raise ConfigError(
                f"tile {self.tile_px} px with overlap {self.overlap_px} px leaves no core; "
                "lower --overlap or raise --tile"
            )

    @property
    def halo_px(self) -> int:
        """How far a tile reads beyond its core, on each side."""
        return (self.overlap_px + 1) // 2

    @property
    def core_px(self) -> int:
        """Side of a full core; the last row and column may be smaller or up to a halo larger."""
        return self.tile_px - 2 * self.halo_px

    @property
    def shape(self) -> tuple[int, int]:
        """Number of tiles as (rows, cols)."""
        return self._count(self.raster.height), self._count(self.raster.width)

    def _count(self, size: int) -> int:
        if size <= self.tile_px:
            return 1
        return -(-(size - self.halo_px) // self.core_px)

    def __len__(self) -> int:
        """Return the number of tiles."""
        rows, cols = self.shape
        return rows * cols

    def __getitem__(self, index: int) -> Tile:
        """Return the tile with this row-major index."""
        rows, cols = self.shape
        if not 0 <= index < rows * cols:
            raise IndexError(f"tile {index} of {rows * cols}")
        row, col = divmod(index, cols)
        y0, x0 = row * self.core_px, col * self.core_px
        core = Window(
            x0,
            y0,
            self.raster.x1 if col == cols - 1 else x0 + self.core_px,
            self.raster.y1 if row == rows - 1 else y0 + self.core_px,
        )
        return Tile(row, col, core, core.grow(self.halo_px, self.raster))

    def name(self, index: int) -> str:
        """Return the name used for files and messages: row and column of the tile."""
        row, col = divmod(index, self.shape[1])
        return f"r{row:05d}_c{col:05d}"

    def __iter__(self) -> Iterator[Tile]:
        """Yield every tile, row by row."""
        return (self[i] for i in range(len(self)))

    def at(self, x: float, y: float) -> int:
        """Return the tile that decides the pixel at a place; outside the raster, the nearest."""
        rows, cols = self.shape
        row, col = (int(v // self.core_px) for v in (y, x))
        return min(max(row, 0), rows - 1) * cols + min(max(col, 0), cols - 1)

    def meeting(self, window: Window) -> list[int]:
        """Return the tiles whose cores share pixels with a window, in row-major order."""
        inside = window.intersection(self.raster)
        if not inside.area:
            return []
        first, last = self.at(inside.x0, inside.y0), self.at(inside.x1 - 1, inside.y1 - 1)
        (row0, col0), (row1, col1) = divmod(first, self.shape[1]), divmod(last, self.shape[1])
        cols = self.shape[1]
        return [y * cols + x for y in range(row0, row1 + 1) for x in range(col0, col1 + 1)]

    def neighbours(self, index: int) -> list[int]:
        """Return the later tiles whose cores touch this one's, or whose reads share its pixels.

        These are the tiles to the E, SW, S and SE; with an overlap of more than half a tile also
        some beyond. Over all tiles this names every two of them once.
        """
        rows, cols = self.shape
        row, col = divmod(index, cols)
        reach = max(1, -(-2 * self.halo_px // self.core_px))
        return [
            y * cols + x
            for y in range(row, min(row + reach + 1, rows))
            for x in range(max(col - reach, 0), min(col + reach + 1, cols))
            if y > row or x > col
        ]
