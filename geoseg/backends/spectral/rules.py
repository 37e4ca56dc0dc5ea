"""How does each concept show? The rules of `table.toml`, read and checked.

The logit of a concept is the least of its terms; its evidence is the logistic function of that.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import Any

from geoseg.backends.spectral import features


@dataclass(frozen=True, slots=True)
class Threshold:
    """`slope * (feature - at)`: a feature above (slope > 0) or below (slope < 0) a value."""

    feature: str
    """Name of a feature."""
    at: float
    """Where the logit is 0, unless the run's samples say better."""
    slope: float
    """Change of the logit per unit of the feature."""
    within: tuple[float, float] | None = None
    """The run's own threshold is sought here; None keeps `at`."""


@dataclass(frozen=True, slots=True)
class Linear:
    """`bias + sum of weight * feature`: a calibrated logistic regression."""

    bias: float
    weights: tuple[tuple[str, float], ...]
    """(feature, weight), added in this order."""


@dataclass(frozen=True, slots=True)
class Other:
    """Another concept's logit, or its negative."""

    concept: str
    negative: bool


Term = Threshold | Linear | Other


@dataclass(frozen=True, slots=True)
class Where:
    """A rule is for rasters in which a quantile of a feature is above a value."""

    feature: str
    quantile: float
    above: float


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to see a concept, where the raster allows it."""

    concept: str
    scene: str
    """`fine` (pixels under 2 m), `coarse` or `any`."""
    levels: str
    """`reflectance`, `display` (8-bit pictures) or `any`."""
    terms: tuple[Term, ...]
    note: str
    """Where the numbers come from."""
    where: Where | None = None
    """Rasters it is for; None for all."""

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features its own terms look at."""
        names: list[str] = []
        for term in self.terms:
            if isinstance(term, Threshold):
                names.append(term.feature)
            elif isinstance(term, Linear):
                names += [name for name, _ in term.weights]
        return tuple(dict.fromkeys(names))

    @property
    def others(self) -> tuple[str, ...]:
        """Concepts its terms refer to."""
        return tuple(t.concept for t in self.terms if isinstance(t, Other))

    @property
    def radius_px(self) -> int:
        """How far from a pixel its own terms look."""
        return max((features.radius_px(name) for name in self.features), default=0)

    def with_thresholds(self, at: Mapping[str, float]) -> Rule:
        """Return the rule with thresholds set by feature name."""
        terms = tuple(
            replace(t, at=at[t.feature])
            if isinstance(t, Threshold) and t.within and t.feature in at
            else t
            for t in self.terms
        )
        return replace(self, terms=terms)


def _text() -> str:
    return resources.files(__package__).joinpath("table.toml").read_text("utf-8")


def digest() -> str:
    """Return a short digest of the table."""
    return sha256(_text().encode()).hexdigest()[:12]


@cache
def table() -> tuple[Rule, ...]:
    """Return all rules, the preferred first."""
    return tuple(_rule(entry) for entry in tomllib.loads(_text())["rule"])


def _rule(entry: dict[str, Any]) -> Rule:
    return Rule(
        concept=entry["concept"],
        scene=entry.get("scene", "any"),
        levels=entry.get("levels", "any"),
        terms=tuple(_term(t) for t in entry["terms"]),
        note=entry.get("note", ""),
        where=Where(**entry["where"]) if "where" in entry else None,
    )


def _term(entry: dict[str, Any]) -> Term:
    if "weights" in entry:
        weights = tuple((name, float(w)) for name, w in entry["weights"].items())
        return Linear(float(entry["bias"]), weights)
    if "like" in entry or "unlike" in entry:
        return Other(entry.get("like") or entry["unlike"], "unlike" in entry)
    above = "above" in entry
    within = entry.get("within")
    return Threshold(
        feature=entry["feature"],
        at=float(entry["above"] if above else entry["below"]),
        slope=float(entry["slope"]) * (1 if above else -1),
        within=(float(within[0]), float(within[1])) if within else None,
    )
