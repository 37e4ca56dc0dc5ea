"""What follows from how many polygons, or pixels, are right, false and missed?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counts:
    """Polygons, or pixels, that are right and wrong."""

    right: int
    """In both."""
    false: int
    """In the map alone."""
    missed: int
    """In the reference alone."""

    @property
    def precision(self) -> float:
        """Part of what is mapped that is right; NaN where nothing is mapped."""
        return part(self.right, self.right + self.false)

    @property
    def recall(self) -> float:
        """Part of the reference that is mapped; NaN where there is none."""
        return part(self.right, self.right + self.missed)

    @property
    def f1(self) -> float:
        """Harmonic mean of both (Dice); NaN where there is nothing at all."""
        return part(2 * self.right, 2 * self.right + self.false + self.missed)

    @property
    def iou(self) -> float:
        """Intersection over union; NaN where there is nothing at all."""
        return part(self.right, self.right + self.false + self.missed)

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.right + other.right, self.false + other.false, self.missed + other.missed
        )


def part(some: float, whole: float) -> float:
    """Return a part of a whole; NaN of nothing."""
    return some / whole if whole else float("nan")
