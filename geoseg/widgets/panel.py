"""How is a map reviewed by keyboard? One polygon after the other over its raster, a key for each.

Decisions are made by the review, which has them on the disk at once; this shows and asks.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from geoseg.errors import ConfigError, GeosegError
from geoseg.legend import LandClass, default_colour
from geoseg.reviewing.review import ElsewhereError
from geoseg.widgets.canvas import Canvas
from geoseg.widgets.desk import Desk, line
from geoseg.widgets.keys import REDRAWING, REVIEWING, action
from geoseg.widgets.pointer import LAYERS, Pointer
from geoseg.widgets.pointing import buttons
from geoseg.widgets.toolkit import ipywidgets

if TYPE_CHECKING:
    from geoseg.interactive.session import Session
    from geoseg.reviewing.review import Candidate, Review

_BUTTONS = {
    "previous": ("\N{LEFTWARDS ARROW} Previous (p)", "look at the polygon before, decided or not"),
    "next": ("Next (n) \N{RIGHTWARDS ARROW}", "look at the next polygon, decided or not"),
    "accept": ("Accept (a)", "it is right; on to the next that is open"),
    "reject": ("Reject (r)", "it is wrong; on to the next that is open"),
    "redraw": ("Redraw (d)", "outline it anew by clicks"),
    "undo": ("Undo (u)", "take back the last decision"),
}

_REDRAWING = {
    "take": ("Take (Enter)", "this is its outline; on to the next that is open"),
    "leave": ("Leave (Esc)", "its outline stays as it was"),
    "undo": ("Undo (u)", "take back the last click"),
    "box": ("Box (b)", "then drag from corner to corner around the object"),
}

_HELP = "Keys work while the pointer is over this panel; 1 to 9 give another class."
_HELP_REDRAWING = "click: in the object; shift-click: outside of it."


_NOT_YET = "no polygon is outlined now: press d, then click"


class Panel(ipywidgets.VBox):  # type: ignore[misc]
    """The map of a review."""

    def __init__(self, review: Review) -> None:
        self._review = review
        self._classes: tuple[LandClass, ...] = ()
        self.desk = Desk()
        shown = None if review.raster is None else (review.raster, None)
        self.canvas = Canvas(review.frame, shown, ("polygon", *LAYERS), told=self.desk.fail)
        self._pointer = Pointer(self._asked, self.canvas, self.desk)
        # What keys mean, at once; the other two are of the desk's thread, in its order.
        self._is_redrawing = False
        self._shown: int | None = None
        self._outlined: int | None = None
        self._refusal = _NOT_YET
        self.about = ipywidgets.HTML()
        """What is known of the polygon that is looked at."""
        self.names = ipywidgets.VBox([], layout=ipywidgets.Layout(overflow="auto"))
        """A button for each class."""
        self._reviewing = tuple(buttons(_BUTTONS, self.act).values())
        self._redrawing = tuple(buttons(_REDRAWING, self.act).values())
        self.buttons = ipywidgets.HBox(self._reviewing)
        self.help = ipywidgets.HTML(line(_HELP))
        self.canvas.map.layout.flex = "1 1 auto"
        side = ipywidgets.VBox(
            [self.about, self.names],
            layout=ipywidgets.Layout(width="15em", flex="0 0 auto", padding="0 0 0 8px"),
        )
        super().__init__(
            [
                ipywidgets.HBox([self.canvas.map, side]),
                self.buttons,
                self.desk.line,
                self.help,
                self.canvas.style,
            ]
        )
        self.canvas.listen(self)
        self.canvas.on_key = self._pressed
        self.canvas.on_point = self._clicked
        self.canvas.on_box = self._boxed
        self._do(lambda: None)

    def act(self, name: str) -> None:
        """Do what a button says, or `relabel k`, to the k-th class."""
        if self._is_redrawing:
            self._act_on_outline(name)
        elif name in {"take", "leave", "box"}:
            # A button that was pressed while it went.
            return
        elif name == "redraw":
            # At once: the keys that follow are meant for the outline.
            self._switch(is_redrawing=True)
            self.desk.do(self._begin)
        elif name.startswith("relabel"):
            self._decide(lambda: self._relabel(int(name.split()[1])))
        elif name in {"next", "previous"}:
            self._do(getattr(self._review, name))
        else:
            self._decide(getattr(self._review, name))

    def _act_on_outline(self, name: str) -> None:
        if name == "box":
            self.canvas.draw_box()
        elif name == "undo":
            self._pointer.do(self._undo_click)
        elif name == "leave":
            self._switch(is_redrawing=False)
            self.desk.do(self._forget)
        elif name == "take":
            self.desk.do(self._take)

    def _pressed(self, event: dict[str, Any]) -> None:
        name = action(REDRAWING if self._is_redrawing else REVIEWING, event)
        if name is not None:
            self.act(name)

    def _clicked(self, x: float, y: float, positive: bool) -> None:  # noqa: FBT001
        if self._is_redrawing:
            self._pointer.point(x, y, positive)

    def _boxed(self, bounds: tuple[float, float, float, float]) -> None:
        if self._is_redrawing:
            self._pointer.box(bounds)

    # -------------------------------------------------------------------------------- in its turn

    def _do(self, act: Callable[[], Any]) -> None:
        """Have the review do something, and show where it is then."""

        def done() -> str:
            try:
                act()
            finally:
                self._show()
            return ""

        self.desk.do(done)

    def _decide(self, act: Callable[[], Any]) -> None:
        """Have the review decide about the polygon that is shown, and about no other.

        A cell or another panel may have gone on.
        """

        def decide() -> None:
            with self._review.held(self._shown):
                act()

        self._do(decide)

    def _relabel(self, number: int) -> None:
        names = self._review.classes
        if number > len(names):
            raise ConfigError(f"there is no class {number}; there are {len(names)}")
        self._review.relabel(names[number - 1])

    def _begin(self) -> str:
        """Make ready for clicks that outline the polygon anew."""
        try:
            with self._review.held(self._shown):
                if self._shown is None:
                    raise ConfigError("no polygon is looked at; go back to one with p")
            self._outlined, self._refusal = self._shown, _NOT_YET
            self._pointer.begin()
        except GeosegError as error:
            self._leave(str(error))
            self._show()
            raise
        self._pointer.session.clear()
        self._pointer.show()
        return "click on the object"

    def _asked(self) -> Session:
        """Return the session, while it outlines a polygon: clicks may come before or after."""
        if self._outlined is None:
            raise ConfigError(self._refusal)
        return self._review.session

    def _undo_click(self) -> None:
        # Without clicks, a session takes back what it added to the map.
        if self._pointer.session.prompts:
            self._pointer.session.undo()

    def _take(self) -> str:
        outline = self._pointer.session.current
        if outline is None:
            raise ConfigError("there is no outline yet; click on the object first")
        try:
            with self._review.held(self._outlined):
                self._review.redraw(outline.geometry)
        except ElsewhereError:
            self._forget()
            self._leave()
            self._show()
            raise
        self._forget()
        self._leave()
        self._show()
        return "redrawn"

    def _forget(self) -> str:
        if self._outlined is not None:
            self._pointer.session.clear()
        self._outlined = None
        self._pointer.hide()
        return ""

    def _leave(self, refusal: str = _NOT_YET) -> None:
        """Let keys decide again; clicks that still wait are told why they do nothing."""
        self._outlined, self._refusal = None, refusal
        self._switch(is_redrawing=False)

    def _switch(self, *, is_redrawing: bool) -> None:
        if self.canvas.is_boxing:
            self.canvas.draw_box()
        self._is_redrawing = is_redrawing
        self.buttons.children = self._redrawing if is_redrawing else self._reviewing
        self.help.value = line(_HELP_REDRAWING if is_redrawing else _HELP)

    # ------------------------------------------------------------------------------ what is shown

    def _show(self) -> None:
        """Show the polygon that is looked at; the map moves only to another one."""
        current, classes = self._review.current, self._review.legend.classes
        self.about.value = _about(current, self._review.counts)
        self._show_names(classes, None if current is None else current.cls)
        if current is None:
            self.canvas.show("polygon", [])
            self._shown = None
            return
        colour = self._colour(current.cls)
        style = {"color": colour, "weight": 3, "fillColor": colour, "fillOpacity": 0.12}
        # An edit may have left a row without an outline.
        is_drawn = not current.geometry.is_empty
        outlines = [self.canvas.drawn(current.geometry, **style)] if is_drawn else []
        self.canvas.show("polygon", outlines)
        if current.id != self._shown:
            self._shown = current.id
            if is_drawn:
                self.canvas.go(current.geometry.bounds)

    def _show_names(self, classes: tuple[LandClass, ...], mine: str | None) -> None:
        if self._classes != classes:
            self._classes = classes
            rows = []
            for k, name in enumerate((c.name for c in classes), 1):
                button = ipywidgets.Button(
                    description=f"{k} {name}" if k < 10 else name,
                    tooltip=f"it is of the class {name}; on to the next that is open",
                    layout=ipywidgets.Layout(
                        width="auto", border_left=f"12px solid {self._colour(name)}"
                    ),
                )
                button.on_click(lambda _, k=k: self.act(f"relabel {k}"))
                rows.append(button)
            self.names.children = rows
        for known, button in zip(classes, self.names.children, strict=True):
            button.style.font_weight = "bold" if known.name == mine else ""

    def _colour(self, name: str | None) -> str:
        colours = {c.name: c.colour for c in self._classes}
        return colours.get(name or "") or default_colour(name or "")


def panel(review: Review) -> Panel:
    """Return a widget to review a map with.

    Raises:
        MissingDependencyError: ipyleaflet or ipyevents is not installed.
    """
    return Panel(review)


def _about(current: Candidate | None, counts: dict[str, int]) -> str:
    """Return what is known of a polygon, and how far the review is, as HTML."""
    rows = []
    if current is None:
        rows.append("<b>all are reviewed</b>")
    else:
        rows.append(f"<b>{html.escape(current.cls or 'no class')}</b>, id {current.id}")
        if current.score is not None:
            rows.append(f"score {current.score:.2f}")
        if current.area_ha is not None:
            rows.append(f"{current.area_ha:,.4g} ha")
        rows.append(html.escape(current.review or "open"))
    left = "; ".join(f"{counts[name]:,} {name}" for name in counts)
    return f'<div style="line-height:1.5">{"<br>".join(rows)}<br><small>{left}</small></div>'
