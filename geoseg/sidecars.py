"""Which files beside a raster change what it says?

GDAL reads them without a word: `.aux.xml` (nodata, position, colours), world files (position),
`.msk` (validity). Statistics and overviews change nothing.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from affine import Affine

from geoseg.markup import name, parse
from geoseg.stamps import ends_sha256

log = logging.getLogger(__name__)

_OVERRIDES: Mapping[str, str] = MappingProxyType(
    {
        "nodatavalue": "NoDataValue", "srs": "SRS", "geotransform": "GeoTransform",
        "gcplist": "GCPList", "offset": "Offset", "scale": "Scale", "colortable": "ColorTable",
        "colorinterp": "ColorInterp", "maskband": "MaskBand",
    }
)  # fmt: skip
"""Elements of an `.aux.xml` that change what is read, in lower case; GDAL takes any."""


def warn_of_sidecars(path: str, driver: str, transform: Affine, *, placed: bool) -> None:
    """Warn of side-cars that override a GeoTIFF, or that it overrides.

    Args:
        path: The raster file.
        driver: Other formats than GeoTIFF are meant to have side-cars.
        transform: The transform that is used.
        placed: Whether the file is georeferenced by itself.
    """
    if driver != "GTiff":
        return
    found = overrides(path)
    if found:
        said = ", ".join(f"{what} {text[:40]}" for what, text in sorted(found.items()))
        log.warning(
            "%s.aux.xml beside the raster overrides what the file says: %s; remove it if that is "
            "not meant", path, said
        )  # fmt: skip
    world = world_file(path)
    if world is not None and placed and not _same(_world_transform(world), transform):
        log.warning(
            "the world file %s disagrees with the georeferencing inside %s, which is used; remove "
            "the world file, or gdal_edit -a_ullr the raster", world.name, path
        )  # fmt: skip


def overrides(path: str) -> dict[str, str]:
    """Return elements of `PATH.aux.xml` that change what is read, by name; empty without it."""
    aux = Path(path + ".aux.xml")
    if not _is_there(aux):
        return {}
    found: dict[str, str] = {}
    for element in parse(aux).iter():
        said = _OVERRIDES.get(name(element))
        if said is not None:
            words = " ".join(" ".join(element.itertext()).split())
            found[said] = f"{found[said]}; {words}" if said in found else words
    return found


def world_file(path: str) -> Path | None:
    """Return the world file beside a raster, or None."""
    raster = Path(path)
    ending = raster.suffix.lower().removeprefix(".")
    wanted = {"wld", ending + "w"}
    if len(ending) == 3:
        wanted.add(ending[0] + ending[2] + "w")
    for side in sorted(wanted | {w.upper() for w in wanted}):
        found = raster.with_suffix("." + side)
        if _is_there(found):
            return found
    return None


def sidecar_identity(path: str) -> dict[str, Any]:
    """Return what tells the side-cars of a raster from changed ones, JSON-able."""
    known: dict[str, Any] = {}
    found = overrides(path)
    if found:
        known[".aux.xml"] = hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()
    world = world_file(path)
    for side in (world, Path(path + ".msk")):
        if side is not None and _is_there(side):
            known[side.suffix] = f"{side.stat().st_size} bytes, {ends_sha256(side)}"
    return known


def _world_transform(world: Path) -> Affine | None:
    try:
        a, d, b, e, x, y = (float(word) for word in world.read_text("ascii").split()[:6])
    except (ValueError, OSError):
        return None
    # A world file says where the centre of the first pixel is.
    return Affine(a, b, x - a / 2 - b / 2, d, e, y - d / 2 - e / 2)


def _same(one: Affine | None, other: Affine) -> bool:
    if one is None:
        return True
    size = abs(other.a) + abs(other.b) + abs(other.d) + abs(other.e)
    return all(abs(p - q) < size / 100 for p, q in zip(one[:6], other[:6], strict=True))


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        # The raster's name is so long that nothing can be beside it.
        return False
