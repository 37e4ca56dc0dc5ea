"""Maps to write without a run, from the benchmark that makes disks fail."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts import benchmark

from geoseg.export import format_of
from geoseg.export.formats import in_crs_of, write_layer
from geoseg.export.table import Layer, Target, failed_layer, feature_layer
from geoseg.export.tally import Given
from geoseg.legend import Legend

FAULTS = benchmark("faults")


@dataclass(frozen=True)
class Beside:
    """Maps grow in a folder beside the output."""

    scratch: Path

    def announce(self, growing: Path, output: Path) -> None:
        assert growing.is_file()
        assert output.parent.is_dir()


def target(path: Path, crs: str | None = FAULTS.CRS) -> Target:
    return Target(path, crs, Legend.parse("tree, water"), "{}")


def write_unchecked(path: Path, count: int = 300, failed: int = 2) -> tuple[str, list[Given], Any]:
    """Write a map as GDAL or Arrow do; returns its format, what it was given, and its CRS."""
    kind, crs = format_of(path), None
    layers: list[Layer] = [feature_layer(FAULTS.features(count), target(path))]
    if kind == "GPKG":
        layers.append(failed_layer(FAULTS.holes(failed)))
    given = []
    for layer in layers:
        moved, crs = in_crs_of(kind, layer, FAULTS.CRS)
        given.append(Given(moved, is_rounded=kind == "GeoJSON"))
        write_layer(path, kind, given[-1].layer, crs, "{}")
    return kind, given, crs
