"""How is a raster file opened and read safely?

GeoTIFF, COG, VRT, JPEG 2000, PNG, JPEG, netCDF, Imagine, ENVI, ASCII grid, GeoPackage; a path, a
URL or an s3 path. Everything that would spoil a run is checked when it is opened, before the first
tile. Each thread reads through a handle of its own, because a GDAL dataset must not be shared.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterioWindow

from geoseg import guards, remote, vrt
from geoseg.access import Access, is_local, is_network, without_secrets
from geoseg.bands import Band
from geoseg.blocks import Blocks, find_blocks
from geoseg.caveats import check_projection, declared_nodata, tiff_pages, warn_of_nodata
from geoseg.describe import Description, describe
from geoseg.errors import RasterError, TileFailedError
from geoseg.frame import Frame
from geoseg.preflight import check_ascii_grid, check_sources
from geoseg.probe import check_opens
from geoseg.raster import Samples, Valid, finite
from geoseg.sidecars import sidecar_identity, warn_of_sidecars
from geoseg.sniff import Origin, recognise
from geoseg.stamps import Stamp
from geoseg.thinning import Thin
from geoseg.window import Window

log = logging.getLogger(__name__)

T = TypeVar("T")

_THREADS = 2
"""Threads that decode blocks; they share the handle's cache, as several readers would not."""

CACHE_BYTES = 64 * 2**20, 256 * 2**20
"""Least and most that GDAL keeps of decoded blocks; its own default is 5 % of the machine's memory,
in each process."""


