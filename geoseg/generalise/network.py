"""What is on the disk? The arcs of a map, the state of their corners, and who walks them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geoseg.generalise.arcs import Rings, walk
from geoseg.generalise.growing import Growing
from geoseg.generalise.lines import Ints, Lines, Mask, Shorts, States, expand
from geoseg.generalise.links import joined
from geoseg.generalise.nodes import Nodes
from geoseg.generalise.openings import opened
from geoseg.generalise.spooled import Spooled
from geoseg.generalise.windows import PORTION, portions

_WALKED = np.dtype(
    [
        ("name", "<i8"),
        ("first", "<i8"),
        ("size", "<i4"),
        ("coverage", "<i4"),
        ("backward", "?"),
        ("closed", "?"),
    ]
)
"""An arc as a ring walks it: as of Walk, and where its first corner is on the disk."""


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Arcs, each once, and the rings that walk them."""

    xy: Ints
    """(n, 2) corners in 1/GRID px, on the disk."""
    state: States
    """(n,) state of each corner, on the disk; may be changed."""
    first: Ints
    """(m,) index of the first corner of each arc, rising."""
    size: Shorts
    """(m,) corners of each arc."""
    closed: Mask
    """(m,) whether it is a ring that meets no other."""
    coverage: Shorts
    """(m,) with which others it may not cross."""
    fixed: Mask
    """(m,) whether it lies on the edge: it stays as it is."""
    walked: Shorts
    """(k,) arcs in the order in which rings walk them."""
    backward: Mask
    """(k,) in which direction."""
    per_ring: Shorts
    """(r,) arcs of each ring of a feature."""
    per_polygon: Ints
    """(p,) rings of each polygon: fewer than were spooled where two of them became one."""

    def corners(self, arcs: Ints | Shorts) -> tuple[Ints, Ints]:
        """Return the indices of all corners of some arcs, and where in them each arc begins."""
        at = expand(self.first[arcs], self.first[arcs] + self.size[arcs])[0]
        return at, np.r_[0, np.cumsum(self.size[arcs])]

    def lines(self, arcs: Ints | Shorts) -> Lines:
        """Read arcs."""
        at, start = self.corners(arcs)
        return Lines(self.xy[at].astype(np.int64), start, self.state[at], self.closed[arcs])


def connect(spooled: Spooled, nodes: Nodes, folder: Path) -> Network:
    """Cut all rings into arcs."""
    rings = spooled.rings
    xy, walks = Growing(folder / "arcs", "<i4", 2), Growing(folder / "walks", _WALKED)
    per_ring, met = [np.zeros(0, np.int32)], [np.zeros((0, 2), np.int64)]
    for part in portions(np.diff(rings.start), PORTION):
        begin, stop = rings.start[part.start], rings.start[part.stop]
        some = Rings(
            rings.xy[begin:stop].astype(np.int64),
            rings.start[part.start : part.stop + 1] - begin,
            rings.coverage[part],
        )
        found, points = opened(walk(some, nodes), some.coverage, nodes)
        rows = np.zeros(len(found.size), _WALKED)
        rows["name"], rows["size"] = found.name, found.size
        rows["first"] = xy.rows + np.cumsum(found.size) - found.size
        rows["coverage"] = np.repeat(some.coverage, found.per_ring)
        rows["backward"], rows["closed"] = found.backward, found.closed
        met.append(points + np.array([0, walks.rows]))
        xy.append(found.xy)
        walks.append(rows)
        per_ring.append(found.per_ring.astype(np.int32))
    walked = walks.done()
    # Either neighbour wrote it; what the first one wrote is read.
    once, which = _distinct(walked["name"])
    arcs, before = walked[once], np.concatenate(per_ring)
    fixed = np.zeros(len(once), bool)
    fixed[which[np.repeat(spooled.still, before)]] = True
    order, of_ring = joined(before, _pairs(np.concatenate(met)))
    polygon = spooled.polygon()[of_ring > 0]
    return Network(
        xy.done(),
        _states(xy.rows, folder),
        arcs["first"],
        arcs["size"],
        arcs["closed"],
        arcs["coverage"],
        fixed,
        which[order],
        walked["backward"][order],
        of_ring[of_ring > 0],
        np.bincount(polygon[polygon >= 0]),
    )


def _pairs(met: Ints) -> Ints:
    """Return (m, 2) arcs that begin in the same point, of (2m, 2) points and arcs."""
    found: Ints = met[np.argsort(met[:, 0], kind="stable"), 1].reshape(-1, 2)
    return found


def _distinct(names: Ints) -> tuple[Ints, Shorts]:
    """Return where each name comes first, rising, and which of those each is."""
    once, which = np.unique(names, return_index=True, return_inverse=True)[1:]
    order = np.argsort(once)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    numbers: Shorts = rank.astype(np.int32)[which]
    return once[order], numbers


def _states(rows: int, folder: Path) -> States:
    """Return a state for each corner, none set."""
    # Written, so that a disk that is full says so here, and not when they are changed.
    state = Growing(folder / "states", "u1")
    while state.rows < rows:
        state.append(np.zeros(min(PORTION, rows - state.rows), np.uint8))
    return state.done()


def parts(network: Network, arcs: Ints) -> Iterator[Ints]:
    """Cut arcs into stretches that are worked on at once."""
    for part in portions(network.size[arcs], PORTION):
        yield arcs[part]
