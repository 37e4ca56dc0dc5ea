"""How well does the segmenter without weights outline what is pointed at? On truth of real scenes.

    python benchmarks/clicks.py [--data DIR] [--kind buildings ...] [--count 60] [--clicks 5]
                                [--png DIR] [--json]

`--data` is a folder with `buildings/`, `crowns/`, `forest/`, `water/` and `wetland_naip/` (see
DATA.md of the benchmark data); parts that are absent are left out. The default is the variable
GEOSEG_DATA. Truth: polygons of buildings, boxes of crowns (the box of the mask is compared),
components of the other masks; ponds are where a water index of green and infrared says so.

Of each kind every second scene was looked at while the weights in geoseg/backends/growing were
fitted (`fitted`), the others were not (`aside`). Rows, each as median of the intersection over
union, its mean, and the shares above 0.5 and 0.7:

    click      one click well inside; `best of` is the best candidate of those that are given
    click k    after k clicks, each in the middle of the largest error
    flood      pixels within CIELAB distance --tolerance of the clicked one that hang together
    ift        scipy's watershed_ift from the click and from the edge of the picture
    box        the object's box; box+-10%: its sides are wrong by up to so much
    filled     the box itself; ellipse: the ellipse in it
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
import warnings
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rasterio.errors import NotGeoreferencedWarning
from rasterio.features import rasterize
from rasterio.windows import Window
from scipy import ndimage

from geoseg.backends.detections import Picture
from geoseg.backends.growing import Grow
from geoseg.backends.growing.colours import lab, smooth, steepness
from geoseg.backends.outlining import Cutout
from geoseg.backends.prompts import Prompt

Mask = NDArray[np.bool_]
Point = tuple[float, float]

SIDE = 1024
LEAST_PX = 150
JITTER = 0.1
GROW = Grow()


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture and the objects in it."""

    kind: str
    name: str
    fitted: bool
    picture: Picture
    truth: list[Mask]
    boxes_only: bool = False


def components(mask: Mask, least: int, most: int = 60_000) -> list[Mask]:
    """Return the connected regions of a mask, (row, col) each, of some size."""
    label, _ = ndimage.label(mask)
    size = np.bincount(label.ravel())
    kept = np.flatnonzero((size >= least) & (size <= most))
    return [label == k for k in kept if k]


def buildings(folder: Path) -> Iterator[Scene]:
    """Yield cuts of 1024 px of drone mosaics with the buildings that lie in them."""
    for number, path in enumerate(sorted(folder.glob("buildings/*.tif"))):
        with rasterio.open(path) as image:
            shapes = gpd.read_file(path.with_suffix(".geojson")).to_crs(image.crs).geometry
            for y in range(0, image.height, SIDE):
                for x in range(0, image.width, SIDE):
                    cut = Window(x, y, min(SIDE, image.width - x), min(SIDE, image.height - y))
                    picture = np.moveaxis(image.read([1, 2, 3], window=cut), 0, 2)
                    x0, y0, x1, y1 = rasterio.windows.bounds(cut, image.transform)
                    b = shapes.bounds
                    whole = shapes[
                        (b.minx >= x0) & (b.miny >= y0) & (b.maxx <= x1) & (b.maxy <= y1)
                    ]
                    place = image.window_transform(cut)
                    masks = [
                        rasterize([shape], picture.shape[:2], transform=place) > 0
                        for shape in whole
                    ]
                    truth = [mask for mask in masks if mask.sum() >= LEAST_PX]
                    name = f"{path.stem}_{x}_{y}"
                    yield Scene("buildings", name, number % 2 == 0, picture, truth)


def crowns(folder: Path) -> Iterator[Scene]:
    """Yield aerial pictures with boxes of tree crowns."""
    for number, path in enumerate(sorted(folder.glob("crowns/*.tif"))):
        with rasterio.open(path) as image:
            picture = np.moveaxis(image.read([1, 2, 3]), 0, 2)
        names = ("xmin", "ymin", "xmax", "ymax")
        page = path.with_suffix(".xml")
        if page.exists():
            rows = [
                {child.tag: child.text for child in box}
                for box in ET.parse(page).getroot().iter("bndbox")  # noqa: S314
            ]
        else:
            rows = list(csv.DictReader(path.with_suffix(".csv").open()))
        truth = []
        for row in rows:
            x0, y0, x1, y1 = (max(0, int(float(row[name]))) for name in names)
            mask = np.zeros(picture.shape[:2], bool)
            mask[y0:y1, x0:x1] = True
            truth += [mask] if mask.sum() >= LEAST_PX else []
        yield Scene("crowns", path.stem, number % 2 == 1, picture, truth, boxes_only=True)


