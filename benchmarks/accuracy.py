"""Are estimates those that were published, and do 95 % intervals hold the truth 95 times in 100?

    python benchmarks/accuracy.py [--draws 2000] [--json]

The worked examples of Olofsson et al. (2014, table 8 and section 5) and Stehman (2014, table 2) are
computed and compared with what is printed there: `max_difference` is the largest difference in
units of the last printed digit, at most 0.5 where all agree; `published_digit` tells whether every
one rounds to what is printed. Then stratified samples are drawn from a map whose truth is known:
`interval_coverage` is how often the intervals of areas hold it, per design. Last, all is done as a
user does it: a map is segmented, `geoseg.analysis.sample` draws points of it, each is looked up in
the truth, and `geoseg.analysis.accuracy` estimates: `sampled_coverage`, of areas and of overall
accuracy.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from scipy import ndimage

import geoseg
from geoseg.analysis import Plan, accuracy, sample
from geoseg.analysis.estimators import Accuracy, estimate

CLASSES = ("deforestation", "forest gain", "stable forest", "stable non-forest")
COUNTS = ((66, 0, 5, 4), (0, 55, 8, 12), (1, 0, 153, 11), (2, 1, 9, 313))
HECTARES = (18_000.0, 13_500.0, 288_000.0, 580_500.0)

Printed = list[tuple[str, float, float, int]]
"""What is printed: its name, what was computed, the printed value, its decimals."""


def olofsson() -> Printed:
    """Return the example of a map of change, with areas in hectares."""
    pairs = [
        (CLASSES[i], CLASSES[j])
        for i, row in enumerate(COUNTS)
        for j, count in enumerate(row)
        for _ in range(count)
    ]
    mapped, reference = zip(*pairs, strict=True)
    found = estimate(mapped, mapped, reference, dict(zip(CLASSES, HECTARES, strict=True)))
    loss = found.classes.index("deforestation")
    users = [
        (f"user's {name}", value, printed, 2)
        for name, value, printed in zip(
            found.classes, found.users.value, (0.88, 0.73, 0.93, 0.96), strict=True
        )
    ]
    producers = [
        (f"producer's {name}", value, printed, 2)
        for name, value, printed in zip(
            found.classes, found.producers.value, (0.75, 0.85, 0.93, 0.96), strict=True
        )
    ]
    return [
        *users,
        *producers,
        ("overall", found.overall.value[0], 0.95, 2),
        ("overall, half width", found.overall.half_width[0], 0.02, 2),
        ("deforestation, ha", found.area.value[loss], 21_158, 0),
        ("deforestation, half width, ha", found.area.half_width[loss], 6_158, 0),
    ]


def stehman() -> Printed:
    """Return the example whose strata are not the map's classes."""
    units = {"A": 40_000.0, "B": 30_000.0, "C": 20_000.0, "D": 10_000.0}
    strata = [name for name in units for _ in range(10)]
    mapped = "AAAAAAABBB" + "ABBBBBBBBB" + "BBCCCCCCBB" + "DDDDDDDDDD"
    reference = "AAAAACBABC" + "ABBBBBAABB" + "CCCCCDDBBA" + "DDDDDDDCCB"
    found = estimate(strata, list(mapped), list(reference), units, units=units)
    a, b, c = 0, 1, 2
    return [
        ("area of A", found.share.value[a], 0.35, 2),
        ("area of A, SE", found.share.se[a], 0.082, 3),
        ("area of C", found.share.value[c], 0.20, 2),
        ("area of C, SE", found.share.se[c], 0.064, 3),
        ("overall", found.overall.value[0], 0.63, 2),
        ("overall, SE", found.overall.se[0], 0.085, 3),
        ("user's of B", found.users.value[b], 0.574, 3),
        ("user's of B, SE", found.users.se[b], 0.125, 3),
        ("producer's of B", found.producers.value[b], 0.794, 3),
        ("producer's of B, SE", found.producers.se[b], 0.117, 3),
        ("cell (B, C)", found.matrix[b, c], 0.08, 2),
    ]


def draw(
    random: np.random.Generator, truth: NDArray[np.float64], counts: tuple[int, ...]
) -> tuple[list[int], list[int]]:
    """Return strata, which are map classes, and the true classes of a sample."""
    strata = np.repeat(np.arange(len(counts)), counts)
    sums = np.cumsum(truth[strata], axis=1)
    true = (random.random(len(strata))[:, None] > sums).sum(axis=1)
    return strata.tolist(), true.tolist()


