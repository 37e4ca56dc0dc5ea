"""How is a raster file opened and read safely?

GeoTIFF, COG, VRT, JPEG 2000, PNG, JPEG, netCDF, Imagine, ENVI, ASCII grid, GeoPackage; a path, a
URL or an s3 path. Everything that would spoil a run is checked when it is opened, before the first
tile. Each thread reads through a handle of its own, because a GDAL dataset must not be shared.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, Interleaving, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterioWindow

from geoseg import guards, vrt
from geoseg.access import Access, is_local, is_network, without_secrets
from geoseg.bands import Band, resolve
from geoseg.errors import RasterError, TileFailedError
from geoseg.frame import Frame
from geoseg.georeference import frame_of
from geoseg.preflight import check_block, check_sources, check_tiff, tiff_directories
from geoseg.raster import Samples, Valid, finite
from geoseg.sidecars import sidecar_identity, warn_of_sidecars
from geoseg.sniff import Origin, recognise
from geoseg.stamps import Stamp
from geoseg.tiff import Directory
from geoseg.window import Window

log = logging.getLogger(__name__)

_THREADS = 2
"""Threads that decode blocks; they share the handle's cache, as several readers would not."""

MAX_BANDS = 64
"""More bands than this are not read unless --bands names some."""

MAX_PIXELS = 10**13
"""Larger rasters are taken for damaged headers."""

CACHE_BYTES = 64 * 2**20, 256 * 2**20
"""Least and most that GDAL keeps of decoded blocks; its own default is 5 % of the machine's memory,
in each process."""

MAX_UNNAMED_BANDS = 4
"""Of more bands, some must say what they are: which three are a picture cannot be guessed."""

