"""How right is a map, from points that somebody looked at?

Points of `sample` carry their design: strata and their sizes. Points from elsewhere are taken for a
random sample, and weighted by the ground of the map's classes (post-stratified). The formulae are
in estimators.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from geoseg.analysis.classed import CLASS_COLUMN, UNMAPPED, Classed, open_classed, tell_rejected
from geoseg.analysis.design import REFERENCE, Design
from geoseg.analysis.estimators import Accuracy, estimate
from geoseg.analysis.form import design_in
from geoseg.analysis.ground import (
    Laid,
    census,
    find_ground,
    frame_of,
    lay,
    whole,
    workshop,
)
from geoseg.errors import ConfigError
from geoseg.frame import Frame
from geoseg.reproject import horizontal, points_in_pixels
from geoseg.vectors import check_both_placed, read_layer

if TYPE_CHECKING:
    import geopandas as gpd

Ints = NDArray[np.int64]

_WANTS = "points that somebody looked at"
_NAMED = 5
"""So many points are named in messages."""

BY_CLASS = "stratified by the map's classes (Olofsson et al. 2014)"
BY_OTHERS = "strata that are not the map's classes (Stehman 2014)"
AFTERWARDS = "points without a design: taken for random, and weighted by the map's areas"


@dataclass(frozen=True, slots=True, eq=False)
class Assessment:
    """What points say of a map; `ci95` is half of a 95 % interval, NaN where they cannot tell."""

    overall: float
    """Part of the ground where the map is right, 0..1."""
    overall_ci95: float
    """How far off that may be."""
    classes: pd.DataFrame
    """A row per class of the map or the reference: `class`; `map_points`, `reference_points`;
    `users`, `producers` accuracy 0..1; `map_ha`, what the map says; `area_ha`, adjusted for the
    map's errors; `share` of the ground, 0..1, likewise; `..._ci95` of each."""
    counts: pd.DataFrame
    """Points by class of the map (rows) and of the reference (columns)."""
    matrix: pd.DataFrame
    """Estimated part of the ground, 0..1; rows and columns likewise."""
    design: str
    """What kind of sample it is."""
    points: int
    """How many points were used."""
    empty: int
    """How many lack a reference, or are lost: while there are any, the result is incomplete."""
    notes: tuple[str, ...]
    """What else must be known, a line each."""


@dataclass(frozen=True, slots=True, eq=False)
class _Points:
    """Points as they were read."""

    name: str
    table: gpd.GeoDataFrame
    reference: NDArray[np.object_]
    """(n,) text; None where it is empty."""
    pixels: Ints
    """(n, 2) column and row."""

    def where(self, which: NDArray[np.bool_]) -> _Points:
        return _Points(self.name, self.table[which], self.reference[which], self.pixels[which])

    def ids(self, which: NDArray[np.bool_]) -> str:
        ids = self.table["id"] if "id" in self.table.columns else self.table.index + 1
        named = [str(v) for v in np.asarray(ids)[which][:_NAMED].tolist()]
        return ", ".join(named) + (", ..." if which.sum() > _NAMED else "")


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What goes into an estimate."""

    points: _Points
    mapped: Sequence[str]
    strata: Sequence[str]
    sizes: Mapping[str, float]
    units: Mapping[str, float] | None
    map_sizes: Mapping[str, float]
    """Ground of the map's classes, as `sizes`."""
    design: str
    lost: int = 0
    notes: tuple[str, ...] = ()


def accuracy(  # noqa: PLR0913
    layer: str | Path | gpd.GeoDataFrame,
    points: str | Path | gpd.GeoDataFrame,
    *,
    design: Design | None = None,
    reference_column: str = REFERENCE,
    raster: str | None = None,
    column: str = CLASS_COLUMN,
    only: str | None = None,
) -> Assessment:
    """Estimate how right a map is, and how large its classes really are.

    Args:
        layer: A map of geoseg, or another layer of polygons with classes.
        points: The points of `sample`, or any others, with a column of what is really there.
            Words that are no class of the map are classes of their own; those of points without a
            polygon may be `unmapped`.
        design: What `sample` said of the points; None: what is in their file, if it says it.
        reference_column: That column.
        raster: The map's raster, where it is not at its place, or the map is not of geoseg.
        column: The column of the classes, where the map is not of geoseg.
        only: `accepted` or `kept`: what a reviewer accepted or put right, or all but what was
            rejected, alone counts.

    Raises:
        ConfigError: The points cannot be used: no reference, no CRS, too few in a stratum, or moved
            to another class of the map.
        MapError: The map is damaged or in use, or nobody has reviewed it.
    """
    found = open_classed(layer, "MAP", column=column, only=only)
    tell_rejected(found)
    return assessed(found, points, design, reference_column=reference_column, raster=raster)


