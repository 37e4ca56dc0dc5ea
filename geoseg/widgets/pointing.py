"""How is a session used with the mouse? Click, shift-click, draw a box, name a class, accept."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import shapely

from geoseg.errors import ConfigError
from geoseg.legend import default_colour
from geoseg.widgets.canvas import HEIGHT_PX, Canvas
from geoseg.widgets.desk import Desk, line
from geoseg.widgets.keys import POINTING, action
from geoseg.widgets.pointer import LAYERS, Pointer, filled
from geoseg.widgets.toolkit import ipywidgets

if TYPE_CHECKING:
    from geoseg.interactive.session import Session

MOST = 5000
"""Accepted objects that a page stays quick with; of more, the last are shown."""

_TYPED_S = 0.15
"""What was typed last is known so long after a key that was pressed at once."""

_BUTTONS = {
    "accept": ("Accept (Enter)", "keep the outline as an object of this class"),
    "undo": ("Undo (u)", "take back the last click, or the object that was accepted last"),
    "clear": ("Clear (Esc)", "forget the clicks"),
    "box": ("Box (b)", "then drag from corner to corner around the object"),
}

_HELP = (
    "click: in the object; shift-click: outside of it. Keys work while the pointer is over the map."
)


class Pointing(ipywidgets.VBox):  # type: ignore[misc]
    """The map of a session."""

    def __init__(self, session: Session, height_px: int = HEIGHT_PX) -> None:
        self.desk = Desk()
        self.canvas = Canvas(
            session.raster.frame,
            (session.raster, session.stretch),
            ("accepted", *LAYERS),
            told=self.desk.fail,
            height_px=height_px,
        )
        self.canvas.listen(self.canvas.map)
        self.pointer = Pointer(lambda: session, self.canvas, self.desk)
        self.pointer.begin()
        self._accepted: list[dict[str, Any]] = []
        self.name = ipywidgets.Combobox(
            placeholder="class of the object", layout=ipywidgets.Layout(width="14em")
        )
        self.buttons = buttons(_BUTTONS, self.act)
        self.canvas.on_point = self.pointer.point
        self.canvas.on_box = self._boxed
        self.canvas.on_key = self._pressed
        super().__init__(
            [
                self.canvas.map,
                ipywidgets.HBox([self.name, *self.buttons.values()]),
                self.desk.line,
                ipywidgets.HTML(line(_HELP)),
                self.canvas.style,
            ]
        )
        self.pointer.do(self._show_accepted)

    def act(self, name: str) -> None:
        """Do what a button says."""
        if name == "box":
            self.canvas.draw_box()
            self._show_boxing()
        elif name == "accept":
            self._accept()
        elif name == "undo":
            self.pointer.do(self._undo)
        else:
            self.pointer.do(self.pointer.session.clear)

    def _pressed(self, event: dict[str, Any]) -> None:
        name = action(POINTING, event)
        if name is not None:
            self.act(name)

    def _boxed(self, bounds: tuple[float, float, float, float]) -> None:
        self._show_boxing()
        self.pointer.box(bounds)

    def _show_boxing(self) -> None:
        self.buttons["box"].button_style = "info" if self.canvas.is_boxing else ""

    def _accept(self) -> None:
        # The name as it stands now: another may be written while clicks before this one wait. The
        # browser tells of a field's last letters only after the key that was pressed elsewhere.
        named: list[str] = []
        read = threading.Timer(_TYPED_S, lambda: named.append(self.name.value.strip()))
        read.daemon = True
        read.start()

        def accept() -> str:
            read.join()
            if not named[0]:
                raise ConfigError("the object has no class yet: write one, left of 'Accept'")
            session = self.pointer.session
            outline = session.current
            number = session.accept(named[0])
            if outline is not None:
                self._show_more([(named[0], outline.geometry)])
            return f"accepted: {named[0]} {number}, in {session.path}"

        self.pointer.do(accept)

    def _undo(self) -> None:
        self.pointer.session.undo()
        self._show_accepted()

    def _show_accepted(self) -> None:
        """Show the objects that were accepted, in this session or in one before it."""
        found = self.pointer.session.features().tail(MOST)
        self._accepted = []
        self._show_more(zip(found["class"], found.geometry, strict=True))

    def _show_more(self, named: Iterable[tuple[str, shapely.Geometry]]) -> None:
        """Show objects, beside those that are shown: of thousands, none is read or moved again."""
        colours = {c.name: c.colour for c in self.pointer.session.classes}
        self._accepted += [
            self.canvas.drawn(geometry, **filled(colours.get(name) or default_colour(name)))
            for name, geometry in named
        ]
        self._accepted = self._accepted[-MOST:]
        self.canvas.show("accepted", self._accepted)
        self.name.options = tuple(colours)


def pointing(session: Session, *, height_px: int = HEIGHT_PX) -> Pointing:
    """Return a widget to point at objects with.

    Args:
        session: What is asked.
        height_px: Of the map on the screen.

    Raises:
        MissingDependencyError: ipyleaflet or ipyevents is not installed.
    """
    return Pointing(session, height_px)


def buttons(words: dict[str, tuple[str, str]], act: Any) -> dict[str, Any]:
    """Return a button for each action: what it says, and what it says when pointed at."""
    found = {}
    for name, (text, tip) in words.items():
        found[name] = ipywidgets.Button(
            description=text, tooltip=tip, layout=ipywidgets.Layout(width="auto")
        )
        found[name].on_click(lambda _, name=name: act(name))
    return found
