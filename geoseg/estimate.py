"""What will a run do, and what will it need? Known without reading a pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from geoseg.config import RunConfig
from geoseg.detect import SPARE
from geoseg.grid import Grid
from geoseg.legend import Legend
from geoseg.mosaic import files
from geoseg.prepare import Source, open_source

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
    """Number of tiles."""
    tile_px: int
    """Side of the largest read."""
    overlap_px: int
    """Pixels that neighbouring tiles share."""
    read_ratio: float
    """Pixels read over pixels of the raster: what the overlap costs."""
    memory_mb: int
    """Estimate of the peak memory of all processes, without model weights."""
    run_folder_mb: tuple[float, float]
    """Estimate of the run folder's size: a few large regions .. a noisy map."""
    output_mb: tuple[float, float]
    """Estimate of the output's size: a few large regions .. a noisy map."""
    classes: tuple[str, ...]
    """Names of the classes, in order."""


def plan(
    source: Source,
    legend: str | Legend,
    config: RunConfig | None = None,
    *,
    bands: str | Mapping[str, int] | None = None,
    sensor: str | None = None,
) -> Plan:
    """Say what a run will do, without reading a pixel.

    Args:
        source: As `segment`.
        legend: Classes: `"forest, water"` or a Legend.
        config: Tile, overlap, workers; its legend is replaced by `legend`.
        bands: As `segment`.
        sensor: As `segment`.
    """
    settings = _settings(legend, config)
    raster = open_source(source, bands, sensor)
    grid = Grid(raster.frame.window, settings.tile, settings.overlap)
    shape = raster.frame.window
    rows, cols = grid.shape
    heights = sum(grid[r * cols].read.height for r in range(rows))
    widths = sum(grid[c].read.width for c in range(cols))
    sample_bytes = sum(np.dtype(b.dtype).itemsize for b in raster.bands)
    tile_px = min(settings.tile, shape.width) * min(settings.tile, shape.height)
    # One batch is at the backend, another waits; a picture and validity are 4 bytes per pixel.
    read = min(2 * settings.batch + SPARE, len(grid))
    cache = max((f.cache_bytes(grid[0].read.height) for f in files(raster)), default=0)
    held = (cache + tile_px * (BYTES_PER_PX + (sample_bytes + 4) * read)) / 2**20
    workers = settings.workers
    apart = workers * (WORKER_MEMORY_MB + held) if workers > 1 else held
    megapixels = shape.area / 1e6
    return Plan(
        shape.width,
        shape.height,
        len(raster.bands),
        len(grid),
        settings.tile,
        settings.overlap,
        round(heights * widths / shape.area, 3),
        round(BASE_MEMORY_MB + apart),
        # Measured per megapixel: blobs of thousands of pixels, and a speckled index map.
        (round(0.01 * megapixels, 2), round(0.9 * megapixels, 2)),
        (round(0.01 * megapixels, 2), round(2.5 * megapixels, 2)),
        tuple(c.name for c in settings.legend.classes),
    )


def _settings(legend: str | Legend, config: RunConfig | None) -> RunConfig:
    asked = Legend.parse(legend) if isinstance(legend, str) else legend
    if config is None:
        return RunConfig.build(legend=asked)
    return config.model_copy(update={"legend": asked})
