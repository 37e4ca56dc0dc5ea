"""Which chips are for training and which for validation? Places, not draws: neighbours look alike.

Chips are grouped in blocks of about the share that validation gets, of at most BLOCK_CHIPS a side.
The seed puts the blocks in an order; where few chips are wanted, one in a corner comes first. Block
after block goes to validation, each from its outermost corner inwards, until the share of all chips
in use is reached. A chip for training that touches one for validation, at a corner even, or shares
an object with one, is in neither. A chip that would take more than FAR_CHIPS further off with it,
by the objects it shares, is passed over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ConfigError

Ints = NDArray[np.integer[Any]]

BLOCK_CHIPS = 8
"""Longest side of a block: larger ones would be few, and lie in one part of a large raster."""

FEW_CHIPS = 16
"""For no more than these, one block will do, and each chip that is lost around it counts."""

FAR_CHIPS = 8
"""As many as touch a chip: an object that is everywhere would leave hardly a chip for training."""

NEITHER, TRAIN, VAL = 0, 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class Ties:
    """What may not be on both sides."""

    thing: Ints
    """(n,) number of an object, in any order."""
    chip: Ints
    """(n,) number of a chip that it has pixels in."""


def split(usable: NDArray[np.bool_], ties: Ties, share: float, seed: int = 0) -> NDArray[np.uint8]:
    """Deal out chips.

    Args:
        usable: (row, col) whether a chip can be used.
        ties: Objects that lie in several chips.
        share: Of validation in all chips in use, 0 <= share < 1; missed where chips touch or
            share objects too often, and else passed by less than a chip.
        seed: Another gives another split; the same the same, on any machine.

    Returns:
        (row, col) of NEITHER, TRAIN or VAL; not usable ones are NEITHER.

    Raises:
        ConfigError: No chip can be kept apart from all others.
    """
    dealt = _Dealt(usable, ties)
    if share > 0:
        queue = _queue(usable, share, seed)
        dealt.give(queue, share, FAR_CHIPS)
        if dealt.val == 0:
            # Then one that costs more is better than none.
            dealt.give(queue, share, usable.size)
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
        self._things, self._things_at = _grouped(ties.chip, ties.thing, usable.size)
        count = int(ties.thing.max()) + 1 if len(ties.thing) else 0
        self._chips, self._chips_at = _grouped(ties.thing, ties.chip, count)

    def give(self, queue: Sequence[int], share: float, most: int) -> None:
        """Give chips to validation until it has its share, or nothing would be left for training.

        Args:
            queue: Chips, in this order.
            share: Of validation.
            most: No chip is given that would take more from training by objects that it shares
                with chips that do not touch it.
        """
        side = self.side.reshape(-1)
        for chip in queue:
            if self.val >= share * (self.val + self.train):
                return
            near, far = (c[side[c] == TRAIN] for c in (self._around(chip), self._tied(chip)))
            lost = np.union1d(near, far)
            if len(lost) == self.train or len(lost) - len(near) > most:
                continue
            self.train -= len(lost)
            self.val += 1
            side[lost] = NEITHER
            side[chip] = VAL

    def _around(self, chip: int) -> Ints:
        """Return a chip and those that touch it."""
        rows, cols = self.side.shape
        row, col = divmod(chip, cols)
        y, x = np.mgrid[max(row - 1, 0) : min(row + 2, rows), max(col - 1, 0) : min(col + 2, cols)]
        found: Ints = (y * cols + x).ravel()
        return found

    def _tied(self, chip: int) -> Ints:
        """Return the chips that share an object with one."""
        things = self._things[self._things_at[chip] : self._things_at[chip + 1]].tolist()
        tied = [self._chips[self._chips_at[t] : self._chips_at[t + 1]] for t in things]
        return np.concatenate([np.zeros(0, np.int64), *tied])


def _grouped(key: Ints, value: Ints, count: int) -> tuple[Ints, Ints]:
    """Return values by key, and (count + 1,) where those of each key begin."""
    order = np.argsort(key, kind="stable")
    return value[order], np.searchsorted(key[order], np.arange(count + 1))


def _queue(usable: NDArray[np.bool_], share: float, seed: int) -> list[int]:
    """Return usable chips in the order in which they go to validation."""
    if not usable.any():
        return []
    rows, cols = usable.shape
    wanted = share * int(usable.sum())
    tall, wide = _block(rows, cols, wanted)
    down, across = max(1, round(rows / tall)), max(1, round(cols / wide))
    row, col = np.divmod(np.flatnonzero(usable), cols)
    y, x = row * down // rows, col * across // cols
    blocks = sorted(set(zip(y.tolist(), x.tolist(), strict=True)), key=lambda b: _lot(seed, b))
    if wanted <= FEW_CHIPS:
        _begin_in_a_corner(blocks, down, across)
    turn = np.zeros((down, across), np.int64)
    turn[tuple(np.array(blocks).T)] = np.arange(len(blocks))
    # From the block's outermost corner, along its shorter side: what is dealt stays compact.
    in_y = np.where(2 * y + 1 <= down, row, rows - 1 - row)
    in_x = np.where(2 * x + 1 <= across, col, cols - 1 - col)
    major, minor = (in_y, in_x) if wide <= tall else (in_x, in_y)
    found: list[int] = (row * cols + col)[np.lexsort((minor, major, turn[y, x]))].tolist()
    return found


def _begin_in_a_corner(blocks: list[tuple[int, int]], down: int, across: int) -> None:
    """Sort blocks where few chips are wanted: one with few neighbours, then those nearest to it."""
    blocks.sort(key=lambda b: (b[0] > 0) + (b[0] < down - 1) + (b[1] > 0) + (b[1] < across - 1))
    y, x = blocks[0]
    blocks.sort(key=lambda b: (b[0] - y) ** 2 + (b[1] - x) ** 2)


def _block(rows: int, cols: int, chips: float) -> tuple[float, float]:
    """Return height and width of a block of about so many chips."""
    short = min(rows, cols, max(1.0, math.sqrt(chips)), BLOCK_CHIPS)
    long = min(max(1.0, chips / short), BLOCK_CHIPS)
    return (short, long) if rows <= cols else (long, short)


def _lot(seed: int, block: tuple[int, int]) -> bytes:
    """Return what a block draws: numpy's own draws may change with its versions."""
    return blake2b(f"{seed}:{block[0]}:{block[1]}".encode(), digest_size=8).digest()
