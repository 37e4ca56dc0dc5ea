"""Which regions touch, and along how many pixels? Pairs of neighbours, each pair once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.backends.growing.basins import Labels

Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Borders:
    """Pairs of regions that touch, each pair once."""

    one: Ints
    """(n,) the region of the lower number."""
    other: Ints
    """(n,) the region of the higher number."""
    length: Doubles
    """(n,) sides of pixels that they share."""


def borders(labels: Labels) -> Borders:
    """Return the borders between regions of a picture (row, col)."""
    sides = ((labels[:-1], labels[1:]), (labels[:, :-1], labels[:, 1:]))
    apart = [first != second for first, second in sides]
    one = np.concatenate([a[k] for (a, _), k in zip(sides, apart, strict=True)]).astype(np.int64)
    other = np.concatenate([b[k] for (_, b), k in zip(sides, apart, strict=True)]).astype(np.int64)
    return united(Borders(one, other, np.ones(len(one))))


def united(loose: Borders) -> Borders:
    """Return each pair once, the lower number first, with the sum of its lengths, in order."""
    low, high = np.minimum(loose.one, loose.other), np.maximum(loose.one, loose.other)
    base = int(high.max(initial=0)) + 1
    code = low * base + high
    order = np.argsort(code, kind="stable")
    code = code[order]
    first = np.flatnonzero(np.diff(code, prepend=-1))
    length = np.add.reduceat(loose.length[order], first) if len(first) else np.zeros(0)
    return Borders(code[first] // base, code[first] % base, length)
