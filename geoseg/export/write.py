"""How is a file written so that it is whole or not there?

write beside -> flush -> check -> rename -> flush the folder -> read back
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from geoseg.export.check import LostError, check
from geoseg.export.formats import in_crs_of, write_layer
from geoseg.export.place import failed_path, format_of, part_path, remove_parts
from geoseg.export.publish import Draft, digest, publish, settle
from geoseg.export.table import Failed, Layer, Target, failed_layer, feature_layer
from geoseg.export.tally import Given
from geoseg.export.trouble import explain

if TYPE_CHECKING:
    from geoseg.features import Features

_TROUBLE = (OSError, RuntimeError, pa.ArrowException, sqlite3.Error, LostError)
"""What the writers and readers raise; pyogrio's errors are RuntimeErrors."""


def write(target: Target, found: Iterable[Features], failed: Failed) -> int:
    """Write a map; returns the number of features.

    One process at a time may write to a path.

    Args:
        target: Where it goes.
        found: Features in order of their number.
        failed: Tiles to show as missing: layer `failed_tiles` of a GeoPackage, for the other
            formats a second file `NAME_failed_tiles`.

    Raises:
        OutputError: It could not be written completely; what was at the final path is still there.
    """
    features = feature_layer(found, target)
    holes = [failed_layer(failed)] if failed else []
    beside = None if format_of(target.path) == "GPKG" else failed_path(target.path)
    paths = [target.path] if beside is None else [target.path, beside]
    _clean(paths)
    try:
        if beside is None:
            whole, count = _draft(target.path, [features, *holes], target)
            _publish(whole, None, None)
        else:
            whole, count = _draft(target.path, [features], target)
            told = _draft(beside, holes, target)[0] if holes else None
            _publish(whole, told, beside)
    finally:
        _clean(paths)
    return count


def _clean(paths: list[Path]) -> None:
    for path in paths:
        remove_parts(path)


def _draft(final: Path, layers: list[Layer], target: Target) -> tuple[Draft, int]:
    """Write layers beside their place, and check them; returns the rows of the first, too."""
    kind, part = format_of(final), part_path(final)
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
    except _TROUBLE as error:
        broke = next((g.error for g in given if g.error is not None), None)
        if broke is not None:
            # Not the writer failed, but what the features come from.
            raise broke from None
        raise explain(final, error) from error


def _publish(whole: Draft, failed: Draft | None, beside: Path | None) -> None:
    try:
        publish(whole, failed, beside)
    except OSError as error:
        raise explain(whole.final, error) from error
