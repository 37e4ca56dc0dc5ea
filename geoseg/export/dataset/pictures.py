"""What does each chip look like? PNGs of 8 bits, in one stretch for all."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from geoseg.errors import TileFailedError
from geoseg.export.coco import Images
from geoseg.export.dataset.survey import EMPTY, UNREADABLE, USED, Survey
from geoseg.png import png
from geoseg.raster import RasterReader
from geoseg.stretch import Stretch

log = logging.getLogger(__name__)

FOLDER = "images"


def name_of(images: Images, chip: int) -> str:
    """Return what a chip is called: by the row and column of the raster that it begins with."""
    window = images.window(chip)
    digits = len(str(max(images.frame.height, images.frame.width) - 1))
    return f"r{window.y0:0{digits}}_c{window.x0:0{digits}}"


def draw(
    folder: Path, raster: RasterReader, stretch: Stretch, images: Images, found: Survey
) -> None:
    """Write the picture of each chip that is not left out, and note which then are.

    Args:
        folder: Of the data set.
        raster: What to draw; pixels without data become black.
        stretch: How.
        images: The chips.
        found: What is known of them.
    """
    (folder / FOLDER).mkdir()
    trouble = None
    for chip in np.flatnonzero(found.why == USED).tolist():
        try:
            data, valid = raster.read(images.window(chip))
        except TileFailedError as error:
            found.why[chip], trouble = UNREADABLE, error
            continue
        if not valid.any():
            found.why[chip] = EMPTY
            continue
        picture = stretch.apply(data)
        picture[~valid] = 0
        content = png(np.ascontiguousarray(np.moveaxis(picture, -1, 0)))
        (folder / FOLDER / f"{name_of(images, chip)}.png").write_bytes(content)
    if trouble is not None:
        log.warning("chips that cannot be read are left out: %s", trouble)


def deal(folder: Path, images: Images, side_of: dict[int, str]) -> None:
    """Move each picture to its side, `train` or `val`; those of no side go."""
    for side in dict.fromkeys(side_of.values()):
        (folder / FOLDER / side).mkdir()
    for chip, side in side_of.items():
        name = f"{name_of(images, chip)}.png"
        (folder / FOLDER / name).rename(folder / FOLDER / side / name)
    for left in (folder / FOLDER).glob("*.png"):
        left.unlink()
