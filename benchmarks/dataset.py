"""Does each mask of a data set hold the pixels of its polygon, for those who train with it?

    python benchmarks/dataset.py SCENE.tif [--prompt "vegetation, building, water"] [--chips 512]
        [--pictures FOLDER] [--json]

The scene is segmented by `spectral`, and exported with `--to coco` and `--to yolo`. Both are read
back: COCO by pycocotools; YOLO by a reader written from the definition of the format, as
Ultralytics does it (32 bits, points put in between, fractions cut off, `cv2.fillPoly`), and both by
`supervision`. Each mask is held against the polygon drawn by rasterio (a pixel whose centre it
holds), cut to the chip: `masks_*` are compared, `wrong_*` differ in a pixel or more. YOLO has a
line per part: lines are matched with the parts of the polygons. `yolo_by_supervision` are the COCO
masks as `supervision` itself writes and reads them for YOLO, where it does not give up. Pictures
are held against the raster, in the stretch that the data set names. `--pictures` draws the first
chips of each with their masks, to look at.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import cv2
import geopandas as gpd
import numpy as np
import rasterio
import supervision as sv
import yaml
from numpy.typing import NDArray
from pycocotools.coco import COCO
from rasterio.features import rasterize
from rasterio.windows import Window
from scipy import ndimage

import geoseg
from geoseg.dataset import Choices, build

SIDES = ("train", "val")
POINTS = 1000
"""Ultralytics puts points in between until a polygon has so many."""
SHOWN = 4

Mask = NDArray[np.bool_]
Key = tuple[int, bytes]
"""Class, and packed pixels: equal for equal masks of an image."""


def key(number: int, mask: NDArray[Any]) -> Key:
    """Return what tells a mask from others."""
    return number, np.packbits(mask.astype(bool)).tobytes()


def truths(path: Path, scene: Path, names: list[str]) -> Iterator[tuple[str, Window, list[Any]]]:
    """Yield the name of each chip, its place, and class and mask of each polygon in it."""
    layer = gpd.read_file(path, layer="features")
    with rasterio.open(scene) as source:
        side = json.loads((path.parent / "coco" / "geoseg.json").read_text())["chips"]
        digits = len(str(max(source.width, source.height) - 1))
        for y in range(0, source.height, side):
            for x in range(0, source.width, side):
                window = Window(x, y, min(side, source.width - x), min(side, source.height - y))
                near = layer.iloc[layer.sindex.query(_box(source, window))]
                found = []
                for name, shape in zip(near["class"], near.geometry, strict=True):
                    mask = rasterize(
                        [(shape, 1)],
                        out_shape=(window.height, window.width),
                        transform=source.window_transform(window),
                        dtype="uint8",
                    ).astype(bool)
                    if mask.any():
                        found.append((names.index(name), mask))
                yield f"r{y:0{digits}}_c{x:0{digits}}", window, found


def _box(source: Any, window: Window) -> Any:
    from shapely.geometry import box

    return box(*source.window_bounds(window))


def parts(mask: Mask) -> list[Mask]:
    """Return the 4-connected parts of a mask."""
    labels, count = ndimage.label(mask)
    return [labels == k for k in range(1, count + 1)]


def ultralytics(line: str, width: int, height: int) -> tuple[int, Mask]:
    """Return class and mask of a line of YOLO's labels."""
    number, *words = line.split()
    points = np.array(words, np.float32).reshape(-1, 2)
    closed = np.concatenate([points, points[:1]])
    known = np.arange(len(closed))
    places = np.linspace(0, len(closed) - 1, max(POINTS - len(closed), 2))
    places = np.insert(places, np.searchsorted(places, known), known)
    points = np.stack([np.interp(places, known, closed[:, k]) for k in (0, 1)], 1)
    points = points.astype(np.float32) * np.array([width, height], np.float32)
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [points.astype(np.int32)], 1)
    return int(number), mask.astype(bool)


