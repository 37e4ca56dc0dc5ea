"""How are sets of row runs intersected, split and subtracted?

A run says "row y, columns x0 to x1". Within one key (a row of one class, or of one label) the runs
of a set are disjoint; that makes every operation here a sort or a binary search, without images.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geoseg.window import Window

Runs = NDArray[np.void]
Ints = NDArray[np.integer[Any]]

RUN = np.dtype([("label", "<i4"), ("y", "<i4"), ("x0", "<i4"), ("x1", "<i4")])
"""Pixels of one row of the raster: columns x0 <= x < x1 of row y belong to label."""


class Overlaps(NamedTuple):
    """Which runs of two sets share pixels."""

    a: Ints
    """Index into the first set."""
    b: Ints
    """Index into the second set."""
    px: Ints
    """Number of shared pixels."""


def runs_of(labels: NDArray[np.integer | np.bool_], origin: tuple[int, int]) -> NDArray[np.void]:
    """Return the row runs of equal, non-zero labels of an image.

    Args:
        labels: (row, col) label image, 0 is background; of a mask, True is label 1.
        origin: (x, y) of its top left pixel in the raster.

    Returns:
        (m,) of RUN, in row-major order.
    """
    height, width = labels.shape
    # A column of background keeps runs from going on in the next row.
    padded = np.zeros((height, width + 1), labels.dtype)
    padded[:, :width] = labels
    flat = padded.ravel()
    change = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    start = np.r_[0, change]
    stop = np.r_[change, flat.size]
    keep = flat[start] != 0
    start, stop = start[keep], stop[keep]
    runs = np.zeros(len(start), RUN)
    row = start // (width + 1)
    runs["label"] = flat[start]
    runs["y"] = row + origin[1]
    runs["x0"] = start - row * (width + 1) + origin[0]
    runs["x1"] = stop - row * (width + 1) + origin[0]
    return runs


def clip(runs: Runs, window: Window) -> Runs:
    """Return the parts of runs that lie inside a window."""
    inside = (
        (runs["y"] >= window.y0)
        & (runs["y"] < window.y1)
        & (runs["x1"] > window.x0)
        & (runs["x0"] < window.x1)
    )
    part: Runs = runs[inside]
    part["x0"] = np.maximum(part["x0"], window.x0)
    part["x1"] = np.minimum(part["x1"], window.x1)
    return part if window.area else part[:0]


def outside(runs: Runs, window: Window) -> Runs:
    """Return the parts of runs that lie outside a window."""
    beside = (runs["y"] >= window.y0) & (runs["y"] < window.y1)
    left, right = runs[beside], runs[beside]
    left["x1"] = np.minimum(left["x1"], window.x0)
    right["x0"] = np.maximum(right["x0"], window.x1)
    parts = np.concatenate([runs[~beside], left, right])
    return parts[parts["x1"] > parts["x0"]]


def overlaps(a: Runs, b: Runs, key_a: Ints, key_b: Ints) -> Overlaps:
    """Pair the runs of two sets that share a key, a row and at least one pixel.

    Args:
        a: Runs that are disjoint within a key and row.
        b: Likewise.
        key_a: (len(a),) non-negative integer per run; only equal keys meet.
        key_b: (len(b),) likewise.
    """
    none = np.zeros(0, np.int64)
    if len(a) == 0 or len(b) == 0:
        return Overlaps(none, none, none)
    x_low = min(int(a["x0"].min()), int(b["x0"].min()))
    y_low = min(int(a["y"].min()), int(b["y"].min()))
    width = max(int(a["x1"].max()), int(b["x1"].max())) - x_low + 1
    height = max(int(a["y"].max()), int(b["y"].max())) - y_low + 1
    line_a = (key_a.astype(np.int64) * height + a["y"] - y_low) * width - x_low
    line_b = (key_b.astype(np.int64) * height + b["y"] - y_low) * width - x_low
    order = np.argsort(line_b + b["x0"])
    start_b, stop_b = (line_b + b["x0"])[order], (line_b + b["x1"])[order]
    low = np.searchsorted(stop_b, line_a + a["x0"], "right")
    high = np.searchsorted(start_b, line_a + a["x1"], "left")
    count = np.maximum(high - low, 0)
    ia = np.repeat(np.arange(len(a)), count)
    within = np.arange(len(ia)) - np.repeat(np.cumsum(count) - count, count)
    ib = order[np.repeat(low, count) + within]
    px = np.minimum(a["x1"][ia], b["x1"][ib]) - np.maximum(a["x0"][ia], b["x0"][ib])
    return Overlaps(ia, ib, px.astype(np.int64))


def fragments(runs: Runs) -> tuple[int, Ints]:
    """Number the 4-connected parts of each label.

    Returns:
        The number of parts, and (n,) the part of each run, 0-based.
    """
    above = runs.copy()
    above["y"] += 1
    touch = overlaps(above, runs, above["label"] - _low(runs), runs["label"] - _low(runs))
    graph = coo_array((np.ones(len(touch.a), np.int8), (touch.a, touch.b)), (len(runs),) * 2)
    return connected_components(graph, directed=False)  # type: ignore[no-any-return]


def _low(runs: Runs) -> int:
    return int(runs["label"].min(initial=0))


def subtract(runs: Runs, taken: Runs) -> Runs:
    """Return the pixels of runs, which are disjoint per label, that are in none of `taken`."""
    if len(runs) == 0 or len(taken) == 0:
        return runs
    one_line = taken.copy()
    one_line["label"] = 0
    merged = _merge(one_line)
    hit = overlaps(runs, merged, np.zeros(len(runs), np.int64), np.zeros(len(merged), np.int64))
    holes = runs[hit.a]
    holes["x0"] = np.maximum(holes["x0"], merged["x0"][hit.b])
    holes["x1"] = np.minimum(holes["x1"], merged["x1"][hit.b])
    return _sweep(runs, holes)


def _merge(runs: Runs) -> Runs:
    """Return disjoint runs that cover what runs of one label, which may overlap, cover."""
    order = np.lexsort((runs["x0"], runs["y"]))
    line = runs["y"][order].astype(np.int64) << 32
    start, stop = line + runs["x0"][order], line + runs["x1"][order]
    reach = np.maximum.accumulate(stop)
    first = np.flatnonzero(np.r_[True, start[1:] > reach[:-1]])
    out: Runs = runs[order][first]
    out["x1"] = (reach[np.r_[first[1:], len(reach)] - 1] & 0xFFFFFFFF).astype(np.int32)
    return out


def _sweep(runs: Runs, holes: Runs) -> Runs:
    """Cut holes, each inside one run of its label, out of runs."""
    both = np.concatenate([runs, holes])
    sign = np.r_[np.ones(len(runs), np.int64), -np.ones(len(holes), np.int64)]
    label, y = np.tile(both["label"], 2), np.tile(both["y"], 2)
    x, step = np.r_[both["x0"], both["x1"]], np.r_[sign, -sign]
    order = np.lexsort((x, y, label))
    label, y, x = label[order], y[order], x[order]
    inside = np.cumsum(step[order])[:-1] > 0
    keep = inside & (label[1:] == label[:-1]) & (y[1:] == y[:-1]) & (x[1:] > x[:-1])
    out = np.zeros(int(keep.sum()), RUN)
    out["label"], out["y"] = label[:-1][keep], y[:-1][keep]
    out["x0"], out["x1"] = x[:-1][keep], x[1:][keep]
    return out
