"""How does a map become coarser and smoother, and stay one? Shared borders stay shared.

spool -> nodes, and who passes at them (`saddles`) -> arcs -> room for who passes (`openings`,
`links`) -> simplify -> where lines are in each other's way, finer -> rebuild

The whole map is on the disk, and looked at in windows; what is found does not depend on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.area import Area
from geoseg.config import Finish
from geoseg.detect import Job
from geoseg.features import Drawn
from geoseg.frame import Frame
from geoseg.generalise.lines import GRID, Ints, Mask
from geoseg.generalise.network import connect
from geoseg.generalise.nodes import Lattice
from geoseg.generalise.rebuild import rebuilt
from geoseg.generalise.relax import Rules, settle
from geoseg.generalise.saddles import MOVED_PX
from geoseg.generalise.sizes import Sizes, least_px
from geoseg.generalise.spooled import find_nodes, spool
from geoseg.generalise.windows import WINDOW_PX
from geoseg.legend import Legend
from geoseg.polygons import outlines
from geoseg.runs import RUN, runs_of
from geoseg.units import parse_area, parse_length
from geoseg.window import Window

SMOOTH_ALONE = "2px"
"""How far smoothing may move an outline where nothing is said of that."""

_STRIP_ROWS = 32
"""Rows of the area of interest that are looked at at once: of a raster of any width."""

_SIMPLIFIED = 0.75
"""Share of what an outline may move that it is simplified by, where it is smoothed, too: steps of
pixels are gone from 0.71 px on."""


def check_lengths(finish: Finish, frame: Frame) -> None:
    """Refuse early what `rules` would refuse.

    Raises:
        ConfigError: As `rules`.
    """
    if finish.reshapes:
        rules(finish, frame)


def rules(finish: Finish, frame: Frame) -> Rules:
    """Return how far lines may move.

    Raises:
        ConfigError: That is given in metres, and the raster has no CRS.
    """
    asked = parse_length(finish.simplify or SMOOTH_ALONE)
    most = asked.in_pixels(_longest_m(frame) if asked.on_ground else None, 1)
    if not finish.smooth:
        return Rules(most, 0.0)
    return Rules(_SIMPLIFIED * most, max((1 - _SIMPLIFIED) * most - 1 / GRID, 0.0))


def _longest_m(frame: Frame) -> float | None:
    """Return the ground length of a pixel's longer side at the raster's centre."""
    cx, cy = frame.width / 2, frame.height / 2
    pixel = shapely.box(cx, cy, cx + 1, cy + 1)
    area_m2, perimeter_m = (float(v[0]) for v in frame.measure(np.array([pixel])))
    if not area_m2 > 0:
        return None
    half = perimeter_m / 4
    return half + math.sqrt(max(half**2 - area_m2, 0.0))


def coverages(legend: Legend) -> Ints:
    """Return the coverage of each class: classes that exclude each other share one.

    In a coverage all lines are kept apart, also those of objects that lie on covers: where their
    outlines cross is fixed.
    """
    count = len(legend.classes)
    return np.zeros(count, np.int64) if legend.exclusive else np.arange(count)


def edge(extent: Window, area: Area | None) -> NDArray[np.object_]:
    """Return the outline of all pixels that may belong to something.

    Args:
        extent: The raster.
        area: The area of interest: its pixels reach beyond it, to where the map is cut exactly.
    """
    if area is None:
        whole = shapely.box(extent.x0, extent.y0, extent.x1, extent.y1)
        return np.array([shapely.MultiPolygon([whole])])
    seen = area.bounds.intersection(extent)
    found = [np.zeros(0, RUN)]
    for y in range(seen.y0, seen.y1, _STRIP_ROWS):
        strip = Window(seen.x0, y, seen.x1, min(y + _STRIP_ROWS, seen.y1))
        found.append(runs_of(area.mask(strip), (strip.x0, strip.y0)))
    return outlines(np.concatenate(found), 1)


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """What is generalised, and how."""

    extent: Window
    """The raster."""
    edge: NDArray[np.object_]
    """(n,) MultiPolygons with integer corners: where something can be. Lines on their edge stay
    as they are, so that neighbouring maps fit."""
    coverage: Ints
    """(classes,) the coverage of each class."""
    still: Mask
    """(classes,) whether its lines stay as they are."""
    rules: Rules
    """How far lines may move."""
    window_px: int = WINDOW_PX
    """Side of the windows in which it is looked at; does not change the result."""
    least: Callable[[Drawn], NDArray[np.float64]] | None = None
    """Returns (n,) the least area in pixels of features; None where they may be of any size."""


def generalise(
    found: Iterable[Drawn], whole: Map, folder: Path, tell: Callable[[int, int], None]
) -> Iterator[Drawn]:
    """Yield features with coarser outlines, batch by batch as they come.

    No line moves farther than the rules allow, and the topology of each coverage stays: polygons,
    holes, and who touches whom. But two features of one class that meet at the corner of a pixel
    share a short border there, if lines may be simplified by MOVED_PX; so bands that are narrow
    are no strings of beads. Features keep their least area if they have it in pixels. The result
    does not depend on batches or windows.

    Args:
        found: Features whose outlines follow pixel edges; all are taken before the first is given.
        whole: What they are part of.
        folder: Is made, and holds all outlines as long as features are given; remains.
        tell: Called with how much is done, and of how much, before the first is given.

    Raises:
        WriteFailedError: The disk is full.
    """
    least: list[NDArray[np.float64]] = []

    def noted() -> Iterator[Drawn]:
        for part in found:
            if whole.least is not None:
                least.append(whole.least(part))
            yield part

    spooled = spool(noted(), (whole.coverage, whole.still), whole.edge, folder)
    opening = whole.rules.tolerance >= MOVED_PX
    network = connect(
        spooled,
        find_nodes(spooled, Lattice(whole.extent), whole.window_px, opening=opening),
        folder,
    )
    height, width = whole.extent.shape
    fine = Lattice(Window(0, 0, width * GRID, height * GRID))
    sizes = Sizes.of(network, spooled.per_feature, np.concatenate(least)) if least else None
    settle(network, fine, (whole.rules, whole.window_px), sizes, tell)
    yield from rebuilt(spooled, network, whole.rules)


def generalised(
    job: Job, found: Iterable[Drawn], scratch: Path, tell: Callable[[int, int], None]
) -> Iterator[Drawn]:
    """Yield the features of a run with the outlines that are asked for.

    Args:
        job: Says what is asked for.
        found: As of `generalise`.
        scratch: Folder that does not stay.
        tell: As of `generalise`.
    """
    frame, least = job.raster.frame, job.finish.min_area
    whole = Map(
        frame.window,
        edge(frame.window, job.area),
        coverages(job.legend),
        job.finish.is_regular(job.legend),
        rules(job.finish, frame),
        least=None if least is None else partial(least_px, parse_area(least), frame=frame),
    )
    return generalise(found, whole, scratch / "lines", tell)
