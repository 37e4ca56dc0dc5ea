"""What does "2px", "1.5m", "500m2" or "0.5ha" mean?"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from geoseg.errors import ConfigError

_METRES = {"m": 1.0, "km": 1000.0}
_SQUARE_METRES = {"m2": 1.0, "ha": 1e4, "km2": 1e6}
_QUANTITY = re.compile(r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*([a-z²]*[0-9]?)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Size:
    """A length or an area, in pixels or on the ground."""

    value: float
    """Not negative; in pixels, or in metres or square metres."""
    on_ground: bool
    """Whether it is in metres or square metres, not in pixels."""

    def in_pixels(self, gsd_m: float | None, power: int) -> float:
        """Return it in pixels (square ones where power is 2).

        Args:
            gsd_m: Ground length of a pixel's side in metres; None if that is not known.
            power: 1 for a length, 2 for an area.

        Raises:
            ConfigError: It is on the ground, and nobody knows how large a pixel is there.
        """
        if not self.on_ground:
            return self.value
        if gsd_m is None:
            unit = "m" if power == 1 else "m2"
            raise ConfigError(
                f"{self.value:g} {unit} cannot be told in a raster without a CRS; give it in px, "
                "or give the raster its CRS (gdal_edit -a_srs)"
            )
        return float(self.value / gsd_m**power)


def parse_length(text: str) -> Size:
    """Return a length: `"2px"`, `"1.5m"`, `"0.1km"`.

    Raises:
        ValueError: It is none.
    """
    return _parse(text, _METRES, "a length, as 2px or 1.5m")


def parse_area(text: str) -> Size:
    """Return an area: `"20px"`, `"500m2"`, `"0.5ha"`, `"0.01km2"`.

    Raises:
        ValueError: It is none.
    """
    return _parse(text, _SQUARE_METRES, "an area, as 500m2, 0.5ha or 20px")


def _parse(text: str, units: dict[str, float], wanted: str) -> Size:
    found = _QUANTITY.fullmatch(text)
    unit = found[2].lower().replace("²", "2") if found else ""
    try:
        value = float(found[1]) if found else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or unit not in ("px", *units):
        raise ValueError(f"give {wanted}")
    return Size(value * units.get(unit, 1.0), on_ground=unit != "px")
