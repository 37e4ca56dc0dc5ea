"""Can a folder that `--cache` names keep anything? Asked before any work, and nothing is made."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from geoseg.config import ModelOptions
from geoseg.errors import ConfigError

AUTO = "auto"
"""The user's own cache folder; where it cannot be used, a warning says so, and work goes on."""

_ANOTHER = "give a folder that can be written, or auto for your own cache"


def check_cache(options: ModelOptions) -> None:
    """Refuse a folder that was named, and could not be used.

    Raises:
        ConfigError: It is no folder, or cannot be made or written.
    """
    if options.cache is None or options.cache == AUTO:
        return
    folder = Path(options.cache)
    there = _nearest(folder)
    if not there.is_dir():
        raise ConfigError(f"--cache {folder}: {there} is no folder; {_ANOTHER}")
    try:
        with tempfile.TemporaryFile(prefix=".geoseg-", dir=there) as file:
            file.write(b"?")
    except OSError as error:
        done = "written" if there == folder else "made"
        raise ConfigError(
            f"--cache {folder} cannot be {done}: {there} is not writable ({error.strerror}); "
            f"{_ANOTHER}"
        ) from error


def _nearest(folder: Path) -> Path:
    """Return the folder, or that above it which is there already.

    Raises:
        ConfigError: It can never be, as with too long a name.
    """
    try:
        os.lstat(folder)
    except (FileNotFoundError, NotADirectoryError):
        return next(parent for parent in folder.parents if os.path.lexists(parent))
    except OSError as error:
        raise ConfigError(
            f"--cache {folder} cannot be used: {error.strerror}; {_ANOTHER}"
        ) from error
    return folder
