"""Do right-angled outlines come nearer to the buildings than pixels do?

    python benchmarks/regularize.py [--count 300] [--picture FILE.png] [--json]

Buildings of known outline (rectangles, L, T, U and courtyards, turned any way, 6 to 60 m) are drawn
at 0.5 m per pixel, their edges are made rough as those of a segmenter (noise of `--rough` pixels),
and the pixels' outline is regularised: by `geoseg.regularise`, and by the package
`buildingregulariser` where it is installed (with the tolerances that suit pixels of this size).

Per method: `iou` with the truth (mean), `pixels` (mean IoU of the pixels' own outline with it),
`area` (mean of |area / pixels' area - 1|), `vertices` per building, `right` (share of corners of 90
degrees), `kept` (share of outlines that stay as they are), `invalid`, `lost` (buildings whose parts
or holes changed), `ms` per building.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
import shapely.affinity
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from scipy import ndimage

from geoseg.frame import Frame
from geoseg.polygons import outlines
from geoseg.regularise import regularise
from geoseg.runs import runs_of

Shapes = NDArray[np.object_]

GSD_M = 0.5
SIDE_PX = 192


def building(random: np.random.Generator) -> shapely.Polygon:
    """Draw a building in pixels around the middle of a square."""
    w, h = random.uniform(12, 120, 2) * np.array([1, random.uniform(0.4, 1)])
    w, h = max(w, 12), max(h, 12)
    shape = shapely.box(0, 0, w, h)
    kind = random.integers(5)
    a, b = random.uniform(0.3, 0.6, 2)
    if kind == 1:
        shape -= shapely.box(w * a, h * b, w + 1, h + 1)
    elif kind == 2:
        shape -= shapely.box(w * (1 - a / 2), h * b, w + 1, h + 1)
        shape -= shapely.box(-1, h * b, w * a / 2, h + 1)
    elif kind == 3:
        shape -= shapely.box(w * a / 2 + 4, h * b, w * (1 - a / 2) - 4, h + 1)
    elif kind == 4:
        shape -= shapely.box(w * 0.3, h * 0.3, w * 0.7, h * 0.7)
    shape = shapely.affinity.rotate(shape, random.uniform(0, 90), origin="center")
    middle = SIDE_PX / 2 + random.uniform(-0.5, 0.5, 2)
    centre = shape.envelope.centroid
    return shapely.affinity.translate(shape, middle[0] - centre.x, middle[1] - centre.y)


def seen(shape: shapely.Polygon, rough: float, random: np.random.Generator) -> Any:
    """Return the outline of the pixels that a segmenter would answer."""
    inside = rasterize([shape], (SIDE_PX, SIDE_PX)).astype(bool)
    distance = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
    noise = ndimage.gaussian_filter(random.normal(size=inside.shape), 1.5)
    mask = distance + rough * noise / noise.std() > 0
    labels, count = ndimage.label(mask)
    sizes = ndimage.sum_labels(mask, labels, np.arange(1, count + 1))
    mine = (labels == 1 + int(np.argmax(sizes))).astype(np.int32)
    return outlines(runs_of(mine, (0, 0)), 1)[0]


def by_package(found: Shapes, _frame: Frame) -> Shapes:
    """Regularise with `buildingregulariser`."""
    from buildingregulariser import regularize_geodataframe

    table = gpd.GeoDataFrame({"n": range(len(found))}, geometry=found, crs="EPSG:32633")
    options = {"allow_45_degree": False, "allow_circles": False, "num_cores": 1}
    made = regularize_geodataframe(
        table, parallel_threshold=2, simplify_tolerance=1.5, **options
    ).dissolve("n")
    shapes = np.full(len(found), shapely.MultiPolygon(), object)
    shapes[made.index.to_numpy()] = [
        g if g.geom_type == "MultiPolygon" else shapely.MultiPolygon([g]) for g in made.geometry
    ]
    return shapes


def iou(one: Shapes, other: Shapes) -> NDArray[np.float64]:
    """Return how far shapes agree, 0..1."""
    valid = shapely.make_valid(one)
    shared = shapely.area(shapely.intersection(valid, other))
    agreed: NDArray[np.float64] = shared / (shapely.area(valid) + shapely.area(other) - shared)
    return agreed


def corners(shape: Any) -> NDArray[np.float64]:
    """Return the angles of all corners in degrees, 0..180."""
    found = []
    for ring in shapely.get_rings(shapely.get_parts(shape)):
        edge = np.diff(shapely.get_coordinates(ring), axis=0)
        turn = np.roll(edge, -1, axis=0)
        cross = edge[:, 0] * turn[:, 1] - edge[:, 1] * turn[:, 0]
        found.append(np.degrees(np.abs(np.arctan2(cross, (edge * turn).sum(axis=1)))))
    return np.concatenate([np.zeros(0), *found])


def holes(shapes: Shapes) -> list[tuple[int, int]]:
    """Return parts and holes of each."""
    return [(len(s.geoms), sum(len(p.interiors) for p in s.geoms)) for s in shapes]


def measure(method: Callable[[Shapes, Frame], Shapes], pixels: Shapes, truth: Shapes) -> Any:
    """Return figures and shapes of a method."""
    frame = Frame(SIDE_PX, SIDE_PX, Affine(GSD_M, 0, 5e5, 0, -GSD_M, 5e6), None)
    start = time.perf_counter()
    found = method(pixels, frame)
    seconds = time.perf_counter() - start
    angles = np.concatenate([corners(s) for s in found])
    same = [f is p for f, p in zip(found, pixels, strict=True)]
    drift = np.abs(shapely.area(found) / shapely.area(pixels) - 1)
    figures = {
        "iou": iou(found, truth).mean(),
        "pixels": iou(pixels, truth).mean(),
        "with_pixels": iou(found, pixels).min(),
        "area": drift.mean(),
        "area_worst": drift.max(),
        "vertices": np.mean([shapely.get_num_coordinates(s) for s in found]),
        "right": np.mean(np.abs(angles - 90) < 0.1),
        "kept": np.mean(same),
        "invalid": int((~shapely.is_valid(found)).sum()),
        "lost": sum(a != b for a, b in zip(holes(found), holes(pixels), strict=True)),
        "ms": seconds / len(pixels) * 1000,
    }
    return {k: round(float(v), 4) for k, v in figures.items()}, found


def picture(path: str, rows: Sequence[Shapes]) -> None:
    """Draw the truth (green), the pixels (grey) and a result (red), side by side."""
    from PIL import Image, ImageDraw

    scale, across = 3, 6
    side = SIDE_PX * scale
    image = Image.new("RGB", (side * across, side * 3), "white")
    pen = ImageDraw.Draw(image)
    colours = ((190, 190, 190), (0, 150, 0), (220, 0, 0))
    for k in range(across * 3):
        shift = np.array([k % across, k // across]) * side
        for shapes, colour in zip(rows, colours, strict=True):
            for ring in shapely.get_rings(shapely.get_parts(shapes[k])):
                xy = shapely.get_coordinates(ring) * scale + shift
                pen.line([tuple(p) for p in xy.tolist()], fill=colour, width=2)
    image.save(path)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--picture")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    methods: dict[str, Callable[[Shapes, Frame], Shapes]] = {"geoseg": regularise}
    if find_spec("buildingregulariser"):
        methods["buildingregulariser"] = by_package
    results = {}
    for rough in (0.0, 0.7, 1.5):
        random = np.random.default_rng(1)
        truth = np.array([building(random) for _ in range(options.count)], object)
        pixels = np.array([seen(shape, rough, random) for shape in truth], object)
        for name, method in methods.items():
            figures, found = measure(method, pixels, truth)
            results[f"{name}, rough {rough:g} px"] = figures
            if options.picture and rough == 0.7:
                picture(options.picture.replace(".", f"_{name}."), (pixels, truth, found))
    if options.json:
        print(json.dumps(results, indent=1))
        return
    for name, figures in results.items():
        print(f"{name:36}", "  ".join(f"{k} {v:g}" for k, v in figures.items()))


if __name__ == "__main__":
    main()
