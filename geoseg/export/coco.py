"""How does a map become labels that train models? COCO, with masks as run lengths.

One image is the whole raster, or each window of a lattice (`--chips`); masks, boxes and areas are
in pixels of their image. Features keep their `score`; `feature` is their id in the map. A window
that holds nothing is an image, too: that nothing is there is a label.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import rasterio.features
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.errors import ConfigError, MissingDependencyError
from geoseg.export.cog import class_values, in_pixels
from geoseg.export.read import Map
from geoseg.export.single import put_bytes
from geoseg.export.write import Place
from geoseg.frame import Frame
from geoseg.window import Window

PATCH_PIXELS = 2**24
"""Most pixels of a mask that are held at once."""

MOST_PIXELS = 2**32 - 1
"""pycocotools counts the pixels of an image in 32 bits."""

LEAST_CHIP_PX = 16

Ints = NDArray[np.int64]


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


def images_of(frame: Frame, chips: int | None, name: str) -> Images:
    """Return the images of a raster.

    Raises:
        ConfigError: Chips of no useful size, or an image of more pixels than COCO can count.
    """
    if chips is not None and chips < LEAST_CHIP_PX:
        raise ConfigError(f"--chips {chips} px is too small; at least {LEAST_CHIP_PX}")
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
    try:
        import pycocotools.mask  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            'COCO masks need pycocotools; pip install "geoseg[coco]"'
        ) from error
    put_bytes(final, place, (part.encode() for part in _document(found, images)))


def _document(found: Map, images: Images) -> Iterator[str]:
    categories = [
        {"id": number, "name": c.name, "supercategory": c.kind}
        for number, c in enumerate(found.legend.classes, 1)
    ]
    yield '{"info": {"description": "made by geoseg"},\n'
    yield f'"categories": {json.dumps(categories)},\n"images": [\n'
    yield from _lines(_image(images, number) for number in range(len(images)))
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


def _image(images: Images, number: int) -> dict[str, Any]:
    window = images.window(number)
    return {
        "id": number + 1,
        "file_name": images.name,
        "width": window.width,
        "height": window.height,
        # Where in the raster it is: column, row, width, height.
        "window": [window.x0, window.y0, window.width, window.height],
    }


def _annotations(found: Map, images: Images) -> Iterator[dict[str, Any]]:
    from pycocotools import mask as coco

    number = 0
    for batch in found.batches():
        facts = _facts(batch, found)
        shapes = in_pixels(batch, images.frame)
        for shape, bounds, fact in zip(
            shapes.tolist(), shapely.bounds(shapes).tolist(), facts, strict=True
        ):
            for image in images.touched(bounds):
                window = images.window(image)
                counts = run_lengths(shape, window)
                if len(counts) < 2:
                    continue
                number += 1
                size = list(window.shape)
                packed = coco.frPyObjects({"size": size, "counts": counts}, *size)
                yield {
                    "id": number,
                    "image_id": image + 1,
                    **fact,
                    "area": int(coco.area(packed)),
                    "bbox": coco.toBbox(packed).tolist(),
                    "segmentation": {"size": size, "counts": packed["counts"].decode("ascii")},
                    "iscrowd": 0,
                }


def _facts(batch: pa.RecordBatch, found: Map) -> Iterator[dict[str, Any]]:
    values = class_values(batch, found).tolist()
    ids, scores = (batch.column(name).to_pylist() for name in ("id", "score"))
    for feature, value, score in zip(ids, values, scores, strict=True):
        yield {"category_id": value, "feature": feature, "score": score}


def run_lengths(shape: shapely.MultiPolygon, window: Window) -> list[int]:
    """Return COCO's run lengths of a polygon in a window: column by column, nothing first.

    Args:
        shape: In pixel corner coordinates of the raster; it holds the pixels whose centre it holds.
        window: The image, in pixels of the raster.
    """
    x0, y0, x1, y1 = (int(v) for v in (*np.floor(shape.bounds[:2]), *np.ceil(shape.bounds[2:])))
    seen = Window(x0, y0, x1, y1).intersection(window)
    if not seen.area:
        return [window.area]
    step = max(1, PATCH_PIXELS // seen.height)
    edges = [
        _edges(shape, Window(x, seen.y0, min(x + step, seen.x1), seen.y1), window)
        for x in range(seen.x0, seen.x1, step)
    ]
    places, often = np.unique(np.concatenate(edges), return_counts=True)
    # A run that goes on at the top of the next column ends where that begins: no edge at all.
    kept = places[often == 1]
    counts: list[int] = np.diff(np.concatenate([[0], kept, [window.area]])).tolist()
    return counts if counts[-1] else counts[:-1]


def _edges(shape: shapely.MultiPolygon, patch: Window, window: Window) -> Ints:
    """Return where runs begin and end, as places in the window counted column by column."""
    inside = rasterio.features.rasterize(
        [(shape, 1)],
        out_shape=patch.shape,
        transform=Affine.translation(patch.x0, patch.y0),
        dtype="uint8",
    )
    framed = np.pad(inside, ((1, 1), (0, 0)))
    column, row = np.nonzero(np.diff(framed, axis=0).T)
    places: Ints = (column + patch.x0 - window.x0) * window.height + row + patch.y0 - window.y0
    return places
