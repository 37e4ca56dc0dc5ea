"""Is everything there that will be read? Known before the first tile.

Blocks of a TIFF are looked up, not read: whether they lie inside the file, and what they inflate
to. Small rasters are read once as a whole, which is cheap and finds every damage.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from geoseg import vrt
from geoseg.access import Access
from geoseg.errors import RasterError, TileFailedError
from geoseg.probe import check_opens
from geoseg.raster import RasterReader, sample
from geoseg.sniff import Origin, recognise
from geoseg.stamps import Stamp
from geoseg.tiff import DamagedTiffError, Directory, directories
from geoseg.window import Window

_YCBCR = 6
"""Photometric interpretation of TIFF: luminance and two differences of colour."""

log = logging.getLogger(__name__)

MAX_BLOCK_BYTES = 256 * 2**20
"""A block that inflates to more is refused: reading one pixel of it could take all memory."""

LARGE_BLOCK_BYTES = 32 * 2**20
"""A block that inflates to more is told: every tile that touches it decodes it whole."""

SMALL_BYTES = 64 * 2**20
"""Rasters up to this size are read whole before the run."""

_GRID_KEYS = {b"ncols", b"nrows", b"xllcorner", b"yllcorner", b"xllcenter", b"yllcenter",
              b"cellsize", b"dx", b"dy", b"nodata_value"}  # fmt: skip
_LINE_BYTES = 2**20

_REWRITE = "rewrite it tiled: gdal_translate -co TILED=YES -co COMPRESS=DEFLATE"


def tiff_directories(path: str) -> list[Directory]:
    """Return the directories of a TIFF file.

    Raises:
        RasterError: One lies beyond the end of the file.
    """
    try:
        with Path(path).open("rb") as file:
            return directories(file, Path(path).stat().st_size)
    except DamagedTiffError as error:
        raise RasterError(
            f"{path} is truncated: its table of contents is not all there ({error}); fetch it again"
        ) from error


def check_tiff(path: str, found: list[Directory], access: Access, *, tell: bool = True) -> None:
    """Check the blocks of the first page of a TIFF and of its mask.

    Args:
        path: The file.
        found: Its directories.
        access: Whether a damaged file is read.
        tell: Whether large blocks are told; of the parts of a mosaic they would be too many.

    Raises:
        RasterError: A block would be too large, or its colours cannot be decoded; or it lies beyond
            the end, unless told to keep going.
    """
    size = Path(path).stat().st_size
    for directory in [*found[:1], *(d for d in found[1:] if d.is_full_mask)]:
        check_block(path, directory.block_px, _decoded_bytes(directory), tell=tell)
        _check_colours(path, directory)
        lost, count = _beyond(directory, size), directory.block_count
        if lost:
            what = (
                f"{path} is truncated: {lost} of {len(directory.offsets)} blocks lie beyond its "
                f"end ({size} bytes)"
            )
        elif len(directory.offsets) < count:
            # GDAL reads those without a place as zeros.
            what = (
                f"{path} is damaged: {len(directory.offsets)} of {count} blocks have a place in it"
            )
        else:
            continue
        if not access.keep_going:
            raise RasterError(f"{what}; fetch it again, or pass --keep-going to map the rest")
        log.warning("%s; their tiles will fail", what)


def _check_colours(path: str, directory: Directory) -> None:
    samples = directory.number("samples", 1)
    # TIFF 6.0, section 21. The decoder of GDAL (seen in 3.12) ends the process on others.
    if directory.number("photometric", 0) == _YCBCR and samples != 3:
        raise RasterError(
            f"{path} is damaged: its colours are YCbCr, which are three samples per pixel, and it "
            f"has {samples}; fetch it again"
        )


def _decoded_bytes(directory: Directory) -> int:
    # GDAL reads strips that are not compressed by rows, however large they are.
    if directory.is_tiled or directory.is_compressed:
        return directory.block_bytes
    return 0


def _beyond(directory: Directory, size: int) -> int:
    if len(directory.offsets) != len(directory.sizes):
        return 0
    ends = directory.offsets.astype(np.uint64) + directory.sizes.astype(np.uint64)
    # Sums beyond 64 bits begin anew at 0.
    beyond = (ends > size) | (directory.offsets > size) | (directory.sizes > size)
    return int(np.count_nonzero(beyond & (directory.sizes > 0)))


def check_block(name: str, block_px: tuple[int, int], size: int, *, tell: bool = True) -> None:
    """Check how much memory a block takes.

    Args:
        name: The raster, for the message.
        block_px: Columns and rows of a block.
        size: Bytes of a decoded block.
        tell: Whether to warn of a large one.

    Raises:
        RasterError: Too much.
    """
    cols, rows = block_px
    what = f"{name} has blocks of {cols} x {rows} pixels ({size / 2**20:.0f} MiB each"
    if size > MAX_BLOCK_BYTES:
        raise RasterError(f"{what}, at most {MAX_BLOCK_BYTES // 2**20}); {_REWRITE}")
    if tell and size > LARGE_BLOCK_BYTES:
        log.warning("%s), decoded whole for every tile that touches one; %s", what, _REWRITE)


def check_ascii_grid(path: str) -> None:
    """Check that an ASCII grid has as many samples as it says.

    GDAL finds its rows one after another, and takes for ever to find one beyond the end of the
    file; so no tile of a grid that is cut short is read.

    Raises:
        RasterError: It is cut short.
    """
    size = {"ncols": 0, "nrows": 0}
    with Path(path).open("rb") as file:
        line = file.readline(_LINE_BYTES)
        while (words := line.split()) and words[0].lower() in _GRID_KEYS:
            if len(words) > 1 and words[1].isdigit():
                size[words[0].lower().decode()] = int(words[1])
            line = file.readline(_LINE_BYTES)
        count, left = 0, line
        # Word by word would take minutes; a word at the end of a part may go on in the next.
        while left:
            words = (left + b"|").split()
            count += len(words) - 1
            part = file.read(_LINE_BYTES)
            left = words[-1][:-1] + part if part else b""
            count += not part and words[-1] != b"|"
    want = size["ncols"] * size["nrows"]
    if count < want:
        raise RasterError(
            f"{path} is truncated: it has {count} of {want} samples; fetch it again (an ASCII grid "
            "is read from its beginning, so --keep-going does not help)"
        )


def check_sources(page: vrt.Page, access: Access, above: tuple[Path, ...]) -> tuple[Stamp, ...]:
    """Check every source of a VRT as a raster of its own, and those of VRTs among them.

    Args:
        page: What the VRT reaches for.
        access: What the run allows.
        above: The VRTs that lead here, to notice one that leads to itself.

    Returns:
        A stamp of every local file.

    Raises:
        RasterError: A source is not there, not a raster, damaged, or reaches outside.
    """
    stamps: list[Stamp] = []
    known: dict[str, tuple[Stamp, ...]] = {}
    for reach in page.reaches:
        if not Path(reach.name).exists():
            continue
        if reach.name not in known:
            known[reach.name] = _check_source(reach.name, access, above)
        own = Stamp.of(reach.name, reach.window)
        # What a nested VRT reads may be anywhere in its part of the mosaic.
        nested = (Stamp(s.path, s.size, s.mtime_ns, reach.window) for s in known[reach.name])
        stamps += [own, *nested]
    return tuple(dict.fromkeys(stamps))


def _check_source(name: str, access: Access, above: tuple[Path, ...]) -> tuple[Stamp, ...]:
    if access.trust_input and not _is_raster(name, access):
        return ()  # bytes that a raw band takes for pixels
    origin: Origin = recognise(name, access)
    check_opens(name, origin.gdal_name, origin.driver)
    if origin.driver == "GTiff":
        check_tiff(name, tiff_directories(name), access, tell=False)
    if origin.driver == "AAIGrid":
        check_ascii_grid(name)
    if origin.driver != "VRT":
        return ()
    real = Path(name).resolve()
    if real in above:
        raise RasterError(f"{name} is a VRT that leads to itself")
    return check_sources(vrt.read(name, access), access, (*above, real))


def _is_raster(name: str, access: Access) -> bool:
    try:
        recognise(name, access)
    except RasterError:
        return False
    return True


def check_pixels(raster: RasterReader, *, keep_going: bool = False) -> None:
    """Read a small raster once as a whole; look at nothing of a large one, or one on a network.

    Raises:
        RasterError: It is damaged, and not told to keep going; or nothing of it can be read.
    """
    full = raster.frame.window
    large = full.area * sum(np.dtype(band.dtype).itemsize for band in raster.bands) > SMALL_BYTES
    # Over a network all would be fetched twice.
    if large or getattr(raster, "networked", False):
        return
    try:
        _, valid = raster.read(full)
    except TileFailedError as error:
        if keep_going:
            sample(raster)
            return
        first = _first_failure(raster, error)
        raise RasterError(
            f"{first}: a block is damaged, or cannot be reached; fetch the file again, or pass "
            "--keep-going to map the rest"
        ) from error
    if not valid.any():
        log.warning("there are no valid pixels in the raster: the map will be empty")


def _first_failure(raster: RasterReader, error: TileFailedError) -> TileFailedError:
    """Return why the first pixel that cannot be read cannot: it lies in the damaged block."""
    window = raster.frame.window
    while window.area > 1:
        for half in _halves(window):
            try:
                raster.read(half)
            except TileFailedError as failure:
                error, window = failure, half
                break
        else:
            return error
    return error


def _halves(window: Window) -> tuple[Window, Window]:
    x0, y0, x1, y1 = window.x0, window.y0, window.x1, window.y1
    if window.height > 1:
        middle = (y0 + y1) // 2
        return Window(x0, y0, x1, middle), Window(x0, middle, x1, y1)
    middle = (x0 + x1) // 2
    return Window(x0, y0, middle, y1), Window(middle, y0, x1, y1)
