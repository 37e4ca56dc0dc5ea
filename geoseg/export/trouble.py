"""Why could a file not be written, and what can the user do?

What GDAL, SQLite and Arrow say of a full disk ("disk I/O error") is no help: the disk is asked.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from geoseg.errors import WriteFailedError

KEPT = "what is done is kept"

NEARLY_FULL = 2**20
"""Free bytes below which a write that failed is put down to the disk: SQLite and GDAL give back
some of their own on the way out."""

_AGAIN = f"and run the same command again ({KEPT})"

_KNOBS = {
    errno.ENOSPC: "the disk is full ({free} free); free some space " + _AGAIN,
    errno.EDQUOT: "the disk quota is used up ({free} free); free some space " + _AGAIN,
    errno.EFBIG: "the file is larger than 'ulimit -f' or the disk allows; raise it " + _AGAIN,
    errno.EIO: "the disk reports an input/output error; check the disk " + _AGAIN,
    errno.EROFS: "the disk is read-only; make it writable " + _AGAIN,
    errno.EACCES: "the folder is not writable (permission denied); change that " + _AGAIN,
    errno.EPERM: "the folder is not writable (not permitted); change that " + _AGAIN,
}

_SAID = {
    **{os.strerror(code): code for code in _KNOBS},
    "database or disk is full": errno.ENOSPC,
}
"""What libraries say where they do not hand on the number of the error."""


def explain(path: Path, error: BaseException) -> WriteFailedError:
    """Return an error that says in one line why `path` was not written, and the knob to turn.

    Call it while the unfinished file is still there, or a full disk looks empty.
    """
    said = " ".join(str(error).split())
    code = getattr(error, "errno", None)
    if code not in _KNOBS:
        code = next((number for text, number in _SAID.items() if text in said), None)
    free = _free_bytes(path)
    if code is None and free is not None and free < NEARLY_FULL:
        code = errno.ENOSPC
    if code is None:
        return WriteFailedError(f"cannot write {path}: {said or type(error).__name__} ({KEPT})")
    shown = "unknown" if free is None else f"{free / 1e6:.1f} MB"
    return WriteFailedError(f"cannot write {path}: {_KNOBS[code].format(free=shown)}")


def _free_bytes(path: Path) -> int | None:
    try:
        return shutil.disk_usage(path.absolute().parent).free
    except OSError:
        return None
