"""What will a run do, and what will it need? Known without reading a pixel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely

from geoseg.access import Access
from geoseg.aoi import find_area
from geoseg.config import RunConfig
from geoseg.detect import SPARE
from geoseg.errors import ConfigError
from geoseg.grid import Grid
from geoseg.legend import Legend
from geoseg.mosaic import files
from geoseg.prepare import Source, open_source
from geoseg.raster import RasterReader, holding

if TYPE_CHECKING:
    import geopandas as gpd
    from shapely.geometry.base import BaseGeometry

BASE_MEMORY_MB = 410
"""Memory of the main process without a tile and GDAL's cache: Python, a batch of features.
Measured with tiles of 512 to 4096 px, one to three classes, batches of 1 and 8."""

WORKER_MEMORY_MB = 230
"""Memory of a worker process without a tile. Measured."""

BYTES_PER_PX = 40
"""Working memory of the built-in backend and of flattening, per pixel of a tile. Measured."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do, known without reading a pixel."""

    width: int
    """Columns of the raster."""
    height: int
    """Rows of the raster."""
    bands: int
    """Bands that are read."""
    tiles: int
    """Number of tiles that are read."""
    tile_px: int
    """Side of the largest read."""
    overlap_px: int
    """Pixels that neighbouring tiles share."""
    read_ratio: float
    """Pixels read over pixels of the raster: what the overlap costs, and an area of interest
    saves."""
    memory_mb: int
    """Estimate of the peak memory of all processes, without model weights."""
    run_folder_mb: tuple[float, float]
    """Estimate of the run folder's size: a few large regions .. a noisy map."""
    output_mb: tuple[float, float]
    """Estimate of the output's size: a few large regions .. a noisy map."""
    classes: tuple[str, ...]
    """Names of the classes, in order."""


def plan(  # noqa: PLR0913  options as those of `segment`
    source: Source,
    legend: str | Legend,
    config: RunConfig | None = None,
    *,
    bands: str | Mapping[str, int] | None = None,
    sensor: str | None = None,
    access: Access | None = None,
    aoi: str | Path | gpd.GeoDataFrame | BaseGeometry | None = None,
) -> Plan:
    """Say what a run will do, without reading a pixel.

    Args:
        source: As `segment`.
        legend: Classes: `"forest, water"` or a Legend.
        config: Tile, overlap, workers; its legend is replaced by `legend`.
        bands: As `segment`.
        sensor: As `segment`.
        access: What the file may reach for.
        aoi: As `segment`.
    """
    settings = _settings(legend, config)
    raster = open_source(source, bands, sensor, access)
    grid = Grid(raster.frame.window, settings.tile, settings.overlap)
    shape = raster.frame.window
    tiles, read_px, mapped_px = len(grid), _read_px(grid), float(shape.area)
    area = None if aoi is None else find_area(aoi, raster.frame)
    chosen = holding(raster, grid, None if area is None else area.tiles(grid))
    if chosen is not None:
        tiles, read_px = len(chosen), sum(grid[i].read.area for i in chosen)
        mapped_px = min(float(read_px), mapped_px)
    if area is not None:
        mapped_px = min(float(shapely.area(area.polygons).sum()), mapped_px)
    megapixels = mapped_px / 1e6
    return Plan(
        shape.width,
        shape.height,
        len(raster.bands),
        tiles,
        settings.tile,
        settings.overlap,
        round(read_px / shape.area, 3),
        memory_mb(raster, settings),
        # Measured per megapixel: blobs of thousands of pixels, and a speckled index map.
        (round(0.01 * megapixels, 2), round(0.9 * megapixels, 2)),
        (round(0.01 * megapixels, 2), round(2.5 * megapixels, 2)),
        tuple(c.name for c in settings.legend.classes),
    )


def _read_px(grid: Grid) -> int:
    rows, cols = grid.shape
    heights = sum(grid[r * cols].read.height for r in range(rows))
    return heights * sum(grid[c].read.width for c in range(cols))


def memory_mb(raster: RasterReader, config: RunConfig) -> int:
    """Return an estimate of the peak memory of all processes in MiB, without model weights."""
    frame = raster.frame.window
    grid = Grid(frame, config.tile, config.overlap)
    sample_bytes = sum(np.dtype(b.dtype).itemsize for b in raster.bands)
    tile_px = min(config.tile, frame.width) * min(config.tile, frame.height)
    # One batch is at the backend, another waits; a picture and validity are 4 bytes per pixel.
    read = min(2 * config.batch + SPARE, len(grid))
    cache = max((f.cache_bytes(grid[0].read.height) for f in files(raster)), default=0)
    held = (cache + tile_px * (BYTES_PER_PX + (sample_bytes + 4) * read)) / 2**20
    apart = config.workers * (WORKER_MEMORY_MB + held) if config.workers > 1 else held
    return round(BASE_MEMORY_MB + apart)


def check_memory(config: RunConfig, raster: RasterReader) -> None:
    """Refuse a run that would need more memory than it may have.

    Raises:
        ConfigError: It would; says which settings would do, if there are any.
    """
    if config.memory is None:
        return
    need, limit = memory_mb(raster, config), config.memory / 2**20
    if need <= limit:
        return
    knob = next(
        (
            f"; {said} would need about {_decimal(less)} MB"
            for said, change in _smaller(config)
            if (less := memory_mb(raster, config.model_copy(update=change))) <= limit
        ),
        "; no other --tile, --batch or --workers would do either",
    )
    raise ConfigError(
        f"the run needs about {_decimal(need)} MB without model weights, and --memory allows "
        f"{_decimal(limit)} MB{knob}"
    )


def _decimal(mebibytes: float) -> int:
    return round(mebibytes * 2**20 / 1e6)


def _smaller(config: RunConfig) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield settings that need less, the mildest first."""
    if config.workers > 1:
        yield "--workers 1", {"workers": 1}
    if config.batch > 1:
        yield "--batch 1 --workers 1", {"batch": 1, "workers": 1}
    tile = config.tile // 2
    while tile > max(config.overlap, 64):
        yield f"--tile {tile} --batch 1 --workers 1", {"tile": tile, "batch": 1, "workers": 1}
        tile //= 2


def _settings(legend: str | Legend, config: RunConfig | None) -> RunConfig:
    asked = Legend.parse(legend) if isinstance(legend, str) else legend
    if config is None:
        return RunConfig.build(legend=asked)
    return config.model_copy(update={"legend": asked})
