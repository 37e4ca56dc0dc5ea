"""How are counts of pixels written? Two cloud-optimised GeoTIFFs: numbers, and classes in colour.

QGIS draws the second as it is; numbers and colours cannot be in one file.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window as RasterioWindow

from geoseg.analysis.changes.aligned import held_rows
from geoseg.analysis.hydroperiod.counted import (
    CLASSES,
    COLOURS,
    NOT_SEEN,
    Counted,
    Thresholds,
    tells_days,
)
from geoseg.errors import OutputError
from geoseg.export.cog import put_cog
from geoseg.export.place import check_place
from geoseg.export.style import rgb
from geoseg.export.write import Place
from geoseg.frame import Frame
from geoseg.window import Window

ENDINGS = (".tif", ".tiff")


def class_path(path: Path) -> Path:
    """Return where classes go, beside the numbers."""
    return path.with_name(f"{path.stem}_class{path.suffix}")


def check_rasters(path: Path, sources: Sequence[str], *, overwrite: bool) -> None:
    """Refuse rasters that could not be written in the end, before any work.

    Raises:
        OutputError: Says why, and what to change.
    """
    if path.suffix.lower() not in ENDINGS:
        raise OutputError(f"--out {path} has no known ending; it takes {', '.join(ENDINGS)}")
    for place in (path, class_path(path)):
        check_place(place, overwrite=overwrite, sources=sources)


@dataclass(slots=True, eq=False)
class Growing:
    """Both rasters as they grow, strip by strip."""

    folder: Path
    """Where they grow."""
    frame: Frame
    """Their pixels."""
    days: tuple[date | None, ...]
    """Dates, as far as they are known to the day."""
    thresholds: Thresholds
    """Of the classes."""
    rows: list[tuple[int, int]] = field(default_factory=list)
    """Strips that are written."""
    sums: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    """Checksums of the strips of each."""
    _stack: ExitStack = field(default_factory=ExitStack)
    _open: list[Any] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Open them."""
        height = next(held_rows(self.frame)).height
        profile = {
            "driver": "GTiff", "width": self.frame.width, "height": self.frame.height,
            "crs": self.frame.crs, "transform": self.frame.transform, "blockysize": height,
            "interleave": "band", "bigtiff": "IF_SAFER", "compress": "deflate", "zlevel": 1,
        }  # fmt: skip
        kinds: tuple[dict[str, Any], ...] = (
            {"count": len(self.bands), "dtype": "float32", "nodata": np.nan},
            {"count": 1, "dtype": "uint8", "nodata": NOT_SEEN},
        )
        for path, kind in zip(self.paths, kinds, strict=True):
            self._open.append(
                self._stack.enter_context(rasterio.open(path, "w", **profile, **kind))
            )
        return self

    def __exit__(self, *trouble: object) -> None:
        """Close them."""
        self._stack.close()

    @property
    def paths(self) -> tuple[Path, Path]:
        """Numbers, and classes."""
        return self.folder / "numbers.tif", self.folder / "classes.tif"

    @property
    def bands(self) -> tuple[str, ...]:
        """What the bands of the numbers are."""
        days = ("hydroperiod",) if tells_days(self.days) else ()
        return ("occurrence", "observed", "wet", *days)

    def add(self, window: Window, counted: Counted) -> NDArray[np.uint8]:
        """Write a strip, from top to bottom; returns its classes (row, col)."""
        occurrence = counted.occurrence
        numbers: list[NDArray[Any]] = [occurrence, counted.observed, counted.wet]
        if counted.days is not None:
            numbers.append(counted.days)
        where = RasterioWindow(window.x0, window.y0, window.width, window.height)
        self.rows.append((window.y0, window.y1))
        classes = self.thresholds.classes(occurrence)
        made: tuple[NDArray[Any], NDArray[Any]] = (
            np.stack([n.astype(np.float32) for n in numbers]),
            classes[None],
        )
        for target, data, sums in zip(self._open, made, self.sums, strict=True):
            target.write(data, window=where)
            sums.append(zlib.crc32(data.tobytes()))
        return classes

    def describe(self, facts: Mapping[str, str]) -> None:
        """Say what is in them, when all strips are written."""
        numbers, classes = self._open
        numbers.descriptions = self.bands
        numbers.update_tags(**facts)
        if "hydroperiod" in self.bands:
            numbers.set_band_unit(4, "days per year")
        classes.descriptions = ("class",)
        classes.update_tags(**facts)
        classes.update_tags(1, **{f"CLASS_{k}": name for k, name in enumerate(CLASSES)})
        known = {k: (*rgb(colour), 255) for k, colour in enumerate(COLOURS)}
        classes.write_colormap(1, {**known, NOT_SEEN: (0, 0, 0, 0)})

    def put(self, final: Path, place: Place) -> None:
        """Write both where they go: first the classes, so that who waits for the other has both.

        Raises:
            OutputError: They cannot be written.
        """
        for number in (1, 0):
            target = (final, class_path(final))[number]
            path, sums = self.paths[number], self.sums[number]
            put_cog(target, place, partial(_made, path, sums), self.rows)


def _made(path: Path, sums: list[int], _folder: Path) -> tuple[Path, list[int]]:
    return path, sums
