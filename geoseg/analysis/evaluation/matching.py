"""Which polygon of the map is which of the reference, and how precise is the map on average?

COCO's own evaluator (pycocotools) matches polygons, best score first, and integrates precision over
recall (Lin et al. 2014, ECCV, "Microsoft COCO"; the definition is that of its code). It is fed what
it needs and no masks: IoUs of the pairs that may match, in small "images" of polygons that overlap
each other, so that its cost grows with the number of polygons, not with its square. There is no
cap on detections per image (COCO's is 100) nor on the size of objects.

Zones are given to it as it takes sizes of objects: a reference polygon that is not in the zone is
neither found nor missed, a polygon of the map without a partner counts only in its own zone.
"""

from __future__ import annotations

import io
from collections import defaultdict
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from geoseg.analysis.evaluation.counts import Counts
from geoseg.analysis.evaluation.overlaps import Overlaps
from geoseg.analysis.evaluation.zones import MEMBERS, ZONES, Zone
from geoseg.errors import MissingDependencyError
from geoseg.frame import Floats

Ints = NDArray[np.int64]

COCO_IOUS = np.linspace(0.5, 0.95, 10)
"""IoUs that AP is the mean over."""

_PACKED = 8
"""About how many polygons share an "image": its cost is a constant, and the product of both."""


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """What the evaluator found for one class."""

    precision: Floats
    """(zone, IoU) average precision at COCO_IOUS, by ZONES; NaN where it has none."""
    pairs: Ints
    """(k, 2) position in map and reference of polygons that match at the IoU asked for."""


