"""Are estimates those that were published, and do 95 % intervals hold the truth 95 times in 100?

    python benchmarks/accuracy.py [--draws 2000] [--json]

The worked examples of Olofsson et al. (2014, table 8 and section 5) and Stehman (2014, table 2) are
computed and compared with what is printed there: `max_difference` is the largest difference in
units of the last printed digit, at most 0.5 where all agree; `published_digit` tells whether every
one rounds to what is printed. Then stratified samples are drawn from a map whose truth is known:
`interval_coverage` is how often the intervals of areas hold it, per design.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def main() -> None:
    """Print a line per published figure, and with --json a summary as the last line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
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
    }
    print(json.dumps(summary) if args.json else summary)


if __name__ == "__main__":
    main()
