"""What is fitted once per run? Thresholds within sane brackets.

All statistics come from `geoseg.raster.sample`, a lattice of windows that does not know the tiling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.backends.spectral.features import Features
from geoseg.backends.spectral.indices import Plane
from geoseg.backends.spectral.rules import Rule, Threshold, Where
from geoseg.scale import Block, Scale

_BINS = 256
_CONVINCING = 0.7
"""Share of the variance a split must explain before it moves a threshold; a single bell gives
2 / pi = 0.64."""
_VALLEY = 0.6
"""Density at the threshold, relative to the lower of the two peaks, that still counts as a gap."""
_NEAR = 4
"""Bins on either side over which density is averaged."""
_LEAST_SHARE = 0.02
"""A class smaller than this is taken as absent from the scene."""


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