def clearings(folder: Path) -> Iterator[Scene]:
    """Yield Sentinel-2 pictures of forest with what is not."""
    for number, path in enumerate(sorted(folder.glob("forest/images/*.tiff"))):
        with rasterio.open(path) as image:
            picture = np.moveaxis(image.read([1, 2, 3]), 0, 2)
        page = Image.open(folder / "forest" / "masks" / f"{path.stem}.png")
        mask = np.asarray(page)[: picture.shape[0], : picture.shape[1]] == 2
        truth = components(ndimage.binary_opening(mask, iterations=3), 300)
        yield Scene("clearings", path.stem, number % 2 == 1, picture, truth)


def water(folder: Path) -> Iterator[Scene]:
    """Yield a Sentinel-2 picture with its water."""
    path = folder / "water" / "sentinel2.npz"
    if path.exists():
        stored = np.load(path)
        bands = stored["img"][..., [2, 1, 0]].astype(float)
        low, high = np.percentile(bands, (2, 98), axis=(0, 1))
        picture = (np.clip((bands - low) / (high - low), 0, 1) * 255).astype(np.uint8)
        truth = components(stored["msk"].squeeze() == 1, 12)
        yield Scene("water", "sentinel2", fitted=False, picture=picture, truth=truth)


def ponds(folder: Path) -> Iterator[Scene]:
    """Yield NAIP pictures with where green is brighter than infrared."""
    for number, path in enumerate(sorted(folder.glob("wetland_naip/*.tif"))):
        with rasterio.open(path) as image:
            red, green, blue, nir = image.read([1, 2, 3, 4])
        wet = (green > nir) & (red.astype(int) + green + nir > 0)
        truth = components(ndimage.binary_opening(wet), 60, 40_000)
        yield Scene("ponds", path.stem, number % 2 == 1, np.dstack((red, green, blue)), truth)


KINDS: dict[str, Callable[[Path], Iterator[Scene]]] = {
    f.__name__: f for f in (buildings, crowns, clearings, water, ponds)
}


def full(cutout: Cutout | None, shape: tuple[int, ...]) -> Mask:
    """Return a mask of the picture (row, col)."""
    mask = np.zeros(shape[:2], bool)
    if cutout is not None:
        x0, y0, x1, y1 = cutout.box
        mask[y0:y1, x0:x1] = cutout.mask
    return mask


def bounds(mask: Mask) -> tuple[int, int, int, int]:
    """Return x0, y0, x1, y1 of a mask."""
    y, x = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return (int(x[0]), int(y[0]), int(x[-1]) + 1, int(y[-1]) + 1) if len(x) else (0, 0, 0, 0)


def iou(found: Mask, truth: Mask, *, boxes_only: bool) -> float:
    """Return the intersection over union of masks, or of their boxes."""
    if boxes_only:
        x0, y0, x1, y1 = bounds(found)
        found = np.zeros_like(found)
        found[y0:y1, x0:x1] = True
    return float(np.count_nonzero(found & truth) / np.count_nonzero(found | truth))


def depth(mask: Mask) -> tuple[NDArray[np.float64], int, int]:
    """Return how far pixels in the bounds of a mask lie from its edge, and where the bounds are."""
    x0, y0, x1, y1 = bounds(mask)
    return ndimage.distance_transform_edt(np.pad(mask[y0:y1, x0:x1], 1))[1:-1, 1:-1], x0, y0


def deepest(mask: Mask) -> tuple[Point, float]:
    """Return x, y of the pixel farthest from the edge of a mask, and how far it is."""
    if not mask.any():
        return (0.0, 0.0), 0.0
    away, x0, y0 = depth(mask)
    y, x = np.unravel_index(int(away.argmax()), away.shape)
    return (x0 + float(x) + 0.5, y0 + float(y) + 0.5), float(away.max())


