"""Which further columns may a map have, and what is in them?

means        mean_red, mean_b5, ...: the raster's samples over the polygon, a column per band
ndvi, ...    mean_ndvi, ...: an index of the spyndex catalogue, of reflectance as `spectral` sees it
nearest      nearest_m: metres to the nearest other polygon of the class, from edge to edge
compactness  4 pi area / perimeter^2 (Polsby and Popper 1991, Yale Law & Policy Review 9:301-353)
truncated    whether it touches the raster's edge, nodata or a failed tile
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from geoseg import zonal
from geoseg.errors import ConfigError
from geoseg.raster import RasterReader, Samples, Valid, sample
from geoseg.scale import Scale, fit_scale
from geoseg.window import Window

NAMES = ("means", "compactness", "nearest", "truncated")
"""What may be asked for, besides indices."""

_ALLOWED = f"{', '.join(NAMES)}, or a spectral index of the spyndex catalogue, as ndvi"


@dataclass(frozen=True, slots=True)
class Columns:
    """Further columns of the map of a raster; picklable."""

    asked: tuple[str, ...] = ()
    """What was asked for: of NAMES, or names of the catalogue as it writes them."""
    bands: tuple[tuple[str, int], ...] = ()
    """Name and 0-based number of each band of which means are taken."""
    roles: tuple[tuple[str, int], ...] = ()
    """Role and 0-based number of each band that an index needs."""
    scale: Scale | None = None
    """What samples mean; None where there are no indices, or it is not fitted yet."""

    @property
    def indices(self) -> tuple[str, ...]:
        """The indices, as the catalogue writes them."""
        return tuple(name for name in self.asked if name not in NAMES)

    @property
    def kinds(self) -> tuple[tuple[str, str], ...]:
        """Name and Arrow type of each column."""
        kinds: dict[str, str] = {}
        for name in self.asked:
            if name == "means":
                kinds |= {f"mean_{band}": "double" for band, _ in self.bands}
            elif name == "truncated":
                kinds["truncated"] = "bool"
            elif name == "nearest":
                kinds["nearest_m"] = "double"
            else:
                kinds[name if name in NAMES else f"mean_{name.lower()}"] = "double"
        return tuple(kinds.items())

    def fit(self, raster: RasterReader) -> Columns:
        """Return them with what depends on samples, as far as it is needed.

        Raises:
            RasterError: The raster cannot be read.
        """
        if not self.indices:
            return self
        blocks = [(data, valid) for _, data, valid in sample(raster)]
        numbers = sorted({number - 1 for number in raster.roles.values()})
        return replace(self, scale=fit_scale(raster.bands[0].dtype, blocks, numbers))

    def means(
        self, shapes: NDArray[np.object_], raster: Window, read: zonal.Read
    ) -> dict[str, NDArray[np.float64]]:
        """Return means of bands and indices over (n,) polygons in pixels, each (n,)."""
        names = [name for name, _ in self.kinds if name.startswith("mean_")]
        if not names:
            return {}
        found = zonal.means(shapes, raster, read, self._planes, len(names))
        return dict(zip(names, found.T, strict=True))

    def _planes(self, data: Samples, valid: Valid) -> Iterator[NDArray[np.float64]]:
        """Yield what is averaged, in the order of the columns."""
        from geoseg.backends.spectral.indices import value

        scaled = {}
        if self.scale is not None:
            scaled = {role: self.scale.apply(data[number]) for role, number in self.roles}
        for name in self.asked:
            if name == "means":
                for _, number in self.bands:
                    yield np.where(valid, data[number], np.nan).astype(np.float64)
            elif name not in NAMES:
                yield np.where(valid, value(name, scaled), np.nan).astype(np.float64)


def choose(names: Sequence[str], raster: RasterReader) -> Columns:
    """Return the columns of these names, not yet fitted.

    Raises:
        ConfigError: There is no such column, or the raster lacks a band for it.
        MissingDependencyError: The package that takes means is not installed.
    """
    # A GeoPackage does not tell columns apart by upper and lower case.
    asked = tuple({name.lower(): _known(name) for name in names}.values())
    roles: dict[str, int] = {}
    for name in asked:
        if name not in NAMES:
            roles |= _roles(name, raster.roles)
    if set(asked) - {"compactness", "nearest", "truncated"}:
        zonal.check_installed()
    bands = tuple(_bands(raster)) if "means" in asked else ()
    return Columns(asked, bands, tuple(sorted(roles.items())))


def _known(name: str) -> str:
    """Return a name of NAMES, or of an index as the catalogue writes it."""
    if name.lower() in NAMES:
        return name.lower()
    from geoseg.backends.spectral.indices import optical

    by_lower = {index.lower(): index for index in reversed(optical())}
    found = name if name in optical() else by_lower.get(name.lower())
    if found is None:
        near = get_close_matches(name.lower(), [*NAMES, *by_lower], 1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ConfigError(f"--columns: unknown column '{name}'{hint} (one of: {_ALLOWED})")
    return found


def _roles(name: str, known: Mapping[str, int]) -> dict[str, int]:
    """Return the 0-based bands of an index by role."""
    from geoseg.backends.spectral.indices import roles_of

    lacking = sorted(roles_of(name) - known.keys())
    if lacking:
        what = ", ".join(lacking)
        has = ", ".join(f"{role}={number}" for role, number in known.items()) or "none"
        raise ConfigError(
            f"--columns: {name.lower()} needs the bands {what}, which the raster lacks (known: "
            f"{has}); name them with --bands or --sensor"
        )
    return {role: known[role] - 1 for role in roles_of(name)}


def _bands(raster: RasterReader) -> Iterator[tuple[str, int]]:
    """Yield the name and number of each band that is no mask."""
    roles: dict[int, str] = {}
    for role, number in raster.roles.items():
        roles.setdefault(number, role)
    for number, band in enumerate(raster.bands, 1):
        if band.interpretation != "alpha":
            yield roles.get(number, f"b{number}"), number - 1
