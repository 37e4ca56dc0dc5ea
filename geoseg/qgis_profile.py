"""Where are the profiles of QGIS, and how does the plugin get into one?"""

from __future__ import annotations

import configparser
import json
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from geoseg.errors import ConfigError, OutputError
from geoseg.qgis.command import INSTALLED_BY

PLUGIN = "geoseg_qgis"
"""Name of the folder in a profile: QGIS imports it, and `qgis` is taken."""

_SOURCE = Path(__file__).parent / "qgis"
_GENERATIONS = ("QGIS3", "QGIS4")
_SIGNS = ("QGIS", "python", "qgis.db")
"""One of these is in any profile."""


def default_profiles(environ: Mapping[str, str], platform: str, home: Path) -> list[Path]:
    """Return the default profile of each generation of QGIS that was ever started here.

    Args:
        environ: The environment.
        platform: As `sys.platform`.
        home: Of the user.

    Raises:
        ConfigError: There is none.
    """
    roots = list(_roots(environ, platform, home))
    found = [_default(root) for root in roots if _default(root).is_dir()]
    if not found:
        looked = " and ".join(str(root) for root in roots)
        raise ConfigError(
            f"no QGIS profile in {looked}; start QGIS once, or give its folder with --profile"
        )
    return found


def _roots(environ: Mapping[str, str], platform: str, home: Path) -> Iterator[Path]:
    custom = environ.get("QGIS_CUSTOM_CONFIG_PATH")
    if custom:
        yield Path(custom) / "profiles"
        return
    if platform == "win32":
        data = Path(environ.get("APPDATA") or home / "AppData" / "Roaming")
    elif platform == "darwin":
        data = home / "Library" / "Application Support"
    else:
        data = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    for generation in _GENERATIONS:
        yield data / "QGIS" / generation / "profiles"


def _default(root: Path) -> Path:
    """Return the profile that QGIS takes if none is asked for."""
    settings = configparser.RawConfigParser(strict=False)
    try:
        settings.read(root / "profiles.ini", "utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return root / "default"
    return root / settings.get("core", "defaultProfile", fallback="default")


def check_profile(profile: Path) -> None:
    """Make sure that a folder is a profile.

    Raises:
        ConfigError: It is none.
    """
    if not profile.is_dir():
        raise ConfigError(f"--profile {profile} is no folder; give that of a QGIS profile")
    if not any((profile / sign).exists() for sign in _SIGNS):
        raise ConfigError(
            f"--profile {profile} is no QGIS profile, it has no {', '.join(_SIGNS)}; in QGIS, "
            "Settings > User Profiles > Open Active Profile Folder shows it"
        )


def install(profile: Path, executable: str) -> Path:
    """Copy the plugin into a profile, in place of an older one; returns its folder.

    Args:
        profile: Of QGIS.
        executable: Path of the command that the plugin runs.

    Raises:
        OutputError: The profile cannot be written; an older plugin is still there.
    """
    plugins = profile / "python" / "plugins"
    target = plugins / PLUGIN
    try:
        plugins.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{PLUGIN}-", dir=plugins) as holder:
            made = Path(holder) / "new"
            shutil.copytree(_SOURCE, made, ignore=shutil.ignore_patterns("__pycache__"))
            content = json.dumps({"executable": executable})
            (made / INSTALLED_BY).write_text(content, "utf-8")
            _exchange(made, target, Path(holder) / "old")
    except OSError as error:
        raise OutputError(
            f"the plugin cannot be written to {target}: {error.strerror or error}; make the folder "
            "writable, or give another --profile"
        ) from error
    return target


def _exchange(made: Path, target: Path, aside: Path) -> None:
    """Rename a folder to where another may be, which comes back if that fails."""
    # A link to the sources, as developers have it, is moved like a folder.
    there = target.is_symlink() or target.exists()
    if there:
        target.rename(aside)
    try:
        made.rename(target)
    except OSError:
        if there:
            aside.rename(target)
        raise


def enable(profile: Path) -> list[Path]:
    """Switch the plugin on in the settings of a profile; returns the files.

    Raises:
        OutputError: They cannot be written.
    """
    folder = profile / "QGIS"
    there = [folder / f"{name}.ini" for name in _GENERATIONS if (folder / f"{name}.ini").exists()]
    generation = "QGIS4" if profile.parent.parent.name == "QGIS4" else "QGIS3"
    files = there or [folder / f"{generation}.ini"]
    for file in files:
        try:
            folder.mkdir(exist_ok=True)
            _rewrite(file)
        except OSError as error:
            raise OutputError(
                f"{file} cannot be written: {error.strerror or error}; switch the plugin on in QGIS"
            ) from error
    return files


def _rewrite(file: Path) -> None:
    # Bytes that are no UTF-8 stay what they are.
    coding = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}
    text = ""
    if file.exists():
        with file.open(**coding) as old:  # type: ignore[call-overload]
            text = old.read()
    made = file.with_name(f"{file.name}.geoseg")
    try:
        with made.open("w", **coding) as new:  # type: ignore[call-overload]
            new.write(switched_on(text))
        if file.exists():
            shutil.copymode(file, made)
        made.replace(file)
    finally:
        made.unlink(missing_ok=True)


def switched_on(text: str) -> str:
    """Return the settings of QGIS with the plugin switched on; all other lines stay."""
    lines = text.splitlines(keepends=True)
    end = "\r\n" if text.partition("\n")[0].endswith("\r") else "\n"
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += end
    section, wanted = "[PythonPlugins]", f"{PLUGIN}=true{end}"
    heads = [k for k, line in enumerate(lines) if line.strip() == section]
    if not heads:
        return "".join([*lines, *([end] if lines else []), section + end, wanted])
    start = heads[0] + 1
    stop = next((k for k in range(start, len(lines)) if lines[k].startswith("[")), len(lines))
    kept = [x for x in lines[start:stop] if x.partition("=")[0].strip() != PLUGIN]
    return "".join([*lines[:start], wanted, *kept, *lines[stop:]])


def own_executable() -> str:
    """Return the path of the command that is running now.

    Raises:
        ConfigError: It is not installed as a command.
    """
    # On Windows, scripts do not say their own ending.
    places = [Path(sys.argv[0]), Path(sysconfig.get_path("scripts")) / "geoseg"]
    for place in places:
        if place.stem == "geoseg":
            found = shutil.which(os.path.abspath(place))  # noqa: PTH100  links stay
            if found is not None:
                return found
    found = shutil.which("geoseg")
    if found is None:
        raise ConfigError(
            "the command geoseg is nowhere on PATH, the plugin would not find it; install it with "
            "pip, and run `geoseg qgis install` then"
        )
    return found
