"""Which command is run, with what arguments, and in which environment?"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

VARIABLE = "GEOSEG_EXECUTABLE"
"""Environment variable that names the command."""

INSTALLED_BY = "installed_by.json"
"""File beside this one in which `geoseg qgis install` says where the command is."""

SETTING = "Settings > Options > Processing > Providers > geoseg"

_LEAKS = (
    "GDAL_DATA",
    "GDAL_DRIVER_PATH",
    "GDAL_PYTHON_DRIVER_PATH",
    "OGR_DRIVER_PATH",
    "PROJ_DATA",
    "PROJ_LIB",
    "PYTHONEXECUTABLE",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "__PYVENV_LAUNCHER__",
)
"""What QGIS tells its own Python, GDAL and PROJ. LD_LIBRARY_PATH stays: CUDA may need it."""

_PAIRED_WITH = "sam2"


class CommandError(Exception):
    """The command cannot do it; one line says why."""


def find_command(setting: str, environ: Mapping[str, str], folder: Path) -> str:
    """Return the path of the `geoseg` command.

    Args:
        setting: What the user set in QGIS; empty where nothing.
        environ: The environment.
        folder: Where INSTALLED_BY may lie.

    Raises:
        CommandError: There is none.
    """
    for named, where in ((setting, SETTING), (environ.get(VARIABLE, ""), VARIABLE)):
        if named:
            found = shutil.which(str(Path(named).expanduser()), path=environ.get("PATH"))
            if found is None:
                raise CommandError(f"{named} is no command (from {where}); give the path of geoseg")
            return found
    found = shutil.which(_installed_by(folder)) or shutil.which("geoseg", path=environ.get("PATH"))
    if found is None:
        raise CommandError(
            "there is no command geoseg: install it (python -m pip install geoseg), then run "
            f"`geoseg qgis install`, or give its path in {SETTING}"
        )
    return found


def _installed_by(folder: Path) -> str:
    try:
        return str(json.loads((folder / INSTALLED_BY).read_text("utf-8"))["executable"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what QGIS tells its own libraries."""
    kept = {name: value for name, value in environ.items() if name.upper() not in _LEAKS}
    return {**kept, "PYTHONUTF8": "1"}


def arguments(
    name: str, options: Mapping[str, Any], extra: str, places: Iterable[str]
) -> list[str]:
    """Return the arguments of `geoseg NAME`.

    Args:
        name: Of the subcommand.
        options: Values by option; None and empty text are left out, True is the option alone.
        extra: Further options, as typed at a prompt; a backslash is only a backslash.
        places: What comes after the options.

    Raises:
        CommandError: A quote is not closed.
    """
    given = [
        f"--{option}" if value is True else f"--{option}={value}"
        for option, value in options.items()
        if value is not None and value is not False and str(value).strip()
    ]
    return [name, *given, *_words(extra), "--", *places]


def _words(text: str) -> list[str]:
    words = shlex.shlex(text, posix=True, punctuation_chars=False)
    words.whitespace_split, words.escape, words.commenters = True, "", ""
    try:
        return list(words)
    except ValueError as error:
        raise CommandError(f"further options {text!r}: {error}; close the quote") from error


def raster_name(source: str) -> str:
    """Return the source of a raster layer as the command reads it: a path, or a URL."""
    return source.partition("|")[0].removeprefix("/vsicurl/")


def backend_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return backends to choose from, the default first.

    Args:
        rows: What `geoseg backends --json` says.
    """
    usable = [row for row in rows if row.get("installed")]

    def of(role: str) -> list[str]:
        return [str(row["name"]) for row in usable if row.get("role") == role]

    alone = sorted(of("backend"), key=lambda name: (name != "spectral", name))
    pairs = [
        f"{detector}+{_PAIRED_WITH}"
        for detector in of("detector")
        if _PAIRED_WITH in of("segmenter")
    ]
    everything = [f"everything:{name}" for name in of("segmenter") if name == _PAIRED_WITH]
    return [*alone, *pairs, *everything, *of("detector")]
