"""What may be reached through a raster's name: a local file, an archive, the network?

A name that the user types is itself asking for what it names. What a file then names in turn is
looked at by vrt.py, and nothing else that reaches outside is opened unless the input is trusted.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from geoseg.errors import RasterError

_VSI_NETWORK = re.compile(
    r"/vsi(curl|s3|gs|az|adls|oss|swift|webhdfs|hdfs)(_streaming)?[/?]", re.IGNORECASE
)
_SCHEME = re.compile(r"([a-z0-9+]+)://", re.IGNORECASE)
_LOCAL_SCHEMES = {"zip", "tar", "gzip", "file"}
_SECRETS = re.compile(r"(\w+://)(?:[^\s/@'\"]+@)?([^\s?'\"]+)(?:\?[^\s'\"]*)?")


@dataclass(frozen=True, slots=True)
class Access:
    """What a run allows an input."""

    trust_input: bool = False
    """Let a VRT read outside its folder and over the network, and MRF and WMS files be opened."""
    keep_going: bool = False
    """Map the rest of a damaged raster; tiles of the damaged part fail."""
    offline: bool = False
    """Open no socket."""


def is_network(name: str) -> bool:
    """Tell whether opening a name opens a socket, as far as the name says."""
    # Anywhere in it: schemes are chained (`simplecache::s3://`) and drivers named (`WMS:http://`).
    schemes = {part for found in _SCHEME.findall(name) for part in found.lower().split("+")}
    return bool(schemes - _LOCAL_SCHEMES or _VSI_NETWORK.search(name))


def is_local(name: str) -> bool:
    """Tell whether a name is a path on this machine's disks."""
    return "://" not in name and not name.startswith("/vsi")


def without_secrets(text: str) -> str:
    """Return a text whose URLs have lost their query strings, user names and passwords."""
    return _SECRETS.sub(r"\1\2", text)


def check_network(name: str, access: Access) -> None:
    """Refuse a name on the network where no socket may be opened.

    Raises:
        RasterError: It is on the network, and the run is offline.
    """
    if is_network(name) and access.offline:
        raise RasterError(
            f"{without_secrets(name)} is on the network, and --offline opens no socket; leave "
            "--offline out or give a local copy"
        )


def check_file(name: str) -> None:
    """Refuse what is not a file that can be read, before it is opened.

    Raises:
        RasterError: Missing, a folder, a pipe, empty, or not readable.
    """
    if name == "-" or name.startswith("/vsistdin"):
        raise RasterError(f"{name} is standard input, which cannot be read by windows; save it")
    try:
        status = Path(name).stat()
    except FileNotFoundError as error:
        raise RasterError(f"no such file: {name}") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RasterError(f"{name} cannot be opened: {reason}") from error
    if stat.S_ISDIR(status.st_mode):
        raise RasterError(f"{name} is a folder, not a file; give the raster inside it")
    if not stat.S_ISREG(status.st_mode):
        raise RasterError(f"{name} is not a regular file")
    if status.st_size == 0:
        raise RasterError(f"{name} is empty (0 bytes): not a raster")
    if not os.access(name, os.R_OK):
        raise RasterError(f"{name} cannot be opened: no permission to read it")
