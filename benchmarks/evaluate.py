"""Are figures of `geoseg evaluate` those of COCO's evaluator and of PQ, and what do many cost?

    python benchmarks/evaluate.py [--count 100000] [--scenes 30] [--json]

Scenes of touching and overlapping objects are drawn, and changed as a model would change them. The
same objects go to geoseg as polygons, to pycocotools as masks in one image (with its cap of 100
detections lifted), and to a plain reading of the definition of panoptic quality on segment numbers
(the package panopticapi is not on PyPI): `max_difference_ap` and `max_difference_pq` are the
largest differences. Then `--count` polygons are held against as many: `seconds`, `cpu_seconds`
and `peak_mb` are of the whole command. `seconds_coco` is what pycocotools takes for `--coco` masks.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy import ndimage

from geoseg.analysis import evaluate
from geoseg.polygons import outlines
from geoseg.runs import runs_of

CRS = "EPSG:32633"
PLACE = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)

Labels = NDArray[np.int32]


def scene(random: np.random.Generator, side: int = 160) -> tuple[Labels, Labels]:
    """Draw segment numbers of a reference and of a map; 0 is nothing."""
    cloud = ndimage.gaussian_filter(random.random((side, side)), random.uniform(1, 3))
    right = ndimage.label(cloud > np.quantile(cloud, random.uniform(0.4, 0.7)))[0]
    moved = np.roll(right, random.integers(-2, 3, 2), (0, 1))
    lost = random.random(right.max() + 1) < 0.15
    moved = np.where(lost[moved] | (random.random(moved.shape) < 0.03), 0, moved)
    return right.astype(np.int32), ndimage.label(moved)[0].astype(np.int32)


def layer(labels: Labels, scores: NDArray[np.float64]) -> gpd.GeoDataFrame:
    """Return the outlines of segments as a layer."""
    t = PLACE
    shapes = shapely.transform(
        outlines(runs_of(labels, (0, 0)), int(labels.max())),
        lambda xy: np.column_stack((t.a * xy[:, 0] + t.c, t.e * xy[:, 1] + t.f)),
    )
    return gpd.GeoDataFrame({"class": "building", "score": scores}, geometry=shapes, crs=CRS)


def coco(right: Labels, mapped: Labels, scores: NDArray[np.float64]) -> Any:
    """Return AP, AP50 and AP75 of pycocotools."""
    sides = []
    with redirect_stdout(io.StringIO()):
        for labels, score in ((right, np.zeros(right.max())), (mapped, scores)):
            data = COCO()
            found = []
            for k, place in enumerate(ndimage.find_objects(labels), 1):
                one = np.zeros(labels.shape, np.uint8, order="F")
                one[place] = labels[place] == k
                rle = mask.encode(one)
                found.append(
                    {"id": k, "image_id": 1, "category_id": 1, "segmentation": rle, "iscrowd": 0,
                     "area": int(mask.area(rle)), "score": float(score[k - 1])}
                )  # fmt: skip
            height, width = labels.shape
            data.dataset = {
                "images": [{"id": 1, "height": height, "width": width}],
                "categories": [{"id": 1, "name": "building"}],
                "annotations": found,
            }
            data.createIndex()
            sides.append(data)
        judge = COCOeval(*sides, "segm")
        judge.params.maxDets = [len(scores)]
        judge.params.areaRng = [[0, 1e10]]
        judge.params.areaRngLbl = ["all"]
        judge.evaluate()
        judge.accumulate()
    average = judge.eval["precision"][:, :, 0, 0, 0].mean(axis=1)
    return average.mean(), average[0], average[5]


def panoptic(right: Labels, mapped: Labels) -> tuple[float, float, float]:
    """Return PQ, SQ and RQ of segment numbers (Kirillov et al. 2019, section 4)."""
    pairs = np.zeros((mapped.max() + 1, right.max() + 1))
    np.add.at(pairs, (mapped.ravel(), right.ravel()), 1)
    union = pairs.sum(axis=1)[1:, None] + pairs.sum(axis=0)[None, 1:] - pairs[1:, 1:]
    iou = pairs[1:, 1:] / union
    good = iou[iou > 0.5]
    missed, false = right.max() - len(good), mapped.max() - len(good)
    whole = len(good) + missed / 2 + false / 2
    return good.sum() / whole, good.sum() / max(1, len(good)), len(good) / whole


def agreement(scenes: int) -> dict[str, float]:
    """Return the largest differences to both."""
    ap, pq = 0.0, 0.0
    for seed in range(scenes):
        random = np.random.default_rng(seed)
        right, mapped = scene(random)
        scores = random.choice([0.3, 0.5, 0.7, 0.9], mapped.max())
        found = evaluate(layer(mapped, scores), layer(right, np.zeros(right.max())))
        row = found.table.iloc[0]
        mine = row[["AP", "AP50", "AP75"]].to_numpy(float)
        ap = max(ap, float(np.abs(mine - coco(right, mapped, scores)).max()))
        mine = row[["PQ", "SQ", "RQ"]].fillna(0).to_numpy(float)
        pq = max(pq, float(np.abs(mine - panoptic(right, mapped)).max()))
    return {"max_difference_ap": ap, "max_difference_pq": pq}


def many(count: int, random: np.random.Generator) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
    """Return so many polygons of 24 vertices, and the same moved, resized, lost and invented."""
    side = int(np.ceil(np.sqrt(count)))
    y, x = np.divmod(np.arange(count), side)
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)

    def polygons(radius: NDArray[np.float64], shift: NDArray[np.float64]) -> Any:
        rough = radius[:, None] * random.uniform(0.85, 1.15, (count, 24))
        xy = np.stack((rough * np.cos(angle), rough * np.sin(angle)), axis=2)
        centre = np.column_stack((x, y)) * 12.0 + shift + (500_000, 5_000_000)
        return shapely.polygons(xy + centre[:, None])

    radius = random.uniform(2, 5, count)
    right = polygons(radius, np.zeros((count, 2)))
    mapped = polygons(radius * random.uniform(0.8, 1.2, count), random.normal(0, 0.6, (count, 2)))
    gone = random.random(count) < 0.1
    mapped[gone] = shapely.transform(mapped[gone], lambda xy: xy + 6)
    columns = {"class": "building", "score": np.round(random.random(count), 3)}
    return (
        gpd.GeoDataFrame({"class": ["building"] * count}, geometry=right, crs=CRS),
        gpd.GeoDataFrame(columns, geometry=mapped, crs=CRS),
    )


def cost(count: int) -> dict[str, Any]:
    """Run the command with so many polygons on either side."""
    right, mapped = many(count, np.random.default_rng(0))
    with tempfile.TemporaryDirectory() as name:
        files = [str(Path(name) / f"{k}.gpkg") for k in ("map", "reference")]
        mapped.to_file(files[0])
        right.to_file(files[1])
        del right, mapped
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "geoseg", "evaluate", *files, "--json", "-q"],
            check=True,
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = json.loads(done.stdout)["zones"]["whole"]["classes"]["building"]
    return {
        "polygons": count,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mb": round(used.ru_maxrss / 1024),
        "AP": found["AP"],
        "PQ": found["PQ"],
    }


def cost_of_coco(objects: int) -> dict[str, Any]:
    """Measure pycocotools on about so many masks in one image."""
    side = int(np.sqrt(objects) * 12)
    labels = np.zeros((side, side), np.int32)
    rows, columns = np.divmod(np.arange(objects), side // 12)
    for k, (y, x) in enumerate(zip((rows * 12).tolist(), (columns * 12).tolist(), strict=True), 1):
        labels[y : y + 8, x : x + 8] = k
    moved = np.roll(labels, 1, 1)
    began = time.perf_counter()
    coco(labels, moved, np.linspace(0, 1, int(moved.max())))
    return {"masks": objects, "seconds_coco": round(time.perf_counter() - began, 1)}


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000, help="polygons on either side")
    parser.add_argument("--scenes", type=int, default=30)
    parser.add_argument("--coco", type=int, default=1000, help="masks that pycocotools is given")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    found = {**agreement(asked.scenes), **cost(asked.count), **cost_of_coco(asked.coco)}
    if asked.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:20} {value}")


if __name__ == "__main__":
    main()
