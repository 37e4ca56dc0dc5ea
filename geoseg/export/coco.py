"""How does a map become labels that train models? COCO, with masks as run lengths.

A mask holds the pixels whose centre the polygon holds. It is never drawn: its run lengths come from
the outline.

One image is the whole raster, or each window of a lattice (`--chips`); masks, boxes and areas are
in pixels of their image. Features keep their `score`; `feature` is their id in the map. A window
that holds nothing is an image, too: that nothing is there is a label.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from geoseg.errors import ConfigError, MissingDependencyError
from geoseg.export.cog import class_values, in_pixels
from geoseg.export.read import Map
from geoseg.export.single import put_bytes
from geoseg.export.sweep import Ints, runs_down
from geoseg.export.write import Place
from geoseg.frame import Frame
from geoseg.legend import Legend
from geoseg.window import Window

log = logging.getLogger(__name__)

MOST_PIXELS = 2**32 - 1
"""pycocotools counts the pixels of an image in 32 bits."""

LEAST_CHIP_PX = 16


@dataclass(frozen=True, slots=True)
class Images:
    """The images of a data set: windows of a raster, row by row."""

    frame: Frame
    """The raster's."""
    side_px: int
    """Side of a window; those at the right and the bottom may be smaller."""
    name: str
    """File name of the raster."""

    @property
    def across(self) -> int:
        """Images per row."""
        return -(-self.frame.width // self.side_px)

    def __len__(self) -> int:
        return self.across * -(-self.frame.height // self.side_px)

    def window(self, number: int) -> Window:
        """Return the window of an image."""
        row, column = divmod(number, self.across)
        x, y = column * self.side_px, row * self.side_px
        return Window(x, y, x + self.side_px, y + self.side_px).intersection(self.frame.window)

    def touched(self, bounds: tuple[float, float, float, float]) -> Iterator[int]:
        """Yield the images that bounds in pixels may reach into."""
        x0, y0, x1, y1 = (int(np.floor(v)) for v in bounds)
        rows = len(self) // self.across
        for row in range(max(0, y0 // self.side_px), min(rows, y1 // self.side_px + 1)):
            for col in range(max(0, x0 // self.side_px), min(self.across, x1 // self.side_px + 1)):
                yield row * self.across + col


def check_chips(chips: int | None) -> None:
    """Refuse images of no useful size.

    Raises:
        ConfigError: They are too small.
    """
    if chips is not None and chips < LEAST_CHIP_PX:
        raise ConfigError(f"--chips {chips} px is too small; at least {LEAST_CHIP_PX}")


def images_of(frame: Frame, chips: int | None, name: str) -> Images:
    """Return the images of a raster.

    Raises:
        ConfigError: Chips of no useful size, or an image of more pixels than COCO can count.
    """
    check_chips(chips)
    side = max(frame.width, frame.height) if chips is None else chips
    if min(side, frame.width) * min(side, frame.height) > MOST_PIXELS:
        raise ConfigError(
            f"an image of {min(side, frame.width)} x {min(side, frame.height)} pixels is more than "
            f"COCO can count ({MOST_PIXELS}); pass --chips 1024"
        )
    return Images(frame, side, name)


def write_coco(final: Path, found: Map, images: Images, place: Place) -> None:
    """Write a map as COCO labels.

    Raises:
        MissingDependencyError: pycocotools is not installed.
        OutputError: It cannot be written.
        MapError: The map cannot be read.
    """
    check_pycocotools()
    put_bytes(final, place, (part.encode() for part in _document(found, images)))


def check_pycocotools() -> None:
    """Refuse to make masks without the package that packs them.

    Raises:
        MissingDependencyError: pycocotools is not installed.
    """
    try:
        import pycocotools.mask  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            'COCO masks need pycocotools; pip install "geoseg[coco]"'
        ) from error


def _document(found: Map, images: Images) -> Iterator[str]:
    yield '{"info": {"description": "made by geoseg"},\n'
    yield f'"categories": {json.dumps(categories(found.legend))},\n"images": [\n'
    yield from _lines(image(images, number, images.name) for number in range(len(images)))
    yield '],\n"annotations": [\n'
    yield from _lines(_annotations(found, images))
    yield "]}\n"


def _lines(items: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Yield the items of a JSON array, one per line."""
    comma = ""
    for item in items:
        yield comma + json.dumps(item)
        comma = ",\n"
    yield "\n"


def categories(legend: Legend) -> list[dict[str, Any]]:
    """Return the classes of a legend as COCO has them, numbered from 1."""
    return [
        {"id": number, "name": c.name, "supercategory": c.kind}
        for number, c in enumerate(legend.classes, 1)
    ]


def image(images: Images, number: int, name: str) -> dict[str, Any]:
    """Return what COCO says of an image, whose file is called so."""
    window = images.window(number)
    return {
        "id": number + 1,
        "file_name": name,
        "width": window.width,
        "height": window.height,
        # Where in the raster it is: column, row, width, height.
        "window": [window.x0, window.y0, window.width, window.height],
    }


def _annotations(found: Map, images: Images) -> Iterator[dict[str, Any]]:
    number = bare = 0
    for batch in found.batches():
        shapes = in_pixels(batch, images.frame)
        bounds, runs = shapely.bounds(shapes).tolist(), runs_down(shapes)
        for place, fact in enumerate(facts_of(batch, found)):
            before = number
            for seen in images.touched(bounds[place]):
                window = images.window(seen)
                counts = run_lengths(runs.of(place), window)
                if len(counts) < 2:
                    continue
                number += 1
                yield label(number, seen, fact, counts, window.shape)
            bare += number == before
    tell_bare(bare)


def tell_bare(count: int) -> None:
    """Warn of polygons that are no label."""
    if count:
        log.warning("%d polygons hold no pixel's centre, and so have no label", count)


def facts_of(batch: pa.RecordBatch, found: Map) -> list[dict[str, Any]]:
    """Return what labels say of each row: `category_id`, `feature` (its id) and `score`."""
    values = class_values(batch, found).tolist()
    ids, scores = (batch.column(name).to_pylist() for name in ("id", "score"))
    return [
        {"category_id": value, "feature": feature, "score": score}
        for feature, value, score in zip(ids, values, scores, strict=True)
    ]


def label(
    number: int, seen: int, fact: dict[str, Any], counts: list[int], shape: tuple[int, int]
) -> dict[str, Any]:
    """Return an annotation.

    Args:
        number: Its own.
        seen: The image, from 0.
        fact: Of `facts_of`.
        counts: Of `run_lengths`.
        shape: Rows and columns of the image.
    """
    from pycocotools import mask as coco

    packed = coco.frPyObjects({"size": list(shape), "counts": counts}, *shape)
    return {
        "id": number,
        "image_id": seen + 1,
        **fact,
        "area": int(coco.area(packed)),
        "bbox": coco.toBbox(packed).tolist(),
        "segmentation": {"size": list(shape), "counts": packed["counts"].decode("ascii")},
        "iscrowd": 0,
    }


def run_lengths(runs: tuple[Ints, Ints, Ints], window: Window) -> list[int]:
    """Return COCO's run lengths of a polygon in a window: column by column, nothing first.

    Args:
        runs: Column, top and bottom, of `Runs.of`.
        window: The image, in pixels of the raster.
    """
    column, top, bottom = runs
    top, bottom = np.maximum(top, window.y0), np.minimum(bottom, window.y1)
    seen = (column >= window.x0) & (column < window.x1) & (top < bottom)
    start = (column[seen] - window.x0) * window.height - window.y0
    places = np.concatenate([start + top[seen], start + bottom[seen]])
    # A run that goes on where another ends, as at the top of the next column: no edge at all.
    kept, often = np.unique(places, return_counts=True)
    edges = np.concatenate([[0], kept[often % 2 == 1], [window.area]])
    counts: list[int] = np.diff(edges).tolist()
    return counts if counts[-1] else counts[:-1]
