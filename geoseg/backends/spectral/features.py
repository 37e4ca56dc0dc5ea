"""What can be seen at a pixel? Bands, indices, brightness, and their local mean and spread.

A feature is named: `red`, `NDVI`, `brightness`, `NDVI@7` (mean over 7x7 pixels), `brightness~7`
(standard deviation over 7x7), `brightness%7` (the latter by the former), `red*NDVI` (product).
Local sums are taken over integers, so that they are the same whatever the window; nothing here
looks farther than half a box.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg.backends.spectral import indices
from geoseg.backends.spectral.indices import Plane

Ints = NDArray[np.int32]
Whole = TypeVar("Whole", np.int32, np.int64)

STEPS = 1000
"""Local means and spreads see values in steps of 1 / STEPS."""

_LEAST_MEAN = np.float32(1 / STEPS)

_VISIBLE = ("red", "green", "blue")
_DERIVED = ("brightness", "saturation")


def _split(atom: str) -> tuple[str, str, int]:
    """Return (base, kind, width) of an atom; kind is '@', '~', '%' or ''."""
    for kind in "@~%":
        base, found, width = atom.partition(kind)
        if found:
            return base, kind, int(width)
    return atom, "", 1


def atoms(name: str) -> list[str]:
    """Return the factors of a feature."""
    return name.split("*")


def radius_px(name: str) -> int:
    """Return how far from a pixel its feature looks."""
    return max(_split(atom)[2] // 2 for atom in atoms(name))


def roles_of(names: Iterable[str], present: Iterable[str] = _VISIBLE) -> frozenset[str]:
    """Return the band roles that features need; `brightness` takes the visible ones present."""
    roles: set[str] = set()
    for name in names:
        for base in (_split(atom)[0] for atom in atoms(name)):
            if base in _DERIVED:
                roles |= set(_VISIBLE) & set(present)
            elif indices.is_index(base):
                roles |= indices.roles_of(base)
            else:
                roles.add(base)
    return frozenset(roles)


class Features:
    """The features of one window, computed when asked for and kept."""

    def __init__(self, bands: Mapping[str, Plane], valid: NDArray[np.bool_]) -> None:
        self._bands = bands
        self._valid = valid
        self._whole = bool(valid.all())
        self._kept: dict[str, Plane] = {}
        self._sums: dict[tuple[str, int], Ints] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """Size as (rows, cols)."""
        return self._valid.shape[0], self._valid.shape[1]

    def __getitem__(self, name: str) -> Plane:
        """Return a feature (row, col) float32."""
        if name in self._bands:
            return self._bands[name]
        if name not in self._kept:
            first, *rest = atoms(name)
            if rest:
                plane = self[first].copy()
                for atom in rest:
                    plane *= self[atom]
            else:
                plane = self._atom(name)
            self._kept[name] = plane
        return self._kept[name]

    def _atom(self, atom: str) -> Plane:
        base, kind, width = _split(atom)
        if kind == "@":
            return self._mean(base, width)
        if kind == "~":
            return self._spread(base, width)
        if kind == "%":
            spread = self[f"{base}~{width}"].copy()
            spread /= np.maximum(self[f"{base}@{width}"], _LEAST_MEAN)
            return spread
        if base == "brightness":
            return self._brightness()
        if base == "saturation":
            return self._saturation()
        return indices.compute(base, self._bands)

    def _brightness(self) -> Plane:
        shown = [self._bands[r] for r in _VISIBLE if r in self._bands]
        total = shown[0].copy()
        for plane in shown[1:]:
            total += plane
        total *= np.float32(1 / len(shown))
        return total

    def _saturation(self) -> Plane:
        shown = [self._bands[r] for r in _VISIBLE if r in self._bands]
        high, low = shown[0], shown[0]
        for plane in shown[1:]:
            high, low = np.maximum(high, plane), np.minimum(low, plane)
        return (high - low) / high

    def _steps(self, base: str) -> Ints:
        value = self[base] * np.float32(STEPS)
        np.clip(value, -2 * STEPS, 2 * STEPS, out=value)
        steps: Ints = np.rint(value, out=value).astype(np.int32)
        if not self._whole:
            steps[~self._valid] = 0
        return steps

    def _count(self, width: int) -> Ints:
        key = ("", width)
        if key not in self._sums:
            if self._whole:
                rows, cols = (_box_1d(np.ones((n, 1), np.int32), width, 0) for n in self.shape)
                self._sums[key] = rows * cols.T
            else:
                count = box_sum(self._valid.astype(np.int32), width)
                self._sums[key] = np.maximum(count, 1)
        return self._sums[key]

    def _sum(self, base: str, width: int) -> Ints:
        key = (base, width)
        if key not in self._sums:
            self._sums[key] = box_sum(self._steps(base), width)
        return self._sums[key]

    def _mean(self, base: str, width: int) -> Plane:
        count = self._count(width).astype(np.float32)
        count *= STEPS
        mean = self._sum(base, width).astype(np.float32)
        mean /= count
        return mean

    def _spread(self, base: str, width: int) -> Plane:
        steps = self._steps(base)
        steps *= steps
        # Exact: integers below 2**53.
        variance = box_sum(steps, width).astype(np.float64)
        count = self._count(width)
        total = self._sum(base, width).astype(np.float64)
        variance *= count
        total *= total
        variance -= total
        spread = np.sqrt(variance, out=variance)
        spread /= count
        spread *= 1 / STEPS
        return spread.astype(np.float32)


def box_sum(values: NDArray[Whole], width: int) -> NDArray[Whole]:
    """Return the sum over the width x width box around each pixel (odd width, 0 outside)."""
    return _box_1d(_box_1d(values, width, 0), width, 1)


def _box_1d(values: NDArray[Whole], width: int, axis: int) -> NDArray[Whole]:
    """Sum along an axis by doubling: windows of 1, 2, 4, ... pixels make up any width."""
    n = values.shape[axis]
    pad = [(0, 0), (0, 0)]
    pad[axis] = (width // 2, width // 2)
    run, length, offset = np.pad(values, pad), 1, 0
    total = np.zeros_like(values)
    while True:
        if width & length:
            total += _cut(run, offset, n, axis)
            offset += length
        if 2 * length > width:
            return total
        size = run.shape[axis] - length
        run = _cut(run, 0, size, axis) + _cut(run, length, size, axis)
        length *= 2


def _cut(values: NDArray[Whole], start: int, size: int, axis: int) -> NDArray[Whole]:
    return values[start : start + size] if axis == 0 else values[:, start : start + size]
