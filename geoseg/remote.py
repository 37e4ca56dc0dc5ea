"""How is a raster read over a network that fails now and then?

GDAL fetches ranges and merges them where they follow each other; only the blocks of a window are
fetched. What fails is tried again, each time after twice the pause and through a new handle,
because the old one, and GDAL's cache of the file, may hold halves of answers. What a server refuses
for good is not asked for again.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from rasterio.errors import RasterioError

from geoseg import interrupts
from geoseg.access import without_secrets
from geoseg.errors import RasterError
from geoseg.library import traffic

log = logging.getLogger(__name__)

T = TypeVar("T")

PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Pauses before each further try. Twice the last each time; no chance in it, runs are alike."""

_down: set[str] = set()
"""What was not to be had when it was last asked for, with all patience."""

SOON_S = PAUSES_S[:2]
"""Pauses while somebody waits for the first answer: an address may be mistyped."""

OPTIONS = {
    # With more threads GDAL (seen in 3.10) fetches ahead, and what a connection that ends early
    # does not deliver is read as zeros without an error.
    "GDAL_NUM_THREADS": 1,
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    # Listing the folder of a remote file costs requests; side-cars matter on local disks only.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    # A handle that is closed takes what was cached of its file with it.
    "CPL_VSIL_CURL_NON_CACHED": ":".join(
        f"/vsi{kind}/" for kind in ("curl", "s3", "gs", "az", "adls", "oss", "swift")
    ),
    "CPL_VSIL_NETWORK_STATS_ENABLED": "YES",
    "GDAL_HTTP_CONNECTTIMEOUT": 15,
    "GDAL_HTTP_LOW_SPEED_LIMIT": 100,
    "GDAL_HTTP_LOW_SPEED_TIME": 30,
    # Of single ranges, which GDAL asks for again without fetching the others.
    "GDAL_HTTP_MAX_RETRY": 2,
    "GDAL_HTTP_RETRY_DELAY": 0.25,
}
"""Configuration of GDAL for files on a network; see gdal.org/user/virtual_file_systems.html."""

_ENFORCED = {"GDAL_NUM_THREADS", "CPL_VSIL_CURL_NON_CACHED"}
"""Options on which the right pixels depend; others may be set in the environment."""

_CODE = re.compile(r"(?:response[_ ]code|HTTP error code|HTTP/[\d.]+)\s*[:=]?\s*(\d{3})")
_AGAIN = {408, 425, 429}
"""Refusals that a server takes back."""

_TIMEOUT_S = 30


def options() -> dict[str, Any]:
    """Return GDAL's configuration for files on a network; the environment's own stands."""
    return {k: v for k, v in OPTIONS.items() if k in _ENFORCED or k not in os.environ}


def patiently(
    act: Callable[[], T],
    name: str,
    pauses_s: Sequence[float] | None = None,
    renew: Callable[[], None] = lambda: None,
) -> T:
    """Do what may fail on a network, again and again if need be.

    What has failed for good is not waited for a second time: until it works once, a try is all it
    gets, so that a server that is gone does not hold up every tile of a run.

    Args:
        act: What to do.
        name: What is read, for messages.
        pauses_s: Pauses before each further try; `PAUSES_S` where None.
        renew: Called after each failure; drops handles that are open.

    Raises:
        RasterioError: The last try failed, or the server refuses for good.
    """
    pauses_s = () if name in _down else PAUSES_S if pauses_s is None else pauses_s
    for pause_s in pauses_s:
        try:
            return act()
        except RasterioError as error:
            renew()
            if is_final(error) or interrupts.came():
                raise
            reason = without_secrets(str(error.__cause__ or error))
            log.info("%s: a try failed (%s); next in %g s", name, reason, pause_s)
            time.sleep(pause_s)
    try:
        found = act()
    except RasterioError as error:
        if name not in _down and not interrupts.came():
            reason = without_secrets(str(error.__cause__ or error))
            log.warning(
                "%s does not answer as it should (%s); going on without waiting", name, reason
            )
            _down.add(name)
        raise
    _down.discard(name)
    return found


def is_final(error: BaseException) -> bool:
    """Tell whether a server refused in a way that asking again does not change."""
    codes = set()
    cause: BaseException | None = error
    while cause is not None:
        codes |= {int(code) for code in _CODE.findall(str(cause))}
        cause = cause.__cause__
    return any(400 <= code < 500 and code not in _AGAIN for code in codes)


def tell() -> None:
    """Log how much this process has fetched over the network, if anything."""
    fetched = traffic()
    if fetched is not None and fetched.requests:
        log.info(
            "%d requests over the network, %.1f MB fetched by this process",
            fetched.requests,
            fetched.fetched_bytes / 1e6,
        )


def gives_ranges(name: str) -> bool:
    """Tell whether a server gives parts of a file; of what is not http(s) nothing else is known."""
    address = name.removeprefix("/vsicurl/")
    if not address.startswith(("http://", "https://")):
        return True
    request = Request(address, headers={"Range": "bytes=0-0"})  # noqa: S310  http, as asked above
    try:
        with urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            return bool(answer.status == HTTPStatus.PARTIAL_CONTENT)
    except OSError:
        return True


_known: dict[str, dict[str, Any]] = {}
"""By address, what a server last said of a file."""


def identity(name: str) -> dict[str, Any]:
    """Return what a server says of a file, in one request for its first byte.

    Args:
        name: `http(s)://...` or `/vsicurl/http(s)://...`; of others nothing is known.

    Returns:
        Those of `bytes`, `etag` and `last_modified` that it tells. If it cannot be reached any
        more, what it told before; nothing where it lets GDAL in alone.

    Raises:
        RasterError: It was never reached.
    """
    address = name.removeprefix("/vsicurl/")
    if not address.startswith(("http://", "https://")):
        return {}
    failure: Exception | None = None
    for pause_s in (*SOON_S, 0):
        try:
            _known[name] = _ask(address)
            return _known[name]
        except HTTPError as error:
            failure = error
            if 400 <= error.code < 500 and error.code not in _AGAIN:
                break
        except OSError as error:
            failure = error
        time.sleep(pause_s)
    if name in _known:
        return _known[name]
    if isinstance(failure, HTTPError) and failure.code in (401, 403):
        log.info("%s: its server does not say when it was changed", without_secrets(address))
        return {}
    reason = without_secrets(str(failure))
    raise RasterError(
        f"{without_secrets(address)} cannot be reached over the network: {reason}"
    ) from failure


def _ask(address: str) -> dict[str, Any]:
    request = Request(address, headers={"Range": "bytes=0-0"})  # noqa: S310  http, as asked above
    with urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
        headers = answer.headers
    size = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length")
    known = {
        "bytes": int(size) if size and size.isdigit() else None,
        "etag": headers.get("ETag"),
        "last_modified": headers.get("Last-Modified"),
    }
    return {key: value for key, value in known.items() if value is not None}
