"""Calibrate the regressions in `geoseg/backends/spectral/table.toml`.

Each task is a logistic regression on the backend's own features, judged on scenes it has not seen.
`--write` puts the coefficients into the table; without it they are printed.

    python benchmarks/calibrate_spectral.py --data DIR [--write]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.features import rasterize
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import geoseg.backends.spectral as package
from geoseg.backends.spectral.features import Features
from geoseg.scale import Scale

Scene = tuple[NDArray[np.uint8], NDArray[np.int8]]
"""(band, row, col) RGB and (row, col) truth: 1 yes, 0 no, -1 unknown."""

PER_SCENE = 12_000
REGULARISATION = 0.01
DIGITS = 4
DENSE = 0.3
"""Share of yes from which a scene counts as dense."""
_RGB = ("red", "green", "blue")


@dataclass(frozen=True)
class Task:
    """One block of the table."""

    name: str
    concept: str
    scene: str
    scenes: Callable[[Path], Iterator[Scene]]
    source: str
    features: tuple[str, ...]
    balanced: bool = False
    """Weigh both answers alike: their shares in a cut-out are no prior."""
    cuts: tuple[tuple[str, str, float, tuple[float, ...]], ...] = ()
    """(feature, above | below, slope, candidates): thresholds that must all hold, instead of a
    regression; for few and unlike scenes, which a regression would learn by heart."""
    also: str = ""
    """A further term of the table, set by hand."""
    where: str = ""
    """Rasters the rule is for, as in the table."""


def forest_scenes(data: Path) -> Iterator[Scene]:
    """Yield the Sentinel-2 scenes with forest masks."""
    for path in sorted((data / "forest" / "images").iterdir()):
        with rasterio.open(path) as image:
            rgb = image.read([1, 2, 3])
        with rasterio.open(data / "forest" / "masks" / f"{path.stem}.png") as image:
            mask = image.read(1)[: rgb.shape[1], : rgb.shape[2]]
        yield rgb, (mask == 1).astype(np.int8)


def boxes_of(path: Path) -> list[tuple[int, int, int, int]]:
    """Return the crown boxes that belong to an image."""
    table = path.with_suffix(".csv")
    corners = ("xmin", "ymin", "xmax", "ymax")
    if table.exists():
        with table.open(encoding="utf-8") as file:
            rows: list[dict[str, Any]] = list(csv.DictReader(file))
    else:
        found = ET.parse(path.with_suffix(".xml")).getroot().iter("bndbox")  # noqa: S314, own data
        rows = [{c: b.findtext(c) or "0" for c in corners} for b in found]
    return [tuple(int(float(row[c])) for c in corners) for row in rows]  # type: ignore[misc]


def crown_scenes(data: Path) -> Iterator[Scene]:
    """Yield NEON tiles: the ellipse in a box is tree, what no box holds is not, the rest unknown.

    Roofs of the drone mosaics are no trees either; what lies around them is unknown.
    """
    for path in sorted((data / "crowns").glob("*.tif")):
        with rasterio.open(path) as image:
            rgb = image.read([1, 2, 3])
        truth = np.zeros(rgb.shape[1:], np.int8)
        rows, cols = np.indices(truth.shape)
        for x0, y0, x1, y1 in boxes_of(path):
            truth[y0:y1, x0:x1] = np.where(truth[y0:y1, x0:x1] == 1, 1, -1)
            radius_x, radius_y = max(x1 - x0, 2) / 2 * 0.8, max(y1 - y0, 2) / 2 * 0.8
            across = ((cols - (x0 + x1) / 2) / radius_x) ** 2 + (
                (rows - (y0 + y1) / 2) / radius_y
            ) ** 2
            truth[across < 1] = 1
        truth[rgb.min(axis=0) == 255] = -1
        yield rgb, truth
    for rgb, truth in building_scenes(data):
        yield rgb, np.where(truth == 1, 0, -1).astype(np.int8)


def building_scenes(data: Path) -> Iterator[Scene]:
    """Yield quarters of the drone mosaics with their building footprints."""
    for path in sorted((data / "buildings").glob("*.tif")):
        with rasterio.open(path) as image:
            rgb, transform = image.read([1, 2, 3]), image.transform
        shapes = json.loads(path.with_suffix(".geojson").read_text("utf-8"))["features"]
        truth = rasterize(
            [(s["geometry"], 1) for s in shapes], rgb.shape[1:], transform=transform, dtype="int8"
        )
        yield rgb[:, :2048, :2048], truth[:2048, :2048]


TASKS = (
    Task(
        "forest_haze", "forest", "coarse", forest_scenes,
        "Sentinel-2 RGB, Amazon (forest/), not corrected for haze: canopies are bluish",
        ("GCC@3", "RCC@3", "NGRDI@3", "saturation@3", "brightness@3", "brightness~9"),
        where='{ feature = "blue", quantile = 0.01, above = 0.14 }',
    ),
    Task(
        "forest_plain", "forest", "coarse", forest_scenes,
        "the same scenes, by what does not depend on haze",
        ("NGRDI@3", "brightness@3"),
        also='{ feature = "BCC@3", below = 0.36, slope = 60 }',
    ),
    Task(
        "tree_fine", "tree", "fine", crown_scenes,
        "NEON tiles 0.1 m with crown boxes (crowns/), roofs of drone mosaics (buildings/)",
        ("GLI@7", "NGRDI@7", "RCC@7", "BCC@7", "green%9"),
        cuts=(
            ("GLI@7", "above", 60, (0.0, 0.02, 0.03, 0.04, 0.05)),
            ("NGRDI@7", "above", 60, (-0.02, 0.0, 0.01, 0.02, 0.03)),
            ("RCC@7", "below", 80, (0.34, 0.35, 0.36, 0.37, 0.38)),
            ("BCC@7", "below", 80, (0.32, 0.33, 0.34, 0.35)),
            ("green%9", "above", 40, (0.06, 0.07, 0.08, 0.09, 0.1, 0.11, 0.12, 0.14)),
        ),
    ),
    Task(
        "building_fine", "built-up", "fine", building_scenes,
        "4 drone mosaics 0.07 m with building footprints (buildings/)",
        ("GLI@9", "BCC@9", "RCC@9", "saturation@9", "brightness@9", "brightness~9"),
        balanced=True,
    ),
)  # fmt: skip


def samples(task: Task, data: Path) -> list[tuple[NDArray[np.float32], NDArray[np.int8]]]:
    """Return (features, truth) of random pixels, one entry per scene."""
    random = np.random.default_rng(0)
    scale = Scale(1 / 255, 0.5 / 255, "display")
    found = []
    for rgb, truth in task.scenes(data):
        bands = {role: scale.apply(rgb[i]) for i, role in enumerate(_RGB)}
        seen = Features(bands, np.ones(truth.shape, bool))
        known = np.flatnonzero(truth >= 0)
        picked = random.choice(known, min(PER_SCENE, known.size), replace=False)
        table = np.column_stack([seen[name].ravel()[picked] for name in task.features])
        found.append((table, truth.ravel()[picked]))
    return found


@dataclass(frozen=True)
class Regression:
    """`bias + x @ weights >= 0`."""

    bias: float
    weights: NDArray[np.float64]

    def says(self, x: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return the answer for features (n, feature)."""
        yes: NDArray[np.bool_] = x @ self.weights + self.bias >= 0
        return yes

    def terms(self, task: Task) -> str:
        """Return it as in the table."""
        pairs = zip(task.features, self.weights, strict=True)
        listed = ", ".join(f'"{name}" = {float(w)}' for name, w in pairs)
        return f"{{ bias = {self.bias}, weights = {{ {listed} }} }}"


