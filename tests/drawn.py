"""Maps of geoseg whose every pixel is known: drawn, written and segmented by a perfect model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from scenes import GEOREF, UTM, ByComponent, classes_image, instances, legend

import geoseg

if TYPE_CHECKING:
    from pathlib import Path

    from affine import Affine

    from geoseg import Instances
    from geoseg.pixels import Pixels

NODATA = 99


def patchwork(height: int, width: int, count: int, seed: int = 0) -> np.ndarray:
    """Draw class index + 1 per pixel, 0 for none."""
    return classes_image(height, width, np.random.default_rng(seed), count)


def write_ids(
    path: Path,
    ids: np.ndarray,
    nodata: int | None = None,
    crs: str | None = UTM,
    transform: Affine = GEOREF,
) -> Path:
    """Write a raster of (row, col) object numbers as `ByIdentity` reads it; one may be nodata."""
    height, width = ids.shape
    bands = np.stack([ids, np.full_like(ids, height), np.full_like(ids, width)]).astype(np.int32)
    if nodata is not None:
        bands[:, ids == nodata] = nodata
    profile = {
        "driver": "GTiff", "height": height, "width": width, "count": 3, "dtype": "int32",
        "transform": transform, "nodata": nodata, **({} if crs is None else {"crs": crs}),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as out:
        out.write(bands)
    return path


class FailingAtTheLeft(ByComponent):
    """Fails in the tiles at the left edge, with a message that must not become markup."""

    def answer(self, tile: Pixels) -> Instances:
        if tile.window.x0 == 0:
            raise RuntimeError("<b>out of luck</b>")
        return super().answer(tile)


class Clouds:
    """Knows cloud: one number."""

    identity, halo_px = "clouds", 0
    number = 99

    def segment(self, tiles: list[Pixels]) -> list[Instances]:
        place = [(slice(0, t.valid.shape[0]), slice(0, t.valid.shape[1])) for t in tiles]
        return [
            instances([(p, t.data[0] == self.number, 0)]) for p, t in zip(place, tiles, strict=True)
        ]


def drawn(folder: Path, image: np.ndarray, **options: Any) -> Path:
    """Return a map of (row, col) class index + 1, 0 for none, NODATA where there is no data.

    Options: `crs`, `transform`, `name`, `kind` of the classes, `model` (its class, of the kind of
    ByComponent), and those of `geoseg.segment`.
    """
    name, kind = options.pop("name", "m"), options.pop("kind", "cover")
    count = max(int(image[image != NODATA].max()), 1)
    place = {k: options.pop(k) for k in ("crs", "transform") if k in options}
    path = write_ids(folder / f"{name}.tif", image, NODATA, **place)
    model = options.pop("model", ByComponent)(tuple(range(count)), cover=kind == "cover")
    settings = {"tile": 64, "overlap": 8, "overwrite": True, **options}
    geoseg.segment(
        path, legend(*[kind] * count), backend=model, out=folder / f"{name}.gpkg", **settings
    )
    return folder / f"{name}.gpkg"
