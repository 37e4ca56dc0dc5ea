"""What is added up while dates are read? Each strip goes to the rasters, and its hectares here."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geoseg.analysis.hydroperiod.counted import CLASSES, NOT_SEEN, Counted
from geoseg.analysis.hydroperiod.rasters import Growing
from geoseg.analysis.hydroperiod.stack import Stack
from geoseg.frame import Floats
from geoseg.progress import Progress
from geoseg.window import Window

Mask = NDArray[np.bool_]

NOT_OBSERVED = "not observed"


@dataclass(slots=True, eq=False)
class Tally:
    """Sums over all pixels that were heard of."""

    stack: Stack
    """The dates."""
    growing: Growing
    """Where counts go."""
    progress: Progress | None
    """Is told of rows."""
    class_m2: Floats = field(init=False)
    """Ground of each of CLASSES, and of what was not observed."""
    water_m2: Floats = field(init=False)
    """(n,) ground of the water of each date."""
    seen_px: NDArray[np.int64] = field(init=False)
    """(n,) pixels that each date has seen."""
    asked_px: int = 0
    """Pixels of the grid, or of the area of interest."""
    _counted: Counted = field(init=False)

    def __post_init__(self) -> None:
        """Begin with nothing."""
        self.class_m2 = np.zeros(len(CLASSES) + 1)
        self.water_m2 = np.zeros(self.stack.count)
        self.seen_px = np.zeros(self.stack.count, np.int64)

    def hear(self, window: Window, date: int, seen: Mask, wet: Mask, m2: Floats) -> None:
        """Add a date of a strip: what was seen, what was wet, and the ground of pixels."""
        if date == 0:
            self._counted = Counted.none(window.shape, self.growing.days)
        self._counted.add(seen, wet, self.growing.days[date])
        self.water_m2[date] += float(m2[wet].sum())
        self.seen_px[date] += int(seen.sum())
        if date == self.stack.count - 1:
            self._end(window, m2)

    def _end(self, window: Window, m2: Floats) -> None:
        """Add a strip whose dates are all heard."""
        asked = self.stack.asked(window)
        cls = self.growing.add(window, self._counted)
        place = np.where(cls == NOT_SEEN, len(CLASSES), cls)[asked]
        self.class_m2 += np.bincount(place, m2[asked], len(self.class_m2))
        self.asked_px += int(asked.sum())
        if self.progress is not None:
            self.progress("count", window.y1, self.stack.frame.height)

    @property
    def class_ha(self) -> dict[str, float]:
        """Hectares by class."""
        hectares: list[float] = (self.class_m2 / 1e4).tolist()
        return dict(zip((*CLASSES, NOT_OBSERVED), hectares, strict=True))

    @property
    def gap(self) -> tuple[float, ...]:
        """(n,) part of the pixels that each date has not seen, 0..1."""
        missing: list[float] = (1 - self.seen_px / max(self.asked_px, 1)).tolist()
        return tuple(missing)