def well_inside(mask: Mask, random: np.random.Generator) -> Point:
    """Return a pixel that lies at least 0.6 as deep as the deepest."""
    away, x0, y0 = depth(mask)
    y, x = np.nonzero(away >= 0.6 * away.max())
    k = random.integers(len(y))
    return x0 + float(x[k]) + 0.5, y0 + float(y[k]) + 0.5


def said(clicks: Sequence[tuple[Point, bool]]) -> Prompt:
    """Return clicks as a prompt."""
    return Prompt(
        np.array([point for point, _ in clicks], np.float32), np.array([sign for _, sign in clicks])
    )


def flood(planes: NDArray[np.float32], point: Point, tolerance: float) -> Mask:
    """Return what hangs together with a pixel and is of about its colour."""
    x, y = int(point[0]), int(point[1])
    away = np.sqrt(((planes - planes[:, y : y + 1, x : x + 1]) ** 2).sum(axis=0))
    label, _ = ndimage.label(away <= tolerance)
    return ndimage.binary_fill_holes(label == label[y, x])


def ift(height: NDArray[np.uint8], point: Point) -> Mask:
    """Return what a marker at a pixel wins from one along the edge of the picture."""
    markers = np.zeros(height.shape, np.int8)
    markers[0] = markers[-1] = markers[:, 0] = markers[:, -1] = 2
    markers[int(point[1]), int(point[0])] = 1
    return ndimage.watershed_ift(height, markers) == 1


