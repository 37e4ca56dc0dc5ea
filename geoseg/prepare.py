"""What is a run made of? Raster, words, backend and settings, checked before any work."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from geoseg.access import Access, is_local
from geoseg.backends import Backend
from geoseg.backends.compose import cloudless, load, needs_words, packages
from geoseg.bands import parse
from geoseg.config import (
    DEFAULT_OVERLAP_PX,
    DEFAULT_THRESHOLD,
    DEFAULT_TILE_PX,
    ModelOptions,
    RunConfig,
)
from geoseg.detect import least_halo
from geoseg.errors import BackendError, ConfigError, RasterError
from geoseg.legend import LandClass, Legend
from geoseg.mosaic import open_rasters
from geoseg.raster import RasterReader

if TYPE_CHECKING:
    import geopandas as gpd

T = TypeVar("T")

Source = str | Path | Sequence[str | Path] | RasterReader
"""A raster file or URL, several or a folder of them that are one mosaic, or an open reader."""

_NAME_BYTES = 240
"""Most bytes of an output's name: file systems take 255, `_failed_tiles` comes on top."""

_CLASSES_SHOWN = 8
"""Classes that a message lists: some backends know hundreds."""

_SAY_WHAT = (
    'say what to look for: --prompt "forest, water" or --legend FILE (without words go '
    "everything:SEGMENTER, and a segmenter with --boxes)"
)

_ANYTHING = Legend(classes=(LandClass(name="anything"),))
"""Stands in for the legend of a backend that brings its own, until that is loaded."""


def words_asked(
    legend: str | Legend | None, backend: str | Backend, boxes: str | Path | gpd.GeoDataFrame | None
) -> Legend | None:
    """Return the legend that is asked for, or None where the backend may bring its own.

    Raises:
        ConfigError: There is none, and the backend must be told; or it cannot be read.
    """
    if legend is None and isinstance(backend, str) and needs_words(backend, boxes):
        raise ConfigError(_SAY_WHAT)
    return Legend.parse(legend) if isinstance(legend, str) else legend


def settings(legend: Legend | None, **given: Any) -> RunConfig:
    """Return settings as far as they are known before a backend is loaded.

    Raises:
        ConfigError: Names the setting that cannot be.
    """
    known = {k: v for k, v in given.items() if v is not None}
    config = RunConfig.build(legend=legend or _ANYTHING, **known)
    if legend is not None:
        check_regularized(config.finish.regularize, legend)
    return config


def choose_backend(
    backend: str | Backend,
    models: ModelOptions,
    boxes: str | Path | gpd.GeoDataFrame | None,
    mask_clouds: str | Backend | None,
) -> Backend:
    """Return the backend of a run, not yet fitted.

    Raises:
        BackendError: There is no such backend, or the object is none.
        ConfigError: Boxes for a backend that is an object.
    """
    if boxes is not None and not isinstance(backend, str):
        raise ConfigError("boxes are for a segmenter by name, as backend='sam2'")
    engine = load(backend, models, boxes) if isinstance(backend, str) else _checked(backend)
    return engine if mask_clouds is None else cloudless(engine, mask_clouds, models)


def with_words(
    config: RunConfig, engine: Backend, asked: Legend | None, threshold: float | None
) -> RunConfig:
    """Return settings with the legend and threshold that the backend finds usual.

    Raises:
        ConfigError: No legend is asked for, and the backend has none of its own; or classes are to
            be regularized that it lacks.
    """
    legend = asked or getattr(engine, "words", lambda: None)()
    if legend is None:
        raise ConfigError(_SAY_WHAT)
    check_regularized(config.finish.regularize, legend)
    least = _usual(engine, "usual_threshold", DEFAULT_THRESHOLD, threshold)
    return config.model_copy(update={"legend": legend, "threshold": least})


def check_regularized(names: Sequence[str], legend: Legend) -> None:
    """Refuse names that are no objects of a legend.

    Raises:
        ConfigError: Names the classes, and says how one becomes an object.
    """
    kinds = {c.name: c.kind for c in legend.classes}
    for name in names:
        if kinds.get(name) != "object":
            what = "is a cover" if name in kinds else "is no class of the legend"
            # Objects first: they are what may be named.
            known = sorted(kinds, key=lambda n: kinds[n] != "object")
            shown = ", ".join(f"{n}: {kinds[n]}" for n in known[:_CLASSES_SHOWN])
            more = len(known) - _CLASSES_SHOWN
            raise ConfigError(
                f"--regularize: '{name}' {what} ({shown}{f', and {more} more' if more > 0 else ''})"
                '; name objects: a class becomes one by kind = "object" in a legend file (--legend)'
            )


def _usual(engine: Backend, name: str, default: T, given: T | None) -> T:
    """Return what was given, or what the backend finds usual, or the default."""
    usual: T = getattr(engine, name, default)
    return usual if given is None else given


def sized(config: RunConfig, engine: Backend, tile: int | None, overlap: int | None) -> RunConfig:
    """Return settings with the tile and overlap that the fitted backend wants or needs."""
    wanted = _usual(engine, "usual_tile_px", DEFAULT_TILE_PX, tile)
    covers = all(c.kind == "cover" for c in config.legend.classes)
    need = 2 * least_halo(engine, all_covers=covers)
    shared = max(DEFAULT_OVERLAP_PX, need) if overlap is None else overlap
    if overlap is None and tile is None:
        # A large read pays little for its edges.
        wanted = max(wanted, 2 * shared)
    return RunConfig.build(**{**dict(config), "tile": wanted, "overlap": shared})


