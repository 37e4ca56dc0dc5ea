"""What does generalising do to a map? Beside the ways of others, on a drawn land-use map.

    python benchmarks/generalise.py [--polygons 10000] [--tolerance 2px] [--smooth] [--json]

The map covers its raster without gaps. It is generalised as `--simplify` does it, then polygon by
polygon (`shapely.simplify`, as most tools do it), and as one coverage in memory
(`shapely.coverage_simplify`, which has a tolerance for areas and none for distances).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import shapely
from affine import Affine
from numpy.typing import NDArray
from scipy import ndimage

import geoseg
from geoseg.config import Finish
from geoseg.features import BATCH_FEATURES, Drawn
from geoseg.frame import Frame
from geoseg.generalise import Map, edge, generalise, rules
from geoseg.instances import Instances
from geoseg.legend import LandClass, Legend
from geoseg.pixels import Pixels
from geoseg.polygons import outlines
from geoseg.raster import ArrayRaster
from geoseg.runs import runs_of

CLASSES = ("forest", "cropland", "grassland", "settlement", "water", "bare")
LEAST_PX2 = 1e-9
PX2_PER_POLYGON = 141
"""Measured of the drawn map."""

Geometries = NDArray[np.object_]


def land_use(polygons: int, seed: int = 0) -> NDArray[np.int32]:
    """Return (row, col) class indices of a map with about so many polygons."""
    side = round((polygons * PX2_PER_POLYGON) ** 0.5)
    random = np.random.default_rng(seed)
    found = np.zeros((side, side), np.int32)
    strongest = np.full((side, side), -np.inf, np.float32)
    for k in range(len(CLASSES)):
        noise = random.standard_normal((side, side)).astype(np.float32)
        # Large regions with ragged borders.
        cloud = sum(
            weight * ndimage.gaussian_filter(noise, sigma) * sigma
            for sigma, weight in ((12, 1.0), (3, 0.5), (1, 0.12))
        )
        stronger = cloud > strongest
        found[stronger], strongest[stronger] = k, cloud[stronger]
    return found


def regions(classes: NDArray[np.int32]) -> tuple[Geometries, NDArray[np.int64]]:
    """Return the outlines of the 4-connected regions, and their classes."""
    ids, count = np.zeros_like(classes), 0
    of = [np.zeros(0, np.int64)]
    for k in range(len(CLASSES)):
        label, n = ndimage.label(classes == k)
        ids[label > 0] = label[label > 0] + count
        of.append(np.full(n, k))
        count += n
    return outlines(runs_of(ids, (0, 0)), count), np.concatenate(of)


@dataclass(frozen=True)
class Given:
    """A backend that knows the classes: they are the raster."""

    identity: str = "given-classes"
    halo_px: int = 0

    def segment(self, tiles: Sequence[Pixels]) -> list[Instances]:
        """Return one instance per class."""
        return [self._answer(tile.data[0].astype(np.int64)) for tile in tiles]

    def _answer(self, classes: NDArray[np.int64]) -> Instances:
        here = np.unique(classes).tolist()
        boxes = np.tile([0, 0, classes.shape[1], classes.shape[0]], (len(here), 1))
        masks = tuple(classes == k for k in here)
        return Instances(boxes, masks, np.array(here), np.full(len(here), 0.9))


def same_for_two_tilings(classes: NDArray[np.int32], finish: Finish) -> bool:
    """Return whether maps from tiles of two sizes have the same geometries."""
    legend = Legend(classes=tuple(LandClass(name=name, kind="cover") for name in CLASSES))
    raster = ArrayRaster(
        classes[None].astype(np.uint8),
        None,
        Affine(10, 0, 5e5, 0, -10, 5e6),
        "EPSG:32633",
        {"red": 1},
    )
    found = [
        geoseg.segment(
            raster, legend, backend=Given(), tile=tile, overlap=32,
            simplify=finish.simplify, smooth=finish.smooth,
        ).features().geometry.to_wkb().tolist()
        for tile in (256, 700)
    ]  # fmt: skip
    return bool(found[0] == found[1])


def ours(found: Geometries, of: NDArray[np.int64], whole: Map) -> Geometries:
    """Return a generalised map."""

    def drawn() -> Iterator[Drawn]:
        for first in range(0, len(found), BATCH_FEATURES):
            part = slice(first, min(first + BATCH_FEATURES, len(found)))
            number, one = np.arange(part.start, part.stop) + 1, np.ones(part.stop - part.start)
            yield Drawn(number, of[part], one, one.astype(np.int64), one, found[part])

    with tempfile.TemporaryDirectory() as folder:
        done = generalise(drawn(), whole, Path(folder), lambda _done, _of: None)
        return np.concatenate([batch.outline for batch in done])


def faults(found: Geometries, before: Geometries, of: NDArray[np.int64]) -> dict[str, Any]:
    """Return what is wrong with a map that should cover what the original covers."""
    invalid = int((~shapely.is_valid(found)).sum())
    sound = shapely.make_valid(found)
    one, other = shapely.STRtree(sound).query(sound, predicate="intersects")
    one, other = one[one < other], other[one < other]
    shared = shapely.area(shapely.intersection(sound[one], sound[other]))
    x0, y0, x1, y1 = shapely.total_bounds(before)
    missing = shapely.get_parts(
        shapely.difference(shapely.box(x0, y0, x1, y1), shapely.union_all(sound))
    )
    gaps = shapely.area(missing)
    drift = {
        name: 100 * (shapely.area(sound[of == k]).sum() / shapely.area(before[of == k]).sum() - 1)
        for k, name in enumerate(CLASSES)
        if (of == k).any()
    }
    return {
        "invalid": invalid,
        "gaps": int((gaps > LEAST_PX2).sum()),
        "overlaps": int((shared > LEAST_PX2).sum()),
        "gap_px": round(float(gaps.sum()), 3),
        "overlap_px": round(float(shared.sum()), 3),
        "area_drift_percent": {name: round(float(value), 3) for name, value in drift.items()},
        "vertices_after": int(shapely.get_num_coordinates(found).sum()),
    }


def watched(way: Callable[[], Geometries]) -> tuple[Geometries, float, float]:
    """Return what a way gives, its seconds, and by how much memory rose meanwhile, in MiB."""
    process, done = psutil.Process(), threading.Event()
    held = most = process.memory_info().rss

    def watch() -> None:
        nonlocal most
        while not done.wait(0.01):
            most = max(most, process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    start = time.perf_counter()
    found = way()
    seconds = time.perf_counter() - start
    done.set()
    thread.join()
    return found, seconds, (most - held) / 2**20


def measure(polygons: int, finish: Finish) -> dict[str, Any]:
    """Return all figures."""
    classes = land_use(polygons)
    found, of = regions(classes)
    height, width = classes.shape
    frame = Frame(width, height, Affine.identity(), None)
    how = rules(finish, frame)
    none = np.zeros(len(CLASSES), np.int64)
    whole = Map(frame.window, edge(frame.window, None), none, none > 0, how)
    most = how.tolerance + how.rounding
    ways = {
        "geoseg": lambda: ours(found, of, whole),
        "per_polygon": lambda: shapely.simplify(found, most, preserve_topology=True),
        "coverage_simplify": lambda: shapely.coverage_simplify(found, most),
    }
    rows: dict[str, dict[str, Any]] = {}
    for name, way in ways.items():
        done, seconds, rose_mb = watched(way)
        rows[name] = {
            "seconds_per_10000": round(seconds * 1e4 / len(found), 2),
            "peak_mb": round(rose_mb, 1),
            **faults(done, found, of),
        }
    return {
        "polygons": len(found),
        "vertices_before": int(shapely.get_num_coordinates(found).sum()),
        "pixels": height * width,
        **rows.pop("geoseg"),
        "same_for_two_tilings": same_for_two_tilings(classes, finish),
        **rows,
    }


def main() -> None:
    """Print the figures; with --json as one line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--polygons", type=int, default=10000)
    parser.add_argument("--tolerance", default="2px")
    parser.add_argument("--smooth", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure(args.polygons, Finish.build(simplify=args.tolerance, smooth=args.smooth))
    print(json.dumps(found, indent=None if args.json else 2))


if __name__ == "__main__":
    main()