@dataclass(frozen=True)
class Cuts:
    """All features on the right side of their thresholds."""

    at: tuple[float, ...]
    signs: tuple[int, ...]

    def says(self, x: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return the answer for features (n, feature)."""
        yes: NDArray[np.bool_] = ((x - np.array(self.at)) * np.array(self.signs) >= 0).all(axis=1)
        return yes

    def terms(self, task: Task) -> str:
        """Return it as in the table."""
        pairs = zip(task.cuts, self.at, strict=True)
        return ", ".join(
            f'{{ feature = "{name}", {side} = {at}, slope = {slope} }}'
            for (name, side, slope, _), at in pairs
        )


Model = Regression | Cuts


def train(task: Task, parts: list[Any]) -> Model:
    """Fit the task's model, rounded as in the table."""
    if task.cuts:
        return search(task, parts)
    x = np.vstack([p[0] for p in parts]).astype(np.float64)
    y = np.concatenate([p[1] for p in parts])
    scaler = StandardScaler().fit(x)
    model = LogisticRegression(
        C=REGULARISATION, max_iter=1000, class_weight="balanced" if task.balanced else None
    ).fit(scaler.transform(x), y)
    weights = model.coef_[0] / scaler.scale_
    bias = float(model.intercept_[0] - (weights * scaler.mean_).sum())
    return Regression(round(bias, DIGITS), np.round(weights, DIGITS))


def search(task: Task, parts: list[Any]) -> Cuts:
    """Improve one threshold after the other, by the mean of dense and sparse scenes' IoU.

    What is said on scenes without a single yes counts against it.
    """
    shares = [float((y == 1).mean()) for _, y in parts]
    groups = [
        [p for p, s in zip(parts, shares, strict=True) if s >= DENSE],
        [p for p, s in zip(parts, shares, strict=True) if 0 < s < DENSE],
    ]
    barren = [x for (x, _), s in zip(parts, shares, strict=True) if s == 0]
    signs = tuple(1 if side == "above" else -1 for _, side, _, _ in task.cuts)

    def worth(at: tuple[float, ...]) -> float:
        model = Cuts(at, signs)
        fair = sum(ratio(*iou(model, group)) for group in groups)
        return fair - sum(float(model.says(x).mean()) for x in barren) / max(len(barren), 1)

    best = tuple(options[len(options) // 2] for *_, options in task.cuts)
    for _ in range(3):
        for k, (*_, options) in enumerate(task.cuts):
            best = max(((*best[:k], v, *best[k + 1 :]) for v in options), key=worth)
    return Cuts(best, signs)


def iou(model: Model, parts: list[Any]) -> tuple[int, int]:
    """Return intersection and union of prediction and truth."""
    hit = both = 0
    for x, y in parts:
        said = model.says(x)
        hit += int((said & (y == 1)).sum())
        both += int((said | (y == 1)).sum())
    return hit, both


def ratio(hit: int, both: int) -> float:
    """Return the IoU of counts."""
    return hit / both if both else 0.0


def calibrate(task: Task, data: Path) -> str:
    """Return the task's block of the table."""
    parts = samples(task, data)
    count = min(6, len(parts))
    folds = np.random.default_rng(0).permutation(len(parts)) % count
    hit = both = 0
    for fold in range(count):
        model = train(task, [p for p, f in zip(parts, folds, strict=True) if f != fold])
        counts = iou(model, [p for p, f in zip(parts, folds, strict=True) if f == fold])
        hit, both = hit + counts[0], both + counts[1]
    model = train(task, parts)
    note = (
        f"{task.source}; {len(parts)} scenes; pooled pixel IoU {ratio(hit, both):.3f} on unseen "
        f"scenes ({count} folds), {ratio(*iou(model, parts)):.3f} on those seen"
    )
    where = f"where = {task.where}\n" if task.where else ""
    terms = ", ".join(t for t in (model.terms(task), task.also) if t)
    return (
        f'[[rule]]\nconcept = "{task.concept}"\nscene = "{task.scene}"\n{where}'
        f'note = "{note}"\nterms = [{terms}]\n'
    )


def write(path: Path, name: str, block: str) -> None:
    """Replace the lines between the marks of a task."""
    text = path.read_text("utf-8")
    start, end = f"# >>> {name}\n", f"# <<< {name}\n"
    head, _, rest = text.partition(start)
    _, _, tail = rest.partition(end)
    path.write_text(head + start + block + end + tail, "utf-8")


def main() -> int:
    """Run all tasks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("GEOSEG_DATA"))
    parser.add_argument("--write", action="store_true", help="put the numbers into the table")
    parser.add_argument("--only", choices=[t.name for t in TASKS])
    given = parser.parse_args()
    if given.data is None or not Path(given.data).is_dir():
        sys.stderr.write(f"no data folder '{given.data}'; pass --data DIR or set GEOSEG_DATA\n")
        return 2
    for task in TASKS:
        if given.only in (None, task.name):
            block = calibrate(task, Path(given.data))
            sys.stdout.write(block + "\n")
            if given.write:
                write(Path(package.__file__).parent / "table.toml", task.name, block)
    return 0


if __name__ == "__main__":
    sys.exit(main())