def assessed(
    found: Classed,
    points: str | Path | gpd.GeoDataFrame,
    design: Design | None = None,
    *,
    reference_column: str = REFERENCE,
    raster: str | None = None,
) -> Assessment:
    """Return what `accuracy` does, of a layer that is open."""
    with workshop() as folder:
        if design is None and isinstance(points, str | Path):
            design = design_in(points)
        if design is None:
            laid = lay(found, find_ground(found, raster, folder), folder / "map.tif")
            read = _read(points, reference_column, laid.ground.frame)
            seen = _afterwards(read, laid)
        else:
            laid = lay(found, whole(frame_of(found, raster)), folder / "map.tif")
            read = _read(points, reference_column, laid.ground.frame)
            seen = _as_designed(read, laid, found, design)
    return _assess(seen, laid.names, placed=laid.ground.frame.crs is not None)


# -------------------------------------------------------------------------------- the points


def _read(points: str | Path | gpd.GeoDataFrame, column: str, frame: Frame) -> _Points:
    table, source = read_layer(points, "POINTS", _WANTS, "the layer of points")
    has = ", ".join(map(str, table.columns.drop(table.geometry.name))) or "none"
    if column not in table.columns:
        raise ConfigError(
            f"{source} has no column '{column}' (its columns: {has}); name the one that tells what "
            "is there with --reference-column"
        )
    places = table.geometry.to_numpy()
    if not (shapely.get_num_coordinates(places) == 1).all():
        kinds = ", ".join(sorted(set(table.geometry.geom_type.str.lower())))
        raise ConfigError(f"{source} holds {kinds}; POINTS takes points")
    crs = None if table.crs is None else horizontal(table.crs, source)
    check_both_placed(crs, source, frame.crs)
    pixels = np.floor(points_in_pixels(shapely.get_coordinates(places), crs, frame, source))
    # Where there is no such place in the map's CRS, it is outside.
    pixels = np.nan_to_num(pixels, nan=-1, posinf=-1, neginf=-1).clip(-1, 2**40)
    words = [None if pd.isna(v) else " ".join(str(v).split()) or None for v in table[column]]
    return _Points(source, table, np.array(words, object), pixels.astype(np.int64))


def _as_designed(points: _Points, laid: Laid, found: Classed, design: Design) -> _Seen:
    """Return points of a sample whose design is known."""
    table = points.table
    lacking = [c for c in ("stratum", "map_class") if c not in table.columns]
    if lacking or table[["stratum"]].isna().any(axis=None):
        what = f"no column '{lacking[0]}'" if lacking else "points without a stratum"
        raise ConfigError(
            f"{points.name} has {what}, though it is of a sample of {design.map}; take the file of "
            "geoseg sample, and add no points to it"
        )
    here = laid.at(*points.pixels.T)
    mapped = np.array([*laid.names, UNMAPPED], object)[here]
    notes, same = [], laid.digest() == design.digest
    moved = mapped != table["map_class"].to_numpy()
    if same and moved.any():
        raise ConfigError(
            f"{int(moved.sum())} points of {points.name} (id {points.ids(moved)}) were moved to "
            "another class of the map since they were drawn; put them back (lon, lat)"
        )
    if not same:
        notes.append(
            f"{found.name} is not the map that the points were drawn from ({design.map}), or was "
            "changed since: its classes are looked up at the points, strata stay what they were"
        )
    strata = design.strata.set_index("stratum")
    sizes = strata["share" if strata["area_ha"].isna().any() else "area_ha"].to_dict()
    units = None if strata["pixels"].isna().any() else strata["pixels"].to_dict()
    lost = int(design.strata["points"].sum()) - len(table)
    if lost > 0:
        notes.append(f"{lost} points of the sample are not in {points.name} any more")
    measured = dict(zip(laid.names[:-1], census(laid)[0].tolist(), strict=False))
    measured[UNMAPPED] = max(sum(sizes.values()) - sum(measured.values()), 0.0)
    kind = BY_CLASS if same and design.by_class else BY_OTHERS
    return _Seen(
        points, mapped.tolist(), table["stratum"].astype(str).tolist(), sizes, units, measured,
        kind, max(lost, 0), tuple(notes),
    )  # fmt: skip


