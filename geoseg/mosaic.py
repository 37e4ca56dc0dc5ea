"""How are many rasters read as one?

Sources lie on one pixel grid: same CRS, same pixels, same bands; nothing is resampled. A pixel
takes its value from the first source, in the order given, that is valid there; pixels of no source
are not valid. Every source is opened and checked before the run.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
from affine import Affine
from numpy.typing import NDArray

from geoseg.access import Access, is_local
from geoseg.bands import Band
from geoseg.describe import MAX_PIXELS
from geoseg.errors import ConfigError, RasterError
from geoseg.frame import Frame
from geoseg.geotiff import GeoTiff, open_raster
from geoseg.raster import RasterReader, Samples, Valid
from geoseg.thinning import Thin
from geoseg.window import Window

log = logging.getLogger(__name__)

SUFFIXES = (".tif", ".tiff", ".jp2")
"""Endings of the files of a folder that are its rasters. No VRT: it would be of the same files."""

MAX_OPEN = 64
"""Most files that a thread holds open."""

TOLERANCE_PX = 0.01
"""How far a source may be off the grid, anywhere: rounded coordinates are not another grid."""


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Several raster files on one pixel grid; picklable."""

    frame: Frame
    """The least frame around all sources."""
    sources: tuple[GeoTiff, ...]
    """In the order in which they are asked for a pixel."""
    places: NDArray[np.int64]
    """(n, 4) x0, y0, x1, y1 of each source in the mosaic's pixels."""
    _known: dict[int, dict[str, Any]] = field(default_factory=dict, init=False, repr=False)
    """The last identity of each source."""
    _local: threading.local = field(default_factory=threading.local, init=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what is open."""
        return {k: v for k, v in self.__dict__.items() if k != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Start with nothing open."""
        self.__dict__.update(state)
        object.__setattr__(self, "_local", threading.local())

    @property
    def bands(self) -> tuple[Band, ...]:
        """What the first source says of each band; types are those of all."""
        return self.sources[0].bands

    @property
    def networked(self) -> bool:
        """Whether pixels of any source come over the network."""
        return any(source.networked for source in self.sources)

    @property
    def roles(self) -> Mapping[str, int]:
        """1-based band number by role, the same in all sources."""
        return self.sources[0].roles

    def read(self, window: Window) -> tuple[Samples, Valid]:
        """Return (band, row, col) samples and (row, col) validity of a window.

        Raises:
            TileFailedError: A source that the window touches cannot be read; names it.
        """
        kind = np.result_type(*(band.dtype for band in self.bands))
        data = np.zeros((len(self.bands), *window.shape), kind)
        valid = np.zeros(window.shape, bool)
        for number, part in self._touched(window):
            rows, cols = part.slices_in(window)
            if valid[rows, cols].all():
                continue
            here, good = self._read(number, part)
            np.copyto(data[:, rows, cols], here, where=~valid[rows, cols])
            valid[rows, cols] |= good
        return data, valid

    def thin(self, window: Window, step: int, bands: Sequence[int]) -> Thin | None:
        """Return a window thinned, from overviews of the sources; None where one has none.

        Raises:
            TileFailedError: A source that the window touches cannot be read; names it.
        """
        kind = np.result_type(*(self.bands[b].dtype for b in bands))
        shape = -(-window.height // step), -(-window.width // step)
        data, valid = np.zeros((len(bands), *shape), kind), np.zeros(shape, bool)
        across, down = window.width / shape[1], window.height / shape[0]
        for number, part in self._touched(window):
            found = self._used(number).thin(self._inside(number, part), step, bands)
            if found is None:
                return None
            # The pixels whose centres lie in the source, and what of it is there.
            rows, from_rows = _nearest(part.y0 - window.y0, part.height, down, found.down)
            cols, from_cols = _nearest(part.x0 - window.x0, part.width, across, found.across)
            here = data[:, rows, cols]
            good = found.valid[np.ix_(from_rows, from_cols)] & ~valid[rows, cols]
            np.copyto(here, found.data[:, from_rows][:, :, from_cols], where=good)
            valid[rows, cols] |= good
        return Thin(data, valid, across, down)

    def empty(self, window: Window) -> bool:
        """Tell whether no source has anything in a window."""
        return all(
            self._used(number).empty(self._inside(number, part))
            for number, part in self._touched(window)
        )

    def patches(self) -> NDArray[np.int64]:
        """Return (n, 4) boxes outside of which no source has anything."""
        boxes = [
            self._used(number).patches() + np.tile(place[:2], 2)
            for number, place in enumerate(self.places)
        ]
        return np.concatenate(boxes)

    def identity(self) -> dict[str, Any]:
        """Return the identity of each source, by its place in the order.

        Of a source that has gone since it was last asked, what it was then: what was read of it
        stays right, and tiles that touch it from now on fail.
        """
        for number, source in enumerate(self.sources):
            try:
                self._known[number] = source.identity()
            except RasterError:
                if number not in self._known:
                    raise
        shape = [len(self.bands), self.frame.height, self.frame.width]
        known = {
            f"source.{n + 1:05d} ({Path(source.path).name})": self._known[n]
            for n, source in enumerate(self.sources)
        }
        return {"shape": shape, **known}

    def _touched(self, window: Window) -> Iterator[tuple[int, Window]]:
        """Yield sources in order, and what the window shares with each."""
        x0, y0, x1, y1 = self.places.T
        shared = (x0 < window.x1) & (x1 > window.x0) & (y0 < window.y1) & (y1 > window.y0)
        for number in np.flatnonzero(shared).tolist():
            yield number, Window(*self.places[number].tolist()).intersection(window)

    def _inside(self, number: int, part: Window) -> Window:
        x, y = self.places[number, :2].tolist()
        return part.shift(-x, -y)

    def _read(self, number: int, part: Window) -> tuple[Samples, Valid]:
        return self._used(number).read(self._inside(number, part))

    def _used(self, number: int) -> GeoTiff:
        """Return a source; the one that this thread used longest ago is closed."""
        used: OrderedDict[int, None] = self._local.__dict__.setdefault("used", OrderedDict())
        used[number] = None
        used.move_to_end(number)
        if len(used) > MAX_OPEN:
            self.sources[used.popitem(last=False)[0]].close()
        return self.sources[number]


def _nearest(start: int, size: int, step: float, own: float) -> tuple[slice, NDArray[np.int64]]:
    """Return which pixels of a thinned window have their centres in a source, and its pixels there.

    Args:
        start: Where the source begins in the window, in pixels.
        size: How long it is.
        step: Pixels per pixel of the thinned window.
        own: Pixels per pixel of the thinned source.
    """
    first, last = (max(math.ceil(v / step - 0.5), 0) for v in (start, start + size))
    centres = (np.arange(first, last) + 0.5) * step - start
    places = np.minimum(centres / own, math.ceil(size / own - 1e-9) - 1).astype(np.int64)
    return slice(first, last), places


def open_rasters(
    paths: Sequence[str | Path],
    bands: Mapping[str, int] | None = None,
    sensor: str | None = None,
    access: Access | None = None,
) -> GeoTiff | Mosaic:
    """Open one raster, or several as one.

    Args:
        paths: Files and URLs, and folders, which stand for their rasters sorted by name.
        bands: 1-based band numbers by role; then only these bands are read.
        sensor: A key of `geoseg.bands.SENSORS`.
        access: What the files may reach for.

    Raises:
        RasterError: One cannot be used, or does not lie on the grid of the first.
        ConfigError: No path is given, one twice, or a band that does not exist.
    """
    names = [name for path in paths for name in _expand(str(path))]
    if not names:
        raise ConfigError("no raster is given; name a file, several, or a folder of them")
    if len(names) == 1:
        return open_raster(names[0], bands, sensor, access)
    twice = next((n for k, n in enumerate(sorted(names)[1:]) if n == sorted(names)[k]), None)
    if twice is not None:
        raise ConfigError(f"{twice} is given twice; each raster of a mosaic is named once")
    return _join([open_raster(name, bands, sensor, access) for name in names])


def files(raster: RasterReader) -> tuple[GeoTiff, ...]:
    """Return the raster files that a reader reads; none of a reader in memory."""
    if isinstance(raster, Mosaic):
        return raster.sources
    return (raster,) if isinstance(raster, GeoTiff) else ()


def _expand(name: str) -> list[str]:
    # Too long a name is no folder, and no error.
    if not (is_local(name) and os.path.isdir(name)):  # noqa: PTH112
        return [name]
    found = [
        str(p)
        for p in sorted(Path(name).iterdir())
        if p.suffix.lower() in SUFFIXES and p.is_file() and not p.name.startswith(".")
    ]
    if not found:
        raise RasterError(
            f"folder {name} is not a file, and has no rasters ({', '.join(SUFFIXES)}); name the "
            "files one by one"
        )
    return found


def _join(sources: list[GeoTiff]) -> Mosaic:
    first = sources[0]
    if first.frame.crs is None and first.frame.transform == Affine.identity():
        raise RasterError(
            f"{first.path} is not georeferenced, so that its place in a mosaic is unknown; "
            "give a single raster, or georeference all of them (gdal_edit -a_ullr, -a_srs)"
        )
    for other in sources[1:]:
        _check_content(first, other)
    corners = np.array([(0, 0), *(_offset(first, other) for other in sources[1:])], np.int64)
    sizes = np.array([(s.frame.width, s.frame.height) for s in sources], np.int64)
    least = corners.min(axis=0)
    width, height = ((corners + sizes).max(axis=0) - least).tolist()
    if width * height > MAX_PIXELS:
        raise RasterError(
            f"the mosaic would have {width} x {height} pixels (at most {MAX_PIXELS:.0e}): "
            f"{first.path} and others lie too far apart; segment them in groups"
        )
    corners -= least
    at_origin = np.flatnonzero((corners == 0).all(axis=1))
    transform = first.frame.transform @ Affine.translation(*least.tolist())
    if len(at_origin):
        # As the file says it, not rounded once more.
        transform = sources[at_origin[0]].frame.transform
    frame = Frame(width, height, transform, first.frame.crs)
    # What all share is kept once, and sent to workers once.
    sources = [
        replace(s, frame=replace(s.frame, crs=first.frame.crs), roles=first.roles) for s in sources
    ]
    log.info("%d rasters on one grid of %d x %d pixels", len(sources), width, height)
    return Mosaic(frame, tuple(sources), np.hstack((corners, corners + sizes)))


def _check_content(first: GeoTiff, other: GeoTiff) -> None:
    for what, mine, theirs, remedy in (
        ("number of bands", len(first.bands), len(other.bands), "name those to use with --bands"),
        (
            "type of samples",
            ", ".join(b.dtype for b in first.bands),
            ", ".join(b.dtype for b in other.bands),
            "convert one with gdal_translate -ot",
        ),
        (
            "order of bands",
            dict(first.roles),
            dict(other.roles),
            "name bands with --bands or --sensor",
        ),
    ):
        if mine != theirs:
            raise RasterError(
                f"{first.path} and {other.path} are no mosaic: the {what} differs "
                f"({mine} and {theirs}); {remedy}"
            )
    if not _same_crs(first.frame.crs, other.frame.crs):
        raise _off_grid(first, other, "CRS", _name(first.frame.crs), _name(other.frame.crs))


def _same_crs(one: str | None, other: str | None) -> bool:
    if one is None or other is None or one == other:
        return one == other
    return bool(pyproj.CRS.from_wkt(one).equals(pyproj.CRS.from_wkt(other), ignore_axis_order=True))


def _name(crs: str | None) -> str:
    return "none" if crs is None else pyproj.CRS.from_wkt(crs).name


def _offset(first: GeoTiff, other: GeoTiff) -> tuple[int, int]:
    """Return where the second lies, in whole pixels from the first's corner."""
    mine, theirs = first.frame.transform, other.frame.transform
    there = ~mine @ theirs
    # How far the two grids part along the source, and how far they are apart at its corner.
    turn = (there.a - 1, there.b, there.d, there.e - 1)
    if max(map(abs, turn)) * max(other.frame.width, other.frame.height) > TOLERANCE_PX:
        raise _off_grid(first, other, "pixel", tuple(mine)[:6], tuple(theirs)[:6])
    column, row = round(there.c), round(there.f)
    if max(abs(there.c - column), abs(there.f - row)) > TOLERANCE_PX:
        raise RasterError(
            f"{other.path} is not on the pixel grid of {first.path}: it is "
            f"{there.c:.3f} columns and {there.f:.3f} rows from it, whole numbers are asked; "
            f"{_WARP}"
        )
    return column, row


_WARP = "warp them onto one grid: gdalwarp -t_srs CRS -tr X Y -tap"


def _off_grid(first: GeoTiff, other: GeoTiff, what: str, mine: Any, theirs: Any) -> RasterError:
    if what == "pixel":
        mine, theirs = (tuple(t[k] for k in (0, 1, 3, 4)) for t in (mine, theirs))
    return RasterError(
        f"{first.path} and {other.path} are no mosaic: the {what} differs ({mine} and {theirs}); "
        f"{_WARP}"
    )
