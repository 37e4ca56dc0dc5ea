"""How right is a map, and how large are its classes really? From a sample that somebody looked at.

Estimators of a stratified random sample, with standard errors. Where strata are the map's classes
they are those of Olofsson et al. (2014, Remote Sensing of Environment 148:42-57, eqs. 4-11), where
strata are others those of Stehman (2014, Int. J. Remote Sensing 35:4923-4939): both are means and
ratios of means over strata, and are written once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ConfigError

Floats = NDArray[np.float64]

Z95 = 1.959963984540054
"""Half the width of a 95 % interval of a normal distribution, in standard errors."""


@dataclass(frozen=True, slots=True, eq=False)
class Estimates:
    """Values that were estimated, and how far off they may be."""

    value: Floats
    """(k,) estimates."""
    se: Floats
    """(k,) standard errors; NaN where the sample cannot tell."""

    @property
    def half_width(self) -> Floats:
        """(k,) half of the 95 % interval."""
        return Z95 * self.se


@dataclass(frozen=True, slots=True, eq=False)
class Accuracy:
    """What a sample says of a map."""

    classes: tuple[str, ...]
    """Names, in order; k of them."""
    counts: NDArray[np.int64]
    """(k, k) sample units, by map class (row) and reference class (column)."""
    matrix: Floats
    """(k, k) estimated part of the area, 0..1, rows and columns as `counts`."""
    overall: Estimates
    """(1,) part of the area where the map is right, 0..1."""
    users: Estimates
    """(k,) part of a map class that is that class; NaN where no unit is mapped so."""
    producers: Estimates
    """(k,) part of a class that is mapped so; NaN where no unit is of that class."""
    share: Estimates
    """(k,) part of the whole area that is of each class, 0..1, whatever the map says."""
    total: float
    """Sum of the sizes of the strata, in their unit."""

    @property
    def area(self) -> Estimates:
        """(k,) area of each class in the unit of the strata's sizes: adjusted for map errors."""
        return Estimates(self.share.value * self.total, self.share.se * self.total)


def estimate(
    strata: Sequence[str],
    mapped: Sequence[str],
    reference: Sequence[str],
    sizes: Mapping[str, float],
    *,
    units: Mapping[str, float] | None = None,
) -> Accuracy:
    """Estimate accuracy and areas from a stratified random sample.

    Args:
        strata: (n,) stratum of each unit.
        mapped: (n,) class of each unit on the map.
        reference: (n,) true class of each unit.
        sizes: Size of each stratum, in any unit of area; all strata, with units or without.
        units: Number of units (pixels) in each stratum, if the sample is a noticeable part of
            them: then errors are smaller (finite population correction).

    Raises:
        ConfigError: A stratum has less than two units, or no size.
    """
    names = sorted(sizes)
    _check(strata, sizes)
    classes = tuple(sorted({*mapped, *reference}))
    stratum = np.array([names.index(s) for s in strata])
    is_map = np.array([[m == c for c in classes] for m in mapped])
    is_ref = np.array([[r == c for c in classes] for r in reference])
    right = is_map & is_ref
    weight = np.array([sizes[name] for name in names], float)
    total = float(weight.sum())
    design = _Design(
        stratum,
        weight / total,
        np.full(len(names), np.inf)
        if units is None
        else np.array([units[name] for name in names], float),
    )
    k = len(classes)
    whole = np.ones(len(stratum))
    matrix = [[design.mean(is_map[:, i] & is_ref[:, j]) for j in range(k)] for i in range(k)]
    return Accuracy(
        classes,
        is_map.astype(np.int64).T @ is_ref.astype(np.int64),
        np.array(matrix),
        _gather([design.ratio(right.any(axis=1), whole)]),
        _gather([design.ratio(right[:, c], is_map[:, c]) for c in range(k)]),
        _gather([design.ratio(right[:, c], is_ref[:, c]) for c in range(k)]),
        _gather([design.ratio(is_ref[:, c], whole) for c in range(k)]),
        total,
    )


