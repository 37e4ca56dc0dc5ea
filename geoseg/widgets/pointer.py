"""How is a session asked from a map? Clicks and boxes in their turn, and what they gave, shown.

Clicks wait in a queue while a tile is encoded; none is lost, and the map can be moved meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import shapely

from geoseg.progress import Progress
from geoseg.widgets.canvas import Canvas
from geoseg.widgets.desk import Desk

if TYPE_CHECKING:
    from geoseg.interactive.session import Session

LAYERS = ("mask", "prompts", "waiting")
"""What is shown of a session, from the lowest."""

_INSIDE, _OUTSIDE, _DRAWN = "#00c853", "#d50000", "#ffea00"
_MASK, _WAITS = "#00b0ff", "#ffffff"


@dataclass(frozen=True, slots=True)
class _Told:
    """What a session tells: to the map that shows it, and to whoever asked for it before."""

    desk: Desk
    users: Progress | None

    def __call__(self, step: str, done: int, total: int) -> None:
        self.desk.progress(step, done, total)
        if self.users is not None:
            self.users(step, done, total)


class Pointer:
    """A session on a canvas. Coordinates are those of the raster's CRS."""

    def __init__(self, find: Callable[[], Session], canvas: Canvas, desk: Desk) -> None:
        """Ask nothing yet.

        Args:
            find: Gives the session, in its turn at the desk: it may take long to make one.
            canvas: Where it is pointed, and shown.
            desk: Does what is asked, in order.
        """
        self._find, self._canvas, self._desk = find, canvas, desk
        self._crs = canvas.place.frame.crs
        self._waiting: list[shapely.Geometry] = []

    @property
    def session(self) -> Session:
        """What is asked."""
        return self._find()

    def begin(self) -> None:
        """Tell here how far the session is, and no more on an earlier map of it."""
        session = self.session
        before = session.progress
        users = before.users if isinstance(before, _Told) else before
        session.progress = _Told(self._desk, users)

    def point(self, x: float, y: float, positive: bool) -> None:  # noqa: FBT001
        """Point at the object, or at what does not belong to it."""
        self._ask(
            shapely.Point(x, y),
            lambda: self.session.click(x, y, positive=positive, crs=self._crs),
        )

    def box(self, bounds: tuple[float, float, float, float]) -> None:
        """Draw a box around the object."""
        self._ask(shapely.box(*bounds), lambda: self.session.box(bounds, crs=self._crs))

    def do(self, act: Callable[[], str | None]) -> None:
        """Do something with the session in its turn; it may return what there is to say."""

        def done() -> str:
            try:
                said = act()
            finally:
                self.show()
            return said or self._described()

        self._desk.do(done)

    def show(self) -> None:
        """Show what is pointed at, and its outline."""
        self._show_waiting()
        drawn, current = self._canvas.drawn, self.session.current
        outlines = [] if current is None else [drawn(current.geometry, **filled(_MASK))]
        self._canvas.show("mask", outlines)
        prompts = [drawn(p.geometry, **_mark(p.kind, p.positive)) for p in self.session.prompts]
        self._canvas.show("prompts", prompts)

    def hide(self) -> None:
        """Show nothing of the session any more, but what still waits."""
        for layer in ("mask", "prompts"):
            self._canvas.show(layer, [])

    def _show_waiting(self) -> None:
        waiting = [self._canvas.drawn(g, color=_WAITS, weight=2) for g in list(self._waiting)]
        self._canvas.show("waiting", waiting)

    def _ask(self, where: shapely.Geometry, act: Callable[[], Any]) -> None:
        self._waiting.append(where)
        self._show_waiting()

        def answered() -> str | None:
            try:
                found = act()
            finally:
                self._waiting.remove(where)
            return (
                "nothing is found there; click elsewhere, or draw a box" if found is None else None
            )

        self.do(answered)

    def _described(self) -> str:
        current = self.session.current
        if current is None:
            return ""
        size = "" if math.isnan(current.area_ha) else f", {current.area_ha:,.4g} ha"
        return "; ".join((f"score {current.score:.2f}{size}", *current.notes))


def filled(colour: str) -> dict[str, Any]:
    """Return the style of an object through which the raster is seen."""
    return {"color": colour, "weight": 2, "fillColor": colour, "fillOpacity": 0.3}


def _mark(kind: str, positive: bool) -> dict[str, Any]:  # noqa: FBT001
    if kind != "point":
        return {"color": _DRAWN, "weight": 2, "fill": False, "dashArray": "6 4"}
    colour = _INSIDE if positive else _OUTSIDE
    return {"color": "#ffffff", "weight": 2, "fillColor": colour, "fillOpacity": 1.0}
