"""Where must somebody look to know how right a map is? At a stratified random sample of its pixels.

The good practice of Olofsson et al. (2014, Remote Sensing of Environment 148:42-57): strata are the
classes of the map and the ground without one; a unit is a pixel of the map's raster, drawn with a
chance in proportion to the ground it covers; its place is its centre, where polygons and pixels say
the same. Where polygons overlap, the last of them counts, as in a COG of the map.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyproj
import shapely
from numpy.typing import NDArray

from geoseg.analysis.classed import CLASS_COLUMN, open_classed, tell_rejected
from geoseg.analysis.estimators import allocate, plan_size, spreads
from geoseg.analysis.ground import Laid, census, find_ground, lay, sizes_ha, workshop
from geoseg.errors import ConfigError, MapError
from geoseg.frame import Floats, Frame

if TYPE_CHECKING:
    import geopandas as gpd

log = logging.getLogger(__name__)

Ints = NDArray[np.int64]

REFERENCE = "reference"
"""The column that somebody fills."""

ALLOCATIONS = ("proportional", "equal", "neyman")

USUAL_POINTS = 300
USUAL_LEAST = 50

_LEAST_PIXELS = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """How a sample is drawn."""

    n: int | None = None
    """Points in all; USUAL_POINTS, or what `target_se` needs, where None."""
    allocation: str = "proportional"
    """`proportional` to the ground of a stratum, `equal`, or `neyman`: to ground x sqrt(p (1 - p)),
    p the accuracy that is expected."""
    target_se: float | None = None
    """Standard error of overall accuracy that is wanted, 0..1; instead of `n`."""
    expected: float | Mapping[str, float] | None = None
    """User's accuracy that is expected, 0..1: of all strata, or by stratum; `""` of the others."""
    min_per_class: int | None = None
    """Least points in a stratum; where None USUAL_LEAST, or half of an equal part if that is less.
    A stratum with fewer pixels gets a point in each."""
    seed: int = 0
    """The same seed draws the same points, and with a larger `n` the same and more."""

    def __post_init__(self) -> None:
        if self.allocation not in ALLOCATIONS:
            raise ConfigError(
                f"--allocation '{self.allocation}' is none of: {', '.join(ALLOCATIONS)}"
            )
        if self.n is not None and self.target_se is not None:
            raise ConfigError("--n and --target-se both say how many points; give one of them")
        if self.n is not None and self.n < _LEAST_PIXELS:
            raise ConfigError(f"--n {self.n} is too few; at least {_LEAST_PIXELS}, 300 is usual")
        if self.seed < 0:
            raise ConfigError(f"--seed {self.seed} is below 0")
        if self.min_per_class is not None and self.min_per_class < _LEAST_PIXELS:
            raise ConfigError(
                f"--min-per-class {self.min_per_class} is too few: without {_LEAST_PIXELS} points "
                "in each stratum there is no standard error"
            )
        uses = self.target_se is not None or self.allocation == "neyman"
        if uses != (self.expected is not None):
            what = "--target-se and --allocation neyman"
            raise ConfigError(
                f"{what} need --expected, as 0.85 or forest=0.9,water=0.8"
                if uses
                else f"--expected is for {what}; leave it out"
            )

    def counts(
        self, sizes: Mapping[str, float], most: Mapping[str, int] | None = None
    ) -> dict[str, int]:
        """Return how many points each stratum gets.

        Args:
            sizes: Its ground, in any unit.
            most: How many there are in it; no end of them where None.

        Raises:
            ConfigError: There are too few points, or an expected accuracy is missing or odd.
        """
        expected = {} if self.expected is None else self._expected(sizes)
        count = USUAL_POINTS if self.n is None else self.n
        if self.target_se is not None:
            count = plan_size(sizes, expected, self.target_se)
        least = self.min_per_class
        if least is None:
            least = max(min(USUAL_LEAST, count // (2 * len(sizes))), _LEAST_PIXELS)
        elif self.target_se is not None:
            count = max(count, least * len(sizes))
        weights = dict(sizes)
        if self.allocation == "equal":
            weights = dict.fromkeys(sizes, 1.0)
        elif self.allocation == "neyman":
            weights = spreads(sizes, expected)
        return allocate(weights, count, least, most)

    def _expected(self, sizes: Mapping[str, float]) -> dict[str, float]:
        given = self.expected if isinstance(self.expected, Mapping) else {"": self.expected or 0.0}
        strange = sorted(set(given) - {*sizes, ""})
        lacking = sorted(set(sizes) - set(given)) if "" not in given else []
        if strange or lacking:
            said = f"names '{strange[0]}', which is no stratum" if strange else (
                f"does not say how right '{lacking[0]}' will be"
            )  # fmt: skip
            raise ConfigError(f"--expected {said} (strata: {', '.join(sizes)})")
        return {name: given.get(name, given.get("", 0.0)) for name in sizes}


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """What must be known of a sample to estimate from it."""

    strata: pd.DataFrame
    """A row per stratum: `stratum`, `area_ha` (NaN without a CRS), `share` of the ground (0..1),
    `pixels`, `points`."""
    seed: int
    """What it was drawn with."""
    map: str
    """What the map was called."""
    digest: str
    """What tells that map from another."""
    by_class: bool
    """Whether strata are the classes of that map."""

    def text(self) -> str:
        """Return it as JSON."""
        strata = self.strata.astype(object).where(self.strata.notna(), None).to_dict("records")
        facts = {"map": self.map, "digest": self.digest, "seed": self.seed}
        return json.dumps({**facts, "by_class": self.by_class, "strata": strata})

    @classmethod
    def parse(cls, text: str, where: str) -> Design:
        """Read what `text` gave.

        Raises:
            ConfigError: It is damaged.
        """
        try:
            facts: dict[str, Any] = json.loads(text)
            strata = pd.DataFrame(facts["strata"]).astype({"area_ha": float, "share": float})
            known = strata[["stratum", "area_ha", "share", "pixels", "points"]]
            return cls(
                known, facts["seed"], str(facts["map"]), str(facts["digest"]),
                bool(facts["by_class"]),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"what {where} says of its sample is damaged; take the file of geoseg sample again"
            ) from error


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Points to look at."""

    points: gpd.GeoDataFrame
    """In random order, in the CRS of the map: `id`, `stratum`, `map_class`, `lon`, `lat` (WGS 84),
    and empty `reference` and `note`."""
    design: Design
    """How they were drawn."""
    classes: tuple[str, ...]
    """What a reference may be: the classes of the map, and `unmapped` for none of them."""


def sample(
    layer: str | Path | gpd.GeoDataFrame,
    plan: Plan | None = None,
    *,
    strata: str | Path | gpd.GeoDataFrame = CLASS_COLUMN,
    raster: str | None = None,
    column: str = CLASS_COLUMN,
    only: str | None = None,
) -> Sample:
    """Draw a stratified random sample of a map.

    Args:
        layer: A map of geoseg, or another layer of polygons with classes.
        plan: How many points, and where; 300 in proportion, 50 per stratum, where None.
        strata: `class`, or another layer of polygons with a column `class`.
        raster: The map's raster, where it is not at its place, or the map is not of geoseg.
        column: The column of the classes, where the map is not of geoseg.
        only: `accepted` or `kept`: what a reviewer accepted or put right, or all but what was
            rejected, alone counts.

    Returns:
        The points. Ground without a polygon is the stratum `unmapped`; so is ground under clouds
        that were masked, and that of tiles that failed.

    Raises:
        ConfigError: The plan cannot be met, or a layer not be read.
        MapError: The map is damaged, nobody has reviewed it, or its area of interest is not there
            any more.
        TileFailedError: The raster cannot be read.
    """
    plan = plan or Plan()
    found = open_classed(layer, "MAP", column=column, only=only)
    tell_rejected(found)
    by_class = isinstance(strata, str) and strata == CLASS_COLUMN
    with workshop() as folder:
        ground = find_ground(found, raster, folder)
        mapped = lay(found, ground, folder / "map.tif")
        laid = mapped
        if not by_class:
            own = open_classed(strata, "--strata")
            laid = lay(own, ground, folder / "strata.tif", over=mapped)
        table = _planned(laid, plan)
        drawn = draw(laid, table["points"].to_numpy(), plan.seed)
        cols, rows, stratum = drawn.T
        mapped_as = stratum if by_class else mapped.at(cols, rows)
        columns = {
            "stratum": [laid.names[k] for k in stratum.tolist()],
            "map_class": [mapped.names[k] for k in mapped_as.tolist()],
        }
        points = _points(ground.frame, drawn, columns, plan.seed)
        kept = table[table["points"] > 0].reset_index(drop=True)
        design = Design(kept, plan.seed, found.name, mapped.digest(), by_class)
    return Sample(points, design, mapped.names)


def _planned(laid: Laid, plan: Plan) -> pd.DataFrame:
    """Return all strata, and how many points each gets: 0 where it has hardly a pixel."""
    sizes, pixels = census(laid)
    large = (pixels >= _LEAST_PIXELS) & (sizes > 0)
    if not large.any():
        raise MapError("there is no ground to draw points from: no polygon holds a pixel's centre")
    for k in np.flatnonzero(~large & (np.arange(len(sizes)) < len(sizes) - 1)).tolist():
        has = "no pixel" if pixels[k] == 0 else f"only {pixels[k]} pixel"
        log.warning("stratum '%s' has %s, and is left out of the sample", laid.names[k], has)
    known = {laid.names[k]: float(sizes[k]) for k in np.flatnonzero(large).tolist()}
    counts = plan.counts(known, dict(zip(laid.names, pixels.tolist(), strict=True)))
    wanted = np.array([counts.get(name, 0) for name in laid.names])
    for k in np.flatnonzero(large & (wanted == pixels)).tolist():
        log.warning(
            "stratum '%s' has %d pixels only: all of them are points", laid.names[k], pixels[k]
        )
    placed = laid.ground.frame.crs is not None
    return pd.DataFrame(
        {
            "stratum": laid.names,
            "area_ha": sizes if placed else np.full(len(sizes), np.nan),
            "share": sizes / sizes[large].sum(),
            "pixels": pixels,
            "points": wanted,
        }
    )


def draw(laid: Laid, counts: Ints, seed: int) -> Ints:
    """Draw pixels of each class at random, each with a chance in proportion to its ground.

    Each pixel waits for a time that is exponential with the rate of its ground; the first ones of a
    class are the sample (Efraimidis and Spirakis 2006, Information Processing Letters 97:181-185).

    Args:
        laid: The classes.
        counts: (k,) how many to draw of each, or all that there are.
        seed: Of the random numbers.

    Returns:
        (n, 3) column, row and number of the class, from the top down.
    """
    best = [(np.empty(0), np.empty((0, 3), np.int64)) for _ in counts]
    # The latest time that may still count; never where nothing is.
    latest = np.append(np.where(counts > 0, np.inf, -np.inf), -np.inf)
    for window in laid.windows():
        numbers = laid.numbers(window)
        random = np.random.default_rng((seed, window.y0))
        with np.errstate(divide="ignore"):
            time = random.standard_exponential(numbers.shape) / sizes_ha(laid.ground.frame, window)
        row, col = np.nonzero(time < latest[numbers])
        number, when = numbers[row, col], time[row, col]
        for k in np.unique(number).tolist():
            mine = number == k
            pixels = np.column_stack((col[mine] + window.x0, row[mine] + window.y0, number[mine]))
            times = np.concatenate((best[k][0], when[mine]))
            pixels = np.concatenate((best[k][1], pixels))
            first = np.argsort(times, kind="stable")[: counts[k]]
            best[k] = times[first], pixels[first]
            if len(first) == counts[k]:
                latest[k] = times[first[-1]]
    drawn = np.concatenate([pixels for _, pixels in best])
    return drawn[np.lexsort((drawn[:, 0], drawn[:, 1]))]


def _points(
    frame: Frame, drawn: Ints, columns: Mapping[str, list[str]], seed: int
) -> gpd.GeoDataFrame:
    """Return points in random order: their numbers tell nothing."""
    import geopandas as gpd

    order = np.random.default_rng((seed, len(drawn))).permutation(len(drawn))
    xy = frame.to_crs(drawn[:, :2] + 0.5)
    lon, lat = lonlat(frame.crs, xy)
    table = pd.DataFrame({**columns, "lon": lon, "lat": lat, REFERENCE: None, "note": None})
    table = table.astype({REFERENCE: object, "note": object}).iloc[order].reset_index(drop=True)
    table.insert(0, "id", np.arange(1, len(table) + 1))
    return gpd.GeoDataFrame(table, geometry=shapely.points(xy[order]), crs=frame.crs)


def lonlat(crs: str | None, xy: Floats) -> tuple[Floats, Floats]:
    """Return (n,) longitudes and latitudes (WGS 84) of (n, 2) places; NaN without a CRS."""
    if crs is None:
        return np.full(len(xy), np.nan), np.full(len(xy), np.nan)
    to_lonlat = pyproj.Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    lon, lat = to_lonlat.transform(xy[:, 0], xy[:, 1])
    return lon, lat
