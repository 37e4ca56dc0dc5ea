"""What is there, when nobody says what to look for? Points on a lattice, a segment under each.

As the automatic mask generator of Segment Anything (Kirillov et al. 2023, arXiv:2304.02643, B),
with two differences. Its lattice is spread over each image; this one is nailed to the raster, so
that tiles ask about the same places and see the same objects where they overlap. And segments that
touch the edge of a tile are kept: the seams know what to do with them. A segment as large as the
tile is kept too, as there: ground between buildings and a lake from within look alike. Where
segments overlap, the surer one keeps the pixels.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.backends.outlining import Cutout, Proposer
from geoseg.backends.pictures import View
from geoseg.backends.prompted import noted
from geoseg.errors import BackendError
from geoseg.instances import Instances
from geoseg.legend import LandClass, Legend
from geoseg.pixels import Pixels
from geoseg.raster import RasterReader

log = logging.getLogger(__name__)

SPACING_PX = 32
"""Between points, in pixels of the picture: 32 points along 1024 px, as the reference has them."""

USUAL_THRESHOLD = 0.88
"""Least predicted IoU of the reference; the proposer leaves out what scores less."""


@dataclass(frozen=True)
class Everything:
    """A backend that outlines whatever a segmenter sees; all of it is of the one class."""

    proposer: Proposer
    """Finds segments under points."""
    view: View = View()
    """What models are shown; fitted by `fit`."""

    @property
    def identity(self) -> str:
        """Of the proposer, the lattice, and what is shown."""
        return f"everything {self.proposer.identity} every {SPACING_PX} px{self.view}"

    @property
    def halo_px(self) -> int:
        """Width of the edge of a tile that is not trusted, in pixels of the raster."""
        return self.view.halo_px

    @property
    def usual_tile_px(self) -> int:
        """Side of the tile that fills the picture models were trained on."""
        return self.view.tile_px

    @property
    def usual_threshold(self) -> float:
        """Least score that the reference uses."""
        return USUAL_THRESHOLD

    def facts(self) -> list[dict[str, Any]]:
        """Return what the output file says of the weights."""
        found: list[dict[str, Any]] = getattr(self.proposer, "facts", list)()
        return found

    @property
    def wants_rgb(self) -> bool:
        """Yes: every tile is looked at as a picture."""
        return True

    def words(self) -> Legend:
        """Return the one class there is where none is named."""
        return Legend(classes=(LandClass(name="segment", kind="object"),))

    def fit(self, raster: RasterReader, legend: Legend) -> Everything:
        """Return the backend with weights loaded.

        Raises:
            BackendError: More than one class, weights that cannot be used, or a ground size that
                cannot be shown.
        """
        if len(legend.classes) != 1:
            names = ", ".join(c.name for c in legend.classes)
            raise BackendError(
                f"backend 'everything' cannot tell {len(legend.classes)} classes ({names}) apart; "
                "name one, as --prompt segment, or use DETECTOR+SEGMENTER"
            )
        asked = legend.classes[0].threshold
        if asked is not None and asked < USUAL_THRESHOLD:
            log.warning(
                "threshold %g: the segmenter leaves out what it is less than %g sure of",
                asked,
                USUAL_THRESHOLD,
            )
        view = self.view.fit(raster)
        return replace(self, proposer=self.proposer.ready(), view=view)

    def segment(self, tiles: Sequence[Pixels]) -> list[Instances]:
        """Return the segments of each tile."""
        pictures = [self.view.of(tile) for tile in tiles]
        points = [
            lattice(tile, picture.shape, self.view.scale)
            for tile, picture in zip(tiles, pictures, strict=True)
        ]
        found = self.proposer.propose(pictures, points, [tile.window.shape for tile in tiles])
        return noted([_instances(cutouts) for cutouts in found], [self.proposer])


def lattice(tile: Pixels, shape: tuple[int, ...], scale: float = 1.0) -> NDArray[np.float32]:
    """Return the points of the raster's lattice on good pixels of a tile.

    Args:
        tile: Says where it lies in the raster.
        shape: (rows, cols, ...) of its picture.
        scale: Pixels of the picture per pixel of the raster; the picture's own is rounded.

    Returns:
        (n, 2) x, y in pixels of the picture, row by row.
    """
    window = tile.window
    step = SPACING_PX / scale
    x, y = _line(window.x0, window.x1, step), _line(window.y0, window.y1, step)
    xs, ys = (axis.ravel() for axis in np.meshgrid(x, y))
    good = tile.valid[ys.astype(np.intp), xs.astype(np.intp)]
    ratio = (shape[1] / window.width, shape[0] / window.height)
    points: NDArray[np.float32] = (np.column_stack((xs, ys))[good] * ratio).astype(np.float32)
    return points


def _line(start: int, stop: int, step: float) -> NDArray[np.float64]:
    """Return, from `start`, the places (k + 1/2) * step of a line that lie in start..stop."""
    first = int(np.ceil(start / step - 0.5))
    numbers = np.arange(first, int(stop / step) + 1, dtype=np.float64)
    places: NDArray[np.float64] = (numbers + 0.5) * step - start
    return places[places < stop - start]


def _instances(found: Sequence[Cutout]) -> Instances:
    if not found:
        return Instances.empty()
    return Instances(
        np.array([c.box for c in found], np.int32),
        [c.mask for c in found],
        np.zeros(len(found), np.int32),
        np.array([c.quality for c in found], np.float32),
    )
