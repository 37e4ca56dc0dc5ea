"""How are numbers written? With as many digits as mean something, aligned in columns."""

from __future__ import annotations

import math
from collections.abc import Iterable

NOTHING = "\N{EN DASH}"
"""Where there is nothing to tell."""

_MINUS = "\N{MINUS SIGN}"
_DIGITS = 4
_MOST_DECIMALS = 4


def column(values: Iterable[float], *, signed: bool = False) -> list[str]:
    """Return numbers of one quantity with the same decimals: the largest has 4 digits or more.

    What is not zero and would be written so is `< 0.1`, or whatever the last digit is worth.

    Args:
        values: NaN where there is none.
        signed: Write a plus, too.
    """
    known = list(values)
    return [_number(value, _decimals(known), signed=signed) for value in known]


def percent(value: float, *, signed: bool = False) -> str:
    """Return a part, 0..1, in percent with one decimal, without the sign of percent."""
    return _number(100 * value, 1, signed=signed)


def count(value: int) -> str:
    """Return a whole number."""
    return f"{value:,}"


def _decimals(values: Iterable[float]) -> int:
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    whole = math.floor(math.log10(largest)) + 1 if largest > 0 else _DIGITS
    return min(max(_DIGITS - whole, 0), _MOST_DECIMALS)


def _number(value: float, decimals: int, *, signed: bool) -> str:
    if not math.isfinite(value):
        return NOTHING
    text = f"{abs(value):,.{decimals}f}"
    if value != 0 and float(text.replace(",", "")) == 0:
        least = f"{10**-decimals:.{decimals}f}"
        return f"< {least}" if value > 0 else f"> {_MINUS}{least}"
    sign = _MINUS if value < 0 else "+" if signed and value > 0 else ""
    return sign + text
