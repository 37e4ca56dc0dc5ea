"""Is every edit of a real scene found, to the hectare, and does memory stay flat?

    python benchmarks/change.py [--scene RASTER --prompt WORDS] [--sizes 2048,4096] [--json]

Edits: a real scene is segmented once; its classes are the truth of the earlier date. Rectangles of
it are made another class, and huts are put on it of which some appear, go, grow, shrink, move,
split or merge: the later date. Both are mapped by a model that is perfect inside a tile, and
compared. The truth in hectares is a sum of the geodesic areas of the pixels of both label images.

Memory: maps of blocks, of which every seventh changes class, and of a hut on each, are compared at
each size, in a process of its own. The truth in hectares is a sum of geodesic areas of blocks.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from affine import Affine
from scaling import alone, watched
from scipy import ndimage

import geoseg
from geoseg import Instances, LandClass, Legend
from geoseg.analysis import change
from geoseg.analysis.burnt import burnt_classes
from geoseg.analysis.classed import open_classed
from geoseg.frame import Frame, horizontal_wkt
from geoseg.pixels import Pixels
from geoseg.prepare import open_source

ROOT = Path(__file__).parents[1]
SCENE = ROOT / "sample_tiles" / "multispectral_coast_olinda.tif"
PROMPT = "vegetation, water, built-up"
NAMES = ("first", "second", "third")

BLOCK = 256
HUT = 24


class Perfect:
    """Knows the cover of each pixel from band 1, and each hut by its number in band 2."""

    identity = "perfect"
    halo_px = 0

    def segment(self, tiles: Sequence[Pixels]) -> list[Instances]:
        """Return a mask per cover, and one per hut."""
        return [self.answer(tile) for tile in tiles]

    def answer(self, tile: Pixels) -> Instances:
        """Return what is in a tile."""
        covers, huts = tile.data[0].astype(int), tile.data[1].astype(int)
        whole = (slice(0, covers.shape[0]), slice(0, covers.shape[1]))
        found = [(whole, covers == k, k - 1) for k in np.unique(covers[covers > 0]).tolist()]
        last = int(tile.data[2].flat[0])
        found += [
            (place, huts[place] == number, last)
            for number, place in enumerate(ndimage.find_objects(huts), 1) if place is not None
        ]  # fmt: skip
        if not found:
            return Instances.empty()
        boxes = [(c.start, r.start, c.stop, r.stop) for (r, c), *_ in found]
        classes = np.array([k for *_, k in found], np.int32)
        masks = [mask for _, mask, _ in found]
        return Instances(np.array(boxes, np.int32), masks, classes, np.ones(len(found), np.float32))


def legend_of(covers: Sequence[str]) -> Legend:
    """Return covers, and huts, which are counted."""
    classes = [LandClass(name=name, kind="cover") for name in covers]
    return Legend(classes=(*classes, LandClass(name="hut", kind="object")))


def write(path: Path, frame: Frame, strips: Any, covers: int) -> None:
    """Write covers and huts, given as rows of both from the top, as a raster."""
    profile = {
        "driver": "GTiff", "width": frame.width, "height": frame.height, "count": 3,
        "dtype": "uint16", "crs": rasterio.CRS.from_wkt(frame.crs), "transform": frame.transform,
        "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "zlevel": 1,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as target:
        for y0, data in strips:
            bands = np.concatenate([data, np.full_like(data[:1], covers)])
            place = rasterio.windows.Window(0, y0, frame.width, data.shape[1])
            target.write(bands.astype(np.uint16), window=place)


def mapped(path: Path, covers: Sequence[str]) -> Path:
    """Segment a raster of `write`; returns the map."""
    out = path.with_suffix(".gpkg")
    geoseg.segment(path, legend_of(covers), backend=Perfect(), out=out, tile=1024, overlap=128,
                   bands="red=1,green=2,blue=3")  # fmt: skip
    return out


# ------------------------------------------------------------------------------------- edits


def edited(covers: np.ndarray[Any, Any], seed: int) -> tuple[Any, Any, Counter[str]]:
    """Return covers and huts before and after, and what became of huts."""
    random = np.random.default_rng(seed)
    later = covers.copy()
    kinds = int(covers.max())
    height, width = covers.shape
    for _ in range(25):
        y, x = random.integers(0, height), random.integers(0, width)
        h, w = random.integers(5, 60, 2)
        # 0 is ground of no class: it is lost and gained, too.
        later[y : y + h, x : x + w] = random.integers(0, kinds + 1)
    huts = np.zeros((2, height, width), np.int64)
    wanted: Counter[str] = Counter()
    names = ("same", "gone", "appeared", "grown", "shrunk", "moved", "split", "merged", "far")
    cells = [(y, x) for y in range(2, height - 34, 34) for x in range(2, width - 34, 34)]
    for number, (y, x) in enumerate(cells):
        _edit(huts, names[number % len(names)], (y, x), 3 * number + 1, wanted)
    return (covers, later), huts, wanted


def _edit(
    huts: np.ndarray[Any, Any], name: str, place: tuple[int, int], first: int, wanted: Counter[str]
) -> None:
    """Put a hut of 10 x 10 pixels into a cell of 32 x 32, before and after."""
    y, x = place
    half = [(0, 10, 0, 4), (0, 10, 5, 10)]
    before, after = {
        "same": ([(0, 10, 0, 10)], [(0, 10, 0, 10)]),
        "gone": ([(0, 10, 0, 10)], []),
        "appeared": ([], [(0, 10, 0, 10)]),
        "grown": ([(0, 10, 0, 10)], [(0, 10, 0, 13)]),
        "shrunk": ([(0, 10, 0, 10)], [(0, 10, 0, 7)]),
        "moved": ([(0, 10, 0, 10)], [(0, 10, 4, 14)]),
        "split": ([(0, 10, 0, 10)], half),
        "merged": (half, [(0, 10, 0, 10)]),
        "far": ([(0, 10, 0, 10)], [(20, 30, 20, 30)]),
    }[name]
    for date, boxes in enumerate((before, after)):
        for k, (y0, y1, x0, x1) in enumerate(boxes):
            huts[date, y + y0 : y + y1, x + x0 : x + x1] = first + k
    told = {"far": ("gone", "appeared"), "split": ("split",) * 2, "merged": ("merged",) * 2}
    wanted.update(told.get(name, (name,)))


def edits(scene: Path, prompt: str, bands: str | None, folder: Path) -> dict[str, Any]:
    """Compare a real scene with itself, edited."""
    raster = open_source(scene, bands, None)
    map_of = folder / "scene.gpkg"
    geoseg.segment(scene, prompt, out=map_of, bands=bands)
    found = open_classed(map_of, "MAP")
    names = [c.name for c in found.classes]
    covers = burnt_classes(found, raster.frame, folder / "c.tif").read(raster.frame.window)
    dates, huts, wanted = edited(covers.astype(np.int64), 1)
    maps = []
    for k in range(2):
        path = folder / f"date{k}.tif"
        write(path, raster.frame, [(0, np.stack([dates[k], huts[k]]))], len(names))
        maps.append(mapped(path, names))
    start = time.perf_counter()
    done = change(*maps, out=folder / "change.gpkg")
    seconds = time.perf_counter() - start
    codes = [np.where(h > 0, len(names) + 1, c) for c, h in zip(dates, huts, strict=True)]
    truth = _crosstab(raster.frame, codes, len(names) + 2)
    matrix = _numbered(done.matrix, names)
    drawn = done.features().groupby(["before", "after"])["area_ha"].sum()
    changed = truth[~np.eye(len(truth), dtype=bool)]
    return {
        "scene": scene.name,
        "classes": names,
        "matrix_worst_relative_error": _worst(matrix, truth),
        "polygons_ha_relative_error": float(abs(drawn.sum() / changed.sum() - 1)),
        "changed_ha": round(float(changed.sum()), 3),
        "polygons": done.count,
        "objects_wanted": dict(sorted(wanted.items())),
        "objects_found": dict(sorted(done.objects.items())),
        "every_object_right": dict(wanted) == dict(done.objects),
        "coregistration": str(done.shift),
        "seconds": round(seconds, 2),
    }


def _crosstab(frame: Frame, codes: Sequence[np.ndarray[Any, Any]], n: int) -> Any:
    """Return hectares by code before and after."""
    y, x = np.indices(codes[0].shape)
    area = frame.pixels_m2(np.column_stack((x.ravel(), y.ravel())) + 0.5) / 1e4
    pair = codes[0].ravel() * n + codes[1].ravel()
    return np.bincount(pair.astype(int), area, n * n).reshape(n, n)


def _numbered(matrix: Any, names: Sequence[str]) -> Any:
    """Return a matrix in the order of codes: unmapped, covers, huts."""
    order = ["unmapped", *names, "hut"]
    return matrix.loc[order, order].to_numpy()


def _worst(found: Any, truth: Any) -> float:
    some = truth > 0
    if found[~some].any():
        return float("inf")
    return float(np.abs(found[some] / truth[some] - 1).max())


# ------------------------------------------------------------------------------------ memory


def frame_of(size: int) -> Frame:
    """Return a grid of 10 m pixels."""
    wkt = horizontal_wkt("EPSG:32633")
    return Frame(size, size, Affine(10, 0, 400_000, 0, -10, 5_200_000), wkt)


def blocks(size: int, date: int) -> tuple[Any, Any]:
    """Return cover (1..3) and whether there is a hut, per block of a date."""
    n = -(-size // BLOCK)
    y, x = np.indices((n, n))
    covers = (x * 5 + y * 3) % 3 + 1
    if date:
        covers = np.where((x + 3 * y) % 7 == 0, covers % 3 + 1, covers)
    huts = (x + y) % 2 == 0 if date == 0 else (x + y) % 5 != 0
    return covers, huts


def block_rows(size: int, date: int) -> Any:
    """Yield rows of blocks of covers and huts, from the top."""
    covers, huts = blocks(size, date)
    for row in range(len(covers)):
        height = min(BLOCK, size - row * BLOCK)
        line = np.repeat(covers[row], BLOCK)[:size]
        strip = np.zeros((2, height, size), np.int64)
        strip[0] = line
        for column in np.flatnonzero(huts[row]).tolist():
            x = column * BLOCK + 100
            strip[1, 100 : 100 + HUT, x : x + HUT] = row * len(covers) + column + 1
        yield row * BLOCK, strip


def block_truth(size: int) -> Any:
    """Return hectares by code before and after, of outlines."""
    frame = frame_of(size)
    (one, huts1), (other, huts2) = (blocks(size, date) for date in (0, 1))
    y, x = (v.ravel() * BLOCK for v in np.indices(one.shape))
    whole = frame.measure(shapely.box(x, y, np.minimum(x + BLOCK, size),
                                      np.minimum(y + BLOCK, size)))[0] / 1e4  # fmt: skip
    hut = frame.measure(shapely.box(x + 100, y + 100, x + 100 + HUT, y + 100 + HUT))[0] / 1e4
    truth = np.zeros((5, 5))
    for part, codes in (
        (whole - hut, (one.ravel(), other.ravel())),
        (hut, (np.where(huts1, 4, one).ravel(), np.where(huts2, 4, other).ravel())),
    ):
        np.add.at(truth, codes, part)
    return truth


def block_map(size: int, date: int, folder: Path) -> Path:
    """Return the map of a date."""
    path = folder / f"size{size}_{date}.tif"
    write(path, frame_of(size), block_rows(size, date), len(NAMES))
    return mapped(path, NAMES)


def memory(size: int, folder: Path) -> dict[str, Any]:
    """Compare maps of blocks with the command, and look at its peak."""
    maps = [alone(block_map, size, date, folder) for date in (0, 1)]
    command = [sys.executable, "-m", "geoseg.cli", "change", *map(str, maps), "--quiet", "--json"]
    command += ["--out", str(folder / f"change{size}.gpkg")]
    report = watched(command)
    seconds = report["wall_s"]
    order = ["unmapped", *NAMES, "hut"]
    matrix = np.array([[report["matrix_ha"][a][b] for b in order] for a in order])
    for path in maps:
        path.with_suffix(".tif").unlink()
    return {
        "size": size,
        "peak_mb": round(report["peak_mb"], 1),
        "seconds": round(seconds, 1),
        "megapixels_per_s": round(size * size / 1e6 / seconds, 1),
        "polygons": report["features"],
        "objects": report["objects"],
        "matrix_worst_relative_error": _worst(matrix, block_truth(size)),
    }


def main() -> None:
    """Print what was found, and with --json all of it as the last line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--scene", type=Path, default=SCENE)
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--bands")
    parser.add_argument("--sizes", default="2048,4096")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report: dict[str, Any] = {}
        report["edits"] = alone(edits, args.scene, args.prompt, args.bands, folder)
        print(report["edits"], flush=True)
        report["memory"] = []
        for size in map(int, filter(None, args.sizes.split(","))):
            report["memory"].append(memory(size, folder))
            print(report["memory"][-1], flush=True)
    if args.json:
        print(json.dumps(report))


if __name__ == "__main__":
    main()
