"""How is a session asked from a map? Clicks and boxes in their turn, and what they gave, shown.

Clicks wait in a queue while a tile is encoded; none is lost, and the map can be moved meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import shapely

from geoseg.interactive.canvas import Canvas
from geoseg.interactive.desk import Desk

if TYPE_CHECKING:
    from geoseg.interactive.session import Session

LAYERS = ("mask", "prompts", "waiting")
"""What is shown of a session, from the lowest."""

_INSIDE, _OUTSIDE, _DRAWN = "#00c853", "#d50000", "#ffea00"
_MASK, _WAITS = "#00b0ff", "#ffffff"


class Pointer:
    """A session on a canvas. Coordinates are those of the raster's CRS."""

    def __init__(self, session: Session, canvas: Canvas, desk: Desk) -> None:
        self.session = session
        """What is asked."""
        self._canvas, self._desk = canvas, desk
        self._crs = canvas.place.frame.crs
        self._waiting: list[shapely.Geometry] = []
        before = session.progress

        def progress(step: str, done: int, total: int) -> None:
            desk.progress(step, done, total)
            if before is not None:
                before(step, done, total)

        session.progress = progress

    def point(self, x: float, y: float, positive: bool) -> None:  # noqa: FBT001
        """Point at the object, or at what does not belong to it."""
        click = self.session.click
        self._ask(shapely.Point(x, y), lambda: click(x, y, positive=positive, crs=self._crs))

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
        drawn, current = self._canvas.drawn, self.session.current
        outlines = [] if current is None else [drawn(current.geometry, **filled(_MASK))]
        self._canvas.show("mask", outlines)
        prompts = [drawn(p.geometry, **_mark(p.kind, p.positive)) for p in self.session.prompts]
        self._canvas.show("prompts", prompts)
        self._show_waiting()

    def hide(self) -> None:
        """Show nothing of the session any more."""
        for layer in LAYERS:
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
