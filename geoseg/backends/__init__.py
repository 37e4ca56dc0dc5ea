"""Who finds the classes in a tile?

A backend turns the pixels of tiles into Instances. Built-in ones and those of other packages
(entry-point group `geoseg.backends`) are named in one registry and imported when asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import entry_points
from importlib.util import find_spec
from types import MappingProxyType, ModuleType
from typing import Protocol, Self, runtime_checkable

from geoseg.errors import BackendError, MissingDependencyError
from geoseg.instances import Instances
from geoseg.legend import Legend
from geoseg.pixels import Pixels
from geoseg.raster import RasterReader

ENTRY_POINTS = "geoseg.backends"


@runtime_checkable
class Backend(Protocol):
    """Anything that finds the classes of a legend in tiles.

    With worker processes it is pickled; it must give the same answer for the same pixels.
    """

    @property
    def identity(self) -> str:
        """Name and version (revision or digest of weights): enters the run's fingerprint."""
        ...

    @property
    def halo_px(self) -> int:
        """Context in pixels beyond which a pixel's answer no longer changes; 0 for none."""
        ...

    def segment(self, tiles: Sequence[Pixels]) -> list[Instances]:
        """Return one Instances per tile, in pixels of that tile, classes as in the legend."""
        ...


@runtime_checkable
class Fittable(Protocol):
    """A backend that looks once at the raster and the legend before the first tile."""

    def fit(self, raster: RasterReader, legend: Legend) -> Self:
        """Return a backend ready for this run.

        Raises:
            BackendError: It does not know a class, or lacks a band; says what it does know.
        """
        ...


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """A registered backend."""

    name: str
    """What `--backend` takes."""
    target: str
    """`"module:Class"`, called without arguments."""
    summary: str
    """One line: what it does and which words it knows."""
    extra: str | None = None
    """The extra of geoseg that installs what it needs."""
    requires: tuple[str, ...] = ()
    """Modules that must be importable."""


BUILT_IN: Mapping[str, BackendInfo] = MappingProxyType(
    {
        "spectral": BackendInfo(
            "spectral",
            "geoseg.backends.spectral:Spectral",
            "spectral indices and texture; no weights, no GPU, no network",
        ),
        "csmask": BackendInfo(
            "csmask",
            "geoseg.backends.csmask:Csmask",
            "water, snow, cloud, shadow and land; Sentinel-2 and Landsat reflectance; Apache-2.0",
            extra="csmask",
            requires=("onnxruntime", "ukis_csmask"),
        ),
    }
)


def available() -> dict[str, BackendInfo]:
    """Return every backend by name: the built-in ones and those of installed packages."""
    found = dict(BUILT_IN)
    for point in entry_points(group=ENTRY_POINTS):
        distribution = point.dist.name if point.dist else "unknown package"
        found.setdefault(point.name, BackendInfo(point.name, point.value, f"from {distribution}"))
    return dict(sorted(found.items()))


def words(name: str) -> tuple[str, ...]:
    """Return the words a backend knows, as its module lists them in `KNOWN_WORDS`.

    Empty for backends that take free text or whose packages are not installed.
    """
    info = available()[name]
    if any(find_spec(module) is None for module in info.requires):
        return ()
    known: tuple[str, ...] = getattr(_module(info), "KNOWN_WORDS", ())
    return known


def load(name: str) -> Backend:
    """Return the backend of this name.

    Raises:
        BackendError: No such name; the message lists what there is.
        MissingDependencyError: It needs an extra that is not installed.
    """
    known = available()
    if name not in known:
        near = get_close_matches(name, known, 1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise BackendError(
            f"unknown backend '{name}'{hint} (--backend takes one of: {', '.join(known)})"
        )
    info = known[name]
    backend: Backend = getattr(_module(info), info.target.partition(":")[2])()
    return backend


def _module(info: BackendInfo) -> ModuleType:
    try:
        return importlib.import_module(info.target.partition(":")[0])
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"backend '{info.name}' needs the package '{error.name}', which is not installed; "
            f'pip install "geoseg[{info.extra or info.name}]"'
        ) from error
