"""What can be told from colours alone? Spectral indices and local texture, no model.

Words lead to concepts, concepts to rules over the spyndex catalogue's indices and local texture,
rules to evidence per pixel. Whatever depends on the scene is fitted once per run; a pixel's answer
depends on nothing beyond `halo_px`, so it is the same, bit for bit, for every tiling.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.backends.regions import Found, answer, regions, whole
from geoseg.backends.spectral import crowns, features, fitting, rules, words
from geoseg.backends.spectral.crowns import CrownShape
from geoseg.backends.spectral.features import Features
from geoseg.backends.spectral.fitting import Samples
from geoseg.backends.spectral.indices import Plane
from geoseg.backends.spectral.rules import Other, Rule, Threshold
from geoseg.backends.spectral.words import KNOWN_WORDS
from geoseg.errors import BackendError
from geoseg.instances import Instances
from geoseg.legend import Legend
from geoseg.pixels import Pixels
from geoseg.raster import RasterReader, sample
from geoseg.scale import Scale, fit_scale

log = logging.getLogger(__name__)

__all__ = ["KNOWN_WORDS", "Spectral"]

FINE_M = 2.0
"""Pixels smaller than this show texture of single trees and roofs."""

_USUAL_DRONE_M = 0.1
"""Pixel size assumed for fine imagery without a CRS."""

_SMOOTHING_M = 1.5
"""Side of the box that smooths the evidence for trees before crowns are sought."""

_OPENING_PX = 1
"""Objects lose specks and threads thinner than 2 * this + 1 pixels."""

_CHUNK_PX = 1 << 17
"""Pixels evaluated together: what stays in the cache."""

_LEAST_ROWS = 48

_STEEPEST = 8.0
"""Logits are cut here: evidence stays within 0.0003..0.9997."""

_PER_UNIT = 256
"""Steps of the logistic table per unit of logit."""

_LOGISTIC = (
    1 / (1 + np.exp(-np.arange(-_STEEPEST * _PER_UNIT, _STEEPEST * _PER_UNIT + 1) / _PER_UNIT))
).astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One class of the legend, in the backend's terms."""

    concepts: tuple[str, ...]
    """A pixel of any of these counts."""
    threshold: float
    """Least evidence."""
    shape: str
    """`cover`, `regions` or `crowns`."""
    rest_of: tuple[int, ...] = ()
    """Classes that are a part of this one: it means what they leave."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """Everything fitted for one run."""

    roles: tuple[tuple[str, int], ...]
    """(role, 0-based band) of the bands in use."""
    scale: Scale
    rules: tuple[Rule, ...]
    """One per concept in use, after those it refers to."""
    classes: tuple[_Wanted, ...]
    crown: CrownShape | None

    @property
    def radius_px(self) -> int:
        """How far from a pixel its evidence looks."""
        return max((rule.radius_px for rule in self.rules), default=0)


@dataclass(frozen=True, slots=True)
class Spectral:
    """The built-in backend."""

    plan: _Plan | None = field(default=None, repr=False)
    """Set by `fit`."""

    @property
    def identity(self) -> str:
        """Name, digest of the table of rules and, once fitted, of what was fitted."""
        name = f"spectral {rules.digest()}"
        if self.plan is None:
            return name
        return f"{name} {sha256(repr(self.plan).encode()).hexdigest()[:12]}"

    @property
    def halo_px(self) -> int:
        """How far from a pixel its answer looks; 0 before `fit`."""
        if self.plan is None:
            return 0
        shapes = {wanted.shape for wanted in self.plan.classes}
        extra = 2 * _OPENING_PX if "regions" in shapes else 0
        if "crowns" in shapes and self.plan.crown is not None:
            extra = max(extra, self.plan.crown.reach_px)
        return self.plan.radius_px + extra

    def fit(self, raster: RasterReader, legend: Legend) -> Spectral:
        """Return the backend with everything that depends on the scene fitted.

        Raises:
            BackendError: A word it does not know, or bands it lacks.
        """
        asked = [
            tuple(dict.fromkeys(words.concept_of(p) for p in c.prompts)) for c in legend.classes
        ]
        blocks = [(data, valid) for _, data, valid in sample(raster)]
        roles = {role: number - 1 for role, number in raster.roles.items()}
        dtype = raster.bands[0].dtype
        scale = fit_scale(dtype, blocks, sorted(set(roles.values())))
        scene = _scene(raster, scale)
        samples = fitting.Samples(blocks, roles, scale)
        choice = _Choice(raster, scene, scale.levels, samples)
        concepts = [choice.visible(group) for group in asked]
        chosen = choice.rules([c for group in concepts for c in group])
        needed = features.roles_of((f for r in chosen for f in r.features), roles)
        used = {role: roles[role] for role in sorted(needed)}
        gsd_m = raster.frame.gsd_m or _USUAL_DRONE_M
        crown = crowns.shape_for(gsd_m, _SMOOTHING_M) if scene == "fine" else None
        plan = _Plan(
            roles=tuple(used.items()),
            scale=scale,
            rules=tuple(samples.fit(rule) for rule in chosen),
            classes=tuple(_wanted(legend, concepts, crown)),
            crown=crown,
        )
        return replace(self, plan=plan)

    def segment(self, tiles: Sequence[Pixels]) -> list[Instances]:
        """Return the instances of each tile.

        Raises:
            BackendError: `fit` was not called.
        """
        if self.plan is None:
            raise BackendError("backend 'spectral' is not fitted; call fit(raster, legend) first")
        return [_segment(self.plan, tile) for tile in tiles]

    def evidence(self, tile: Pixels) -> NDArray[np.float32]:
        """Return the evidence (class, row, col) of a tile, 0..1.

        Raises:
            BackendError: `fit` was not called.
        """
        if self.plan is None:
            raise BackendError("backend 'spectral' is not fitted; call fit(raster, legend) first")
        return _evidence(self.plan, tile)


def _scene(raster: RasterReader, scale: Scale) -> str:
    """Tell fine from coarse imagery; without a CRS, 8-bit RGB is taken for a drone's."""
    gsd_m = raster.frame.gsd_m
    if gsd_m is None:
        return "fine" if scale.levels == "display" and "nir" not in raster.roles else "coarse"
    return "fine" if gsd_m < FINE_M else "coarse"