class Folder:
    """Both data sets, opened by all readers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gave_up: list[str] = []
        with redirect_stdout(io.StringIO()):
            self.coco = {side: COCO(folder / "coco" / f"{side}.json") for side in SIDES}
        self.image = {
            (side, Path(image["file_name"]).stem): image
            for side in SIDES
            for image in self.coco[side].dataset["images"]
        }
        self.sv_coco, self.sv_yolo, self.sv_own = {}, {}, {}
        for side in SIDES:
            made = folder / "coco"
            images = made / "images" / side
            data = sv.DetectionDataset.from_coco(
                str(images), str(made / f"{side}.json"), force_masks=True
            )
            self.sv_coco[side] = _by_stem(data)
            self.sv_own[side] = self._own(data, side)
            made = folder / "yolo"
            self.sv_yolo[side] = _by_stem(
                _yolo(made / "images" / side, made / "labels" / side, made / "data.yaml")
            )

    def _own(self, data: Any, side: str) -> dict[str, Any]:
        """Return the masks as supervision writes and reads them; nothing where it gives up."""
        own = self.folder / "own" / side
        try:
            data.as_yolo(annotations_directory_path=str(own), data_yaml_path=str(own / "data.yaml"))
        except ValueError as error:
            self.gave_up.append(f"{side}: {error}")
            return {}
        images = self.folder / "coco" / "images" / side
        return _by_stem(_yolo(images, own, own / "data.yaml"))

    def read(self, side: str, stem: str) -> dict[str, Counter[Key]]:
        """Return the masks of a chip, by reader."""
        image, coco = self.image[side, stem], self.coco[side]
        labels = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
        lines = (self.folder / "yolo" / "labels" / side / f"{stem}.txt").read_text().splitlines()
        found = {
            "coco": Counter(key(a["category_id"] - 1, coco.annToMask(a)) for a in labels),
            "yolo": Counter(key(*ultralytics(t, image["width"], image["height"])) for t in lines),
            "coco_supervision": _keys(self.sv_coco[side][stem]),
            "yolo_supervision": _keys(self.sv_yolo[side][stem]),
        }
        if stem in self.sv_own[side]:
            found["yolo_by_supervision"] = _keys(self.sv_own[side][stem])
        return found


def _yolo(images: Path, labels: Path, config: Path) -> Any:
    return sv.DetectionDataset.from_yolo(str(images), str(labels), str(config), force_masks=True)


def _by_stem(data: Any) -> dict[str, Any]:
    return {Path(path).stem: found for path, found in data.annotations.items()}


def _keys(found: Any) -> Counter[Key]:
    if len(found) == 0:
        return Counter()
    return Counter(key(int(c), m) for c, m in zip(found.class_id, found.mask, strict=True))


def compare(folder: Path, scene: Path, names: list[str]) -> dict[str, Any]:
    """Return how many masks and pictures were compared, and how many are wrong."""
    found, figures = Folder(folder), Counter[str]()
    for stem, window, polygons in truths(folder / "map.gpkg", scene, names):
        side = next((s for s in SIDES if (s, stem) in found.image), None)
        figures["chips"] += 1
        if side is None:
            continue
        whole = Counter(key(*polygon) for polygon in polygons)
        split = Counter(key(c, part) for c, mask in polygons for part in parts(mask))
        for reader, masks in found.read(side, stem).items():
            wanted = whole if reader.startswith("coco") else split
            figures[f"masks_{reader}"] += masks.total()
            figures[f"wrong_{reader}"] += max((masks - wanted).total(), (wanted - masks).total())
        for form in ("coco", "yolo"):
            picture = cv2.imread(str(folder / form / "images" / side / f"{stem}.png"))[..., ::-1]
            figures["pictures"] += 1
            seen = stretched(folder / form, scene, window)
            figures["wrong_pictures"] += not np.array_equal(picture, seen)
    return {**figures, "supervision_gave_up": found.gave_up}


def stretched(made: Path, scene: Path, window: Window) -> NDArray[np.uint8]:
    """Return what a chip should look like, by what its data set says of its stretch."""
    stretch = json.loads((made / "geoseg.json").read_text())["stretch"]
    low, high = (np.array(stretch[name])[:, None, None] for name in ("low", "high"))
    with rasterio.open(scene) as source:
        data = source.read(stretch["bands"], window=window).astype(float)
        valid = source.dataset_mask(window=window) > 0
    scaled = np.rint(np.clip((data - low) * (255 / (high - low)), 0, 255))
    return np.moveaxis(np.where(valid, scaled, 0), 0, -1).astype(np.uint8)


def show(folder: Path, out: Path) -> None:
    """Draw the first chips of each data set with their masks."""
    out.mkdir(exist_ok=True)
    for form in ("coco", "yolo"):
        for side in SIDES:
            made = folder / form
            if form == "coco":
                data = sv.DetectionDataset.from_coco(
                    str(made / "images" / side), str(made / f"{side}.json"), force_masks=True
                )
            else:
                data = _yolo(made / "images" / side, made / "labels" / side, made / "data.yaml")
            for path, image, found in list(data)[:SHOWN]:
                drawn = sv.MaskAnnotator(opacity=0.45).annotate(image.copy(), found)
                beside = np.hstack([image, drawn])
                cv2.imwrite(str(out / f"{form}_{side}_{Path(path).name}"), beside)


def main() -> None:
    """Segment, export, read back, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scene", type=Path)
    parser.add_argument("--prompt", default="vegetation, building, water")
    parser.add_argument("--chips", type=int, default=512)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        run = geoseg.segment(asked.scene, asked.prompt, out=folder / "map.gpkg")
        names = [c.name for c in geoseg.Legend.parse(asked.prompt).classes]
        figures: dict[str, Any] = {"polygons": run.count}
        for form in ("coco", "yolo"):
            start = time.perf_counter()
            made = build(folder / "map.gpkg", form, folder / form, Choices(chips=asked.chips))
            figures[f"seconds_{form}"] = round(time.perf_counter() - start, 2)
        figures |= {"images": made.images, "labels": made.labels, "left_out": made.left_out}
        config = yaml.safe_load((folder / "yolo" / "data.yaml").read_text())
        figures["names_right"] = list(config["names"].values()) == names
        figures |= compare(folder, asked.scene, names)
        if asked.pictures is not None:
            show(folder, asked.pictures)
    if asked.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:26} {value}")


if __name__ == "__main__":
    main()
