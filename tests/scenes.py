"""Scenes with a known answer, and models that are perfect inside every tile."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from affine import Affine
from hypothesis import settings
from hypothesis import strategies as st
from scipy import ndimage

from geoseg import ArrayRaster, Instances, LandClass, Legend
from geoseg.area import Area
from geoseg.grid import Grid
from geoseg.pixels import Pixels
from geoseg.polygons import outlines
from geoseg.runs import runs_of
from geoseg.window import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

UTM = "EPSG:32633"
GEOREF = Affine(10, 0, 500_000, 0, -10, 5_000_000)


def examples(count: int) -> Any:
    """Return hypothesis settings for `count` examples; more in a hunt, fewer in CI (conftest)."""
    return settings(max_examples=max(5, round(count * float(os.environ.get("GEOSEG_LAWS", "1")))))


@dataclass(frozen=True)
class ByIdentity:
    """Knows every object by its number, in every band but the last two."""

    classes: tuple[int, ...]
    """Class index of object 1, 2, ..."""
    context_px: int = 0
    """Width of the edge of a tile in which it answers nonsense."""
    shuffle: int = 0
    """Seed of the order in which it names its instances; 0 keeps the order of the numbers."""
    score: float = 0.9
    """Of every instance."""
    identity: str = "by-identity"

    @property
    def halo_px(self) -> int:
        return self.context_px

    def segment(self, tiles: Sequence[Pixels]) -> list[Instances]:
        return [self.answer(tile) for tile in tiles]

    def answer(self, tile: Pixels) -> Instances:
        found = []
        for layer in tile.data[:-2]:
            found += self.parts(self.spoil(layer, tile), tile)
        if self.shuffle:
            np.random.default_rng(self.shuffle + tile.window.x0).shuffle(found)
        return instances(found, self.score)

    def spoil(self, layer: np.ndarray, tile: Pixels) -> np.ndarray:
        """Return what the model believes: nonsense where it lacks context."""
        known = layer.copy()
        if self.context_px:
            noise = np.random.default_rng(tile.window.x0 * 7919 + tile.window.y0)
            wrong = noise.integers(0, min(3, len(self.classes) + 1), known.shape)
            lost = ~self.sure(tile)
            known[lost] = wrong[lost]
        return known

    def sure(self, tile: Pixels) -> np.ndarray:
        """Return where the model has its context: away from edges that the raster lacks."""
        width, height = raster_size(tile)
        inside = np.zeros(tile.window.shape, bool)
        w, c = tile.window, self.context_px
        inside[
            c * (w.y0 > 0) : w.height - c * (w.y1 < height),
            c * (w.x0 > 0) : w.width - c * (w.x1 < width),
        ] = True
        return inside

    def parts(self, known: np.ndarray, _tile: Pixels) -> list[tuple[Any, ...]]:
        return [
            (place, known[place] == number, self.classes[number - 1])
            for number, place in enumerate(ndimage.find_objects(known.astype(np.int32)), 1)
            if place is not None
        ]


@dataclass(frozen=True)
class ByComponent(ByIdentity):
    """Sees class index + 1 and answers what hangs together, one by one (or masks, for covers)."""

    cover: bool = False
    """Whether it answers one mask per class; else one instance per connected region."""
    identity: str = "by-component"

    def parts(self, known: np.ndarray, tile: Pixels) -> list[tuple[Any, ...]]:
        found = []
        for cls in range(len(self.classes)):
            mask = known == cls + 1
            if self.cover:
                everywhere = (slice(0, mask.shape[0]), slice(0, mask.shape[1]))
                found += [(everywhere, mask, cls)] if mask.any() else []
                continue
            # What the model cannot be sure of must not join regions.
            labels, _ = ndimage.label(mask & self.sure(tile))
            found += [
                (place, labels[place] == number, cls)
                for number, place in enumerate(ndimage.find_objects(labels), 1)
            ]
        return found


@dataclass(frozen=True)
class Noisy(ByIdentity):
    """Misses objects, and draws others too large or too small, differently in each tile."""

    seed: int = 0
    cover: bool = False
    """Whether it answers one mask per class, not one per object."""
    identity: str = "noisy"

    def answer(self, tile: Pixels) -> Instances:
        window = tile.window
        random = np.random.default_rng((self.seed, window.x0, window.y0))
        layer, found = tile.data[0], []
        for number in np.unique(layer[layer > 0]).tolist():
            if random.random() < 0.15:
                continue
            mask = _breathe(layer == number, int(random.integers(-2, 4)), random)
            found.append((_box(mask), mask, self.classes[number - 1], random.uniform(0.3, 1)))
        whole = (slice(0, layer.shape[0]), slice(0, layer.shape[1]))
        if self.cover:
            classes = {cls for _, _, cls, _ in found}
            union = {c: np.any([m for _, m, k, _ in found if k == c], axis=0) for c in classes}
            found = [(whole, m, c, random.uniform(0.3, 1)) for c, m in sorted(union.items())]
        else:
            found = [(p, m[p], c, s) for p, m, c, s in found if m.any()]
        scores = np.array([s for *_, s in found], np.float32)
        return instances([f[:3] for f in found], scores)


def _breathe(mask: np.ndarray, px: int, random: np.random.Generator) -> np.ndarray:
    if px > 0:
        mask = ndimage.binary_dilation(mask, iterations=px)
    elif px < 0:
        mask = ndimage.binary_erosion(mask, iterations=-px)
    return mask & (random.random(mask.shape) > 0.02)


def _box(mask: np.ndarray) -> tuple[slice, slice]:
    found = ndimage.find_objects(mask.astype(np.int8))
    return found[0] if found else (slice(0, 0), slice(0, 0))


def instances(found: list[tuple[Any, ...]], score: float | np.ndarray = 0.9) -> Instances:
    """Return an answer made of ((rows, cols), mask of that size, class)."""
    if not found:
        return Instances.empty()
    boxes = [(c.start, r.start, c.stop, r.stop) for (r, c), _, _ in found]
    return Instances(
        np.array(boxes, np.int32),
        [mask for _, mask, _ in found],
        np.array([cls for *_, cls in found], np.int32),
        np.broadcast_to(np.asarray(score, np.float32), len(found)),
    )


def raster_size(tile: Pixels) -> tuple[int, int]:
    """Return width and height of the raster: they travel in its last two bands."""
    return int(tile.data[-1].flat[0]), int(tile.data[-2].flat[0])


def raster(
    *layers: np.ndarray, crs: str | None = UTM, valid: np.ndarray | None = None
) -> ArrayRaster:
    """Return a raster of object numbers, with its own size in the last two bands."""
    height, width = layers[0].shape
    size = [np.full_like(layers[0], height), np.full_like(layers[0], width)]
    return ArrayRaster(np.stack([*layers, *size]), valid, GEOREF, crs)


def legend(*kinds: str, exclusive: bool = True) -> Legend:
    """Return classes c0, c1, ... of these kinds."""
    return Legend(
        classes=tuple(LandClass(name=f"c{i}", kind=k) for i, k in enumerate(kinds)),
        exclusive=exclusive,
    )


def truth(ids: np.ndarray, count: int, transform: Affine = GEOREF) -> np.ndarray:
    """Return the outline of every object of the untiled raster, by number."""
    t = transform
    return shapely.transform(
        outlines(runs_of(ids.astype(np.int32), (0, 0)), count),
        lambda xy: np.column_stack(
            (t.a * xy[:, 0] + t.b * xy[:, 1] + t.c, t.d * xy[:, 0] + t.e * xy[:, 1] + t.f)
        ),
    )


def canonical(geometry: Any) -> bytes:
    """Return equal bytes for equal outlines, whatever their ring and part order."""
    found: bytes = shapely.normalize(geometry).wkb
    return found


def apart(ids: np.ndarray) -> tuple[np.ndarray, int]:
    """Give every connected part of every object a number of its own."""
    out, count = np.zeros(ids.shape, np.int32), 0
    for number in np.unique(ids[ids > 0]).tolist():
        labels, found = ndimage.label(ids == number)
        out[labels > 0] = labels[labels > 0] + count
        count += found
    return out, count


def voronoi(height: int, width: int, random: np.random.Generator) -> np.ndarray:
    """Draw objects that touch on all sides, with a few pixels missing."""
    seeds = random.integers(0, (height, width), (int(random.integers(1, 12)), 2))
    y, x = np.mgrid[:height, :width]
    ids = ((y - seeds[:, :1, None]) ** 2 + (x - seeds[:, 1:, None]) ** 2).argmin(0) + 1
    ids[random.random((height, width)) < 0.05] = 0
    return ids.astype(np.int32)


def blobs(height: int, width: int, random: np.random.Generator) -> np.ndarray:
    """Draw cloud-like objects, from speckle to larger than a tile."""
    cloud = ndimage.gaussian_filter(random.random((height, width)), random.uniform(0.3, 3))
    ids: np.ndarray = ndimage.label(cloud > np.quantile(cloud, random.uniform(0.3, 0.8)))[0]
    return ids


def shapes(height: int, width: int, random: np.random.Generator) -> np.ndarray:
    """Draw boxes, donuts, U-shapes and objects inside donuts, of any size, on each other."""
    ids = np.zeros((height, width), np.int32)
    for number in range(1, int(random.integers(2, 9)) * 2, 2):
        y, x = random.integers(0, height), random.integers(0, width)
        h, w = random.integers(3, 60, 2)
        ids[y : y + h, x : x + w] = number
        thick = int(random.integers(1, 5))
        inner = (slice(y + thick, y + h - thick), slice(x + thick, x + w - thick))
        style = random.integers(4)
        if style == 1:
            ids[inner] = 0
        elif style == 2:
            ids[inner] = number + 1
        elif style == 3:
            ids[y + thick : y + h, inner[1]] = 0
    return ids


def classes_image(height: int, width: int, random: np.random.Generator, count: int) -> np.ndarray:
    """Draw class index + 1 per pixel, 0 for none: regions of `count` classes that touch."""
    clouds = np.stack(
        [
            ndimage.gaussian_filter(random.random((height, width)), random.uniform(0.3, 3))
            for _ in range(count)
        ]
    )
    best = clouds.max(0)
    image = (clouds.argmax(0) + 1).astype(np.int32)
    image[best < np.quantile(best, random.uniform(0.1, 0.8))] = 0
    return image


def areas(frame: Window, random: np.random.Generator) -> Area | None:
    """Draw an area of interest of one to three stars, with holes, from a sliver to all."""
    stars = []
    for _ in range(int(random.integers(1, 4))):
        count = int(random.integers(3, 9))
        angle = np.sort(random.random(count)) * 2 * np.pi
        radius = random.uniform(0.1, 1) * np.hypot(*frame.shape) * random.uniform(0.3, 1, count)
        centre = random.random(2) * (frame.width, frame.height)
        xy = centre + np.column_stack((np.cos(angle), np.sin(angle))) * radius[:, None]
        grid = int(random.choice([1, 4, 256]))
        stars.append(shapely.make_valid(shapely.Polygon(np.rint(xy * grid) / grid)))
    whole = stars[0] if len(stars) < 3 else shapely.difference(stars[0], stars[2])
    return Area.of(np.array([whole, *stars[1:2]], object), frame)


@dataclass(frozen=True)
class Cut:
    """How a raster is tiled, and how much context the model needs."""

    tile: int
    overlap: int
    context: int

    @property
    def settings(self) -> dict[str, int]:
        return {"tile": self.tile, "overlap": self.overlap}

    def seen(self, size: tuple[int, int], *, cores: bool = False) -> list[tuple[slice, slice]]:
        """Return the pixels that each tile is sure of (or decides) in a raster (rows, cols)."""
        height, width = size
        grid = Grid(Window(0, 0, width, height), self.tile, self.overlap)
        places = []
        for tile in grid:
            w, c = tile.core if cores else tile.read, 0 if cores else self.context
            rows = slice(w.y0 + c * (w.y0 > 0), w.y1 - c * (w.y1 < height))
            places.append((rows, slice(w.x0 + c * (w.x0 > 0), w.x1 - c * (w.x1 < width))))
        return places


@st.composite
def cuts(draw: st.DrawFn, *, halves: bool = False) -> Cut:
    """Draw tilings and contexts; two tiles share a pixel at least that both are sure of.

    Args:
        draw: Of hypothesis.
        halves: Whether an overlap is at most half a tile, so that only neighbours share pixels;
            else it is up to four fifths.
    """
    tile = draw(st.integers(16, 63))
    halo = draw(st.integers(1, tile // 4 if halves else (tile - tile // 5) // 2))
    overlap = 2 * halo - draw(st.integers(0, 1))
    context = draw(st.one_of(st.just(0), st.integers(0, halo - 1)))
    return Cut(tile, overlap, context)


sizes = st.tuples(st.integers(1, 90), st.integers(1, 90))
seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
