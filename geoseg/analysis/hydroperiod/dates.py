"""When was each picture taken? As was said, else by the TIFF's tag, else by the file's name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path

from geoseg.errors import ConfigError
from geoseg.geotiff import GeoTiff, taken

OPTION, TAG, NAME = "--dates", "TIFFTAG_DATETIME", "the file name"

_DAY = re.compile(r"(?<!\d)((?:19|20)\d\d)([-_.:]?)([01]\d)\2([0-3]\d)(?!\d)")
_YEAR = re.compile(r"(?<!\d)((?:19|20)\d\d)(?!\d)")


@dataclass(frozen=True, slots=True)
class Taken:
    """When a picture was taken."""

    text: str
    """`2009-08-18`, or `2009` where the day is not known."""
    found: str
    """Where: OPTION, TAG or NAME."""
    doubt: str | None = None
    """What speaks against it."""

    @property
    def day(self) -> date | None:
        """The day; None where only the year is known."""
        return date.fromisoformat(self.text) if "-" in self.text else None

    @property
    def year(self) -> int:
        """The year."""
        return int(self.text[:4])

    def before(self, other: Taken) -> bool:
        """Tell whether this is certainly earlier."""
        if self.day is None or other.day is None:
            return self.year < other.year
        return self.day < other.day


def read_date(text: str) -> str | None:
    """Return the first date in a text as `2009-08-18`, or its first year as `2009`; or None.

    What is still to come is no date of a picture, but perhaps a number of pixels.
    """
    today = datetime.now(tz=UTC).date()
    for year, _, month, day in _DAY.findall(text):
        try:
            found = date(int(year), int(month), int(day))
        except ValueError:
            continue
        if found <= today:
            return found.isoformat()
    return next((year for year in _YEAR.findall(text) if int(year) <= today.year), None)


def asked_dates(dates: str | Sequence[str], count: int) -> tuple[Taken, ...]:
    """Return dates as they were given: `"2009-08-18,2012"`, or one by one.

    Raises:
        ConfigError: They are no dates, or not as many as inputs.
    """
    given = [d.strip() for d in (dates.split(",") if isinstance(dates, str) else dates)]
    for text in given:
        if read_date(text) != text:
            raise ConfigError(f"--dates: '{text}' is no date; give 2009-08-18, or 2009")
    if len(given) != count:
        raise ConfigError(f"--dates has {len(given)} dates, and there are {count} inputs; one each")
    return tuple(Taken(text, OPTION) for text in given)


def date_of(name: str, rasters: Sequence[GeoTiff] = ()) -> Taken:
    """Return when an input was taken.

    Args:
        name: What it is called.
        rasters: The files it was read from, as far as they can be opened.

    Raises:
        ConfigError: Neither their tag nor a name says so.
    """
    known = [read_date(Path(place).name) for place in (name, *(raster.path for raster in rasters))]
    named = next((found for found in known if found is not None), None)
    tags = {read_date(tag) for raster in rasters if (tag := taken(raster)) is not None}
    tag = tags.pop() if len(tags) == 1 else None
    if tag is not None:
        doubt = None
        if named is not None and named[:4] != tag[:4]:
            # Programs that write a file like to put their own time there.
            doubt = f"{name}: {TAG} says {tag}, and {NAME} {named}; --dates decides"
        return Taken(tag, TAG, doubt)
    if named is not None:
        return Taken(named, NAME)
    raise ConfigError(
        f"{name} does not say when it was taken (no TIFFTAG_DATETIME, no date in its name); give "
        "--dates 2009-08-18,2012-07-31,... with one date per input"
    )


def check_order(dates: Sequence[Taken], names: Sequence[str]) -> None:
    """Refuse dates that do not follow each other.

    Raises:
        ConfigError: Names the first two, and where their dates were found.
    """
    for (one, first), (other, second) in pairwise(zip(dates, names, strict=True)):
        if not one.before(other):
            raise ConfigError(
                f"{second} ({other.text} by {other.found}) is not later than {first} ({one.text} "
                f"by {one.found}); give inputs in the order of time, or --dates"
            )
