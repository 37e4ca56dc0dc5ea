"""What does a user draw by hand? Vector layers: boxes, areas, zones, references."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.errors import ConfigError

if TYPE_CHECKING:
    import geopandas as gpd

_NAMED = "|layername="
"""Between file and layer, as QGIS writes it."""


def read_layer(
    layer: str | Path | gpd.GeoDataFrame, option: str, wants: str, nameless: str
) -> tuple[gpd.GeoDataFrame, str]:
    """Return the features of a layer that have a geometry, and what to call it in messages.

    Args:
        layer: A vector file, `FILE|layername=NAME` where it has several layers, or a GeoDataFrame.
        option: The option that takes it, for messages.
        wants: What that option takes, for messages.
        nameless: What to call a layer that is no file.

    Raises:
        ConfigError: It cannot be read, holds no geometry, or several layers.
    """
    import geopandas as gpd

    source = nameless
    if isinstance(layer, str | Path):
        source = str(layer)
        layer = _read(source, option)
    if not isinstance(layer, gpd.GeoDataFrame):
        raise ConfigError(f"{source} has no geometry; {option} takes {wants}")
    layer = layer[~(layer.geometry.is_empty | layer.geometry.isna())]
    if layer.empty:
        raise ConfigError(f"{source} has no features; {option} takes {wants}")
    return layer, source


def _read(source: str, option: str) -> object:
    import geopandas as gpd
    import pyogrio

    path, _, name = source.partition(_NAMED)
    try:
        Path(path).stat()
    except (OSError, ValueError) as error:
        raise ConfigError(f"no such file: {path} ({option} takes a vector layer)") from error
    try:
        # Tables without a geometry, as QGIS keeps its styles in, are no layers here.
        names = [str(n) for n, kind in pyogrio.list_layers(path).tolist() if kind is not None]
        return gpd.read_file(path, layer=_one_of(names, name, path, option))
    except ConfigError:
        raise
    except Exception as error:
        reason = plainly(Path(path), error)
        raise ConfigError(f"{source} is no vector layer that can be read: {reason}") from error


def plainly(path: Path, error: BaseException) -> str:
    """Return in a line why a file could not be read, without advice on GDAL's own commands."""
    with suppress(OSError):
        if path.is_file() and not path.stat().st_size:
            return "it is empty (0 bytes)"
    said = " ".join(str(error).split()) or type(error).__name__
    return "it is of no known format, or damaged" if "not recognized as" in said else said


def _one_of(names: list[str], name: str, path: str, option: str) -> str | None:
    if name in names or (not name and len(names) <= 1):
        return name or next(iter(names), None)
    wrong = f"has no layer '{name}'" if name else f"has {len(names)} layers"
    raise ConfigError(
        f"{path} {wrong}; name one of them ({', '.join(names)}) as {option} '{path}{_NAMED}NAME'"
    )


def check_both_placed(crs: str | None, source: str, raster_crs: str | None) -> None:
    """Refuse a layer and a raster of which one has a coordinate reference system, one has not.

    Raises:
        ConfigError: Says which one lacks it.
    """
    if (crs is None) != (raster_crs is None):
        lacks = source if crs is None else "the raster"
        raise ConfigError(
            f"{lacks} has no coordinate reference system, the other has one; set it with "
            "ogr2ogr -a_srs or gdal_edit -a_srs"
        )