def coverage(draws: int) -> dict[str, float]:
    """Return how often 95 % intervals of areas hold the truth."""
    truth = np.array([[0.85, 0.10, 0.05], [0.08, 0.87, 0.05], [0.03, 0.05, 0.92]])
    size = np.array([0.1, 0.3, 0.6])
    designs = {"by area": (60, 90, 180), "equal": (110, 110, 110), "small": (50, 50, 100)}
    found = {}
    for name, counts in designs.items():
        random, held = np.random.default_rng(1), []
        for _ in range(draws):
            strata, true = draw(random, truth, counts)
            said: Accuracy = estimate(strata, strata, true, dict(enumerate(size)))
            held.append(np.abs(said.share.value - size @ truth) <= said.share.half_width)
        found[name] = round(float(np.mean(held)), 4)
    return found


KINDS = ("(unmapped)", "forest", "water", "town")
SIDE = 120


@dataclass(frozen=True)
class Known:
    """Sees the number of a class in each pixel, and answers that."""

    identity: str = "known"
    halo_px: int = 0

    def segment(self, tiles: Any) -> list[geoseg.Instances]:
        """Return a mask per class."""
        return [self._answer(tile.data[0]) for tile in tiles]

    def _answer(self, seen: NDArray[Any]) -> geoseg.Instances:
        here = [k for k in range(1, len(KINDS)) if (seen == k).any()]
        boxes = np.array([(0, 0, *seen.shape[::-1])] * len(here), np.int32).reshape(-1, 4)
        masks = [seen == k for k in here]
        scores = np.full(len(here), 0.9, np.float32)
        return geoseg.Instances(boxes, masks, np.array(here, np.int32) - 1, scores)


def patches(random: np.random.Generator) -> NDArray[np.int64]:
    """Return (row, col) numbers of classes, in patches of any size."""
    clouds = [ndimage.gaussian_filter(random.random((SIDE, SIDE)), 4) for _ in KINDS]
    return np.argmax(clouds, axis=0)


def sampled_coverage(draws: int) -> dict[str, float]:
    """Return how often 95 % intervals of `accuracy` hold the truth, with points of `sample`."""
    random = np.random.default_rng(1)
    shown, other = patches(random), patches(random)
    truth = np.where(random.random(shown.shape) < 0.15, other, shown)
    share = {name: float((truth == k).mean()) for k, name in enumerate(KINDS)}
    legend = geoseg.Legend(
        classes=tuple(geoseg.LandClass(name=name, kind="cover") for name in KINDS[1:])
    )
    raster = geoseg.ArrayRaster(
        shown[None].astype(np.uint8), None, Affine(10, 0, 5e5, 0, -10, 5e6), "EPSG:32633"
    )
    areas, overall = [], []
    with TemporaryDirectory() as folder:
        out = Path(folder) / "map.gpkg"
        geoseg.segment(raster, legend, backend=Known(), out=out, tile=64, overlap=8)
        for seed in range(draws):
            found = sample(out, Plan(n=300, seed=seed))
            points = found.points.geometry
            cell = ((5e6 - points.y) // 10).astype(int), ((points.x - 5e5) // 10).astype(int)
            seen = found.points.assign(reference=np.array(KINDS)[truth[cell]])
            said = accuracy(out, seen, design=found.design)
            off = np.abs(said.classes["share"] - said.classes["class"].map(share))
            areas.append((off <= said.classes["share_ci95"]).mean())
            right = float((truth == shown).mean())
            overall.append(abs(said.overall - right) <= said.overall_ci95)
    return {
        "areas": round(float(np.mean(areas)), 4),
        "overall": round(float(np.mean(overall)), 4),
    }


def main() -> None:
    """Print a line per published figure, and with --json a summary as the last line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    # Each draw says that the raster of the map was in memory.
    logging.getLogger("geoseg").setLevel(logging.ERROR)
    differences = []
    for source, printed in (("Olofsson", olofsson()), ("Stehman", stehman())):
        for name, value, wanted, decimals in printed:
            differences.append(abs(value - wanted) * 10.0**decimals)
            print(f"{source:9} {name:32} {value:12.4f} printed {wanted:g}")
    summary: dict[str, Any] = {
        "max_difference": round(float(max(differences)), 4),
        "published_digit": bool(max(differences) <= 0.5),
        "figures": len(differences),
        "interval_coverage": coverage(args.draws),
        "sampled_coverage": sampled_coverage(args.draws),
    }
    print(json.dumps(summary) if args.json else summary)


if __name__ == "__main__":
    main()
