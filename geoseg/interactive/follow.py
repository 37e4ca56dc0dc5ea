"""How far does what was pointed at go? From tile to tile, by the rule of the seams.

A tile that is asked says what it sees of the object. Where its label is cut, or reaches into the
core of another tile, that one is asked for what the two both see; its answer belongs to the object
if `seams.link` says so, and `decide` says who draws what. Nothing here knows models or geometry.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from scipy import ndimage

from geoseg.backends.outlining import Cutout
from geoseg.decide import DROP, WHOLE, SeamPlan, decide
from geoseg.features import number_labels
from geoseg.flatten import flatten
from geoseg.grid import Grid
from geoseg.instances import Instances, Labels, Mask, Scope
from geoseg.interactive.pointed import Pointed
from geoseg.legend import LandClass, Legend
from geoseg.runs import RUN, Runs, clip, fragments, subtract
from geoseg.seams import Seam, link
from geoseg.window import Window

ASKS = 64
"""How often a tile is asked for one object at most: models that never agree must come to an end."""

_LEGEND = Legend(classes=(LandClass(name="object", kind="object"),))


class Tiles(Protocol):
    """Tiles that can be asked."""

    @property
    def grid(self) -> Grid:
        """How the raster is cut."""
        ...

    def scope(self, index: int) -> Scope:
        """Return the windows of a tile."""
        ...

    def valid(self, index: int) -> Mask:
        """Return (row, col) of what the tile reads: True where data is good."""
        ...

    def ask(self, index: int, pointed: Pointed) -> list[Cutout]:
        """Return what the object may be in a tile, in its pixels, best first."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """One object."""

    runs: Runs
    """Its pixels, label 1, disjoint."""
    score: float
    """How sure the segmenter is, 0..1."""
    n_tiles: int
    """Tiles that saw it."""
    seam_iou: float
    """Agreement of the tiles where more than one looked, 0..1; NaN where only one did."""
    ends_early: bool
    """Whether it goes on in tiles that were not asked."""


@dataclass(frozen=True, slots=True, eq=False)
class _Member:
    """What a tile sees of the object: one label."""

    mask: Mask
    """(row, col) of what the tile reads."""
    score: float
    labels: Labels

    @property
    def cut(self) -> bool:
        return bool(self.labels.facts["cut"][0])


def follow(tiles: Tiles, pointed: Pointed, reach: int) -> Found | None:
    """Return the object that was pointed at; None where no tile sees one.

    Args:
        tiles: Who is asked.
        pointed: Says where it is.
        reach: Most tiles that are asked.
    """
    trail = _Trail(tiles, pointed, reach)
    for home in pointed.homes(tiles.grid):
        for candidate in tiles.ask(home, pointed)[:1]:
            trail.join(home, candidate)
    first = list(trail.members)
    if not first:
        return None
    trail.go()
    return trail.end(first)


@dataclass
class _Trail:
    """The tiles in which the object was found so far."""

    tiles: Tiles
    pointed: Pointed
    reach: int
    members: dict[int, _Member] = field(default_factory=dict)
    ends_early: bool = False
    _asked: dict[int, set[tuple[float, float]]] = field(default_factory=dict)
    _queue: deque[int] = field(default_factory=deque)

    def join(self, index: int, candidate: Cutout) -> None:
        """Take what a tile sees for a part of the object."""
        mask, score = _painted(candidate, self.tiles.scope(index).read), candidate.quality
        known = self.members.get(index)
        if known is not None:
            both = np.array([known.mask.sum(), mask.sum()])
            score = float(np.average([known.score, score], weights=both)) if both.any() else score
            mask |= known.mask
        labels = self._labels(index, mask, score)
        if len(labels.facts):
            self.members[index] = _Member(mask, score, labels)
            self._queue.append(index)

    def go(self) -> None:
        """Ask tiles until the object ends, or a tile sees all of it."""
        while self._queue and not self._seen_whole():
            index = self._queue.popleft()
            for other in self._entered(index):
                self._cross(index, other)

    def end(self, first: Sequence[int]) -> Found:
        """Return the object of which these tiles were told."""
        order = sorted(self.members)
        seams = [
            (i, order.index(b), self._link(a, b))
            for i, a in enumerate(order)
            for b in self.tiles.grid.neighbours(a)
            if b in self.members
        ]
        pairs, voices = number_labels([1] * len(order), seams)
        facts = np.concatenate([self.members[index].labels.facts for index in order])
        trust = [self.tiles.scope(index).trust for index in order]
        windows = np.array([(t.x0, t.y0, t.x1, t.y1) for t in trust], np.int64)
        plan = decide(facts, np.arange(len(order)), pairs, voices, (windows, [False]))
        return self._drawn(plan, order, [order.index(index) for index in first])

    def _drawn(self, plan: SeamPlan, order: Sequence[int], first: Sequence[int]) -> Found:
        wanted = sorted({int(plan.feature[k]) for k in first} - {-1})
        features = plan.features[wanted]
        runs = np.zeros(0, RUN)
        for k, index in enumerate(order):
            if plan.feature[k] not in wanted or plan.draw[k] == DROP:
                continue
            mine = self.members[index].labels.claimed.copy()
            if plan.draw[k] != WHOLE:
                mine = clip(mine, self.tiles.grid[index].core)
            runs = np.concatenate([runs, subtract(mine, runs)])
        if not len(runs):
            # All of it lies in the halo of the one tile that was asked.
            runs = self.members[order[first[0]]].labels.claimed.copy()
        px = np.maximum(features["area_px"], 1)
        union = int(features["union"].sum())
        return Found(
            runs,
            float(np.average(features["score"], weights=px))
            if len(features)
            else self.members[order[first[0]]].score,
            max(int(features["n_tiles"].sum()), 1),
            round(int(features["inter"].sum()) / union, 4) if union else float("nan"),
            self.ends_early,
        )

    def _labels(self, index: int, mask: Mask, score: float) -> Labels:
        box = np.array([(0, 0, mask.shape[1], mask.shape[0])], np.int32)
        found = Instances(box, [mask], np.zeros(1, np.int32), np.array([score], np.float32))
        return flatten(found, _LEGEND, self.tiles.valid(index), self.tiles.scope(index))

    def _link(self, a: int, b: int) -> Seam:
        return self._compare(self.members[a].labels, self.members[b].labels, a, b)

    def _compare(self, one: Labels, other: Labels, a: int, b: int) -> Seam:
        return link(one, other, self.tiles.scope(a), self.tiles.scope(b), [False])

    def _seen_whole(self) -> bool:
        """Tell whether a tile sees the object uncut, and the part of it in every other's core."""
        facts = np.concatenate([m.labels.facts for m in self.members.values()])
        facts = facts[facts["core_px"] > 0]
        if not len(facts):
            return not any(m.cut for m in self.members.values())
        box = Window(
            int(facts["core_x0"].min()),
            int(facts["core_y0"].min()),
            int(facts["core_x1"].max()),
            int(facts["core_y1"].max()),
        )
        return any(
            not member.cut and box.intersection(self.tiles.scope(index).trust) == box
            for index, member in self.members.items()
        )

    def _entered(self, index: int) -> list[int]:
        """Return the tiles whose cores the label of a tile reaches, or is cut at; most first."""
        around = self.tiles.grid.meeting(self.tiles.scope(index).trust.grow(1, self._raster))
        px = {
            other: int((part["x1"] - part["x0"]).sum())
            for other in around
            if other != index and len(part := self._entering(index, other))
        }
        return sorted(px, key=lambda other: (-px[other], other))

    @property
    def _raster(self) -> Window:
        return self.tiles.grid.raster

    def _entering(self, index: int, other: int) -> Runs:
        """Return the pixels of a tile's label in another's core, or beside it."""
        core = self.tiles.grid[other].core.grow(1, self._raster)
        return clip(self.members[index].labels.claimed, core)

    def _cross(self, index: int, other: int) -> None:
        """Ask a tile for the parts of the object that a neighbour sees go there."""
        for part in self._unexplained(index, other):
            x, y = _inner(part)
            asked = self._asked.setdefault(other, set())
            if (x, y) in asked or len(asked) >= ASKS:
                continue
            if other not in self.members and len(self.members.keys() | self._asked) > self.reach:
                self.ends_early = True
                del self._asked[other]
                return
            asked.add((x, y))
            best = self._best(index, part, other, self.tiles.ask(other, self.pointed.at(x, y)))
            if best is not None:
                self.join(other, best)

    def _unexplained(self, index: int, other: int) -> Iterator[Runs]:
        """Yield what a tile's label shows another tile, and that one does not show as well."""
        zone = self.tiles.scope(index).trust.intersection(self.tiles.scope(other).trust)
        shown = clip(self.members[index].labels.claimed, zone)
        entering = self._entering(index, other)
        count, part_of = fragments(shown)
        for number in range(count):
            part = shown[part_of == number]
            if not _meet(part, entering):
                continue
            known = self.members.get(other)
            if known is None or not self._agree(index, part, other, known.labels):
                yield part

    def _agree(self, index: int, part: Runs, other: int, labels: Labels) -> float:
        """Return how well another tile's label agrees with a part of one's; 0 if not the same."""
        mine = Labels(part, self.members[index].labels.facts)
        pairs = self._compare(mine, labels, index, other).pairs
        pairs = pairs[pairs["linked"]]
        return float((pairs["inter"] / np.maximum(pairs["union"], 1)).max(initial=0.0))

    def _best(
        self, index: int, part: Runs, other: int, candidates: Sequence[Cutout]
    ) -> Cutout | None:
        """Return the candidate that agrees best with what the neighbour sees."""
        best, most = None, 0.0
        read = self.tiles.scope(other).read
        for candidate in candidates:
            labels = self._labels(other, _painted(candidate, read), candidate.quality)
            if len(labels.facts) and (alike := self._agree(index, part, other, labels)) > most:
                best, most = candidate, alike
        return best