def _check(strata: Sequence[str], sizes: Mapping[str, float]) -> None:
    found = {name: sum(s == name for s in strata) for name in {*strata, *sizes}}
    unknown = sorted(name for name in found if name not in sizes)
    if unknown:
        raise ConfigError(
            f"stratum {unknown[0]!r} of the sample has no area; strata are {', '.join(sizes)}"
        )
    poor = sorted(name for name, count in found.items() if count < 2 and sizes[name] > 0)
    if poor:
        raise ConfigError(
            f"stratum {poor[0]!r} has {found[poor[0]]} units in the sample; at least 2 are needed, "
            "look at more or join it with another"
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Design:
    stratum: NDArray[np.int64]
    """(n,) stratum of each unit."""
    weight: Floats
    """(h,) part of the area in each stratum."""
    units: Floats
    """(h,) units in each stratum, or infinity."""

    def mean(self, y: NDArray[np.generic]) -> float:
        """Return the mean of a quantity over the whole area (Stehman 2014, eq. 3)."""
        return float(self.weight @ self._means(y.astype(float)))

    def ratio(self, y: NDArray[np.generic], x: NDArray[np.generic]) -> tuple[float, float]:
        """Return a ratio of two means and its standard error (Stehman 2014, eqs. 27 and 28)."""
        above, below = y.astype(float), x.astype(float)
        size = self.mean(below)
        if size == 0:
            return np.nan, np.nan
        value = self.mean(above) / size
        # Linearised: the ratio is as sure as the mean of what is left of y beside R x.
        left = above - value * below
        counts = self._counts()
        spread = self._means((left - self._means(left)[self.stratum]) ** 2)
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = (1 - counts / self.units) * spread / (counts - 1)
        seen = self.weight > 0
        return value, float(np.sqrt((self.weight**2 * variance)[seen].sum()) / size)

    def _counts(self) -> Floats:
        return np.bincount(self.stratum, minlength=len(self.weight)).astype(float)

    def _means(self, y: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            means = np.bincount(self.stratum, y, len(self.weight)) / self._counts()
        return np.where(self.weight > 0, means, 0.0)


def _gather(pairs: list[tuple[float, float]]) -> Estimates:
    value, se = zip(*pairs, strict=True)
    return Estimates(np.array(value, float), np.array(se, float))


def plan_size(shares: Mapping[str, float], expected: Mapping[str, float], target_se: float) -> int:
    """Return how many units to look at for a standard error of overall accuracy.

    It is that of Olofsson et al. (2014, eq. 13; Cochran 1977, eq. 5.25).

    Args:
        shares: Part of the area, or the area, of each stratum.
        expected: User's accuracy that is expected in each, 0..1.
        target_se: Standard error of overall accuracy that is wanted, 0..1.

    Raises:
        ConfigError: A stratum is empty, or a number is outside its range.
    """
    if not 0 < target_se < 1:
        raise ConfigError(f"target standard error {target_se:g} is outside 0..1; 0.01 is usual")
    spread = sum(spreads(shares, expected).values()) / sum(shares.values())
    return int(np.ceil((spread / target_se) ** 2))


def spreads(shares: Mapping[str, float], expected: Mapping[str, float]) -> dict[str, float]:
    """Return the area of each stratum, times the standard deviation of being right in it.

    Units in these proportions are Neyman's allocation (Cochran 1977, eq. 5.26).

    Raises:
        ConfigError: A stratum is empty, or an accuracy outside 0..1.
    """
    empty = sorted(name for name, share in shares.items() if not share > 0)
    if empty:
        raise ConfigError(f"stratum {empty[0]!r} has no area; leave it out of the sample")
    odd = sorted(name for name in shares if not 0 <= expected[name] <= 1)
    if odd:
        raise ConfigError(f"expected accuracy {expected[odd[0]]:g} of {odd[0]!r} is outside 0..1")
    return {n: share * (expected[n] * (1 - expected[n])) ** 0.5 for n, share in shares.items()}


def allocate(
    weights: Mapping[str, float], count: int, least: int, most: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Return how many units to look at in each stratum.

    Each gets its part by weight; those that would get less than `least` get that, as Olofsson et
    al. (2014, section 5.1.2) advise for rare classes, and the others share the rest.

    Args:
        weights: Of each stratum, at least one above 0: its area, `spreads`, or the same for all.
        count: Units in all.
        least: Least number in a stratum.
        most: How many there are in each, whatever `least`; what is left goes to the others.

    Raises:
        ConfigError: There are too few units for so many strata.
    """
    if count < least * len(weights):
        raise ConfigError(
            f"{count} points are too few for {len(weights)} strata of {least} at least; ask for "
            f"{least * len(weights)} or more, or for fewer per class"
        )
    rare: set[str] = set()
    while True:
        free = count - least * len(rare)
        total = sum(w for name, w in weights.items() if name not in rare)
        parts = {n: free * w / total if total else 0.0 for n, w in weights.items() if n not in rare}
        poor = {name for name, part in parts.items() if part < least}
        if not poor:
            break
        rare |= poor
    found = {name: least if name in rare else int(parts[name]) for name in weights}
    # What rounding down left goes to the largest rests; where all are rare, to the first.
    rests = sorted(weights, key=lambda n: int(parts.get(n, 0)) - parts.get(n, 0))
    left = count - sum(found.values())
    for k in range(left):
        found[rests[k % len(rests)]] += 1
    whole = {n: most[n] for n in weights if most is not None and found[n] > most[n]}
    others = {name: w for name, w in weights.items() if name not in whole}
    if whole and others:
        found = {**whole, **allocate(others, count - sum(whole.values()), least, most)}
    return {name: whole.get(name, found[name]) for name in weights}