@dataclass(frozen=True, slots=True, eq=False)
class _Choice:
    """Which rules of the table are for a raster."""

    raster: RasterReader
    scene: str
    levels: str
    samples: Samples

    def visible(self, concepts: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of a class's concepts that this raster can show.

        Raises:
            BackendError: None of them.
        """
        shown, errors = [], []
        for concept in concepts:
            try:
                self.rules([concept])
                shown.append(concept)
            except BackendError as error:
                errors.append(error)
        if not shown:
            raise errors[0]
        for refusal in errors:
            log.warning("%s; looking for %s alone", refusal, " and ".join(shown))
        return tuple(shown)

    def rules(self, concepts: Sequence[str]) -> tuple[Rule, ...]:
        """Return one rule per concept, each after those it refers to."""
        chosen: dict[str, Rule] = {}

        def visit(concept: str) -> None:
            if concept not in chosen:
                rule = self._rule(concept)
                for other in rule.others:
                    visit(other)
                chosen[concept] = rule

        for concept in concepts:
            visit(concept)
        return tuple(chosen.values())

    def _rule(self, concept: str) -> Rule:
        """Return the first rule of the table that the raster's bands and samples allow.

        Raises:
            BackendError: None; says which bands would do.
        """
        options = [
            rule
            for rule in rules.table()
            if rule.concept == concept
            and rule.scene in {self.scene, "any"}
            and rule.levels in {self.levels, "any"}
        ]
        roles = self.raster.roles
        for rule in options:
            if _needs(rule) <= roles.keys() and self.samples.allow(rule.where):
                return rule
        if len(self.raster.bands) == 1:
            raise BackendError(
                f"'{concept}' cannot be told from one band; spectral needs at least red, green and "
                "blue: name them with --bands, or choose a model with --backend"
            )
        known = ", ".join(f"{role}={n}" for role, n in roles.items()) or "no role is known"
        ways = " or ".join(dict.fromkeys("+".join(sorted(_needs(r))) for r in options))
        raise BackendError(
            f"'{concept}' needs bands {ways}; this raster has {len(self.raster.bands)} bands, "
            f"{known}. Name them with --bands red=1,green=2,blue=3,nir=4 or --sensor sentinel2"
        )


def _needs(rule: Rule) -> frozenset[str]:
    return features.roles_of(rule.features) or frozenset({"red"} if not rule.others else ())


def _wanted(
    legend: Legend, concepts: Sequence[tuple[str, ...]], crown: CrownShape | None
) -> Iterator[_Wanted]:
    for k, (land_class, mine) in enumerate(zip(legend.classes, concepts, strict=True)):
        shape = "cover"
        if land_class.kind == "object":
            shape = "crowns" if mine == ("tree",) and crown else "regions"
        parts = frozenset().union(*(words.NARROWER.get(c, frozenset()) for c in mine))
        rest_of = tuple(
            i
            for i, other in enumerate(legend.classes)
            if i != k
            and legend.exclusive
            and shape == other.kind == "cover"
            and set(concepts[i]) <= parts - set(mine)
        )
        threshold = 0.5 if land_class.threshold is None else land_class.threshold
        yield _Wanted(mine, threshold, shape, rest_of)


def _evidence(plan: _Plan, tile: Pixels) -> NDArray[np.float32]:
    """Evaluate in strips of rows, each with the margin its features look at."""
    height, width = tile.valid.shape
    rows = max(_CHUNK_PX // max(width, 1), _LEAST_ROWS)
    margin = plan.radius_px
    roles = dict(plan.roles)
    out = np.empty((len(plan.classes), height, width), np.float32)
    for y0 in range(0, height, rows):
        y1 = min(y0 + rows, height)
        low, high = max(y0 - margin, 0), min(y1 + margin, height)
        bands = fitting.scaled(tile.data[:, low:high], roles, plan.scale)
        seen = Features(bands, tile.valid[low:high])
        logits: dict[str, Plane] = {}
        inner = slice(y0 - low, y1 - low)
        for rule in plan.rules:
            logits[rule.concept] = _logit(rule, seen, logits, inner)
        _fill(plan, logits, out[:, y0:y1])
    return out


def _logit(rule: Rule, seen: Features, logits: Mapping[str, Plane], inner: slice) -> Plane:
    """Return the least of a rule's terms on the inner rows."""
    least = _term(rule.terms[0], seen, logits, inner)
    for term in rule.terms[1:]:
        np.minimum(least, _term(term, seen, logits, inner), out=least)
    np.fmax(least, np.float32(-_STEEPEST), out=least)
    return np.fmin(least, np.float32(_STEEPEST), out=least)


def _term(term: rules.Term, seen: Features, logits: Mapping[str, Plane], inner: slice) -> Plane:
    if isinstance(term, Threshold):
        value = seen[term.feature][inner] - np.float32(term.at)
        value *= np.float32(term.slope)
        return value
    if isinstance(term, Other):
        return -logits[term.concept] if term.negative else logits[term.concept].copy()
    total = np.full(seen.shape, term.bias, np.float32)[inner]
    for name, weight in term.weights:
        total += seen[name][inner] * np.float32(weight)
    return total


def _fill(plan: _Plan, logits: Mapping[str, Plane], out: NDArray[np.float32]) -> None:
    """Write the evidence (class, row, col) of each class."""
    for wanted, plane in zip(plan.classes, out, strict=True):
        best = logits[wanted.concepts[0]]
        for concept in wanted.concepts[1:]:
            best = np.maximum(best, logits[concept])
        steps = best * np.float32(_PER_UNIT)
        steps += np.float32(_STEEPEST * _PER_UNIT)
        np.take(_LOGISTIC, np.rint(steps, out=steps).astype(np.intp), out=plane, mode="clip")
    for k, wanted in enumerate(plan.classes):
        for part in wanted.rest_of:
            out[k] *= 1 - out[part]


def _segment(plan: _Plan, tile: Pixels) -> Instances:
    planes = _evidence(plan, tile)
    found: list[Found] = []
    covers: list[Found] = []
    # Regions that only meet outside the trusted window must not become one.
    counted = np.zeros_like(tile.valid)
    inside = tile.trust.slices_in(tile.window)
    counted[inside] = tile.valid[inside]
    for cls, (wanted, evidence) in enumerate(zip(plan.classes, planes, strict=True)):
        least = np.float32(wanted.threshold)
        mask = (evidence >= least) & counted
        if wanted.shape == "cover":
            covers += whole(cls, mask, evidence)
        elif wanted.shape == "crowns" and plan.crown is not None:
            shown = np.where(tile.valid, evidence, np.float32(0))
            found += regions(cls, crowns.delineate(shown, mask, plan.crown), evidence)
        else:
            labels, _ = ndimage.label(_opened(tile.valid & (evidence >= least)) & counted)
            found += regions(cls, labels, evidence)
    return answer(found, covers)


def _opened(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask without specks and threads; the raster's edge counts as inside."""
    square = np.ones((2 * _OPENING_PX + 1,) * 2, bool)
    kept: NDArray[np.bool_] = ndimage.binary_dilation(
        ndimage.binary_erosion(mask, square, border_value=1), square
    )
    return kept
