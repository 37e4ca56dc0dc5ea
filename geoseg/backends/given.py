"""What if the user knows where things are? Boxes and points of a vector layer as prompts."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from pydantic import ValidationError

from geoseg.backends.detections import Detections, Picture
from geoseg.errors import BackendError
from geoseg.legend import LandClass, Legend
from geoseg.pixels import Pixels
from geoseg.raster import RasterReader
from geoseg.vectors import check_both_placed, read_layer

if TYPE_CHECKING:
    import geopandas as gpd

log = logging.getLogger(__name__)

CLASS_COLUMN = "class"
"""Column that names the class of each prompt, as in the maps geoseg writes."""

_NAMELESS = "object"


@dataclass(frozen=True, eq=False)
class Given:
    """A prompter that hands out the boxes and points of a layer."""

    geometry: NDArray[np.object_]
    """(n,) shapely geometries in the CRS of the layer: points, or anything that has a box."""
    names: tuple[str, ...]
    """(n,) class of each, empty where the layer has no such column."""
    crs: str | None
    """WKT of the layer, or None."""
    source: str
    """What to call the layer in messages."""
    boxes: NDArray[np.float64] | None = None
    """(n, 4) in pixels of the raster; set by `fit`."""
    classes: NDArray[np.int32] | None = None
    """(n,) index into the legend; set by `fit`."""

    @property
    def identity(self) -> str:
        """Digest of geometries and classes."""
        digest = hashlib.sha256(b"".join(shapely.to_wkb(self.geometry).tolist()))
        digest.update(repr((self.names, self.crs)).encode())
        return f"boxes {digest.hexdigest()[:12]}"

    @property
    def usual_threshold(self) -> float:
        """None: what the user points at is there."""
        return 0.0

    @property
    def certain(self) -> bool:
        """Every prompt is meant, however much it resembles another."""
        return True

    def words(self) -> Legend:
        """Return the classes that the layer names, in the order of their first mention."""
        names = {name.casefold(): name for name in reversed(self.names or (_NAMELESS,))}
        first = dict.fromkeys(n.casefold() for n in self.names or (_NAMELESS,))
        try:
            classes = [LandClass(name=names[key], kind="object") for key in first]
            return Legend(classes=tuple(classes))
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise BackendError(
                f"column '{CLASS_COLUMN}' of {self.source} holds what cannot be a class: {reason}; "
                "mend it, or say with --prompt which classes to outline"
            ) from error

    def fit(self, raster: RasterReader, legend: Legend) -> Given:
        """Return the prompts in pixels of the raster.

        Raises:
            BackendError: No prompt lies in the raster, or none is of a class of the legend.
        """
        classes = self._classes(legend)
        boxes = self._boxes(raster)
        frame = raster.frame
        point = (boxes[:, :2] == boxes[:, 2:]).all(axis=1)
        # A line along an axis is a box too, one pixel wide.
        thin = (boxes[:, :2] == boxes[:, 2:]) & ~point[:, None]
        boxes = boxes + np.hstack((-0.5 * thin, 0.5 * thin))
        far = np.where(point, 0, np.nextafter(0, 1))
        kept = (
            (classes >= 0)
            & np.isfinite(boxes).all(axis=1)
            & (boxes[:, 2] >= far)
            & (boxes[:, 3] >= far)
            & (boxes[:, 0] < frame.width)
            & (boxes[:, 1] < frame.height)
        )
        outside = int(((classes >= 0) & ~kept).sum())
        if outside and kept.any():
            log.warning(
                "%d of %d features of %s lie outside the raster", outside, len(kept), self.source
            )
        if not kept.any():
            raise BackendError(
                f"none of the {len(boxes)} features of {self.source} lies in the raster; is its "
                "coordinate reference system right?"
            )
        return replace(self, boxes=boxes[kept], classes=classes[kept])

    def _classes(self, legend: Legend) -> NDArray[np.int32]:
        if not self.names:
            if len(legend.classes) > 1:
                raise BackendError(
                    f"{self.source} has no column '{CLASS_COLUMN}' to tell the "
                    f"{len(legend.classes)} classes of the legend apart; ask for one class"
                )
            return np.zeros(len(self.geometry), np.int32)
        index = {
            word.casefold(): k
            for k, c in enumerate(legend.classes)
            for word in (*c.prompts, c.name)
        }
        found = np.array([index.get(name.casefold(), -1) for name in self.names], np.int32)
        if (found < 0).all():
            raise BackendError(
                f"no feature of {self.source} is of a class of the legend; its column "
                f"'{CLASS_COLUMN}' has {', '.join(sorted(set(self.names))[:6])}"
            )
        return found

    def _boxes(self, raster: RasterReader) -> NDArray[np.float64]:
        import geopandas as gpd

        frame = raster.frame
        check_both_placed(self.crs, self.source, frame.crs)
        shapes = gpd.GeoSeries(self.geometry, crs=self.crs)
        if self.crs is not None and frame.crs is not None:
            try:
                shapes = shapes.to_crs(frame.crs)
            except pyproj.exceptions.ProjError as error:
                raise BackendError(
                    f"{self.source} cannot be brought to the raster's coordinate reference system; "
                    "reproject it with ogr2ogr -t_srs first"
                ) from error
        in_pixels = shapely.transform(shapes.to_numpy(), frame.to_pixels)
        bounds: NDArray[np.float64] = shapely.bounds(in_pixels)
        return bounds

    def prompt(self, tiles: Sequence[Pixels], pictures: Sequence[Picture]) -> list[Detections]:
        """Return the prompts that each tile sees a part of, boxes cut to the tile."""
        return [self._of(t, p.shape) for t, p in zip(tiles, pictures, strict=True)]

    def _of(self, tile: Pixels, shape: tuple[int, ...]) -> Detections:
        if self.boxes is None or self.classes is None:
            raise BackendError("boxes are not fitted to a raster; call fit(raster, legend) first")
        window = tile.window
        low = np.maximum(self.boxes[:, :2], (window.x0, window.y0))
        high = np.minimum(self.boxes[:, 2:], (window.x1, window.y1))
        point = (self.boxes[:, :2] == self.boxes[:, 2:]).all(axis=1)
        # A point on the far edge belongs to the next pixel.
        here = np.where(
            point, ((low == self.boxes[:, :2]) & (low < (window.x1, window.y1))).all(axis=1),
            (high > low).all(axis=1),
        )  # fmt: skip
        scale = np.array((shape[1] / window.width, shape[0] / window.height) * 2)
        corner = np.array((window.x0, window.y0) * 2)
        boxes = (np.column_stack((low, high))[here] - corner) * scale
        count = int(here.sum())
        return Detections(
            boxes.astype(np.float32), self.classes[here], np.full(count, np.nan, np.float32)
        )


def given(layer: str | Path | gpd.GeoDataFrame) -> Given:
    """Read the prompts of a layer.

    Args:
        layer: A vector file, or a GeoDataFrame; polygons and lines give their boxes in the pixels
            of the raster, points are points. A column `class` names their classes.

    Raises:
        ConfigError: It cannot be read, or holds no geometry.
    """
    features, source = read_layer(layer, "--boxes", "boxes or points", "the layer of boxes")
    features = features.explode(ignore_index=True)
    names: tuple[str, ...] = ()
    if CLASS_COLUMN in features:
        nobody = features[CLASS_COLUMN].isna() | (
            features[CLASS_COLUMN].astype(str).str.strip() == ""
        )
        names = tuple(features[CLASS_COLUMN].astype(str).where(~nobody, _NAMELESS))
    crs = None if features.crs is None else features.crs.to_wkt()
    return Given(features.geometry.to_numpy(), names, crs, source)