def _afterwards(points: _Points, laid: Laid) -> _Seen:
    """Return points of which no design is known."""
    number = laid.at(*points.pixels.T)
    out, notes = number == laid.nowhere, []
    if out.all():
        raise ConfigError(
            f"no point of {points.name} lies on the map; is the coordinate reference system of "
            "either wrong?"
        )
    if out.any():
        notes.append(
            f"{int(out.sum())} points (id {points.ids(out)}) lie where nothing is mapped or could "
            "be, and are left out"
        )
    if "stratum" in points.table.columns and "map_class" in points.table.columns:
        notes.append(
            f"{points.name} has the strata of a sample, but not its design, which is lost where a "
            "file is written anew: fill 'reference' in the file of geoseg sample itself"
        )
    measured = census(laid)[0]
    known = {name: float(size) for name, size in zip(laid.names, measured, strict=True) if size > 0}
    mapped = [laid.names[k] for k in number[~out].tolist()]
    blind = [name for name in known if name not in mapped]
    if blind:
        part = 100 * sum(known[name] for name in blind) / sum(known.values())
        notes.append(
            f"no point lies in {', '.join(blind)}: estimates are of the rest, without {part:.3g} % "
            "of the ground"
        )
    sizes = {name: size for name, size in known.items() if name not in blind}
    return _Seen(
        points.where(~out), mapped, mapped, sizes, None, known, AFTERWARDS, notes=tuple(notes)
    )


# ------------------------------------------------------------------------------ the estimate


def _assess(seen: _Seen, names: Sequence[str], *, placed: bool) -> Assessment:
    points = seen.points
    filled = np.array([word is not None for word in points.reference])
    notes, empty = list(seen.notes), int((~filled).sum())
    if not filled.any():
        raise ConfigError(f"no point of {points.name} has a reference yet; fill that column")
    if empty:
        notes.append(
            f"{empty} of {len(filled)} points have no reference yet (id {points.ids(~filled)}) and "
            "are left out: the result is incomplete"
        )
    reference, said = _words(points.reference[filled].tolist(), [*names, *seen.mapped])
    mapped, strata = (
        [v for v, there in zip(values, filled.tolist(), strict=True) if there]
        for values in (seen.mapped, seen.strata)
    )
    found = estimate(strata, mapped, reference, seen.sizes, units=seen.units)
    return Assessment(
        float(found.overall.value[0]),
        float(found.overall.half_width[0]),
        _classes(found, seen.map_sizes, placed=placed),
        _square(found, found.counts),
        _square(found, found.matrix),
        seen.design,
        len(mapped),
        empty + seen.lost,
        (*notes, *said),
    )


def _words(given: list[str], names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return references as the map writes its classes, and a line on each that is none of them."""
    known = {name.casefold(): name for name in names}
    # Names may differ in nothing but capitals.
    found = [word if word in names else known.get(word.casefold(), word) for word in given]
    notes = []
    for word in sorted(set(found) - set(names)):
        near = get_close_matches(word.casefold(), known, 1)
        hint = f"; did you mean '{known[near[0]]}'?" if near else ""
        notes.append(
            f"the reference has '{word}' at {found.count(word)} points, which is no class of the "
            f"map: it counts as a class of its own{hint}"
        )
    return found, notes


def _classes(found: Accuracy, measured: Mapping[str, float], *, placed: bool) -> pd.DataFrame:
    unit = 1.0 if placed else np.nan
    return pd.DataFrame(
        {
            "class": found.classes,
            "map_points": found.counts.sum(axis=1),
            "reference_points": found.counts.sum(axis=0),
            "users": found.users.value,
            "users_ci95": found.users.half_width,
            "producers": found.producers.value,
            "producers_ci95": found.producers.half_width,
            "map_ha": [measured.get(name, 0.0) * unit for name in found.classes],
            "area_ha": found.area.value * unit,
            "area_ci95_ha": found.area.half_width * unit,
            "share": found.share.value,
            "share_ci95": found.share.half_width,
        }
    )


def _square(found: Accuracy, values: NDArray[Any]) -> pd.DataFrame:
    index = pd.Index(found.classes, name="map")
    return pd.DataFrame(values, index, pd.Index(found.classes, name="reference"))
