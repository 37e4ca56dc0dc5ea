"""How is a raster file opened and read safely?

Anything rasterio opens: GeoTIFF, COG, VRT, JPEG 2000, a URL or s3 path. Everything that would
spoil a run is checked when it is opened, before the first tile. Each thread reads through a
handle of its own, because a GDAL dataset must not be shared.
"""

from __future__ import annotations

import logging
import math
import os
import stat
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Interleaving, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterioWindow

from geoseg.bands import Band, resolve
from geoseg.blocks import Blocks, find_blocks
from geoseg.errors import RasterError, TileFailedError
from geoseg.frame import Frame, horizontal_wkt
from geoseg.raster import Samples, Valid, finite
from geoseg.window import Window

log = logging.getLogger(__name__)

MAX_BLOCK_BYTES = 256 * 2**20
"""A block that inflates to more is refused: reading one pixel of it could take all memory."""

_THREADS = 2
"""Threads that decode blocks; they share the handle's cache, as several readers would not."""

MAX_BANDS = 64
"""More bands than this are not read unless --bands names some."""

MAX_PIXELS = 10**13
"""Larger rasters are taken for damaged headers."""

CACHE_BYTES = 64 * 2**20, 256 * 2**20
"""Least and most that GDAL keeps of decoded blocks; its own default is 5 % of the machine's memory,
in each process."""

_MAGIC = (
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"version https://git-lfs", "a Git LFS pointer; run git lfs pull"),
    (b"%pdf", "a PDF"),
)