def coco_evaluator() -> Any:
    """Return COCO's evaluator.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise MissingDependencyError(
            "average precision needs pycocotools, which is not installed; "
            'run pip install "geoseg[coco]"'
        ) from error
    return COCOeval(iouType="segm")


def match_class(found: Overlaps, cls: int, iou: float) -> Matched:
    """Match the polygons of one class, best score first, and those of equal scores in their order.

    Args:
        found: Polygons, and their IoUs from the least of 0.5 and `iou` on.
        cls: The class.
        iou: Least IoU of the pairs that are returned.
    """
    scene = _Scene(found, cls)
    evaluator = coco_evaluator()
    params = evaluator.params
    params.imgIds, params.catIds = list(range(scene.images)), [0]
    params.iouThrs = np.append(COCO_IOUS, iou)
    params.maxDets = [max(1, len(scene.map))]
    params.areaRng, params.areaRngLbl = [list(MEMBERS[z]) for z in ZONES], list(ZONES)
    evaluator._prepare = lambda: scene.fill(evaluator)  # noqa: SLF001  where it asks for masks
    evaluator.computeIoU = scene.ious
    with redirect_stdout(io.StringIO()):
        evaluator.evaluate()
        evaluator.accumulate()
    # IoU, recall, class, zone, cap
    precision = evaluator.eval["precision"][: len(COCO_IOUS), :, 0, :, 0].mean(axis=1).T
    unknown = (precision < 0) | np.isnan(found.map.score[scene.map]).any()
    return Matched(np.where(unknown, np.nan, precision), scene.partners(evaluator))


class _Scene:
    """The polygons of a class, in images."""

    def __init__(self, found: Overlaps, cls: int) -> None:
        self.map = np.flatnonzero(found.map.cls == cls)
        self.reference = np.flatnonzero(found.reference.cls == cls)
        self._zones = (found.map.zone, found.reference.zone)
        own = found.map.cls[found.pairs[:, 0]] == cls
        self._pairs, self._iou = found.pairs[own], found.iou[own]
        # Nothing but the order counts; so those of equal scores keep theirs across images.
        order = np.argsort(-found.map.score[self.map], kind="stable")
        rank = np.empty(len(order))
        rank[order] = np.arange(len(order), 0, -1)
        self._rank = dict(zip(self.map.tolist(), rank.tolist(), strict=True))
        self._place()

    def _place(self) -> None:
        """Spread polygons over images: those without a pair are in the last two."""
        one = np.searchsorted(self.map, self._pairs[:, 0])
        other = np.searchsorted(self.reference, self._pairs[:, 1])
        n, m = len(self.map), len(self.reference)
        ties = sparse.coo_array((np.ones(len(one)), (one, n + other)), (n + m, n + m))
        _, label = sparse.csgraph.connected_components(ties, directed=False)
        paired = np.zeros(n + m, bool)
        paired[one], paired[n + other] = True, True
        names, where, size = np.unique(label[paired], return_inverse=True, return_counts=True)
        packed = np.cumsum(size) // _PACKED
        image = np.concatenate((np.full(n, -2), np.full(m, -1)))
        image[paired] = packed[where]
        self.images = int(packed[-1]) + 3 if len(names) else 2
        image[image < 0] += self.images
        self._image = (image[:n], image[n:])
        self._of_pair = image[one]

    def fill(self, evaluator: Any) -> None:
        """Give the evaluator its polygons."""
        sides = (self.map, self.reference)
        made: list[defaultdict[tuple[int, int], list[dict[str, Any]]]] = []
        for rows, image, zone in zip(sides, self._image, self._zones, strict=True):
            by_image: defaultdict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
            for row, where in zip(rows.tolist(), image.tolist(), strict=True):
                # Number 0 means no match.
                known = {"id": row + 1, "ignore": 0, "iscrowd": 0, "area": int(zone[row])}
                by_image[where, 0].append(known)
            made.append(by_image)
        for mapped in (k for listed in made[0].values() for k in listed):
            mapped["score"] = self._rank[mapped["id"] - 1]
        evaluator._dts, evaluator._gts = made  # noqa: SLF001
        self._dts, self._gts = made
        order = np.argsort(self._of_pair, kind="stable")
        self._by_image = order, self._of_pair[order]

    def ious(self, image: int, cls: int) -> Any:
        """Return (map, reference) IoUs of an image, best score first, as the evaluator has them."""
        mapped = sorted(self._dts[image, cls], key=lambda d: -d["score"])
        truth = self._gts[image, cls]
        if not mapped or not truth:
            return []
        order, sorted_images = self._by_image
        here = order[slice(*np.searchsorted(sorted_images, (image, image + 1)))]
        row = {d["id"] - 1: k for k, d in enumerate(mapped)}
        column = {g["id"] - 1: k for k, g in enumerate(truth)}
        table = np.zeros((len(mapped), len(truth)))
        for (one, other), iou in zip(self._pairs[here].tolist(), self._iou[here], strict=True):
            table[row[one], column[other]] = iou
        return table

    def partners(self, evaluator: Any) -> Ints:
        """Return (k, 2) polygons that match at the last IoU, in the whole map."""
        found = [np.empty((0, 2), np.int64)]
        for image in filter(None, evaluator.evalImgs[: self.images]):
            to = image["dtMatches"][-1].astype(np.int64)
            have = to > 0
            found.append(np.column_stack((np.array(image["dtIds"])[have], to[have])) - 1)
        return np.concatenate(found).astype(np.int64)


def count(found: Overlaps, cls: int, pairs: Ints) -> dict[str, Counts]:
    """Count right, false and missed polygons of a class, by zone.

    A pair is in the zone of its reference polygon, and does not count where that is OUTSIDE; a
    polygon without a partner is in its own.
    """
    alone = found.map.cls == cls
    alone[pairs[:, 0]] = False
    missed = found.reference.cls == cls
    missed[pairs[:, 1]] = False
    right = found.reference.zone[pairs[:, 1]]
    sides = (right, found.map.zone[alone], found.reference.zone[missed])
    return {zone: Counts(*(_among(s, zone) for s in sides)) for zone in ZONES}


def _among(zones: Zone, zone: str) -> int:
    low, high = MEMBERS[zone]
    return int(((zones >= low) & (zones <= high)).sum())


def panoptic(found: Overlaps, cls: int) -> dict[str, tuple[Counts, float]]:
    """Return the counts of panoptic quality and the sum of IoUs of what is right, by zone.

    Polygons match whose IoU is above 0.5 (Kirillov et al. 2019, CVPR, "Panoptic Segmentation",
    section 4): where those of a layer do not overlap each other, no polygon has two such partners.
    Where they do, the best pairs are taken first.
    """
    near = (found.map.cls[found.pairs[:, 0]] == cls) & (found.iou > 0.5)
    pairs, iou = found.pairs[near], found.iou[near]
    kept, taken = [], (set[int](), set[int]())
    for k in np.argsort(-iou, kind="stable").tolist():
        one, other = pairs[k].tolist()
        if one not in taken[0] and other not in taken[1]:
            taken[0].add(one)
            taken[1].add(other)
            kept.append(k)
    counts = count(found, cls, pairs[kept])
    zones = found.reference.zone[pairs[kept, 1]]
    sums = {}
    for zone in ZONES:
        low, high = MEMBERS[zone]
        sums[zone] = float(iou[kept][(zones >= low) & (zones <= high)].sum())
    return {zone: (counts[zone], sums[zone]) for zone in ZONES}
