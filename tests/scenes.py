"""Scenes with a known answer, and models that are perfect inside every tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from affine import Affine
from scipy import ndimage

from geoseg import ArrayRaster, Instances, LandClass, Legend, Pixels
from geoseg.instances import runs_of
from geoseg.polygons import outlines

UTM = "EPSG:32633"


@dataclass(frozen=True)
class ByIdentity:
    """Knows every object by its number in band 1 and its class in `classes`.

    Args:
        classes: Class index of object 1, 2, ...
        context_px: Pixels at the edge of a tile in which it answers nonsense.
    """

    classes: tuple[int, ...]
    context_px: int = 0
    identity: str = "by-identity"

    @property
    def halo_px(self) -> int:
        return self.context_px

    def segment(self, tiles: Sequence[Pixels]) -> list[Instances]:
        return [self._one(self.spoil(t)) for t in tiles]

    def spoil(self, tile: Pixels) -> np.ndarray:
        ids = tile.data[0].copy()
        if self.context_px:
            edge = np.ones(ids.shape, bool)
            c = self.context_px
            w = tile.window
            full_h, full_w = self_shape(tile)
            edge[
                c * (w.y0 > 0) : ids.shape[0] - c * (w.y1 < full_h),
                c * (w.x0 > 0) : ids.shape[1] - c * (w.x1 < full_w),
            ] = False
            noise = np.random.default_rng(w.x0 * 7919 + w.y0).integers(0, 3, ids.shape)
            ids[edge] = np.minimum(noise[edge], len(self.classes))
        return ids

    def _one(self, ids: np.ndarray) -> Instances:
        boxes, masks, classes = [], [], []
        for number, place in enumerate(ndimage.find_objects(ids.astype(np.int32)), 1):
            if place is None:
                continue
            rows, cols = place
            boxes.append((cols.start, rows.start, cols.stop, rows.stop))
            masks.append(ids[place] == number)
            classes.append(self.classes[number - 1])
        if not masks:
            return Instances.empty()
        return Instances(
            np.array(boxes, np.int32),
            masks,
            np.array(classes, np.int32),
            np.full(len(masks), 0.9, np.float32),
        )


def self_shape(tile: Pixels) -> tuple[int, int]:
    """The raster's size travels in band 2 of the scene, at every pixel."""
    return int(tile.data[1].flat[0]), int(tile.data[2].flat[0])


def raster(ids: np.ndarray, crs: str | None = UTM) -> ArrayRaster:
    height, width = ids.shape
    data = np.stack([ids, np.full_like(ids, height), np.full_like(ids, width)])
    return ArrayRaster(data, transform=Affine(10, 0, 500_000, 0, -10, 5_000_000), crs=crs)


def legend(*kinds: str, exclusive: bool = True) -> Legend:
    return Legend(
        classes=tuple(LandClass(name=f"c{i}", kind=k) for i, k in enumerate(kinds)),
        exclusive=exclusive,
    )


def truth(ids: np.ndarray, count: int, transform: Affine) -> np.ndarray:
    """Return the outline of every object of the untiled raster, by number."""
    pixels = outlines(runs_of(ids.astype(np.int32), (0, 0)), count)
    t = transform
    return shapely.transform(
        pixels,
        lambda xy: np.column_stack(
            (t.a * xy[:, 0] + t.b * xy[:, 1] + t.c, t.d * xy[:, 0] + t.e * xy[:, 1] + t.f)
        ),
    )
