"""What may this process reach? GDAL no more than was asked for, and with `--offline` no network.

Two GDALs are in a process, that of rasterio and that of pyogrio: the environment reaches both, and
worker processes. Where the kernel can forbid sockets (Linux on x86-64 and ARM), it does so for
everything in this process and its children; elsewhere Python and GDAL are told.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import socket
import struct
import sys
from typing import Any

from geoseg.access import is_network, without_secrets
from geoseg.errors import ConfigError, OfflineError

_MARK = "GEOSEG_OFFLINE"

TRUSTLESS = {
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    "GML_DOWNLOAD_SCHEMA": "NO",
    "GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE": "SIBLING_OR_CHILD_OF_VRT_PATH",
}
"""What a file may not make GDAL do, whatever the environment says."""

_CLOSED = {"CPL_VSIL_CURL_ALLOWED_FILENAME": "none"}

_SKIP = "GDAL_SKIP"
_SKIPPED = ("HTTP", "OGCAPI", "OGR_VRT", "WFS", "WMS", "WMTS")
"""Drivers of vector files whose content names servers or other files to open."""

_NUMBERS = {"x86_64": (0xC000003E, 41, 317), "aarch64": (0xC00000B7, 198, 277)}
"""By machine: audit architecture, and the numbers of the calls `socket` and `seccomp`."""


def refuse_remote(**places: object) -> None:
    """Refuse places, besides the raster, that cannot be reached offline.

    Args:
        places: By option; None where it is not given.

    Raises:
        ConfigError: One is on the network; names it without what may be secret in it.
    """
    for option, place in places.items():
        if isinstance(place, str | os.PathLike) and is_network(str(place)):
            raise ConfigError(
                f"--{option} {without_secrets(str(place))} is on the network, which --offline "
                "forbids; give a local path, or leave --offline out"
            )


def harden(*places: object, trusted: bool = False) -> None:
    """Let GDAL run no code and ask no server that nobody named.

    Args:
        places: What the user named; the network is closed to GDAL if none is on it.
        trusted: Whether files may name servers, too.
    """
    os.environ.update(TRUSTLESS)
    if not trusted and not any(is_network(str(place)) for place in places if place is not None):
        os.environ.update(_CLOSED)


def load_vectors() -> None:
    """Load pyogrio, if it is not, with a GDAL that has no drivers for files that name others."""
    before = os.environ.get(_SKIP)
    asked = filter(None, re.split(r"[ ,]+", before or ""))
    # rasterio has not all of them, and would warn: they are named to pyogrio alone.
    os.environ[_SKIP] = " ".join(dict.fromkeys([*asked, *_SKIPPED]))
    try:
        import pyogrio  # noqa: F401
    finally:
        if before is None:
            del os.environ[_SKIP]
        else:
            os.environ[_SKIP] = before


def harden_worker() -> None:
    """Let a worker process reach no more than its parent."""
    os.environ.update(TRUSTLESS)
    if os.environ.get(_MARK) == "1":
        seal()


def seal() -> bool:
    """Let this process and its children open no network socket, for good.

    Returns:
        Whether the kernel sees to it; else only Python and GDAL are told.
    """
    os.environ.update({**_CLOSED, _MARK: "1", "HF_HUB_OFFLINE": "1"})
    sys.addaudithook(_refuse_socket)
    return _forbid_in_kernel()


def _refuse_socket(event: str, arguments: tuple[Any, ...]) -> None:
    asked = event == "socket.__new__" and arguments[1] in (socket.AF_INET, socket.AF_INET6)
    if asked or event == "socket.getaddrinfo":
        raise OfflineError("something asked for the network, which --offline forbids")


def _forbid_in_kernel() -> bool:
    """Make `socket(AF_INET or AF_INET6)` fail, in all threads and children (seccomp(2))."""
    numbers = _NUMBERS.get(platform.machine())
    if sys.platform != "linux" or numbers is None:
        return False
    architecture, call_socket, call_seccomp = numbers
    load, equal, answer = 0x20, 0x15, 0x06
    allow, refuse = 0x7FFF0000, 0x00050000 | 13  # EACCES
    # Offsets in struct seccomp_data: 4 the architecture, 0 the call, 16 its first argument.
    program = (
        (load, 0, 0, 4), (equal, 0, 5, architecture),
        (load, 0, 0, 0), (equal, 0, 3, call_socket),
        (load, 0, 0, 16), (equal, 2, 0, socket.AF_INET), (equal, 1, 0, socket.AF_INET6),
        (answer, 0, 0, allow), (answer, 0, 0, refuse),
    )  # fmt: skip
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    filter_ = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, set_filter, all_threads = 38, 1, 1
    if libc.prctl(no_new_privileges, 1, 0, 0, 0):
        return False
    return bool(libc.syscall(call_seccomp, set_filter, all_threads, filter_) == 0)
