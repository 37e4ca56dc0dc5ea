"""Does opening a file come to an end?

The netCDF and HDF5 libraries loop for ever on some damaged files, and code in C cannot be stopped
from within. So such a file is opened in a process of its own first, which can.
"""

from __future__ import annotations

import subprocess
import sys

from geoseg.errors import RasterError

LIMIT_S = 20.0
"""An open that takes longer is taken for one without end."""

FRAGILE = frozenset({"netCDF"})
"""Drivers whose libraries have been seen to loop."""

_OPEN = "import rasterio, sys; rasterio.open(sys.argv[1], driver=sys.argv[2]).close()"


def check_opens(shown: str, gdal_name: str, driver: str) -> None:
    """Open a file of a fragile driver in a process of its own.

    Args:
        shown: What the user calls it.
        gdal_name: What GDAL opens.
        driver: The driver; others than fragile ones are not tried.

    Raises:
        RasterError: It does not end, or takes the process down. Errors are left to be found again.
    """
    if driver not in FRAGILE:
        return
    # -P: a folder that the user stands in must not bring its own modules.
    command = [sys.executable, "-P", "-c", _OPEN, gdal_name, driver]
    try:
        done = subprocess.run(  # noqa: S603
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired as error:
        raise RasterError(
            f"{shown} is not a raster that can be opened: the {driver} library found no end within "
            f"{LIMIT_S:g} s; its file is probably damaged"
        ) from error
    if done.returncode < 0:
        raise RasterError(
            f"{shown} is not a raster that can be opened: the {driver} library crashed; its file "
            "is probably damaged"
        )
