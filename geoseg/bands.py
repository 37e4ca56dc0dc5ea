"""Which band is red, which is near infrared?

Roles come, in this order, from `--bands`, from `--sensor`, from the raster's band descriptions
and from its colour interpretation. Band numbers are 1-based, as in GDAL and QGIS.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from geoseg.errors import ConfigError

log = logging.getLogger(__name__)

ROLES = (
    "coastal",
    "blue",
    "green",
    "yellow",
    "red",
    "rededge1",
    "rededge2",
    "rededge3",
    "nir",
    "nir2",
    "watervapour",
    "cirrus",
    "swir1",
    "swir2",
)
"""Every role a band can have."""


def _numbered(*roles: str) -> Mapping[str, int]:
    return MappingProxyType({role: i for i, role in enumerate(roles, 1) if role})


_S2 = ("coastal", "blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "nir2")

SENSORS: Mapping[str, Mapping[int, Mapping[str, int]]] = MappingProxyType(
    {
        "rgb": {3: _numbered("red", "green", "blue")},
        "naip": {4: _numbered("red", "green", "blue", "nir")},
        "landsat8": {
            6: _numbered("blue", "green", "red", "nir", "swir1", "swir2"),
            7: _numbered("coastal", "blue", "green", "red", "nir", "swir1", "swir2"),
        },
        "sentinel2": {
            4: _numbered("blue", "green", "red", "nir"),
            6: _numbered("blue", "green", "red", "nir", "swir1", "swir2"),
            10: _numbered(
                "blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "nir2",
                "swir1", "swir2",
            ),
            12: _numbered(*_S2, "watervapour", "swir1", "swir2"),
            13: _numbered(*_S2, "watervapour", "cirrus", "swir1", "swir2"),
        },
        "planetscope": {
            3: _numbered("red", "green", "blue"),
            4: _numbered("blue", "green", "red", "nir"),
            8: _numbered("coastal", "blue", "", "green", "yellow", "red", "rededge1", "nir"),
        },
    }
)  # fmt: skip
"""Band order of common products, by sensor and number of bands; more bands than the largest
entry use that entry (a trailing alpha or quality band). Sources: USGS Landsat 8-9 Collection 2
surface reflectance bands 1-7; ESA Sentinel-2 L1C (13 bands), L2A (12, no B10) and its 10 and 20 m
bands (10); Planet PSScene 4- and 8-band products; USDA NAIP 4-band."""

_NAMES: Mapping[str, str] = MappingProxyType(
    {
        **{role: role for role in ROLES},
        "r": "red", "g": "green", "b": "blue", "nir1": "nir", "nir08": "nir2",
        "nir09": "watervapour",
        "near infrared": "nir", "nearinfrared": "nir", "infrared": "nir", "ir": "nir", "n": "nir",
        "swir": "swir1", "swir16": "swir1", "swir22": "swir2", "coastal aerosol": "coastal",
        "rededge": "rededge1", "red edge": "rededge1", "red edge 1": "rededge1",
        "red edge 2": "rededge2", "red edge 3": "rededge3", "rededge071": "rededge1",
        "rededge075": "rededge2", "rededge078": "rededge3", "water vapour": "watervapour",
        "water vapor": "watervapour", "narrow nir": "nir2", "nir narrow": "nir2",
        "near infrared narrow": "nir2",
        # Sentinel-2 band names are unmistakable only with two digits or the A.
        "b01": "coastal", "b02": "blue", "b03": "green", "b04": "red", "b05": "rededge1",
        "b06": "rededge2", "b07": "rededge3", "b08": "nir", "b8a": "nir2", "b09": "watervapour",
        "b10": "cirrus", "b11": "swir1", "b12": "swir2",
        # Landsat 8-9 Collection 2 surface reflectance.
        "sr b1": "coastal", "sr b2": "blue", "sr b3": "green", "sr b4": "red", "sr b5": "nir",
        "sr b6": "swir1", "sr b7": "swir2",
    }
)  # fmt: skip
"""Band descriptions, lower case with single spaces, and the role they mean."""


@dataclass(frozen=True, slots=True)
class Band:
    """What a raster says of one of its bands."""

    description: str = ""
    """Free text, as `red` or `B04`; may be empty."""
    interpretation: str = "undefined"
    """GDAL colour interpretation in lower case: red, green, blue, alpha, gray, palette, ..."""
    dtype: str = "uint8"
    """NumPy name of the sample type."""


def parse(text: str) -> dict[str, int]:
    """Parse `red=4,green=3,blue=2,nir=8`, or `4,3,2` for red, green, blue.

    Raises:
        ConfigError: Names the part that is wrong and what is allowed.
    """
    parts = [p.strip() for p in text.split(",") if p.strip()]
    if parts and all("=" not in p for p in parts):
        if len(parts) != 3:
            raise ConfigError(
                f"--bands '{text}' has {len(parts)} numbers; give three (red,green,blue) or "
                "name them: red=1,green=2,blue=3,nir=4"
            )
        parts = [f"{role}={p}" for role, p in zip(("red", "green", "blue"), parts, strict=True)]
    roles: dict[str, int] = {}
    for part in parts:
        role, _, number = (p.strip().lower() for p in part.partition("="))
        if role not in ROLES:
            near = get_close_matches(role, ROLES, 1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise ConfigError(
                f"--bands: unknown band role '{role}'{hint} (one of: {', '.join(ROLES)})"
            )
        if not number.isascii() or not number.isdigit() or int(number) < 1:
            raise ConfigError(f"--bands: '{part}' needs a band number of 1 or more, as {role}=1")
        if role in roles:
            raise ConfigError(f"--bands: role '{role}' is given twice")
        roles[role] = int(number)
    if not roles:
        raise ConfigError("--bands is empty; give for example red=1,green=2,blue=3,nir=4")
    return roles


def shown_roles(roles: Mapping[str, int], composite: str | None) -> Mapping[str, int]:
    """Return the bands that are shown as red, green and blue.

    Args:
        roles: 1-based band numbers by role.
        composite: Three roles, as `nir,red,green` (false colour); None for the colours themselves.

    Raises:
        ConfigError: Not three roles, or one that the raster lacks.
    """
    if composite is None:
        return roles
    asked = [part.strip().lower() for part in composite.split(",")]
    if len(asked) != 3:
        raise ConfigError(f"--composite '{composite}' needs three roles, as nir,red,green")
    for role in asked:
        if role not in roles:
            known = ", ".join(f"{name}={number}" for name, number in roles.items()) or "none"
            raise ConfigError(
                f"--composite: the raster has no band '{role}' (known: {known}); name the bands "
                "with --bands or --sensor"
            )
    return dict(zip(("red", "green", "blue"), (roles[r] for r in asked), strict=True))


def resolve(
    bands: Sequence[Band], given: Mapping[str, int] | None = None, sensor: str | None = None
) -> dict[str, int]:
    """Return the 1-based band number of each known role; empty where nothing is known.

    Args:
        bands: What the raster says of its bands.
        given: Roles the user named; they win.
        sensor: A key of SENSORS.

    Raises:
        ConfigError: A band that does not exist, an unknown sensor, or one with other bands.
    """
    if sensor:
        roles = {**_of_sensor(sensor, len(bands)), **(given or {})}
    else:
        # Roles given by hand replace the guess: a half-mixed set would be nobody's choice.
        roles = dict(given) if given else _from_metadata(bands)
    for role, number in roles.items():
        if not 1 <= number <= len(bands):
            raise ConfigError(f"--bands: {role}={number}, but the raster has bands 1..{len(bands)}")
    return roles


def _of_sensor(sensor: str, count: int) -> dict[str, int]:
    if sensor not in SENSORS:
        raise ConfigError(f"unknown sensor '{sensor}'; --sensor takes: {', '.join(SENSORS)}")
    layouts = SENSORS[sensor]
    fitting = [n for n in layouts if n <= count]
    if not fitting:
        raise ConfigError(
            f"--sensor {sensor} needs {' or '.join(map(str, layouts))} bands, the raster has "
            f"{count}; name them with --bands instead"
        )
    return dict(layouts[max(fitting)])


def _from_metadata(bands: Sequence[Band]) -> dict[str, int]:
    roles: dict[str, int] = {}
    for number, band in enumerate(bands, 1):
        words = re.sub(r"[\s_\-]+", " ", band.description.strip().lower())
        role = _NAMES.get(words) or _NAMES.get(words.split(" ")[0])
        if role:
            roles.setdefault(role, number)
    if roles:
        return roles
    named = [band.description for band in bands if band.description.strip()]
    if named:
        log.warning(
            "band names %s say no role (as red, nir, B04); name the bands with --bands or --sensor",
            ", ".join(named[:6]),
        )
    colours = [band.interpretation for band in bands]
    for number, colour in enumerate(colours, 1):
        if colour in ("red", "green", "blue", "nir"):
            roles.setdefault(colour, number)
    spectral = [i for i, c in enumerate(colours, 1) if c != "alpha"]
    if len(roles) == 3 and len(spectral) == 4:
        # Four-band aerial imagery (NAIP and its kin) leaves the fourth, near infrared, unnamed.
        roles["nir"] = next(i for i in spectral if i not in roles.values())
    if not roles and len(spectral) == 2:
        log.warning(
            "no band says what it is: the first of 2 is shown as grey; name them with --bands"
        )
    if not roles and len(spectral) in (3, 4):
        names = ("red", "green", "blue", "nir")
        roles = dict(zip(names, spectral, strict=False))
        log.warning(
            "no band says what it is; taken for %s: name them with --bands if that is wrong",
            ", ".join(f"{role}={number}" for role, number in roles.items()),
        )
    return roles