class Table:
    """Figures by kind, part and row."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def timed(self, what: str, do: Callable[[], Any]) -> Any:
        """Do something and remember how long it took this process."""
        start = time.process_time()
        done = do()
        self.seconds[what].append(time.process_time() - start)
        return done

    def summary(self) -> dict[str, Any]:
        """Return all figures."""
        rows = [
            {
                "kind": kind,
                "part": part,
                "row": row,
                "count": len(values),
                "median": round(float(np.median(values)), 3),
                "mean": round(float(np.mean(values)), 3),
                "above_0.5": round(float(np.mean(np.array(values) > 0.5)), 3),
                "above_0.7": round(float(np.mean(np.array(values) > 0.7)), 3),
            }
            for (kind, part, row), values in self.rows.items()
        ]
        seconds = {
            k: {"median": round(float(np.median(v)), 3), "max": round(max(v), 3)}
            for k, v in self.seconds.items()
        }
        return {"rows": rows, "cpu_seconds": seconds}


def measure(scene: Scene, table: Table, options: argparse.Namespace) -> None:
    """Point at each object of a scene in all ways."""
    random = np.random.default_rng(0)
    shape = scene.picture.shape[:2]
    planes = lab(scene.picture)
    steep = steepness(smooth(planes, 1.0))
    height = np.clip(steep * 8, 0, 255).astype(np.uint8)
    seen = table.timed(f"look {shape[1]}x{shape[0]}", lambda: GROW.look(scene.picture))
    drawn: list[tuple[Mask, Mask, Mask, Point]] = []

    def note(row: str, found: Mask, truth: Mask) -> float:
        value = iou(found, truth, boxes_only=scene.boxes_only)
        part = "fitted" if scene.fitted else "aside"
        table.rows[scene.kind, part, row].append(value)
        return value

    def ask(prompt: Prompt, what: str) -> list[Mask]:
        found = table.timed(f"ask {what}", lambda: GROW.ask(seen, prompt, shape))
        return [full(cutout, shape) for cutout in found] or [np.zeros(shape, bool)]

    for truth in scene.truth:
        point = well_inside(truth, random)
        masks = ask(said([(point, True)]), "click")
        note("click", masks[0], truth)
        best = max(masks, key=lambda m: iou(m, truth, boxes_only=scene.boxes_only))
        note("best of", best, truth)
        note("flood", flood(planes, point, options.tolerance), truth)
        note("ift", ift(height, point), truth)
        x0, y0, x1, y1 = bounds(truth)
        box = np.array((x0, y0, x1, y1), np.float32)
        if not scene.boxes_only:
            boxed = ask(Prompt(box=box), "box")[0]
            note("box", boxed, truth)
            sides = np.array((x1 - x0, y1 - y0) * 2)
            loose = (box + random.uniform(-JITTER, JITTER, 4) * sides).astype(np.float32)
            note("box+-10%", ask(Prompt(box=loose), "box")[0], truth)
            rows, cols = np.mgrid[: shape[0], : shape[1]] + 0.5
            inside = (rows > y0) & (rows < y1) & (cols > x0) & (cols < x1)
            note("filled", inside, truth)
            u, v = (2 * (cols - x0) / (x1 - x0) - 1), (2 * (rows - y0) / (y1 - y0) - 1)
            note("ellipse", u * u + v * v <= 1, truth)
            refine(truth, point, ask, note, options.clicks)
        else:
            boxed = ask(Prompt(box=box), "box")[0]
        drawn.append((truth, masks[0], boxed, point))
    if options.png and drawn:
        options.png.mkdir(parents=True, exist_ok=True)
        picture(scene, drawn).save(options.png / f"{scene.kind}_{scene.name}.png")


def refine(
    truth: Mask,
    point: Point,
    ask: Callable[[Prompt, str], list[Mask]],
    note: Callable[[str, Mask, Mask], float],
    count: int,
) -> None:
    """Click, again and again, in the middle of the largest error."""
    clicks = [(point, True)]
    found = np.zeros_like(truth)
    for k in range(1, count + 1):
        if len(clicks) == k:
            found = ask(said(clicks), "further click" if k > 1 else "click")[0]
        if k > 1:
            note(f"click {k}", found, truth)
        missing, wrong = deepest(truth & ~found), deepest(found & ~truth)
        if max(missing[1], wrong[1]) >= 1:
            more = missing[1] >= wrong[1]
            clicks.append((missing[0] if more else wrong[0], more))


def picture(scene: Scene, drawn: Sequence[tuple[Mask, Mask, Mask, Point]]) -> Image.Image:
    """Draw truth (white), the mask of a click (red) and of a box (cyan) on a scene."""
    canvas = scene.picture.copy()
    for truth, click, box, _ in drawn:
        for mask, colour in ((truth, (255, 255, 255)), (box, (0, 255, 255)), (click, (255, 0, 0))):
            canvas[mask & ~ndimage.binary_erosion(mask, iterations=2)] = colour
    image = Image.fromarray(canvas)
    pen = ImageDraw.Draw(image)
    for *_, (x, y) in drawn:
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=(255, 255, 0), outline=(0, 0, 0))
    return image


def some(scenes: Sequence[Scene], count: int) -> list[Scene]:
    """Leave out objects evenly until each part of a kind has at most so many."""
    chosen = []
    for fitted in (True, False):
        mine = [s for s in scenes if s.fitted == fitted]
        total = sum(len(s.truth) for s in mine)
        wanted = set(np.linspace(0, total - 1, min(count, total)).astype(int).tolist())
        start = 0
        for scene in mine:
            truth = [t for k, t in enumerate(scene.truth, start) if k in wanted]
            start += len(scene.truth)
            if truth:
                chosen.append(
                    Scene(scene.kind, scene.name, fitted, scene.picture, truth, scene.boxes_only)
                )
    return chosen


def main() -> int:
    """Measure and print."""
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("GEOSEG_DATA"))
    parser.add_argument("--kind", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--count", type=int, default=60, help="objects per kind and part")
    parser.add_argument("--clicks", type=int, default=5)
    parser.add_argument("--tolerance", type=float, default=10.0, help="of flood, in CIELAB")
    parser.add_argument("--png", type=Path, help="a folder for pictures of what was found")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.data is None or not Path(options.data).is_dir():
        print("skipped: no data; give --data DIR or set GEOSEG_DATA", file=sys.stderr)
        return 0
    table = Table()
    for kind in options.kind:
        scenes = some(list(KINDS[kind](Path(options.data))), options.count)
        if not scenes:
            print(f"skipped {kind}: not in {options.data}", file=sys.stderr)
        for scene in scenes:
            measure(scene, table, options)
    found = table.summary()
    if options.json:
        print(json.dumps(found))
        return 0
    for row in found["rows"]:
        place = f"{row['kind']:10} {row['part']:7} {row['row']:10} {row['count']:4}"
        print(
            f"{place}  median {row['median']:.2f}  mean {row['mean']:.2f}"
            f"  >0.5 {row['above_0.5']:.2f}  >0.7 {row['above_0.7']:.2f}"
        )
    for what, seconds in found["cpu_seconds"].items():
        print(f"{what}: {seconds['median']:.3f} s of one core, at most {seconds['max']:.3f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