def _painted(cutout: Cutout, read: Window) -> Mask:
    """Return a mask of what a tile reads."""
    mask = np.zeros(read.shape, bool)
    x0, y0, x1, y1 = cutout.box
    mask[y0:y1, x0:x1] = cutout.mask
    return mask


def _meet(one: Runs, other: Runs) -> bool:
    """Tell whether two sets of pixels share one."""
    return len(one) > 0 and _pixels(subtract(one, other)) < _pixels(one)


def _pixels(runs: Runs) -> int:
    return int((runs["x1"] - runs["x0"]).sum())


def _inner(part: Runs) -> tuple[float, float]:
    """Return the centre of the pixel that lies deepest in a part, the first of equals."""
    x0, y0 = int(part["x0"].min()), int(part["y"].min())
    # A frame of background: the edge of what two tiles see is an edge, too.
    deep = np.zeros((int(part["y"].max()) - y0 + 3, int(part["x1"].max()) - x0 + 2), bool)
    for y, start, stop in zip(part["y"], part["x0"], part["x1"], strict=True):
        deep[y - y0 + 1, start - x0 + 1 : stop - x0 + 1] = True
    row, col = np.unravel_index(
        int(ndimage.distance_transform_cdt(deep, "taxicab").argmax()), deep.shape
    )
    return x0 + float(col) - 1 + 0.5, y0 + float(row) - 1 + 0.5
