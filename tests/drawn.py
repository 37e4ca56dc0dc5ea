"""Maps of geoseg whose every pixel is known: drawn, written and segmented by a perfect model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from scenes import GEOREF, UTM, ByComponent, classes_image, legend

import geoseg

if TYPE_CHECKING:
    from pathlib import Path

NODATA = 99


def patchwork(height: int, width: int, count: int, seed: int = 0) -> np.ndarray:
    """Draw class index + 1 per pixel, 0 for none."""
    return classes_image(height, width, np.random.default_rng(seed), count)


def drawn(folder: Path, image: np.ndarray, **options: Any) -> Path:
    """Return a map of (row, col) class index + 1, 0 for none, NODATA where there is no data.

    Options: `crs`, `transform`, `name`, `kind` of the classes, `model` (its class, of the kind of
    ByComponent), and those of `geoseg.segment`.
    """
    name, kind = options.pop("name", "m"), options.pop("kind", "cover")
    count = max(int(image[image != NODATA].max()), 1)
    height, width = image.shape
    profile = {
        "driver": "GTiff", "height": height, "width": width, "count": 3, "dtype": "int32",
        "crs": options.pop("crs", UTM), "transform": options.pop("transform", GEOREF),
        "nodata": NODATA,
    }  # fmt: skip
    if profile["crs"] is None:
        del profile["crs"]
    path = folder / f"{name}.tif"
    with rasterio.open(path, "w", **profile) as out:
        for band, values in enumerate((image, np.full_like(image, height), width), 1):
            filled = np.full(image.shape, values).astype(np.int32)
            out.write(np.where(image == NODATA, NODATA, filled), band)
    model = options.pop("model", ByComponent)(tuple(range(count)), cover=kind == "cover")
    settings = {"tile": 64, "overlap": 8, "overwrite": True, **options}
    geoseg.segment(
        path, legend(*[kind] * count), backend=model, out=folder / f"{name}.gpkg", **settings
    )
    return folder / f"{name}.gpkg"
