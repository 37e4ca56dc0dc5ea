"""How large was each pond at each date? A row for both, some ponds at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoseg.analysis.hydroperiod.events import EVENTS, Events
from geoseg.analysis.hydroperiod.lineages import Lineages, Watched
from geoseg.export.single import put_bytes
from geoseg.runfolder import alone

if TYPE_CHECKING:
    import pandas as pd

Ints = NDArray[np.int64]

PONDS = 2**14
"""How many are told of at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What is told of ponds, in numbers."""

    dates: tuple[str, ...]
    """When."""
    ids: Ints
    """(m + 1,) column `id` of each polygon of the stack in its map."""
    offset: Ints
    """(n + 1,) the polygons of each date, as in the stack."""
    lineages: Lineages
    """Which pond they belong to."""
    watched: Watched
    """What was seen of ponds."""
    known: NDArray[np.bool_]
    """(n, k + 1) whether enough of a pond was seen at a date."""
    events: Events
    """What became of them."""

    @property
    def area_ha(self) -> NDArray[np.float64]:
        """(n, k + 1) hectares; NaN where too little was seen."""
        return np.where(self.known, self.watched.area_m2 / 1e4, np.nan)

    def tables(self) -> Iterator[pd.DataFrame]:
        """Yield rows, by pond and date; at least one table, which may have none."""
        polygons = np.flatnonzero(self.lineages.of)
        polygons = polygons[np.lexsort((polygons, self.lineages.of[polygons]))]
        pond = self.lineages.of[polygons]
        linked = np.argsort(self.lineages.of[self.events.after], kind="stable")
        for first in range(1, max(self.lineages.count, 1) + 1, PONDS):
            stop = min(first + PONDS, self.lineages.count + 1)
            low, high = np.searchsorted(pond, (first, stop))
            near, far = np.searchsorted(self.lineages.of[self.events.after[linked]], (first, stop))
            yield self._table(np.arange(first, stop), polygons[low:high], linked[near:far])

    def _table(self, ponds: Ints, polygons: Ints, links: Ints) -> pd.DataFrame:
        import pandas as pd

        n = len(self.dates)
        at = (slice(None), ponds)
        parts, unknown = self.watched.parts[at].T.ravel(), ~self.known[at].T.ravel()
        return pd.DataFrame(
            {
                "pond": np.repeat(ponds, n),
                "date": np.tile(np.array(self.dates, object), len(ponds)),
                "area_ha": self.area_ha[at].T.ravel(),
                "n_parts": pd.arrays.IntegerArray(parts.astype(np.int64), unknown),
                "parts": self._texts(polygons, [str(i) for i in self.ids[polygons].tolist()],
                                     "+", ponds),
                "observed": self.watched.seen[at].T.ravel(),
                "event": np.array([None, *EVENTS[1:]], object)[self.events.code[at].T.ravel()],
                "links": self._texts(self.events.after[links], self._links(links), " ", ponds),
                "truncated": self.watched.cut[at].T.ravel(),
            }
        )  # fmt: skip

    def _links(self, links: Ints) -> list[str]:
        """Return what came from what: `3>7`."""
        ends = self.ids[self.events.before[links]], self.ids[self.events.after[links]]
        return [f"{a}>{b}" for a, b in zip(*(e.tolist() for e in ends), strict=True)]

    def _texts(
        self, polygons: Ints, said: list[str], between: str, ponds: Ints
    ) -> list[str | None]:
        """Join what is said of polygons, for each pond and date."""
        n = len(self.dates)
        found: list[list[str]] = [[] for _ in range(len(ponds) * n)]
        date = np.searchsorted(self.offset, polygons - 1, "right") - 1
        row = (self.lineages.of[polygons] - ponds[0]) * n + date if len(polygons) else polygons
        for k, text in zip(row.tolist(), said, strict=True):
            found[k].append(text)
        return [between.join(texts) or None for texts in found]


def write_told(told: Told, path: Path) -> None:
    """Write the table as CSV or JSON, whole or not at all; what is not known is empty, or null.

    Raises:
        OutputError: It cannot be written.
    """
    pieces = _csv(told) if path.suffix.lower() == ".csv" else _json(told)
    with alone(path, "--table") as place:
        put_bytes(path, place, (piece.encode() for piece in pieces))


def _csv(told: Told) -> Iterator[str]:
    for number, table in enumerate(told.tables()):
        yield table.to_csv(index=False, header=number == 0, lineterminator="\n")


def _json(told: Told) -> Iterator[str]:
    between = "["
    for table in told.tables():
        rows = table.to_json(orient="records", lines=True, double_precision=15).splitlines()
        for row in rows:
            yield f"{between}\n{row}"
            between = ","
    yield "\n]\n" if between == "," else "[]\n"
