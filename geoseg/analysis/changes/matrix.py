"""How many hectares went from each class to each other? Counted in pixels, before any least area.

Rows are what was before, columns what came after, as in Pontius et al. (2004, Agriculture,
Ecosystems and Environment 101:251-268), who read gain, loss and persistence from such a matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoseg.analysis.changes.aligned import UNSEEN, Aligned
from geoseg.analysis.pixelarea import pixels_m2
from geoseg.export.table import Layer
from geoseg.frame import Floats

if TYPE_CHECKING:
    import pandas as pd

LAYER = "transitions"

TOTAL = "total"


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """From what to what; row and column 0 are ground of no class, k + 1 is class k."""

    names: tuple[str, ...]
    """Of rows and columns; n of them."""
    ha: Floats
    """(n, n) hectares, by class before (row) and after (column)."""
    px: NDArray[np.int64]
    """(n, n) pixels likewise."""
    not_compared_ha: float
    """Hectares that one date or both have not seen."""

    @property
    def is_doubtful(self) -> bool:
        """Whether there are several classes, and most change is to or from none of them."""
        changed = self.px.sum() - np.trace(self.px)
        unmapped = self.px[0, 1:].sum() + self.px[1:, 0].sum()
        several = np.count_nonzero(self.px[1:].any(axis=1) | self.px[:, 1:].any(axis=0)) > 1
        return bool(several and 2 * unmapped > changed)

    def occurring(self, *, unchanged: bool) -> list[tuple[int, int]]:
        """Return the transitions that there are, those of classes in order before unmapped."""
        order = [*range(1, len(self.names)), 0]
        return [(a, b) for a in order for b in order
                if self.px[a, b] and ((a != b) or (unchanged and a > 0))]  # fmt: skip

    def layer(self) -> Layer:
        """Return the transitions that there are as a table to write: before, after, px, ha."""
        import pyarrow as pa

        before, after = np.nonzero(self.px)
        names = np.array(self.names, object)
        rows = pa.table(
            {
                "before": pa.array(names[before], pa.string()),
                "after": pa.array(names[after], pa.string()),
                "px": self.px[before, after],
                "ha": self.ha[before, after],
            }
        )
        return Layer(LAYER, "", rows.schema, rows.to_batches())

    def table(self) -> pd.DataFrame:
        """Return hectares with totals: index `before`, a column per class after."""
        import pandas as pd

        order = np.r_[1 : len(self.names), 0]
        names = [self.names[k] for k in order.tolist()]
        ha = self.ha[np.ix_(order, order)]
        ha = np.vstack((ha, ha.sum(axis=0)))
        ha = np.column_stack((ha, ha.sum(axis=1)))
        index = pd.Index([*names, TOTAL], name="before")
        return pd.DataFrame(ha, index=index, columns=pd.Index([*names, TOTAL], name="after"))


def transition_matrix(aligned: Aligned, before: int = 0, after: int = 1) -> Matrix:
    """Add up the ground of each transition between two dates.

    Args:
        aligned: Dates on one grid.
        before: Which of them comes first.
        after: Which is compared with it.
    """
    n = len(aligned.names)
    ha, px, lost = np.zeros(n * n), np.zeros(n * n, np.int64), 0.0
    for window, (one, other), asked in aligned.strips(before, after):
        area = np.broadcast_to(pixels_m2(aligned.frame, window), window.shape)
        seen = (one != UNSEEN) & (other != UNSEEN)
        both = seen & asked
        pair = one[both].astype(np.int64) * n + other[both]
        ha += np.bincount(pair, area[both], n * n)
        px += np.bincount(pair, minlength=n * n)
        lost += float(area[asked & ~seen].sum())
    return Matrix(aligned.names, ha.reshape(n, n) / 1e4, px.reshape(n, n), lost / 1e4)
