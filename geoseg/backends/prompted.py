"""How do boxes and a segmenter work as one backend? Words -> boxes -> masks.

Boxes that another tile decides, or that only repeat a better one, are left out before anything is
decoded; a tile without boxes is not encoded at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np

from geoseg.backends.detections import Detections, Picture, distinct, inside, share
from geoseg.backends.outlining import Cutout, Segmenter
from geoseg.backends.pictures import View, placed
from geoseg.errors import BackendError
from geoseg.instances import Instances, Mask
from geoseg.legend import Legend
from geoseg.pixels import Pixels
from geoseg.raster import RasterReader

POINT_CUT = (
    "the outline of a point reaches beyond its tile and may be cut: raise --tile and --overlap"
)

REPEATED = 0.5
"""An object of which a larger part lies under better ones of its class only repeats them."""


class Prompter(Protocol):
    """Anything that says where a segmenter should look."""

    @property
    def identity(self) -> str:
        """Name and version."""
        ...

    @property
    def usual_threshold(self) -> float:
        """Least score that is recommended."""
        ...

    def fit(self, raster: RasterReader, legend: Legend) -> Self:
        """Return one that is ready for this run.

        Raises:
            BackendError: It cannot; says why.
        """
        ...

    def prompt(self, tiles: Sequence[Pixels], pictures: Sequence[Picture]) -> list[Detections]:
        """Return boxes and points in pixels of each picture; each picture shows its whole tile."""
        ...


@dataclass(frozen=True)
class Prompted:
    """A backend of a prompter and a segmenter."""

    prompter: Prompter
    """Finds boxes."""
    segmenter: Segmenter | None
    """Turns them into masks; without one, masks the prompter gives or else the boxes are drawn."""
    view: View = View()
    """What models are shown; fitted by `fit`."""
    legend: Legend | None = None
    """Set by `fit`."""

    @property
    def identity(self) -> str:
        """Of both parts, and what they are shown."""
        parts = [self.prompter.identity]
        if self.segmenter is not None:
            parts.append(self.segmenter.identity)
        return " + ".join(parts) + str(self.view)

    @property
    def halo_px(self) -> int:
        """Width of the edge of a tile that is not trusted, in pixels of the raster."""
        return self.view.halo_px

    @property
    def wants_rgb(self) -> bool:
        """Yes: every tile is looked at as a picture."""
        return True

    @property
    def usual_tile_px(self) -> int:
        """Side of the tile that fills the picture models were trained on."""
        return self.view.tile_px

    @property
    def usual_threshold(self) -> float:
        """Least score that the prompter recommends."""
        return self.prompter.usual_threshold

    def facts(self) -> list[dict[str, Any]]:
        """Return what the output file says of the weights."""
        parts: tuple[Any, ...] = (self.prompter, self.segmenter)
        return [fact for part in parts if hasattr(part, "facts") for fact in part.facts()]

    def words(self) -> Legend | None:
        """Return the legend where none is given, or None: then one must be."""
        found: Legend | None = getattr(self.prompter, "words", lambda: None)()
        return found

    def fit(self, raster: RasterReader, legend: Legend) -> Prompted:
        """Return the backend with weights loaded and words read.

        Raises:
            BackendError: Weights or words that cannot be used, or a raster without ground size.
        """
        view = self.view.fit(raster)
        return replace(
            self,
            prompter=self.prompter.fit(raster, legend),
            segmenter=None if self.segmenter is None else self.segmenter.ready(),
            view=view,
            legend=legend,
        )

    def segment(self, tiles: Sequence[Pixels]) -> list[Instances]:
        """Return the instances of each tile."""
        legend = self.legend
        if legend is None:
            raise BackendError(f"backend '{self.identity}' is not fitted; call fit first")
        pictures = [self.view.of(tile) for tile in tiles]
        found = [f.at_least(legend) for f in self.prompter.prompt(tiles, pictures)]
        certain = bool(getattr(self.prompter, "certain", False))
        wanted = [
            inside(f if certain else distinct(f), placed(t.core, t.window, p.shape))
            for f, t, p in zip(found, tiles, pictures, strict=True)
        ]
        cutouts = self._cut(pictures, wanted, [t.window.shape for t in tiles])
        answers = [
            replace(
                _instances(w, c, legend, None if certain else t.window.shape),
                notes=(*w.notes, *_cut_points(w, c, t, p.shape)),
            )
            for w, c, t, p in zip(wanted, cutouts, tiles, pictures, strict=True)
        ]
        return noted(answers, [self.prompter, self.segmenter])

    def _cut(
        self,
        pictures: Sequence[Picture],
        wanted: Sequence[Detections],
        shapes: Sequence[tuple[int, int]],
    ) -> list[list[Cutout | None]]:
        """Return the mask of each detection; near equal boxes of two classes are decoded once."""
        done: list[list[Cutout | None]] = [[] for _ in wanted]
        some = [i for i, w in enumerate(wanted) if len(w)]
        if self.segmenter is None:
            for i in some:
                done[i] = _given(wanted[i], pictures[i].shape[:2], shapes[i])
            return done
        stand_ins = [share(wanted[i]) for i in some]
        asked = [np.unique(s) for s in stand_ins]
        answers = self.segmenter.cut(
            [pictures[i] for i in some],
            [wanted[i].take(a) for i, a in zip(some, asked, strict=True)],
            [shapes[i] for i in some],
        )
        for i, stand_in, which, answer in zip(some, stand_ins, asked, answers, strict=True):
            done[i] = [answer[k] for k in np.searchsorted(which, stand_in).tolist()]
        return done


def _given(
    found: Detections, picture: tuple[int, int], shape: tuple[int, int]
) -> list[Cutout | None]:
    """Return masks that came with detections, or the boxes themselves, in pixels of the tile."""
    factor = np.array((shape[1] / picture[1], shape[0] / picture[0]) * 2)
    boxes = np.rint(found.boxes * factor).astype(int).tolist()
    cutouts: list[Cutout | None] = []
    for k, (x0, y0, x1, y1) in enumerate(boxes):
        x1, y1 = min(max(x1, x0 + 1), shape[1]), min(max(y1, y0 + 1), shape[0])  # noqa: PLW2901
        mask = np.ones((y1 - y0, x1 - x0), bool)
        if found.masks is not None:
            shown = found.masks[k]
            y, x = (np.arange(n) * m // n for n, m in zip(mask.shape, shown.shape, strict=True))
            mask = shown[np.ix_(y, x)]
        cutouts.append(
            Cutout((x0, y0, x1, y1), mask, float(found.scores[k])) if mask.size else None
        )
    return cutouts


def _instances(
    found: Detections,
    cutouts: Sequence[Cutout | None],
    legend: Legend,
    shape: tuple[int, int] | None,
) -> Instances:
    """Give masks the class and score of their detections, each object once.

    Args:
        found: Detections.
        cutouts: The mask of each.
        legend: Tells objects from covers.
        shape: (rows, cols) of the tile; None where every detection is meant, repeated or not.
    """
    kept: list[int] = []
    shown: list[Cutout] = []
    scores = [
        0.0 if c is None else c.quality if np.isnan(s) else float(s)
        for s, c in zip(found.scores, cutouts, strict=True)
    ]
    taken = {int(cls): np.zeros(shape or (0, 0), bool) for cls in np.unique(found.classes)}
    for k in np.argsort(-np.array(scores), kind="stable").tolist():
        cutout, cls = cutouts[k], int(found.classes[k])
        if cutout is None or (
            shape is not None
            and legend.classes[cls].kind == "object"
            and _repeats(cutout, taken[cls])
        ):
            continue
        kept.append(k)
        shown.append(cutout)
    if not kept:
        return Instances.empty()
    return Instances(
        np.array([c.box for c in shown], np.int32),
        [c.mask for c in shown],
        found.classes[kept],
        np.clip([scores[k] for k in kept], 0, 1).astype(np.float32),
    )


def _repeats(cutout: Cutout, taken: Mask) -> bool:
    """Tell whether a mask lies mostly under better ones of its class; if not, it is added."""
    x0, y0, x1, y1 = cutout.box
    view = taken[y0:y1, x0:x1]
    if np.count_nonzero(view & cutout.mask) >= REPEATED * np.count_nonzero(cutout.mask):
        return True
    view |= cutout.mask
    return False


def noted(answers: list[Instances], parts: Sequence[Any]) -> list[Instances]:
    """Put what happened on the way into the first answer of a batch."""
    notes = [n for part in parts if hasattr(part, "take_notes") for n in part.take_notes()]
    first = replace(answers[0], notes=(*answers[0].notes, *notes))
    return [first, *answers[1:]]


def _cut_points(
    found: Detections, cutouts: Sequence[Cutout | None], tile: Pixels, shape: tuple[int, ...]
) -> tuple[str, ...]:
    """Say if the tile that decides a point does not hold its outline."""
    rows, cols = tile.trust.slices_in(tile.window)
    core = placed(tile.core, tile.window, shape)
    x, y = found.boxes[:, 0], found.boxes[:, 1]
    here = (x >= core.x0) & (x < core.x1) & (y >= core.y0) & (y < core.y1) & found.is_point
    for cutout in (c for c, mine in zip(cutouts, here, strict=True) if mine and c):
        x0, y0, x1, y1 = cutout.box
        # The trusted window ends with the tile only where the raster does.
        inner = (x0 < cols.start, y0 < rows.start, x1 > cols.stop, y1 > rows.stop)
        if any(inner):
            return (POINT_CUT,)
    return ()
