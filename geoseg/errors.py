"""What can go wrong that a user can act on?

Every message says what was found, what is allowed and which knob to turn, in one line. The
command line prints the message alone and exits with `exit_code`.
"""

from __future__ import annotations

INCOMPLETE = 1
"""Exit code where a map lacks something, or is another than it should be."""


class GeosegError(Exception):
    """Anything geoseg refuses or fails at with a message meant for the user."""

    exit_code: int = 2


class ConfigError(GeosegError):
    """A setting, prompt or legend that cannot be used."""


class RasterError(GeosegError):
    """An input that is not a usable raster."""


class BackendError(GeosegError):
    """A backend that is unknown, or that cannot do what it is asked."""


class MissingDependencyError(GeosegError):
    """A package of an optional extra is not installed."""


class MapError(GeosegError):
    """A file that is no map of geoseg, or one that lacks what is asked of it."""


class OutputError(GeosegError):
    """An output that cannot be written, or is already there."""


class WriteFailedError(OutputError):
    """A file that could not be written when a run was under way: the disk is full, or gone."""

    exit_code: int = 1


class ReadFailedError(GeosegError):
    """A file of a run that could not be read when the run was under way: its store is gone."""

    exit_code: int = 1


class OfflineError(GeosegError):
    """A network socket that was asked for where none may be opened."""


class ResumeMismatchError(GeosegError):
    """A run folder that belongs to another job."""


class TileFailedError(GeosegError):
    """A tile that could not be read or segmented."""

    exit_code: int = 1


class DeviceLostError(GeosegError):
    """An accelerator that answers nothing more in this process."""

    exit_code: int = 1


class MemoryBudgetError(GeosegError):
    """A run that took more memory than it may have."""

    exit_code: int = 1
