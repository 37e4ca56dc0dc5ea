"""What kind of file is this, and which one GDAL driver opens it?

The first bytes decide, never the ending: GDAL left to itself opens any of two hundred formats,
some of which write files or ask the network when they are read. What is no raster is named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from geoseg import archive
from geoseg.access import (
    Access,
    check_file,
    check_network,
    is_local,
    is_network,
    without_secrets,
)
from geoseg.errors import RasterError
from geoseg.tiff import MAGICS

HEAD_BYTES = archive.HEAD_BYTES

_BINARY = (
    *((magic, "GTiff") for magic in MAGICS),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JP2OpenJPEG"),
    (b"\xff\x4f\xff\x51", "JP2OpenJPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"CDF\x01", "netCDF"),
    (b"CDF\x02", "netCDF"),
    (b"CDF\x05", "netCDF"),
    (b"\x89HDF\r\n\x1a\n", "netCDF"),
    (b"EHFA_HEADER_TAG", "HFA"),
    (b"SQLite format 3\0", "GPKG"),
)
"""What a file of each driver begins with."""

_TEXT = (
    (b"<vrtdataset", "VRT"),
    (b"<mrf_meta", "MRF"),
    (b"<gdal_wms", "WMS"),
    (b"ncols", "AAIGrid"),
    (b"nrows", "AAIGrid"),
)
"""Likewise of text, in lower case, after blanks and an XML declaration."""

_REACHING: Mapping[str, str] = MappingProxyType(
    {
        "MRF": "an MRF description: reading it can write files and fetch others",
        "WMS": "a WMS description: reading it asks the network for its pixels",
    }
)
"""Drivers for trusted input only, and why."""

_NO_RASTER = (
    (b"<!doctype html", "an HTML page, perhaps an error message that was downloaded"),
    (b"<html", "an HTML page, perhaps an error message that was downloaded"),
    (b"version https://git-lfs", "a Git LFS pointer; run git lfs pull"),
    (b"%pdf", "a PDF"),
    (b"<?xml", "an XML document"),
    (b"<", "a markup document"),
    (b"{", "JSON"),
    (b"pk\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"gif8", "a GIF image"),
    (b"bm", "a BMP image"),
)

_BLANKS = b"\xef\xbb\xbf \t\r\n"

_ENDINGS: Mapping[str, str] = MappingProxyType(
    {
        ".vrt": "VRT", ".jp2": "JP2OpenJPEG", ".j2k": "JP2OpenJPEG", ".png": "PNG",
        ".jpg": "JPEG", ".jpeg": "JPEG", ".img": "HFA", ".asc": "AAIGrid", ".gpkg": "GPKG",
    }
)  # fmt: skip
"""Drivers of names that cannot be looked into without opening them; others are GeoTIFF."""

_SUBDATASET = re.compile(
    r'(?P<driver>NETCDF|HDF5|GTIFF_DIR|GPKG):(?:(?P<page>\d+):)?"?(?P<file>.+?)"?(?P<rest>:[^:/\\]*)?$',
    re.IGNORECASE,
)
_SUBDATASET_DRIVER = {"NETCDF": "netCDF", "HDF5": "netCDF", "GTIFF_DIR": "GTiff", "GPKG": "GPKG"}


@dataclass(frozen=True, slots=True)
class Origin:
    """What is opened, and how."""

    shown: str
    """The name in messages: as the user gave it, without secrets."""
    gdal_name: str
    """What GDAL opens."""
    driver: str
    """The one driver that opens it."""
    file: str
    """The local file that holds it; empty where there is none."""


def recognise(name: str, access: Access) -> Origin:
    """Return what a name is and which driver opens it.

    Args:
        name: Path, URL, or GDAL name of a file in an archive or of a subdataset.
        access: What the run allows.

    Raises:
        RasterError: Not there, not a raster, or one that needs to be trusted; says what it is.
    """
    shown = without_secrets(name)
    if name.startswith("/vsistdin"):
        check_file(name)
    if is_network(name):
        check_network(name, access)
        driver = _by_ending(urlsplit(name).path)
        if driver == "VRT":
            _demand_trust(shown, "a VRT on the network, whose sources cannot be looked at", access)
        return Origin(shown, name, driver, "")
    if name.lower().startswith("zip://") or name.startswith("/vsizip/"):
        return _zipped(name, access)
    if name.startswith(("/vsi", "tar://", "gzip://")):
        return Origin(shown, name, _by_ending(name), "")
    part = _SUBDATASET.match(name)
    if part is not None and not Path(name).exists():
        return _subdataset(name, part)
    local = name.removeprefix("file://")
    if not is_local(local):
        raise RasterError(f"no such file: {shown}")
    check_file(local)
    return _local(local, access)


def _local(name: str, access: Access) -> Origin:
    with Path(name).open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(b"PK\x03\x04"):
        return _zipped(name, access)
    driver = driver_of(head) or ("ENVI" if _has_envi_header(name) else None)
    if driver is None:
        raise RasterError(f"{name} is not a raster that can be opened{describe(head)}")
    if driver in _REACHING:
        _demand_trust(name, _REACHING[driver], access)
        if access.offline:
            raise RasterError(f"{name} is {_REACHING[driver]}, and --offline opens no socket")
    if driver == "VRT" and Path(name).suffix.lower() not in (".vrt", ".xml", ""):
        _demand_trust(name, "a VRT in spite of its ending", access)
    # GDAL takes names with a colon for instructions, unless they are whole paths.
    return Origin(name, str(Path(name).absolute()), driver, name)


def _zipped(name: str, access: Access) -> Origin:
    path, inner = archive.split(name)
    check_file(path)
    member = archive.member(path, inner)
    head = member.head()
    driver = driver_of(head)
    shown = f"{member.inner} in {path}"
    if driver is None:
        raise RasterError(f"{shown} is not a raster that can be opened{describe(head)}")
    if driver in _REACHING or driver == "VRT":
        why = _REACHING.get(driver, "a VRT inside an archive, whose sources cannot be looked at")
        _demand_trust(shown, why, access)
    return Origin(shown, member.gdal_name, driver, path)


def _subdataset(name: str, part: re.Match[str]) -> Origin:
    check_file(part["file"])
    with Path(part["file"]).open("rb") as file:
        head = file.read(HEAD_BYTES)
    driver = _SUBDATASET_DRIVER[part["driver"].upper()]
    if driver_of(head) != driver:
        raise RasterError(f"{part['file']} has no subdatasets of {part['driver']}{describe(head)}")
    whole = str(Path(part["file"]).absolute())
    return Origin(name, name.replace(part["file"], whole, 1), driver, part["file"])


def driver_of(head: bytes) -> str | None:
    """Return the driver of a file that begins so; None where none is known."""
    for magic, driver in _BINARY:
        if head.startswith(magic):
            return driver
    text = _plain(head)
    return next((driver for magic, driver in _TEXT if text.startswith(magic)), None)


def describe(head: bytes) -> str:
    """Return in brackets what a file that is no raster seems to be; empty where unknown."""
    text = head.lstrip(_BLANKS).lower()
    for magic, kind in _NO_RASTER:
        if text.startswith(magic):
            return f" (it is {kind})"
    if head and all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in head):
        return " (it is text)"
    return ""


def _plain(head: bytes) -> bytes:
    """Return the beginning of a text in lower case, without mark, declaration and comments."""
    text = head.lstrip(_BLANKS).lower()
    while text.startswith((b"<?", b"<!--")):
        text = text.partition(b"-->" if text.startswith(b"<!--") else b"?>")[2].lstrip()
    return text


def _by_ending(name: str) -> str:
    return _ENDINGS.get(Path(name).suffix.lower(), "GTiff")


def _has_envi_header(name: str) -> bool:
    path = Path(name)
    for header in (path.with_suffix(".hdr"), Path(name + ".hdr")):
        if header != path and header.is_file():
            with header.open("rb") as file:
                return file.read(4) == b"ENVI"
    return False


def _demand_trust(name: str, why: str, access: Access) -> None:
    if not access.trust_input:
        raise RasterError(f"{name} is {why}; pass --trust-input if it comes from someone you trust")
