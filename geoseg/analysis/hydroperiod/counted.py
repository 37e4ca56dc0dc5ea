"""How often was each pixel seen, and how often was it wet?

Occurrence is wet dates of valid ones, as in Pekel et al. (2016, Nature 540:418-422). What was not
seen is never taken for dry.

Days per year follow from occurrence only where dates lie close enough. Between two dates that have
both seen a pixel, the part of the time that is wet is the mean of both (trapezoid rule); times
between dates that are farther apart are left out, as unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ConfigError
from geoseg.frame import Floats

Mask = NDArray[np.bool_]

YEAR_D = 365.25

FARTHEST_D = 62
"""Most days between dates from which days per year are told: water that comes and goes within two
months is missed by chance."""

LEAST_KNOWN = 0.5
"""Least part of the time between the first date and the last that must be known of a pixel."""

CLASSES = ("never wet", "ephemeral", "seasonal", "permanent")
COLOURS = ("#f7f7f7", "#a6cee3", "#4393c3", "#053061")

SOURCE = "wet / observed dates (Pekel et al. 2016, Nature 540:418-422)"
"""What occurrence is, and who defined it so."""

NOT_SEEN = 255
"""What the class of a pixel is that no date has seen."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Least occurrence of permanent and of seasonal water; what is wet less often is ephemeral."""

    permanent: float = 0.9
    seasonal: float = 0.25

    def __post_init__(self) -> None:
        """Refuse thresholds that are no parts, or cross."""
        if not 0 < self.seasonal < self.permanent <= 1:
            raise ConfigError(
                f"--seasonal {self.seasonal:g} and --permanent {self.permanent:g} are not in "
                "order: 0 < seasonal < permanent <= 1"
            )

    def classes(self, occurrence: Floats) -> NDArray[np.uint8]:
        """Return places in CLASSES by occurrence; NOT_SEEN where that is NaN."""
        found = np.select(
            [
                np.isnan(occurrence),
                occurrence >= self.permanent,
                occurrence >= self.seasonal,
                occurrence > 0,
            ],
            [NOT_SEEN, 3, 2, 1],
            0,
        )
        return found.astype(np.uint8)


def tells_days(days: Sequence[date | None]) -> bool:
    """Tell whether dates lie close enough, for a year or more, to tell days per year."""
    known = [d for d in days if d is not None]
    if len(known) < len(days) or (known[-1] - known[0]).days < int(YEAR_D):
        return False
    return all((b - a).days <= FARTHEST_D for a, b in pairwise(known))


@dataclass(slots=True, eq=False)
class Counted:
    """Counts of some pixels, date by date in the order of time."""

    observed: NDArray[np.uint16]
    """(row, col) dates that have seen the pixel."""
    wet: NDArray[np.uint16]
    """(row, col) dates that have seen water."""
    _span: int = 0
    _day: NDArray[np.int32] = field(init=False)
    _was: Mask = field(init=False)
    _known: Floats = field(init=False)
    _soaked: Floats = field(init=False)

    @classmethod
    def none(cls, shape: tuple[int, int], days: Sequence[date | None]) -> Counted:
        """Return that of no date yet; of days only where dates tell them."""
        counted = cls(np.zeros(shape, np.uint16), np.zeros(shape, np.uint16))
        if tells_days(days) and days[0] is not None and days[-1] is not None:
            counted._span = (days[-1] - days[0]).days
            counted._day = np.zeros(shape, np.int32)
            counted._was = np.zeros(shape, bool)
            counted._known, counted._soaked = np.zeros(shape), np.zeros(shape)
        return counted

    def add(self, seen: Mask, wet: Mask, day: date | None) -> None:
        """Add a date: (row, col) what it has seen, and what was wet of that."""
        if self._span and day is not None:
            self._add_days(seen, wet, day.toordinal())
        self.observed += seen
        self.wet += wet

    def _add_days(self, seen: Mask, wet: Mask, day: int) -> None:
        between = np.where(seen & (self.observed > 0), day - self._day, 0)
        between[between > FARTHEST_D] = 0
        self._known += between
        self._soaked += between * (self._was.astype(float) + wet) / 2
        self._day[seen], self._was[seen] = day, wet[seen]

    @property
    def occurrence(self) -> Floats:
        """(row, col) wet of observed dates; NaN where there are none."""
        nothing = np.full(self.wet.shape, np.nan)
        found: Floats = np.divide(self.wet, self.observed, out=nothing, where=self.observed > 0)
        return found

    @property
    def days(self) -> Floats | None:
        """(row, col) days of water per year; NaN where too little is known, None without dates."""
        if not self._span:
            return None
        nothing = np.full(self.wet.shape, np.nan)
        enough = self._known >= LEAST_KNOWN * self._span
        found: Floats = np.divide(self._soaked * YEAR_D, self._known, out=nothing, where=enough)
        return found