@dataclass(frozen=True)
class GeoTiff:
    """A raster file; picklable, handles are opened when and where they are needed."""

    path: str
    """Path, URL or GDAL name."""
    frame: Frame
    """Size, transform and CRS."""
    bands: tuple[Band, ...]
    """What is known of each band that is read."""
    roles: Mapping[str, int]
    """1-based number, among the bands that are read, by role."""
    indexes: tuple[int, ...]
    """1-based numbers in the file of the bands that are read."""
    mask: str
    """Where validity comes from: `none`, `nodata`, `alpha` or `mask`."""
    palette: np.ndarray[Any, Any] | None = None
    """(256, 3) uint8 colours of a paletted band, which is then read as red, green, blue."""
    alpha: int = 0
    """1-based number in the file of the alpha band."""
    nodata: tuple[float | None, ...] = ()
    """Nodata value of each band that is read."""
    row_bytes: int = 0
    """Size of a decoded row of the file, all bands that are decoded together."""
    block_rows: int = 0
    """Height of the file's blocks."""
    _local: threading.local = field(
        default_factory=threading.local, init=False, repr=False, compare=False
    )

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open handles behind."""
        return {k: v for k, v in self.__dict__.items() if k != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Start without handles."""
        self.__dict__.update(state)
        object.__setattr__(self, "_local", threading.local())

    def read(self, window: Window) -> tuple[Samples, Valid]:
        """Return (band, row, col) samples and (row, col) validity of a window.

        Raises:
            TileFailedError: GDAL cannot read it; says why.
        """
        where = RasterioWindow(window.x0, window.y0, window.width, window.height)
        try:
            with _gdal(self.path, self.cache_bytes(window.height)):
                dataset = self._dataset()
                # One type for all bands: rasterio refuses to mix them.
                kind = np.result_type(*(band.dtype for band in self.bands))
                data = dataset.read(list(self.indexes), window=where, out_dtype=kind)
                valid = self._valid(dataset, data, where)
        except RasterioError as error:
            self._local.dataset = None
            reason = str(error.__cause__ or error)
            raise TileFailedError(
                f"cannot read columns {window.x0}..{window.x1}, rows {window.y0}..{window.y1} "
                f"of {self.path}: {reason}"
            ) from error
        if self.palette is not None:
            data = np.moveaxis(self.palette[data[0].astype(np.uint8)], -1, 0)
        return data, valid

    def cache_bytes(self, rows: int) -> int:
        """Return how much GDAL keeps of the file when windows of so many rows are read.

        Enough for the blocks that a row of tiles touches: those to come need them again.
        """
        least, most = CACHE_BYTES
        # An eighth is GDAL's own: what is kept of a block besides its pixels.
        return min(max(least, (rows + self.block_rows) * self.row_bytes * 9 // 8), most)

    def empty(self, window: Window) -> bool:
        """Tell whether no block of a window was ever written: such read as nodata."""
        return self._blocks is not None and self._blocks.empty(window)

    def patches(self) -> NDArray[np.int64]:
        """Return (n, 4) boxes outside of which nothing was ever written."""
        full = self.frame.window
        if self._blocks is None:
            return np.array([(full.x0, full.y0, full.x1, full.y1)], np.int64)
        return self._blocks.boxes(full)

    @cached_property
    def _blocks(self) -> Blocks | None:
        # Of a remote file an entry that cannot be fetched would look like a block never written.
        if self.mask != "nodata" or None in self.nodata or _is_remote(self.path):
            return None
        try:
            with _gdal(self.path):
                return find_blocks(self._dataset(), self.indexes)
        except RasterioError:
            return None

    def close(self) -> None:
        """Close the handle of this thread; the next read opens another."""
        dataset = self._local.__dict__.pop("dataset", None)
        if dataset is not None:
            dataset.close()

    def _dataset(self) -> DatasetReader:
        dataset = getattr(self._local, "dataset", None)
        if dataset is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                dataset = rasterio.open(self.path)
            self._local.dataset = dataset
        return dataset

    def _valid(self, dataset: DatasetReader, data: Samples, where: RasterioWindow) -> Valid:
        valid = finite(data)
        if self.mask == "alpha":
            valid &= dataset.read(self.alpha, window=where) > 0
        elif self.mask == "mask":
            valid &= dataset.read_masks(1, window=where) > 0
        elif self.mask == "nodata":
            some = np.zeros(valid.shape, bool)
            for band, nodata in zip(data, self.nodata, strict=True):
                some |= True if nodata is None else band != nodata
            valid &= some
        return valid

    def identity(self) -> dict[str, Any]:
        """Return path, and size and time of change where it is a local file."""
        known: dict[str, Any] = {
            "path": self.path,
            "shape": [len(self.indexes), self.frame.height, self.frame.width],
            "bands": list(self.indexes),
            "roles": dict(sorted(self.roles.items())),
        }
        file = Path(self.path)
        if not _is_remote(self.path) and file.exists():
            status = file.stat()
            known.update(path=str(file.resolve()), bytes=status.st_size)
            known.update(mtime_ns=status.st_mtime_ns)
        return known


def open_raster(
    path: str | Path, bands: Mapping[str, int] | None = None, sensor: str | None = None
) -> GeoTiff:
    """Open a raster file and check that it can be used.

    Args:
        path: Path, URL (`https://...`) or `s3://...`.
        bands: 1-based band numbers by role; then only these bands are read.
        sensor: A key of `geoseg.bands.SENSORS`.

    Raises:
        RasterError: Missing, not a raster, complex samples, or georeferenced impossibly.
        ConfigError: A band that does not exist.
    """
    name = str(path)
    _check_file(name)
    try:
        with _gdal(name), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(name) as dataset:
                return _describe(name, dataset, bands, sensor)
    except RasterioIOError as error:
        raise RasterError(
            f"{name} is not a raster that can be opened{_looks_like(name)}: {error}"
        ) from error


def warn_of_alpha(raster: GeoTiff) -> None:
    """Warn if the band marked alpha looks like an image: GDAL marks near infrared so, too."""
    if raster.mask != "alpha" or len(raster.indexes) != 4:
        return
    full = raster.frame.window
    x, y = full.width // 2, full.height // 2
    window = Window(x - 256, y - 256, x + 256, y + 256).intersection(full)
    try:
        alpha = raster.read(window)[0][raster.alpha - 1]
    except TileFailedError:
        return
    between = np.count_nonzero((alpha > alpha.min()) & (alpha < alpha.max())) / alpha.size
    if between > 0.5:
        log.warning(
            "band %d of %s is marked as alpha and taken for a mask, but looks like an image; if it "
            "is near infrared, pass --sensor naip or name the bands with --bands",
            raster.alpha,
            raster.path,
        )


def _gdal(name: str, cache_bytes: int = CACHE_BYTES[0]) -> rasterio.Env:
    # rasterio hands the first to GDALSetCacheMax, which takes bytes, not GDAL's usual megabytes.
    options: dict[str, Any] = {"GDAL_CACHEMAX": cache_bytes, "GDAL_NUM_THREADS": _THREADS}
    if _is_remote(name):
        # Listing the folder of a remote file costs requests; side-cars matter on local disks only.
        options["GDAL_DISABLE_READDIR_ON_OPEN"] = "EMPTY_DIR"
    return rasterio.Env(**options)


def _is_remote(name: str) -> bool:
    return "://" in name or name.startswith("/vsi")


def _check_file(name: str) -> None:
    if _is_remote(name):
        return
    try:
        status = Path(name).stat()
    except FileNotFoundError as error:
        raise RasterError(f"no such file: {name}") from error
    except OSError as error:
        raise RasterError(f"{name} cannot be opened: {error.strerror}") from error
    if stat.S_ISDIR(status.st_mode):
        raise RasterError(f"{name} is a folder, not a file; give the raster inside it")
    if not stat.S_ISREG(status.st_mode):
        raise RasterError(f"{name} is not a regular file")
    if status.st_size == 0:
        raise RasterError(f"{name} is empty (0 bytes): not a raster")
    if not os.access(name, os.R_OK):
        raise RasterError(f"{name} cannot be opened: no permission to read it")


def _looks_like(name: str) -> str:
    if _is_remote(name):
        return ""
    with Path(name).open("rb") as file:
        head = file.read(512).lstrip().lower()
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return f" (it is {kind})"
    return ""


def _describe(
    name: str, dataset: DatasetReader, given: Mapping[str, int] | None, sensor: str | None
) -> GeoTiff:
    _check_samples(name, dataset)
    frame = Frame(dataset.width, dataset.height, _transform(name, dataset), _crs(name, dataset))
    _check_position(name, frame)
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
        return GeoTiff(name, frame, colours, roles, (1,), mask, palette, alpha, nodata, *rows)
    roles = resolve(every, given, sensor)
    indexes = tuple(range(1, len(every) + 1))
    if given:
        indexes = tuple(sorted(set(roles.values())))
        roles = {role: indexes.index(number) + 1 for role, number in roles.items()}
    if len(indexes) > MAX_BANDS:
        raise RasterError(
            f"{name} has {len(indexes)} bands, at most {MAX_BANDS} are read; name those to use "
            "with --bands red=..,green=..,blue=..,nir=.."
        )
    mask, alpha, nodata = _mask(dataset, indexes, [indexes[n - 1] for n in roles.values()])
    shown = tuple(every[i - 1] for i in indexes)
    rows = _rows(dataset, indexes)
    return GeoTiff(name, frame, shown, roles, indexes, mask, None, alpha, nodata, *rows)


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
    if size > MAX_BLOCK_BYTES:
        raise RasterError(
            f"{name} has blocks of {cols} x {rows} pixels ({size / 2**20:.0f} MiB each, at most "
            f"{MAX_BLOCK_BYTES // 2**20}); rewrite it tiled: gdal_translate -co TILED=YES"
        )


def _transform(name: str, dataset: DatasetReader) -> Affine:
    transform: Affine = dataset.transform
    if not all(math.isfinite(v) for v in transform[:6]):
        raise RasterError(f"the transform of {name} is not finite: {tuple(transform[:6])}")
    if transform.is_degenerate:
        raise RasterError(f"the transform of {name} is degenerate: {tuple(transform[:6])}")
    if transform == Affine.identity():
        points, _ = dataset.gcps
        if points:
            log.warning(
                "%s has ground control points but no transform; coordinates will be pixels "
                "(warp it first: gdalwarp)", name
            )  # fmt: skip
        elif dataset.rpcs:
            log.warning(
                "%s has rational polynomial coefficients but no transform; coordinates will be "
                "pixels (orthorectify it first: gdalwarp -rpc)", name
            )  # fmt: skip
    return transform


def _crs(name: str, dataset: DatasetReader) -> str | None:
    if dataset.crs is None:
        if dataset.transform == Affine.identity():
            log.warning(
                "%s is not georeferenced: polygons are in pixels, rows counted from the top, and "
                "areas stay empty",
                name,
            )
            return None
        log.warning(
            "%s has no coordinate reference system: polygons are in its own coordinates and "
            "areas stay empty", name
        )  # fmt: skip
        return None
    try:
        return horizontal_wkt(dataset.crs.to_wkt())
    except pyproj.exceptions.CRSError as error:
        raise RasterError(
            f"the coordinate reference system of {name} cannot be used: {error}; set another "
            "with gdal_edit -a_srs"
        ) from error


def _check_position(name: str, frame: Frame) -> None:
    if frame.crs is None:
        return
    if pyproj.CRS.from_wkt(frame.crs).is_geographic:
        _check_latitudes(name, frame)
    # Measuring a pixel fails, clearly, where the position is impossible.
    _ = frame.gsd_m


def _check_latitudes(name: str, frame: Frame) -> None:
    w, h = frame.width, frame.height
    latitudes = frame.to_crs(np.array([[0, 0], [w, 0], [w, h], [0, h]]))[:, 1]
    # Grids of cell centres reach half a cell beyond the poles; that is customary.
    slack = abs(frame.transform.e) + abs(frame.transform.d)
    if np.abs(latitudes).max() > 90 + slack:
        raise RasterError(
            f"{name} has latitudes {latitudes.min():.3f}..{latitudes.max():.3f}, outside -90..90; "
            "are its axes swapped?"
        )


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
