"""Small GeoTIFFs, drawn where a test wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

WIDTH, HEIGHT = 70, 50
UTM = {"crs": "EPSG:32633", "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000)}


def draw(path: Path, dtype: str = "uint8", bands: int = 3, **options: Any) -> Path:
    """Write noise; `paint` may spoil it, `finish` gets the open dataset."""
    paint, finish = options.pop("paint", None), options.pop("finish", None)
    random = np.random.default_rng(1)
    height, width = options.pop("shape", (HEIGHT, WIDTH))
    data = random.integers(0, 250, (bands, height, width))
    data = (data / 250 if dtype.startswith("float") else data).astype(dtype)
    if paint is not None:
        paint(data)
    profile = {"driver": "GTiff", "width": width, "height": height, "count": bands, **UTM}
    with rasterio.open(path, "w", **{**profile, "dtype": dtype, **options}) as out:
        out.write(data)
        if finish is not None:
            finish(out)
    return path


def mosaic(path: Path, *parts: tuple[str, int], size: int = 32, **options: str) -> Path:
    """Write a VRT of square parts, each a source name and the column where it begins.

    Options: `band` (attributes), `inside` (of the band), `root` (of the dataset), `relative`.
    """
    relative = options.get("relative", "1")
    sources = "".join(
        f'<SimpleSource><SourceFilename relativeToVRT="{relative}">{name}</SourceFilename>'
        f'<SourceBand>1</SourceBand><SrcRect xOff="0" yOff="0" xSize="{size}" ySize="{size}"/>'
        f'<DstRect xOff="{x}" yOff="0" xSize="{size}" ySize="{size}"/></SimpleSource>'
        for name, x in parts
    )
    width = max((x for _, x in parts), default=0) + size
    path.write_text(
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{size}"><SRS>EPSG:32633</SRS>'
        "<GeoTransform>500000,10,0,5000000,0,-10</GeoTransform>"
        f'<VRTRasterBand dataType="Byte" band="1" {options.get("band", "")}>'
        f"{options.get('inside', '')}{sources}</VRTRasterBand>"
        f"{options.get('root', '')}</VRTDataset>"
    )
    return path
