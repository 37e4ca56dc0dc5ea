"""Which right-angled outlines are in nobody's way?

An outline is taken if it shares no area with any other of its class, neither with that one's pixels
nor with its right-angled outline; else the pixels stay. That is asked of each two alone, so the
answer depends on nothing else: no order, no batch, no tile.

Outlines wait on the disk. A box and a few numbers of each are held in memory.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.errors import WriteFailedError
from geoseg.features import Drawn

PAIRS = 4096
"""Pairs of outlines that are looked at in one go; does not change the result."""

_INTERIORS_MEET = "T********"

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Geometries = NDArray[np.object_]


def settle(found: Iterable[Drawn], folder: Path, tell: Callable[[int], None]) -> Iterator[Drawn]:
    """Yield features with those right-angled outlines that are in nobody's way.

    Args:
        found: Features, those of some classes with `regular`; all are taken before the first is
            given.
        folder: Is made, and holds all outlines as long as features are given; remains.
        tell: Called with how many are taken.

    Raises:
        WriteFailedError: The disk is full.
    """
    with _trouble(folder):
        folder.mkdir(parents=True, exist_ok=True)
        waiting, outlines = (folder / "batches").open("w+b"), (folder / "outlines").open("w+b")
    with waiting, outlines:
        shelf = _Shelf(outlines)
        firsts, taken = [], 0
        for drawn in found:
            firsts.append(shelf.count)
            with _trouble(folder):
                pickle.dump(drawn, waiting)
                shelf.add(drawn)
            taken += len(drawn.number)
            tell(taken)
        with _trouble(folder):
            waiting.seek(0)
            shelf.close()
        for first in firsts:
            drawn = pickle.load(waiting)  # noqa: S301  written above
            yield _settled(drawn, shelf, first)


def _settled(drawn: Drawn, shelf: _Shelf, first: int) -> Drawn:
    outline = drawn.outline.copy()
    clashes = shelf.clashes(first, len(drawn.regular))
    for (place, shape), clash in zip(drawn.regular.items(), clashes.tolist(), strict=True):
        outline[place] = outline[place] if clash else shape
    return replace(drawn, outline=outline, regular={})


class _Shelf:
    """Outlines that may be in each other's way, in pixels and with right angles."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._parts: list[tuple[Ints, Ints, NDArray[np.float64]]] = []
        self.count = 0

    def add(self, drawn: Drawn) -> None:
        """Keep those of a batch."""
        mine = np.fromiter(drawn.regular, np.int64)
        place = np.zeros(len(mine), np.int64)
        regular = np.array(list(drawn.regular.values()), object)
        both = np.stack((drawn.outline[mine], regular), axis=1)
        for k, pair in enumerate(shapely.to_wkb(both)):
            place[k] = self._file.tell()
            pickle.dump(tuple(pair), self._file)
        boxes = shapely.bounds(both).reshape(-1, 2, 4)
        around = np.concatenate([boxes[:, :, :2].min(axis=1), boxes[:, :, 2:].max(axis=1)], axis=1)
        self._parts.append((drawn.cls[mine], place, around))
        self.count += len(mine)

    def close(self) -> None:
        """Hear that there are no more."""
        self._file.flush()
        nothing = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4))
        columns = zip(*(self._parts or [nothing]), strict=True)
        self._cls, self._place, self._boxes = (np.concatenate(column) for column in columns)
        self._parts.clear()

    def clashes(self, first: int, count: int) -> Mask:
        """Tell of the outlines from `first` on which are in another's way."""
        found = np.zeros(count, bool)
        mine = np.arange(first, first + count)
        near = self._near(mine)
        tree = shapely.STRtree(shapely.box(*self._boxes[near].T))
        one, other = tree.query(shapely.box(*self._boxes[mine].T))
        one, other = mine[one], near[other]
        rivals = (one != other) & (self._cls[one] == self._cls[other])
        one, other = one[rivals], other[rivals]
        for start in range(0, len(one), PAIRS):
            some = slice(start, start + PAIRS)
            clash = self._clash(one[some], other[some])
            found[one[some][clash] - first] = True
        return found

    def _near(self, mine: Ints) -> Ints:
        """Return all whose boxes meet the box around some."""
        if len(mine) == 0:
            return mine
        boxes = self._boxes
        low, high = boxes[mine, :2].min(axis=0), boxes[mine, 2:].max(axis=0)
        return np.flatnonzero(((boxes[:, :2] <= high) & (boxes[:, 2:] >= low)).all(axis=1))

    def _clash(self, one: Ints, other: Ints) -> Mask:
        """Tell of pairs whether the one, with right angles, shares area with the other."""
        which, place = np.unique(np.concatenate([one, other]), return_inverse=True)
        shapes = np.array([self._read(k) for k in which.tolist()], object).reshape(-1, 2)
        a, b = shapes[place[: len(one)]], shapes[place[len(one) :]]
        clash: Mask = shapely.relate_pattern(a[:, 1], b[:, 0], _INTERIORS_MEET)
        # The same two are asked the same way round, whoever asks.
        first = np.where(one < other, a[:, 1], b[:, 1])
        second = np.where(one < other, b[:, 1], a[:, 1])
        clash |= shapely.relate_pattern(first, second, _INTERIORS_MEET)
        return clash

    def _read(self, index: int) -> list[shapely.Geometry]:
        self._file.seek(int(self._place[index]))
        found: list[shapely.Geometry] = shapely.from_wkb(pickle.load(self._file)).tolist()  # noqa: S301
        return found


@contextmanager
def _trouble(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WriteFailedError(
            f"cannot keep outlines in {folder}: {error.strerror or error}; make room there, then "
            "run the same again, it continues where it was"
        ) from error