@dataclass(frozen=True)
class GeoTiff:
    """A raster file; picklable, handles are opened when and where they are needed."""

    path: str
    """Path, URL or GDAL name, without passwords and query strings."""
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
    gdal_name: str = ""
    """What GDAL opens; the path where empty."""
    driver: str = "GTiff"
    """The one driver that opens it."""
    stamps: tuple[Stamp, ...] = ()
    """The local files that pixels come from, as they were when it was opened."""
    trusted: bool = False
    """Whether it may reach outside itself."""
    networked: bool = False
    """Whether pixels come over the network."""
    _local: threading.local = field(
        default_factory=threading.local, init=False, repr=False, compare=False
    )

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open handles behind."""
        return {k: v for k, v in self.__dict__.items() if k != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Start without handles."""
        guards.say_once()
        self.__dict__.update(state)
        object.__setattr__(self, "_local", threading.local())

    def read(self, window: Window) -> tuple[Samples, Valid]:
        """Return (band, row, col) samples and (row, col) validity of a window.

        Raises:
            TileFailedError: GDAL cannot read it; says why.
        """
        data, valid = self._checked(window, lambda: self._read(_of(window)))
        if self.palette is not None:
            data = np.moveaxis(self.palette[data[0].astype(np.uint8)], -1, 0)
        return data, valid

    def thin(self, window: Window, step: int, bands: Sequence[int]) -> Thin | None:
        """Return a window thinned, from overviews; None where there are none as fine as that.

        Raises:
            TileFailedError: GDAL cannot read it; says why.
        """
        shape = -(-window.height // step), -(-window.width // step)
        numbers = (0,) if self.palette is not None else tuple(bands)

        def read() -> tuple[Samples, Valid] | None:
            return self._read(_of(window), numbers, shape) if self._is_thinned(step) else None

        found = self._checked(window, read)
        if found is None:
            return None
        data, valid = found
        if self.palette is not None:
            data = np.moveaxis(self.palette[data[0].astype(np.uint8)], -1, 0)[list(bands)]
        return Thin(data, valid, window.width / shape[1], window.height / shape[0])

    def _is_thinned(self, step: int) -> bool:
        with self._gdal():
            dataset = self._dataset()
            return all(min(dataset.overviews(i), default=step + 1) <= step for i in self.indexes)

    def _checked(self, window: Window, act: Callable[[], T]) -> T:
        try:
            # Before each read: GDAL reads a lost source as black once it has failed.
            for stamp in self.stamps:
                stamp.check(window)
            return self._patiently(act)
        except RasterioError as error:
            # Never again through this handle: what failed once may read as black.
            self.close()
            by = " over the network" if self.networked else ""
            raise TileFailedError(
                f"cannot read columns {window.x0}..{window.x1}, rows {window.y0}..{window.y1} "
                f"of {self.path}{by}: {_reason(error)}"
            ) from error
        except Exception:
            self.close()
            raise

    def _patiently(self, act: Callable[[], T]) -> T:
        return remote.patiently(act, self.path, renew=self.close) if self.networked else act()

    def _read(
        self,
        where: RasterioWindow,
        bands: Sequence[int] | None = None,
        shape: tuple[int, int] | None = None,
    ) -> tuple[Samples, Valid]:
        """Return some bands (None: all) of a window, in so many rows and columns (None: as is)."""
        bands = range(len(self.indexes)) if bands is None else bands
        shape = shape or (where.height, where.width)
        with self._gdal(self.cache_bytes(shape[0])):
            dataset = self._dataset()
            data = self._samples(dataset, where, bands, shape)
            return data, self._valid(dataset, data, where, bands)

    def _gdal(self, cache_bytes: int = CACHE_BYTES[0]) -> rasterio.Env:
        return _gdal(self._opened, cache_bytes, trusted=self.trusted, networked=self.networked)

    def cache_bytes(self, rows: int) -> int:
        """Return how much GDAL keeps of the file when windows of so many rows are read.

        Enough for the blocks that a row of tiles touches: those to come need them again.
        """
        least, most = CACHE_BYTES
        # An eighth is GDAL's own: what is kept of a block besides its pixels.
        whole = (rows + self.block_rows) * self.row_bytes * 9 // 8
        held = whole if self._blocks is None else round(whole * self._blocks.widest)
        return min(max(least, held), most)

    @property
    def _opened(self) -> str:
        return self.gdal_name or self.path

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
        if self.mask != "nodata" or None in self.nodata:
            return None

        def find() -> Blocks | None:
            with self._gdal():
                return find_blocks(self._dataset(), self.indexes)

        try:
            return self._patiently(find)
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
                dataset = rasterio.open(self._opened, driver=self.driver)
            self._local.dataset = dataset
        return dataset

    def _samples(
        self,
        dataset: DatasetReader,
        where: RasterioWindow,
        bands: Sequence[int],
        shape: tuple[int, int],
    ) -> Samples:
        indexes = [self.indexes[b] for b in bands]
        dtypes = {dataset.dtypes[i - 1] for i in indexes}
        if len(dtypes) == 1:
            data: Samples = dataset.read(indexes, window=where, out_shape=(len(indexes), *shape))
            return data
        # rasterio refuses to read bands of several types at once.
        kind = np.result_type(*dtypes)
        return np.stack(
            [dataset.read(i, window=where, out_shape=shape).astype(kind) for i in indexes]
        )

    def _valid(
        self, dataset: DatasetReader, data: Samples, where: RasterioWindow, bands: Sequence[int]
    ) -> Valid:
        valid = finite(data)
        if self.mask == "alpha":
            valid &= dataset.read(self.alpha, window=where, out_shape=valid.shape) > 0
        elif self.mask == "mask":
            valid &= dataset.read_masks(1, window=where, out_shape=valid.shape) > 0
        elif self.mask == "nodata":
            some = np.zeros(valid.shape, bool)
            for band, nodata in zip(data, (self.nodata[b] for b in bands), strict=True):
                some |= True if nodata is None else band != nodata
            valid &= some
        return valid

    def identity(self) -> dict[str, Any]:
        """Return path, and size, time of change and a hash of local files and their side-cars."""
        known: dict[str, Any] = {
            "path": self.path,
            "shape": [len(self.indexes), self.frame.height, self.frame.width],
            "bands": list(self.indexes),
            "roles": dict(sorted(self.roles.items())),
        }
        if self.networked:
            known.update(remote.identity(self._opened))
        if self.stamps:
            own, *sources = self.stamps
            known.update(own.identity())
            if is_local(self.path):
                known.update(sidecar_identity(own.path))
            if sources:
                every = json.dumps([s.identity() for s in sources], sort_keys=True)
                known["sources"] = hashlib.sha256(every.encode()).hexdigest()
        return known


def open_raster(
    path: str | Path,
    bands: Mapping[str, int] | None = None,
    sensor: str | None = None,
    access: Access | None = None,
) -> GeoTiff:
    """Open a raster file and check that it can be used.

    Args:
        path: Path, URL (`https://...`) or `s3://...`.
        bands: 1-based band numbers by role; then only these bands are read.
        sensor: A key of `geoseg.bands.SENSORS`.
        access: What the file may reach for, and whether a damaged one is opened; by default
            nothing outside itself, and no.

    Raises:
        RasterError: Missing, not a raster, damaged, complex samples, georeferenced impossibly, or
            reaching for what it is not allowed.
        ConfigError: A band that does not exist.
    """
    access = access or Access()
    guards.say_once()
    origin = recognise(str(path), access)
    page, stamps = _sources(origin, access)
    check_opens(origin.shown, origin.gdal_name, origin.driver)
    networked = _is_networked(origin, page)

    def look() -> Description:
        with (
            _gdal(origin.gdal_name, trusted=access.trust_input, networked=networked),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(origin.gdal_name, driver=origin.driver) as dataset:
                pages = tiff_pages(origin, access)
                check_projection(origin.shown, dataset, pages)
                declared = page.nodata if page else declared_nodata(pages)
                warn_of_nodata(origin.shown, declared, dataset.dtypes)
                found = describe(origin.shown, dataset, bands, sensor)
                if origin.file and is_local(str(path)):
                    placed = bool(pages) and pages[0].placed
                    warn_of_sidecars(
                        origin.file, origin.driver, found.frame.transform, placed=placed
                    )
                return found

    try:
        found = remote.patiently(look, origin.shown, remote.SOON_S) if networked else look()
    except (RasterioError, CRSError, UnicodeDecodeError) as error:
        # The last two come of names and numbers that damage made unreadable.
        reason = without_secrets(str(error))
        if is_network(origin.gdal_name):
            # What was fetched is no raster: perhaps it was not the part that was asked for.
            odd = "not recognized as being in a supported file format" in reason
            if odd and not remote.gives_ranges(origin.gdal_name):
                reason = (
                    "its server gives no byte ranges, only whole files; download it, or serve it "
                    "from one that does"
                )
            raise RasterError(
                f"{origin.shown} cannot be opened over the network: {reason}"
            ) from error
        raise RasterError(f"{origin.shown} is not a raster that can be opened: {reason}") from error
    return GeoTiff(
        path=origin.shown,
        **{item.name: getattr(found, item.name) for item in fields(found)},
        gdal_name=origin.gdal_name,
        driver=origin.driver,
        stamps=stamps,
        trusted=access.trust_input,
        networked=networked,
    )


def taken(raster: GeoTiff) -> str | None:
    """Return TIFFTAG_DATETIME of a raster, None where it has none: when it was taken or made."""
    with _gdal(raster.gdal_name, trusted=raster.trusted), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(raster.gdal_name, driver=raster.driver) as dataset:
            said: str | None = dataset.tags().get("TIFFTAG_DATETIME")
            return said


def _is_networked(origin: Origin, page: vrt.Page | None) -> bool:
    if origin.driver == "WMS" or is_network(origin.gdal_name):
        return True
    return page is not None and any(is_network(reach.name) for reach in page.reaches)


def _of(window: Window) -> RasterioWindow:
    return RasterioWindow(window.x0, window.y0, window.width, window.height)


def _reason(error: BaseException) -> str:
    """Return what GDAL says of a failure: where it names a block, that message."""
    said = []
    cause: BaseException | None = error
    while cause is not None:
        said.append(str(cause))
        cause = cause.__cause__
    named = [text for text in said if "Block" in text]
    return without_secrets((named or said[1:] or said)[0])


def _sources(origin: Origin, access: Access) -> tuple[vrt.Page | None, tuple[Stamp, ...]]:
    """Return what a VRT says, and stamps of the local files that pixels come from."""
    if not origin.file:
        return None, ()
    own = Stamp.of(origin.file)
    if origin.driver == "AAIGrid" and is_local(origin.gdal_name):
        check_ascii_grid(origin.file)
    if origin.driver != "VRT":
        return None, (own,)
    page = vrt.read(origin.file, access)
    return page, (own, *check_sources(page, access, (Path(origin.file).resolve(),)))


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


def _gdal(
    name: str,
    cache_bytes: int = CACHE_BYTES[0],
    *,
    trusted: bool = False,
    networked: bool = False,
) -> rasterio.Env:
    # rasterio hands the first to GDALSetCacheMax, which takes bytes, not GDAL's usual megabytes.
    settings: dict[str, Any] = {"GDAL_CACHEMAX": cache_bytes, "GDAL_NUM_THREADS": _THREADS}
    settings.update(guards.options(network=is_network(name), trusted=trusted))
    if networked:
        settings.update(remote.options())
    return rasterio.Env(**settings)
