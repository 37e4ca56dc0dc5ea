"""How is a file written so that it is whole or not there?

write in the run folder -> flush -> check -> rename -> flush the folder -> read back

A run that is killed leaves what it wrote in the run folder, where the next one removes it.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from geoseg.export.check import LostError, check
from geoseg.export.formats import in_crs_of, write_layer
from geoseg.export.place import failed_path, format_of
from geoseg.export.publish import Draft, digest, publish, settle
from geoseg.export.table import Failed, Layer, Target, failed_layer, feature_layer
from geoseg.export.tally import Given
from geoseg.export.trouble import explain

if TYPE_CHECKING:
    from geoseg.features import Features

TROUBLE = (OSError, RuntimeError, pa.ArrowException, sqlite3.Error, LostError)
"""What the writers and readers raise; pyogrio's errors are RuntimeErrors."""


class Place(Protocol):
    """Where a map grows."""

    @property
    def scratch(self) -> Path:
        """Folder on the file system of the output; it does not stay."""
        ...

    def announce(self, growing: Path, output: Path) -> None:
        """Hear that a file is about to get the name of the output."""
        ...


def write(target: Target, found: Iterable[Features], failed: Failed, place: Place) -> int:
    """Write a map; returns the number of features.

    Args:
        target: Where it goes.
        found: Features in order of their number.
        failed: Tiles to show as missing: layer `failed_tiles` of a GeoPackage, for the other
            formats a second file `NAME_failed_tiles`.
        place: Where files grow; is told before the map gets its name.

    Raises:
        WriteFailedError: It could not be written completely; what was at the final path is still
            there, and what is done is kept.
        OutputError: The place is in use, or the format cannot hold the map.
    """
    return write_layers(target, feature_layer(found, target), failed, place)


def write_layers(
    target: Target,
    features: Layer,
    failed: Failed,
    place: Place,
    more: Sequence[Layer] = (),
) -> int:
    """Write a map whose features are a layer already; else as `write`.

    Further layers are for a GeoPackage; the other formats hold one.
    """
    holes = [failed_layer(failed)] if failed else []
    beside = None if format_of(target.path) == "GPKG" else failed_path(target.path)
    told = None
    with scratch(target.path, place.scratch) as folder:
        if beside is None:
            whole, count = _draft(folder, target.path, [features, *holes, *more], target)
        else:
            whole, count = _draft(folder, target.path, [features], target)
            told = _draft(folder, beside, holes, target)[0] if holes else None
        try:
            place.announce(whole.part, whole.final)
            publish(whole, told, beside)
        except OSError as error:
            raise explain(target.path, error) from error
    return count


@contextmanager
def scratch(final: Path, folder: Path) -> Iterator[Path]:
    """Make an empty folder, and remove it; that it cannot be removed is no reason to fail."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise explain(final, error) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _draft(folder: Path, final: Path, layers: list[Layer], target: Target) -> tuple[Draft, int]:
    """Write layers to a file and check it; returns the rows of the first layer, too."""
    # Its name is short, whatever the final one is: SQLite puts `-journal` after it.
    kind, part = format_of(final), folder / f"{layers[0].name}{final.suffix.lower()}"
    given: list[Given] = []
    try:
        for layer in layers:
            moved, crs = in_crs_of(kind, layer, target.crs)
            given.append(Given(moved, is_rounded=kind == "GeoJSON"))
            write_layer(part, kind, given[-1].layer, crs, target.recipe)
        settle(part)
        # Reads all of it from the disk in one go; the check then finds it in memory.
        sha256 = digest(part)
        check(part, kind, given, crs, target.recipe)
        return Draft(part, final, sha256), given[0].rows.count
    except TROUBLE as error:
        broke = next((g.error for g in given if g.error is not None), None)
        if broke is not None:
            # Not the writer failed, but what the features come from.
            raise broke from None
        raise explain(final, error) from error
