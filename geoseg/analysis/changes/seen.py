"""Which ground did a map look at? What it could not see must never be read as change.

A map has not seen what lies outside its raster or its area of interest, nodata of the raster, tiles
that failed, and what clouds hide.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from geoseg.analysis.classed import Classed
from geoseg.analysis.looked import area_if_known, raster_of
from geoseg.area import Geometries, polygonal
from geoseg.errors import ConfigError, TileFailedError
from geoseg.frame import Frame
from geoseg.raster import RasterReader
from geoseg.reproject import from_grid, in_pixels
from geoseg.window import Window

Mask = NDArray[np.bool_]

BLOCK_PX = 2**20
"""Most pixels of a raster that are read at once."""

_HAIR = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What is known of the ground that a map looked at."""

    raster: RasterReader | None
    """Says where data is good; None where it cannot be opened."""
    looked: Geometries | None
    """(n,) polygons in pixels of the grid, outside of which nobody looked; None: everywhere."""
    failed: Geometries
    """(n,) polygons in pixels of the grid: tiles that failed."""
    clouds: Classed | None = None
    """Polygons of cloud and shadow, where that is known."""
    notes: tuple[str, ...] = ()
    """What is taken for granted, a line each."""


def seen_of(
    layer: Classed,
    grid: Frame,
    raster: RasterReader | None = None,
    clouds: Classed | None = None,
) -> Seen:
    """Return what is known of the ground that a layer was made from.

    Args:
        layer: A map of geoseg, which names its raster; or another layer.
        grid: The pixels that are asked about.
        raster: Its raster; that of the recipe where None.
        clouds: Polygons of its cloud and shadow, where that is known.
    """
    notes: list[str] = []
    if layer.map is None or layer.map.recipe is None:
        if raster is None:
            notes.append(
                f"{layer.name} names no raster: where it has no polygon, it is taken to have looked"
            )
        return Seen(raster, None, np.zeros(0, object), clouds, tuple(notes))
    made = layer.map.recipe.frame
    looked = [outline(made, grid, layer.name)] if made != grid else []
    asked = layer.map.recipe.asked
    area, lost = area_if_known(layer.map)
    looked += [] if area is None else [from_grid(area.polygons, made, grid, layer.name)]
    notes += lost
    if raster is None:
        raster, lost = raster_of(layer.map, "its raster")
        notes += lost
    if clouds is None and ("mask_clouds" in asked or "mask_clouds" in asked["in_memory"]):
        notes.append(
            f"{layer.name} was made with --mask-clouds, and does not say where clouds were: there "
            "it counts as unmapped; compare the rasters, or leave out such ground with --aoi"
        )
    failed = _failed(layer, grid)
    if clouds is not None:
        failed = np.concatenate((failed, _failed(clouds, grid)))
    return Seen(raster, _common(looked), failed, clouds, tuple(notes))


def _failed(layer: Classed, grid: Frame) -> Geometries:
    """Return tiles that are missing in a map, as polygons in pixels of a grid."""
    missing = [] if layer.map is None else layer.map.failed()
    outlines = np.array([outline for *_, outline in missing], object)
    return in_pixels(outlines, layer.crs, grid, layer.name)[0] if len(outlines) else outlines


def outline(made: Frame, grid: Frame, name: str) -> Geometries:
    """Return the ground of a raster as polygons in pixels of a grid.

    Raises:
        ConfigError: It cannot be brought to the CRS of the grid.
    """
    corners = np.array([(0, 0), (0, made.height), (made.width, made.height), (made.width, 0)])
    return from_grid(np.array([shapely.Polygon(corners)], object), made, grid, name)


def common_ground(made: Frame, grid: Frame) -> Window:
    """Return the smallest window of a grid that holds what another raster shares; may be empty."""
    if made == grid:
        return grid.window
    shapes = outline(made, grid, "the earlier date")
    if len(shapes) == 0:
        return Window(0, 0, 0, 0)
    inside = shapely.intersection(shapes, shapely.box(0, 0, grid.width, grid.height))
    x0, y0, x1, y1 = shapely.total_bounds(inside)
    if not np.isfinite(x0) or x1 <= x0 or y1 <= y0:
        return Window(0, 0, 0, 0)
    # A hair's breadth is no ground: coordinates are rounded.
    low, high = np.floor(np.array([x0, y0]) + _HAIR), np.ceil(np.array([x1, y1]) - _HAIR)
    return Window(*low.astype(int).tolist(), *high.astype(int).tolist())


