"""How does a map become coarser and smoother, and stay one? Shared borders stay shared.

spool -> nodes -> arcs -> simplify -> where lines are in each other's way, finer -> rebuild

The whole map is on the disk, and looked at in windows; what is found does not depend on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely

from geoseg.config import Finish
from geoseg.detect import Job
from geoseg.features import Drawn
from geoseg.frame import Frame
from geoseg.generalise.lines import GRID, Ints
from geoseg.generalise.network import connect, spool
from geoseg.generalise.nodes import Lattice
from geoseg.generalise.rebuild import rebuild
from geoseg.generalise.relax import Rules, relax
from geoseg.generalise.windows import WINDOW_PX
from geoseg.legend import Legend
from geoseg.units import parse_length
from geoseg.window import Window

SMOOTH_ALONE = "2px"
"""How far smoothing may move an outline where nothing is said of that."""

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


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """What is generalised, and how."""

    extent: Window
    """The raster; outlines on its edge stay there."""
    coverage: Ints
    """(classes,) the coverage of each class."""
    rules: Rules
    """How far lines may move."""
    window_px: int = WINDOW_PX
    """Side of the windows in which it is looked at; does not change the result."""


def generalise(
    found: Iterable[Drawn], whole: Map, folder: Path, tell: Callable[[int, int], None]
) -> Iterator[Drawn]:
    """Yield features with coarser outlines, batch by batch as they come.

    No line moves farther than the rules allow, and the topology of each coverage stays: polygons,
    holes, and who touches whom. The result does not depend on batches or windows.

    Args:
        found: Features whose outlines follow pixel edges; all are taken before the first is given.
        whole: What they are part of.
        folder: Is made, and holds all outlines as long as features are given; remains.
        tell: Called with how much is done, and of how much, before the first is given.

    Raises:
        WriteFailedError: The disk is full.
    """
    lattice = Lattice(whole.extent)
    spooled = spool(found, whole.coverage, lattice, folder)
    network = connect(spooled.rings, lattice, whole.window_px, folder)
    relax(network, whole.rules, whole.window_px, tell)
    yield from rebuild(spooled, network, whole.rules)


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
    frame = job.raster.frame
    whole = Map(frame.window, coverages(job.legend), rules(job.finish, frame))
    return generalise(found, whole, scratch / "lines", tell)
