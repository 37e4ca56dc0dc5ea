"""What does a backend say about a tile, and what is kept of it?

A backend answers with Instances. They are flattened into Labels: disjoint runs of pixels per
class, cut to the pixels the tile can be trusted on, plus one row of facts per label. Everything
after this file works on runs ("row y, columns x0..x1, label"), never on images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import BackendError
from geoseg.runs import RUN
from geoseg.window import Window

Mask = NDArray[np.bool_]

SCORE_STEPS = 10_000
"""Scores are summed as integers of 1/10,000, so that no sum depends on its order."""

FACT = np.dtype(
    [
        ("cls", "<i4"),
        ("cut", "?"),
        ("runs", "<i4"),
        ("area_px", "<i8"),
        ("core_px", "<i8"),
        ("score_sum", "<i8"),
        ("core_score_sum", "<i8"),
        ("first_y", "<i4"),
        ("first_x", "<i4"),
        ("core_first_y", "<i4"),
        ("core_first_x", "<i4"),
        ("core_x0", "<i4"),
        ("core_y0", "<i4"),
        ("core_x1", "<i4"),
        ("core_y1", "<i4"),
    ]
)
"""One label of a tile: its class, whether the trusted window cuts it, its number of runs, its
pixels in the trusted window and in the core, the sums of their scores (in 1/SCORE_STEPS), the first
pixel in row-major order, and the box of its core part. Coordinates are the raster's."""


@dataclass(frozen=True, slots=True, eq=False)
class Instances:
    """A backend's answer for one tile: boxes, masks cropped to them, class and score."""

    boxes: NDArray[np.int32]
    """(n, 4) x0, y0, x1, y1, half-open, in pixels of the tile."""
    masks: Sequence[Mask]
    """n masks (row, col), each of its box's size. Class `cover`: one mask per class and tile is
    enough; its connected regions are found here."""
    classes: NDArray[np.int32]
    """(n,) index into the legend."""
    scores: NDArray[np.float32]
    """(n,) confidence in 0..1."""
    evidence: Sequence[NDArray[np.float32] | None] | None = None
    """n arrays (row, col) of confidence per pixel in 0..1, each of its box's size; where given it
    replaces the score, and the score of a feature is the mean over its pixels."""
    notes: tuple[str, ...] = ()
    """What the user should know of the tile, each in one line: kept with the run and counted."""

    def __post_init__(self) -> None:
        if not (isinstance(self.notes, tuple) and all(isinstance(n, str) for n in self.notes)):
            raise BackendError(f"backend gave notes {self.notes!r}; a tuple of strings is asked")
        n = len(self.masks)
        if not (self.boxes.shape == (n, 4) and self.classes.shape == self.scores.shape == (n,)):
            raise BackendError(
                f"backend gave {n} masks but boxes {self.boxes.shape}, classes "
                f"{self.classes.shape}, scores {self.scores.shape}; all need {n} rows"
            )

    @classmethod
    def empty(cls) -> Instances:
        """Return the answer of a tile in which nothing was found."""
        return cls(np.zeros((0, 4), np.int32), (), np.zeros(0, np.int32), np.zeros(0, np.float32))

    def __len__(self) -> int:
        """Return the number of instances."""
        return len(self.masks)


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What is kept of a tile; labels are 1..n, `facts[k - 1]` is about label k."""

    runs: NDArray[np.void]
    """(m,) of RUN, sorted by label, y, x0. Label 0 does not occur; covers have runs with a
    negative label -k in the halo: what the tile would say there of the class of label k, or
    -(n + 1 + class) where it has no such label."""
    facts: NDArray[np.void]
    """(n,) of FACT."""
    notes: tuple[str, ...] = ()
    """What the backend said of the tile."""

    @property
    def claimed(self) -> NDArray[np.void]:
        """The runs that belong to labels, halo testimony of covers left out."""
        return self.runs[np.searchsorted(self.runs["label"], 1) :]

    @property
    def testimony(self) -> NDArray[np.void]:
        """The halo runs of covers, with negative labels."""
        return self.runs[: np.searchsorted(self.runs["label"], 0)]

    @classmethod
    def empty(cls) -> Labels:
        """Return the labels of a tile with nothing in it."""
        return cls(np.zeros(0, RUN), np.zeros(0, FACT))


@dataclass(frozen=True, slots=True)
class Scope:
    """Which pixels of a tile count, and for what; coordinates are the raster's."""

    read: Window
    """What the backend was shown: the frame of the instances' coordinates."""
    trust: Window
    """Where its answer no longer depends on what lies outside the read window."""
    core: Window
    """What the tile decides."""
    raster: Window
    """The whole raster: a label at its edge is not cut."""
