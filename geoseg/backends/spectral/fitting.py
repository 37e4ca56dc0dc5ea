"""What is fitted once per run? The scale of samples, and thresholds within sane brackets.

All statistics come from `geoseg.raster.sample`, a lattice of windows that does not know the tiling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.backends.spectral.features import Features
from geoseg.backends.spectral.indices import Plane
from geoseg.backends.spectral.rules import Rule, Threshold, Where

DARKEST = 1e-4
"""Least reflectance: keeps every ratio defined."""

_BINS = 256
_LARGEST_FRACTION = 2.0
"""Floats up to here are reflectance as they are."""
_LANDSAT_LOW, _LANDSAT_HIGH = 5000, 7300
"""Landsat Collection 2 never stores less than the first for a real surface; 7273 is black."""
_BYTE_HIGH = 255
_TEN_THOUSANDTHS_HIGH = 20_000
"""Integers up to here are reflectance times 10,000, with room for clouds and snow."""
_CONVINCING = 0.7
"""Share of the variance a split must explain before it moves a threshold; a single bell gives
2 / pi = 0.64."""
_VALLEY = 0.6
"""Density at the threshold, relative to the lower of the two peaks, that still counts as a gap."""
_NEAR = 4
"""Bins on either side over which density is averaged."""
_LEAST_SHARE = 0.02
"""A class smaller than this is taken as absent from the scene."""

Block = tuple[NDArray[Any], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Scale:
    """`reflectance = sample * factor + offset`, not below DARKEST."""

    factor: float
    offset: float
    levels: str
    """`reflectance`, or `display` for 8-bit pictures."""

    def apply(self, samples: NDArray[Any]) -> Plane:
        """Return scaled samples of one band, NaN and less as DARKEST."""
        plane = samples.astype(np.float32)
        plane *= np.float32(self.factor)
        plane += np.float32(self.offset)
        return np.fmax(plane, np.float32(DARKEST), out=plane)


def fit_scale(dtype: str, blocks: Sequence[Block], numbers: Sequence[int]) -> Scale:
    """Guess what samples mean from their type and range.

    Args:
        dtype: NumPy name of the sample type.
        blocks: (band, row, col) samples and (row, col) validity.
        numbers: 0-based bands in use.
    """
    if dtype == "uint8":
        # Half a count more, so that black pixels have defined ratios.
        return Scale(1 / 255, 0.5 / 255, "display")
    values = [data[b][valid].astype(np.float64) for data, valid in blocks for b in numbers]
    joined = np.concatenate(values or [np.zeros(1)])
    low, high = (float(v) for v in np.percentile(joined, (1, 99)))
    if dtype.startswith("float") and high <= _LARGEST_FRACTION:
        return Scale(1.0, 0.0, "reflectance")
    if low >= _LANDSAT_LOW and high > _LANDSAT_HIGH:
        # Landsat Collection 2 surface reflectance: 2.75e-5 * DN - 0.2.
        return Scale(2.75e-5, -0.2, "reflectance")
    if high <= _BYTE_HIGH:
        return Scale(1 / 255, 0.5 / 255, "display")
    if high <= _TEN_THOUSANDTHS_HIGH:
        return Scale(1e-4, 0.0, "reflectance")
    return Scale(1 / 65535, 0.0, "display")


def scaled(data: NDArray[Any], roles: Mapping[str, int], scale: Scale) -> dict[str, Plane]:
    """Return planes (row, col) float32 by role; bands are 0-based."""
    return {role: scale.apply(data[band]) for role, band in roles.items()}


class Samples:
    """Features of the sampled pixels of a raster, computed when asked for."""

    def __init__(self, blocks: Sequence[Block], roles: Mapping[str, int], scale: Scale) -> None:
        self._seen = [
            (Features(scaled(data, roles, scale), valid), valid) for data, valid in blocks
        ]
        self._kept: dict[str, Plane] = {}

    def values(self, name: str) -> Plane:
        """Return a feature at all valid sampled pixels, (n,) float32."""
        if name not in self._kept:
            parts = [seen[name][valid] for seen, valid in self._seen]
            self._kept[name] = np.concatenate([np.zeros(0, np.float32), *parts])
        return self._kept[name]

    def allow(self, where: Where | None) -> bool:
        """Tell whether a rule is for this raster."""
        if where is None:
            return True
        values = self.values(where.feature)
        return values.size > 0 and float(np.quantile(values, where.quantile)) > where.above

    def fit(self, rule: Rule) -> Rule:
        """Move thresholds that have a bracket to where the samples part in two."""
        return rule.with_thresholds(
            {
                t.feature: split(self.values(t.feature), t.at, t.within)
                for t in rule.terms
                if isinstance(t, Threshold) and t.within
            }
        )


def split(values: NDArray[Any], default: float, within: tuple[float, float]) -> float:
    """Return Otsu's threshold if it is convincing and inside the bracket, else the default."""
    if values.size == 0:
        return default
    low, high = np.percentile(values.astype(np.float64), (0.5, 99.5))
    if not low < high:
        return default
    counts, edges = np.histogram(np.clip(values, low, high), _BINS, (low, high))
    centre = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1] / counts.sum()
    mass = np.cumsum(counts * centre)[:-1] / counts.sum()
    mean = float((counts * centre).sum() / counts.sum())
    variance = float((counts * (centre - mean) ** 2).sum() / counts.sum())
    if variance <= 0:
        return default
    between = (mean * below - mass) ** 2 / np.maximum(below * (1 - below), 1e-9)
    between[np.minimum(below, 1 - below) < _LEAST_SHARE] = 0.0
    # Between two distant groups every threshold is as good: the middle one is meant.
    top = np.flatnonzero(between >= between.max() * (1 - 1e-6))
    best = float(edges[top + 1].mean())
    if between.max() / variance < _CONVINCING or not within[0] <= best <= within[1]:
        return default
    density = np.convolve(counts, np.ones(2 * _NEAR + 1), "same")
    cut = int(np.searchsorted(centre, best))
    peak = min(density[:cut].max(), density[cut:].max())
    return round(best, 4) if density[cut] <= _VALLEY * peak else default
