"""Which chips are for training and which for validation? Places, not draws: neighbours look alike.

Chips are grouped in blocks of about the share that validation gets, of at most BLOCK_CHIPS a side.
The seed puts the blocks in an order; block after block goes to validation, each from its outermost
corner inwards, until the share of all chips in use is reached. A chip for training that touches one
for validation, at a corner even, or shares an object with one, is in neither.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ConfigError

Ints = NDArray[np.integer[Any]]

BLOCK_CHIPS = 8
"""Longest side of a block: larger ones would be few, and lie in one part of a large raster."""

NEITHER, TRAIN, VAL = 0, 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class Ties:
    """What may not be on both sides."""

    thing: Ints
    """(n,) number of an object, in any order."""
    chip: Ints
    """(n,) number of a chip that it has pixels in."""


def split(
    usable: NDArray[np.bool_], ties: Ties, share: float, seed: int = 0
) -> NDArray[np.uint8]:
    """Deal out chips.

    Args:
        usable: (row, col) whether a chip can be used.
        ties: Objects that lie in several chips.
        share: Of validation in all chips in use, 0 <= share < 1; it is reached where the chips
            allow, and passed by less than a chip.
        seed: Another gives another split; the same the same, on any machine.

    Returns:
        (row, col) of NEITHER, TRAIN or VAL; not usable ones are NEITHER.

    Raises:
        ConfigError: No chip can be kept apart from all others.
    """
    dealt = _Dealt(usable, ties)
    if share > 0:
        for chip in _queue(usable, share, seed):
            if dealt.val >= share * (dealt.val + dealt.train):
                break
            dealt.give(chip)
        if dealt.val == 0:
            raise ConfigError(
                f"none of {int(usable.sum())} chips can be for validation without touching, or "
                "sharing an object with, all of the others; give smaller --chips, or --val 0"
            )
    return dealt.side


class _Dealt:
    """What is dealt out so far: all to training at first."""

    def __init__(self, usable: NDArray[np.bool_], ties: Ties) -> None:
        self.side = np.where(usable, TRAIN, NEITHER).astype(np.uint8)
        self.train, self.val = int(usable.sum()), 0
        self._usable = usable.ravel()
        self._things, self._things_at = _grouped(ties.chip, ties.thing, usable.size)
        count = int(ties.thing.max()) + 1 if len(ties.thing) else 0
        self._chips, self._chips_at = _grouped(ties.thing, ties.chip, count)

    def give(self, chip: int) -> None:
        """Give a chip to validation, unless nothing would be left for training."""
        side = self.side.reshape(-1)
        near = self._near(chip)
        lost = near[side[near] == TRAIN]
        if len(lost) == self.train:
            return
        self.train -= len(lost)
        self.val += 1
        side[lost] = NEITHER
        side[chip] = VAL

    def _near(self, chip: int) -> Ints:
        """Return the chips that may not be for training if one is for validation; itself, too."""
        rows, cols = self.side.shape
        row, col = divmod(chip, cols)
        y, x = np.mgrid[
            max(row - 1, 0) : min(row + 2, rows), max(col - 1, 0) : min(col + 2, cols)
        ]
        things = self._things[self._things_at[chip] : self._things_at[chip + 1]].tolist()
        tied = [self._chips[self._chips_at[t] : self._chips_at[t + 1]] for t in things]
        found: Ints = np.unique(np.concatenate([(y * cols + x).ravel(), *tied]))
        return found


def _grouped(key: Ints, value: Ints, count: int) -> tuple[Ints, Ints]:
    """Return values by key, and (count + 1,) where those of each key begin."""
    order = np.argsort(key, kind="stable")
    return value[order], np.searchsorted(key[order], np.arange(count + 1))


def _queue(usable: NDArray[np.bool_], share: float, seed: int) -> list[int]:
    """Return usable chips in the order in which they go to validation."""
    rows, cols = usable.shape
    tall, wide = _block(rows, cols, share * int(usable.sum()))
    down, across = max(1, round(rows / tall)), max(1, round(cols / wide))
    row, col = np.divmod(np.flatnonzero(usable), cols)
    block = (row * down // rows) * across + col * across // cols
    names = np.unique(block).tolist()
    turn = {name: k for k, name in enumerate(sorted(names, key=lambda n: _lot(seed, n)))}
    place = np.array([turn[name] for name in names])[np.searchsorted(names, block)]
    # From the block's outermost corner, along its shorter side: what is dealt stays compact.
    y = np.where(2 * (row * down // rows) + 1 <= down, row, rows - 1 - row)
    x = np.where(2 * (col * across // cols) + 1 <= across, col, cols - 1 - col)
    major, minor = (y, x) if wide <= tall else (x, y)
    found: list[int] = (row * cols + col)[np.lexsort((minor, major, place))].tolist()
    return found


def _block(rows: int, cols: int, chips: float) -> tuple[float, float]:
    """Return height and width of a block of about so many chips."""
    short = min(rows, cols, max(1.0, math.sqrt(chips)), BLOCK_CHIPS)
    long = min(max(1.0, chips / short), BLOCK_CHIPS)
    return (short, long) if rows <= cols else (long, short)


def _lot(seed: int, block: int) -> bytes:
    """Return what a block draws: numpy's own draws may change with its versions."""
    return blake2b(f"{seed}:{block}".encode(), digest_size=8).digest()
