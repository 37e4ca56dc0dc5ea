"""What went into a layer? Sums that do not depend on the order, to compare with what comes out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from geoseg.export.table import Layer

LONLAT_ROUNDING = 1e-6
"""Degrees by which GDAL may move a coordinate: it keeps seven decimals as RFC 7946 wants, and what
is nearly on the antimeridian it puts there."""


class Tally:
    """Counts rows and adds up their hashes: memory does not depend on the number of rows."""

    def __init__(self) -> None:
        self.count = 0
        self._hashes = 0

    def add(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Add rows of plain Python values, None for null."""
        for row in rows:
            self.count += 1
            self._hashes += hash(row)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Tally) and self.count == other.count and self._hashes == other._hashes
        )

    __hash__ = None  # type: ignore[assignment]


class Rounded:
    """What survives GeoJSON: GDAL rounds numbers in the 15th digit, and coordinates.

    Where a shape lies and its size are kept row by row, 32 bytes each: over a million shapes, what
    rounding does to a sum is more than a shape.
    """

    def __init__(self) -> None:
        self.rows = Tally()
        """Rows without their geometry, in which fractions only count as being there."""
        self._numbers = 0.0
        self._shapes: list[NDArray[np.float64]] = [np.zeros((0, 4))]

    def add(self, rows: Iterable[tuple[Any, ...]], geometries: NDArray[np.object_]) -> None:
        """Add rows and their geometries in degrees."""
        exact = []
        for row in rows:
            self._numbers += sum(abs(v) for v in row if isinstance(v, float))
            exact.append(tuple("" if isinstance(v, float) else v for v in row))
        self.rows.add(exact)
        low, _, high, _ = shapely.bounds(geometries).T
        across = high - low > 180
        if across.any():
            # GDAL cuts at the antimeridian; put together again it is the same shape.
            geometries = geometries.copy()
            geometries[across] = shapely.transform(
                geometries[across], lambda xy: np.column_stack([xy[:, 0] % 360, xy[:, 1]])
            )
        corner = shapely.bounds(geometries)[:, :2]
        sizes = np.stack([shapely.area(geometries), shapely.length(geometries)], axis=1)
        self._shapes.append(np.concatenate([corner, sizes], axis=1))

    def agrees(self, given: Rounded) -> bool:
        """Whether this differs from what was given by no more than rounding explains."""
        if self.rows != given.rows or abs(self._numbers - given._numbers) > 1e-9 * given._numbers:
            return False
        mine, wanted = np.concatenate(self._shapes), np.concatenate(given._shapes)
        length = wanted[:, 3]
        near = (np.abs(mine[:, :2] - wanted[:, :2]) <= LONLAT_ROUNDING).all(axis=1)
        near &= np.abs(mine[:, 2] - wanted[:, 2]) <= length * LONLAT_ROUNDING
        # What is as small as the rounding may become a point, or nothing.
        return bool((near | (length < 10 * LONLAT_ROUNDING)).all())


class Given:
    """What a layer was given, told while it streams by."""

    def __init__(self, layer: Layer, *, is_rounded: bool) -> None:
        self.source = layer
        self._is_rounded = is_rounded
        self.rows = Tally()
        """Rows with their geometry as WKB."""
        self.rounded = Rounded()
        """The same, as far as GeoJSON keeps it; only if it is to be."""
        self.bounds = np.array([np.inf, np.inf, -np.inf, -np.inf])
        """(x0, y0, x1, y1) of all geometries."""
        self.error: BaseException | None = None
        """What ended the stream early: libraries in C put an error of their own in its place."""

    @property
    def layer(self) -> Layer:
        """The layer; whoever reads its batches fills the sums."""
        return replace(self.source, batches=self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self.source.batches:
                self._add(batch)
                yield batch
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise

    def _add(self, batch: pa.RecordBatch) -> None:
        if not self.source.shape:
            self.rows.add(zip(*(column.to_pylist() for column in batch.columns), strict=True))
            return
        *columns, wkb = (column.to_pylist() for column in batch.columns)
        self.rows.add(zip(*columns, wkb, strict=True))
        geometries = shapely.from_wkb(np.array(wkb, dtype=object))
        if self._is_rounded:
            self.rounded.add(zip(*columns, strict=True), geometries)
        bounds = shapely.total_bounds(geometries)
        self.bounds[:2] = np.fmin(self.bounds[:2], bounds[:2])
        self.bounds[2:] = np.fmax(self.bounds[2:], bounds[2:])
