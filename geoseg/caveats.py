"""What must be known of a file that GDAL opens without a word?"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from rasterio.io import DatasetReader

from geoseg.access import Access
from geoseg.errors import RasterError
from geoseg.preflight import check_tiff, tiff_directories
from geoseg.sniff import Origin
from geoseg.tiff import Directory

log = logging.getLogger(__name__)

_PROJECTED_KEY, _USER_DEFINED = 3072, 32767
"""GeoTIFF key of the projected CRS, and the number that says: defined by other keys."""


def tiff_pages(origin: Origin, access: Access) -> list[Directory]:
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


def check_projection(name: str, dataset: DatasetReader, pages: Sequence[Directory]) -> None:
    """Refuse a number of a CRS that does not exist: GDAL makes a plane of no place of it."""
    code = pages[0].geokey(_PROJECTED_KEY) if pages else None
    if code in (None, _USER_DEFINED) or dataset.crs is None:
        return
    if dataset.crs.to_wkt().startswith(("LOCAL_CS", "ENGCRS")):
        raise RasterError(
            f"the coordinate reference system of {name} cannot be used: there is no EPSG:{code}; "
            "set another with gdal_edit -a_srs"
        )


def declared_nodata(pages: Sequence[Directory]) -> tuple[str, ...]:
    """Return the nodata value of a TIFF, as written, if it has one."""
    text = pages[0].values.get("nodata") if pages else None
    return () if text is None else (text.tobytes().decode("latin-1").strip("\0 "),)


def warn_of_nodata(name: str, declared: Iterable[str], dtypes: Sequence[str]) -> None:
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