def check_composite(composite: str | None, backend: str | Backend, engine: Backend) -> None:
    """Refuse a composite for a backend that looks at bands.

    Raises:
        ConfigError: It would be ignored.
    """
    looks = getattr(engine, "wants_rgb", False) or not isinstance(backend, str)
    if composite is not None and not looks:
        raise ConfigError(
            f"backend '{backend}' looks at bands, not at a picture: leave --composite out"
        )


def _checked(backend: object) -> Backend:
    if isinstance(backend, type):
        raise BackendError(f"backend {backend.__name__} is a class; pass an object: ...()")
    if isinstance(backend, Backend):
        if not isinstance(backend.halo_px, int) or backend.halo_px < 0:
            raise BackendError(f"backend has halo_px {backend.halo_px!r}; a whole number >= 0")
        return backend
    lacking = [n for n in ("identity", "halo_px", "segment") if not hasattr(backend, n)]
    raise BackendError(
        f"{type(backend).__name__} is no backend: it lacks {', '.join(lacking)} "
        "(see geoseg.backends.Backend)"
    )


def open_source(
    source: Source,
    bands: str | Mapping[str, int] | None,
    sensor: str | None,
    access: Access | None = None,
) -> RasterReader:
    """Return the reader of a raster, or of several as one.

    Raises:
        RasterError: It cannot be used.
        ConfigError: Bands it does not have, or bands for an open reader.
    """
    if not isinstance(source, str | Path | Sequence):
        lacking = [n for n in ("frame", "bands", "roles", "read") if not hasattr(source, n)]
        if lacking:
            name = getattr(source, "name", None)
            hint = f"'{name}'" if isinstance(name, str) else "a path"
            raise RasterError(
                f"{type(source).__name__} is no raster of geoseg (it lacks {', '.join(lacking)}); "
                f"give {hint}, several paths, or geoseg.open_raster(path)"
            )
        if bands is not None or sensor is not None:
            raise ConfigError(
                "bands and sensor are of a file, but an open reader has roles of its own; leave "
                "them out"
            )
        return source
    roles = parse(bands) if isinstance(bands, str) else bands
    names = [source] if isinstance(source, str | Path) else source
    return open_rasters(names, roles, sensor, access)


def listed(option: str, names: str | Sequence[str]) -> tuple[str, ...]:
    """Return names given as `"one, two"` or one by one; none of a blank text.

    Raises:
        ConfigError: One is blank.
    """
    if isinstance(names, str):
        names = names.split(",") if names.strip() else ()
    found = tuple(name.strip() for name in names)
    if "" in found:
        raise ConfigError(
            f"{option}: item {found.index('') + 1} of '{','.join(found)}' is empty; name it, or "
            "take the comma out"
        )
    return found


def absolute(source: Source) -> Source:
    """Return a source whose files have whole paths."""
    if isinstance(source, str | Path):
        return Path(source).absolute() if is_local(str(source)) else source
    if isinstance(source, Sequence):
        return [Path(name).absolute() if is_local(str(name)) else name for name in source]
    return source


def versions(*backends: str | Backend | None) -> dict[str, str]:
    """Return the versions of what computes a run with backends of these names."""
    import rasterio

    used = {module for spec in backends if isinstance(spec, str) for module in packages(spec)}
    names = ("geoseg", "numpy", "rasterio", "scipy", "shapely", *sorted(used))
    return {"gdal": rasterio.__gdal_version__, **{name: version(name) for name in names}}


def devices(models: ModelOptions | None) -> tuple[str, ...]:
    """Return the CUDA devices that are dealt out to worker processes; none where one was chosen."""
    torch = sys.modules.get("torch")
    if torch is None or (models or ModelOptions()).device not in ("auto", "cuda"):
        return ()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(part for part in named.split(",") if part)
    return tuple(str(k) for k in range(torch.cuda.device_count()))


def destination(out: str | Path | None, option: str = "--out") -> tuple[Path, Any]:
    """Return the final path, and what keeps a temporary folder alive."""
    if out is not None:
        if not str(out).strip():
            raise ConfigError(f"{option} is empty; give a file name, as map.gpkg")
        length = len(os.fsencode(Path(out).name))
        if length > _NAME_BYTES:
            raise ConfigError(
                f"{option}: the file name has {length} bytes, at most {_NAME_BYTES} are possible "
                "(the names of what a run writes beside it are longer); give a shorter one"
            )
        dropped = next((c for c in str(Path(out).absolute()) if c in "\t\n\r"), None)
        if dropped is not None:
            # pyogrio takes paths for URLs, and urllib drops these from URLs.
            raise ConfigError(
                f"{option}: the path has the character U+{ord(dropped):04X}, with which nothing "
                "can be written; give another name or folder"
            )
        return Path(out), None
    folder = tempfile.mkdtemp(prefix="geoseg-")
    keeper = _Keeper()
    weakref.finalize(keeper, shutil.rmtree, folder, ignore_errors=True)
    return Path(folder) / "map.parquet", keeper


class _Keeper:
    """A temporary folder lives as long as this object."""
