"""In what order are polygons reviewed, and which is next?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ConfigError
from geoseg.reviewed import STATES

ORDERS = ("score", "id", "area")
"""Lowest score first; by id; largest area first. What is not known is first; ties go by id."""

OPEN = "open"
"""What is said of polygons of which nothing is said yet."""

COLUMNS = ("id", "score", "area_ha", "review")
"""What must be known of a polygon."""

_NAMES = (OPEN, *STATES)


def check_order(order: str) -> None:
    """Refuse an order that there is not.

    Raises:
        ConfigError: It is none of ORDERS.
    """
    if order not in ORDERS:
        raise ConfigError(f"order '{order}' is none of: {', '.join(ORDERS)}")


class Queue:
    """Polygons in order, what is said of each, and which is looked at."""

    def __init__(self, rows: Sequence[tuple[Any, ...]], order: str) -> None:
        """Take (id, score, area_ha, review) of each polygon; nothing is looked at yet."""
        ids, scores, areas, said = zip(*rows, strict=True) if rows else ((), (), (), ())
        number = np.array(ids, np.int64)
        place = np.lexsort((number, _key(order, number, scores, areas)))
        self.ids: NDArray[np.int64] = number[place]
        """(n,) in order."""
        self._said = np.array([_code(state) for state in said], np.int8)[place]
        self.at: int | None = None
        """Place in the order that is looked at; None before the first, and when all is done."""

    @property
    def current(self) -> int | None:
        """Id of the polygon that is looked at."""
        return None if self.at is None else int(self.ids[self.at])

    def counts(self) -> dict[str, int]:
        """Return how many are in each state, `open` ones included."""
        found: Counter[str] = Counter()
        for code, count in enumerate(np.bincount(self._said, minlength=len(_NAMES)).tolist()):
            found[_NAMES[code]] += count
        return {name: found[name] for name in (*STATES, OPEN)}

    def say(self, number: int, state: str | None) -> None:
        """Note what is said of a polygon."""
        place = self.place(number)
        if place is not None:
            self._said[place] = _code(state)

    def place(self, number: int) -> int | None:
        """Return where in the order a polygon is; None where it is not."""
        if self.at is not None and self.ids[self.at] == number:
            return self.at
        found = np.flatnonzero(self.ids == number)
        return int(found[0]) if len(found) else None

    def step(self, by: int) -> None:
        """Look at a neighbour in the order; at the first from nowhere, at the last from its end."""
        if len(self.ids):
            at = -1 if self.at is None and by > 0 else self.at
            place = len(self.ids) if at is None else at
            self.at = min(max(place + by, 0), len(self.ids) - 1)

    def to_open(self) -> None:
        """Look at the next one that is open, beginning anew at the end; nowhere if none is."""
        start = 0 if self.at is None else self.at
        open_ = np.flatnonzero(self._said[start:] == 0)
        if len(open_):
            self.at = start + int(open_[0])
        else:
            open_ = np.flatnonzero(self._said[:start] == 0)
            self.at = int(open_[0]) if len(open_) else None


def _code(state: str | None) -> int:
    """Return the number of a state; 0 of what is open, and of words that are no state."""
    return _NAMES.index(state) if state in STATES else 0


def _key(
    order: str, ids: NDArray[np.int64], scores: Iterable[Any], areas: Iterable[Any]
) -> NDArray[np.float64]:
    """Return (n,) what comes first where it is least."""
    if order == "id":
        return ids.astype(np.float64)
    if order == "score":
        return np.array([-np.inf if v is None else v for v in scores], np.float64)
    return np.array([-np.inf if v is None else -v for v in areas], np.float64)