_PROJECTED_KEY, _USER_DEFINED = 3072, 32767
"""GeoTIFF key of the projected CRS, and the number that says: defined by other keys."""


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
        where = RasterioWindow(window.x0, window.y0, window.width, window.height)
        try:
            # Before each read: GDAL reads a lost source as black once it has failed.
            for stamp in self.stamps:
                stamp.check(window)
            with _gdal(self._opened, self.cache_bytes(window.height), trusted=self.trusted):
                dataset = self._dataset()
                # One type for all bands: rasterio refuses to mix them.
                kind = np.result_type(*(band.dtype for band in self.bands))
                data = dataset.read(list(self.indexes), window=where, out_dtype=kind)
                valid = self._valid(dataset, data, where)
        except TileFailedError:
            self._local.dataset = None
            raise
        except RasterioError as error:
            # Never again through this handle: what failed once may read as black.
            self._local.dataset = None
            reason = without_secrets(str(error.__cause__ or error))
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

    @property
    def _opened(self) -> str:
        return self.gdal_name or self.path

    def _dataset(self) -> DatasetReader:
        dataset = getattr(self._local, "dataset", None)
        if dataset is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                dataset = rasterio.open(self._opened, driver=self.driver)
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
        """Return path, and size, time of change and a hash of local files and their side-cars."""
        known: dict[str, Any] = {
            "path": self.path,
            "shape": [len(self.indexes), self.frame.height, self.frame.width],
            "bands": list(self.indexes),
            "roles": dict(sorted(self.roles.items())),
        }
        if self.stamps:
            own, *sources = self.stamps
            known.update(own.identity())
            if is_local(self.path):
                known.update(sidecar_identity(own.path))
            if sources:
                known["sources"] = {s.path: s.identity() for s in sources}
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
    try:
        with (
            _gdal(origin.gdal_name, trusted=access.trust_input),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(origin.gdal_name, driver=origin.driver) as dataset:
                pages = _tiff_pages(origin, access)
                _check_projection(origin.shown, dataset, pages)
                declared = page.nodata if page else _declared_nodata(pages)
                _warn_of_nodata(origin.shown, declared, dataset.dtypes)
                found = _describe(origin.shown, dataset, bands, sensor)
                if origin.file and is_local(str(path)):
                    placed = bool(pages) and pages[0].placed
                    warn_of_sidecars(
                        origin.file, origin.driver, found.frame.transform, placed=placed
                    )
    except RasterioIOError as error:
        reason = without_secrets(str(error))
        if is_network(origin.gdal_name):
            raise RasterError(
                f"{origin.shown} cannot be opened over the network: {reason}"
            ) from error
        raise RasterError(f"{origin.shown} is not a raster that can be opened: {reason}") from error
    return replace(
        found,
        gdal_name=origin.gdal_name,
        driver=origin.driver,
        stamps=stamps,
        trusted=access.trust_input,
    )


def _sources(origin: Origin, access: Access) -> tuple[vrt.Page | None, tuple[Stamp, ...]]:
    """Return what a VRT says, and stamps of the local files that pixels come from."""
    if not origin.file:
        return None, ()
    own = Stamp.of(origin.file)
    if origin.driver != "VRT":
        return None, (own,)
    page = vrt.read(origin.file, access)
    return page, (own, *check_sources(page, access, (Path(origin.file).resolve(),)))


def _tiff_pages(origin: Origin, access: Access) -> list[Directory]:
    """Return the directories of a TIFF that is a file of its own, after checking its blocks."""
    if origin.driver != "GTiff" or origin.gdal_name != str(Path(origin.file).absolute()):
        return []
    found = tiff_directories(origin.file)
    check_tiff(origin.file, found, access)
    count = sum(directory.is_page for directory in found)
    if count > 1:
        log.warning(
            "%s has %d pages, and only the first page is read; another is named as GTIFF_DIR:2:%s",
            origin.shown, count, origin.file,
        )  # fmt: skip
    return found


def _check_projection(name: str, dataset: DatasetReader, pages: Sequence[Directory]) -> None:
    """Refuse a number of a CRS that does not exist: GDAL makes a plane of no place of it."""
    code = pages[0].geokey(_PROJECTED_KEY) if pages else None
    if code in (None, _USER_DEFINED) or dataset.crs is None:
        return
    if dataset.crs.to_wkt().startswith(("LOCAL_CS", "ENGCRS")):
        raise RasterError(
            f"the coordinate reference system of {name} cannot be used: there is no EPSG:{code}; "
            "set another with gdal_edit -a_srs"
        )


def _declared_nodata(pages: Sequence[Directory]) -> tuple[str, ...]:
    text = pages[0].values.get("nodata") if pages else None
    return () if text is None else (text.tobytes().decode("latin-1").strip("\0 "),)


def _warn_of_nodata(name: str, declared: Iterable[str], dtypes: Sequence[str]) -> None:
    """Warn of nodata values that no sample can have: rasterio says nothing and masks nothing."""
    for text in dict.fromkeys(declared):
        try:
            value = float(text)
        except ValueError:
            continue
        if not any(_can_be(value, dtype) for dtype in dtypes):
            log.warning(
                "the nodata value %s of %s cannot occur in samples of %s: it masks no pixel", text,
                name, dtypes[0],
            )  # fmt: skip


def _can_be(value: float, dtype: str) -> bool:
    kind = np.dtype(dtype)
    if kind.kind not in "iu":
        return True
    limits = np.iinfo(kind)
    return value.is_integer() and limits.min <= value <= limits.max


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


def _gdal(name: str, cache_bytes: int = CACHE_BYTES[0], *, trusted: bool = False) -> rasterio.Env:
    # rasterio hands the first to GDALSetCacheMax, which takes bytes, not GDAL's usual megabytes.
    settings: dict[str, Any] = {"GDAL_CACHEMAX": cache_bytes, "GDAL_NUM_THREADS": _THREADS}
    settings.update(guards.options(network=is_network(name), trusted=trusted))
    if is_network(name):
        # Listing the folder of a remote file costs requests; side-cars matter on local disks only.
        settings["GDAL_DISABLE_READDIR_ON_OPEN"] = "EMPTY_DIR"
    return rasterio.Env(**settings)


def _describe(
    name: str,
    dataset: DatasetReader,
    given: Mapping[str, int] | None,
    sensor: str | None,
) -> GeoTiff:
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
        return GeoTiff(name, frame, colours, roles, (1,), mask, palette, alpha, nodata, *rows)
    roles = resolve(every, given, sensor)
    indexes = tuple(range(1, len(every) + 1))
    if given:
        indexes = tuple(sorted(set(roles.values())))
        roles = {role: indexes.index(number) + 1 for role, number in roles.items()}
    _check_bands(name, len(indexes), known=bool(roles))
    mask, alpha, nodata = _mask(dataset, indexes, [indexes[n - 1] for n in roles.values()])
    shown = tuple(every[i - 1] for i in indexes)
    rows = _rows(dataset, indexes)
    return GeoTiff(name, frame, shown, roles, indexes, mask, None, alpha, nodata, *rows)


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
    check_block(name, (cols, rows), rows * cols * np.dtype(dataset.dtypes[0]).itemsize)


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
