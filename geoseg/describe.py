"""What does an open dataset say of its pixels: size, bands, roles, validity?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp, Interleaving, MaskFlags
from rasterio.io import DatasetReader

from geoseg.bands import Band, resolve
from geoseg.errors import RasterError
from geoseg.frame import Frame
from geoseg.georeference import frame_of
from geoseg.preflight import check_block

MAX_BANDS = 64
"""More bands than this are not read unless --bands names some."""

MAX_PIXELS = 10**13
"""Larger rasters are taken for damaged headers."""

MAX_UNNAMED_BANDS = 4
"""Of more bands, some must say what they are: which three are a picture cannot be guessed."""


@dataclass(frozen=True, slots=True, eq=False)
class Description:
    """What is known of a raster before a pixel is read; fields as in GeoTiff."""

    frame: Frame
    bands: tuple[Band, ...]
    roles: Mapping[str, int]
    indexes: tuple[int, ...]
    mask: str
    palette: np.ndarray[Any, Any] | None
    alpha: int
    nodata: tuple[float | None, ...]
    row_bytes: int
    block_rows: int


def describe(
    name: str,
    dataset: DatasetReader,
    given: Mapping[str, int] | None,
    sensor: str | None,
) -> Description:
    """Return what an open dataset says of itself.

    Args:
        name: What the user calls it.
        dataset: Open for reading.
        given: 1-based band numbers by role; then only these bands are read.
        sensor: A key of `geoseg.bands.SENSORS`.

    Raises:
        RasterError: It cannot be used.
        ConfigError: A band that does not exist.
    """
    _check_samples(name, dataset)
    frame = frame_of(name, dataset)
    interpretations = dataset.colorinterp
    every = tuple(
        Band(description or "", interpretation.name, dtype)
        for description, interpretation, dtype in zip(
            dataset.descriptions, interpretations, dataset.dtypes, strict=True
        )
    )
    palette = _palette(dataset)
    if palette is not None:
        colours = tuple(Band(c, c) for c in ("red", "green", "blue"))
        mask, alpha, nodata = _mask(dataset, (1,), ())
        roles = resolve(colours, given, sensor)
        rows = _rows(dataset, (1,))
        return Description(frame, colours, roles, (1,), mask, palette, alpha, nodata, *rows)
    roles = resolve(every, given, sensor)
    indexes = tuple(range(1, len(every) + 1))
    if given:
        indexes = tuple(sorted(set(roles.values())))
        roles = {role: indexes.index(number) + 1 for role, number in roles.items()}
    _check_bands(name, len(indexes), known=bool(roles))
    mask, alpha, nodata = _mask(dataset, indexes, [indexes[n - 1] for n in roles.values()])
    shown = tuple(every[i - 1] for i in indexes)
    rows = _rows(dataset, indexes)
    return Description(frame, shown, roles, indexes, mask, None, alpha, nodata, *rows)


def _check_bands(name: str, count: int, *, known: bool) -> None:
    if count > MAX_BANDS:
        raise RasterError(
            f"{name} has {count} bands, at most {MAX_BANDS} are read; name those to use "
            "with --bands red=..,green=..,blue=..,nir=.."
        )
    if count > MAX_UNNAMED_BANDS and not known:
        raise RasterError(
            f"{name} has {count} bands, and none says what it is; name those to use with --bands "
            "red=..,green=..,blue=..,nir=.. or give --sensor"
        )


def _rows(dataset: DatasetReader, indexes: tuple[int, ...]) -> tuple[int, int]:
    """Return bytes of a decoded row, and rows of a block."""
    if dataset.interleaving == Interleaving.pixel:
        indexes = dataset.indexes
    sizes = [np.dtype(dataset.dtypes[i - 1]).itemsize for i in indexes]
    return dataset.width * sum(sizes), dataset.block_shapes[0][0]


def _check_samples(name: str, dataset: DatasetReader) -> None:
    if dataset.count == 0:
        parts = ", ".join(dataset.subdatasets[:4])
        raise RasterError(f"{name} has no bands of its own; name one subdataset: {parts}")
    for dtype in dataset.dtypes:
        if "complex" in dtype:
            raise RasterError(
                f"{name} has complex samples ({dtype}); give a raster of real numbers, for SAR "
                "the amplitude"
            )
    pixels = dataset.width * dataset.height
    if pixels > MAX_PIXELS:
        raise RasterError(
            f"{name} claims {dataset.width} x {dataset.height} pixels, which is too large "
            f"(at most {MAX_PIXELS:.0e}); its header is probably damaged"
        )
    rows, cols = dataset.block_shapes[0]
    size = rows * cols * np.dtype(dataset.dtypes[0]).itemsize
    # Of a GeoTIFF its own directories tell: GDAL shows large strips as rows.
    check_block(name, (cols, rows), size, tell=dataset.driver != "GTiff")


def _palette(dataset: DatasetReader) -> np.ndarray[Any, Any] | None:
    if dataset.count != 1 or dataset.colorinterp[0] != ColorInterp.palette:
        return None
    colours = np.zeros((256, 3), np.uint8)
    for index, rgba in dataset.colormap(1).items():
        if 0 <= index < 256:
            colours[index] = rgba[:3]
    return colours


def _mask(
    dataset: DatasetReader, indexes: tuple[int, ...], used: Sequence[int]
) -> tuple[str, int, tuple[float | None, ...]]:
    """Return where validity comes from, the alpha band, and nodata values.

    A band marked alpha that has a role of its own is no mask: GDAL marks the fourth band of any
    8-bit RGB file so, and in aerial imagery it is near infrared.
    """
    nodata = tuple(
        int(v) if v is not None and v.is_integer() else v
        for v in (dataset.nodatavals[i - 1] for i in indexes)
    )
    alpha = [i for i, c in enumerate(dataset.colorinterp, 1) if c == ColorInterp.alpha]
    if alpha and alpha[0] not in used:
        return "alpha", alpha[0], nodata
    if MaskFlags.per_dataset in dataset.mask_flag_enums[0] and not alpha:
        return "mask", 0, nodata
    if any(v is not None for v in nodata):
        return "nodata", 0, nodata
    return "none", 0, nodata