def beyond_ha(made: Frame, grid: Frame) -> float:
    """Return the hectares of a raster's ground that a grid does not reach."""
    whole = shapely.box(0, 0, made.width, made.height)
    rest = shapely.difference(whole, shapely.union_all(outline(grid, made, "the later date")))
    # A hair's breadth is no ground: coordinates are rounded.
    if rest.area < _HAIR * whole.area:
        return 0.0
    return float(made.measure(np.array([rest], object))[0][0]) / 1e4


def _common(looked: list[Geometries]) -> Geometries | None:
    """Return polygons of what lies in all of several areas; None where there are none."""
    if not looked:
        return None
    whole = shapely.union_all(looked[0])
    for other in looked[1:]:
        whole = shapely.intersection(whole, shapely.union_all(other))
    return polygonal(shapely.get_parts(np.array([whole], object)))


def valid_at(raster: RasterReader, grid: Frame, window: Window) -> Mask:
    """Return (row, col) of a window of a grid, whether a raster has good data there.

    That of the pixel which holds the centre of a pixel of the grid. What cannot be read is no good.

    Raises:
        ConfigError: Their CRSs have nothing to do with each other.
    """
    good = np.zeros(window.shape, bool)
    for part in _blocks(window, BLOCK_PX):
        rows, cols = part.slices_in(window)
        good[rows, cols] = _valid(raster, grid, part)
    return good


def _blocks(window: Window, most: int) -> Iterator[Window]:
    """Cut a window into halves until each is small enough."""
    if window.area <= most:
        yield window
        return
    for part in _halves(window):
        yield from _blocks(part, most)


def _halves(window: Window) -> tuple[Window, Window]:
    """Cut a window across its longer side."""
    if window.width > window.height:
        x = (window.x0 + window.x1) // 2
        return replace(window, x1=x), replace(window, x0=x)
    y = (window.y0 + window.y1) // 2
    return replace(window, y1=y), replace(window, y0=y)


def _valid(raster: RasterReader, grid: Frame, window: Window) -> Mask:
    if raster.frame == grid:
        return _read(raster, window)
    x, y = pixel_of(raster.frame, grid, window)
    inside = (x >= 0) & (y >= 0) & (x < raster.frame.width) & (y < raster.frame.height)
    if not inside.any():
        return inside
    part = Window(
        int(x[inside].min()), int(y[inside].min()),
        int(x[inside].max()) + 1, int(y[inside].max()) + 1,
    )  # fmt: skip
    if part.area > 4 * BLOCK_PX and window.area > 1:
        # Its pixels are much smaller: what is read is kept small, too.
        found = [_valid(raster, grid, half) for half in _halves(window)]
        return np.concatenate(found, axis=int(window.width > window.height))
    good = np.zeros(window.shape, bool)
    good[inside] = _read(raster, part)[y[inside] - part.y0, x[inside] - part.x0]
    return good


def _read(raster: RasterReader, window: Window) -> Mask:
    try:
        return raster.read(window)[1]
    except TileFailedError:
        return np.zeros(window.shape, bool)


def pixel_of(
    other: Frame, grid: Frame, window: Window
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which pixel of another raster holds the centre of each pixel of a window.

    Returns:
        (row, col) columns and (row, col) rows of the other raster, which may lie outside of it.
    """
    xy = place_in(other, grid, window)
    # What has no place there is far outside.
    whole = np.floor(np.where(np.isfinite(xy), xy, -1)).clip(-1, 2**31).astype(np.int64)
    return whole[:, 0].reshape(window.shape), whole[:, 1].reshape(window.shape)


def place_in(other: Frame, grid: Frame, window: Window) -> NDArray[np.float64]:
    """Return (n, 2) where the centres of the pixels of a window lie in another raster's pixels."""
    x, y = np.meshgrid(np.arange(window.x0, window.x1) + 0.5, np.arange(window.y0, window.y1) + 0.5)
    xy = grid.to_crs(np.column_stack((x.ravel(), y.ravel())))
    if grid.crs is not None and other.crs is not None and grid.crs != other.crs:
        try:
            to_other = pyproj.Transformer.from_crs(grid.crs, other.crs, always_xy=True)
        except pyproj.exceptions.ProjError as error:
            raise ConfigError(
                "the two dates lie in coordinate reference systems of which none leads to the "
                "other; reproject one with gdalwarp -t_srs"
            ) from error
        xy = np.column_stack(to_other.transform(xy[:, 0], xy[:, 1]))
    return other.to_pixels(xy)
