"""How does a raster look on a map that can be pointed at, and what was pointed at?

The map's own JavaScript comes with ipyleaflet and ipyevents: nothing is fetched. What the browser
shows of the raster is read at the screen's resolution, in a thread, whenever it is moved.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import shapely

from geoseg.frame import Frame
from geoseg.mercator import data_url
from geoseg.overview import step_for
from geoseg.raster import RasterReader
from geoseg.stretch import Stretch, fit_stretch
from geoseg.widgets.place import ZOOM_STEP, Place, Screen
from geoseg.widgets.toolkit import ipyevents, ipyleaflet, ipywidgets
from geoseg.widgets.work import Work

HEIGHT_PX = 500
"""Of a map in a notebook."""

_WIDTH_PX = 800
"""Of a map, until the browser says so."""

_WHOLE_PX = 640
"""Longest side of the picture of all, which is seen before one of the part is there."""

_SETTLED_S = 0.08
"""A map that was not moved for so long is looked at."""

_LOADED_S = 0.2
"""A browser shows a picture so long after it has it."""

_NOTHING = data_url(np.zeros((4, 1, 1), np.uint8))

_STYLE = "<style>.geoseg-map { -webkit-user-select: none; user-select: none; }</style>"
"""Else drags and shift-clicks would mark the words on the map; Safari knows its own name only."""

_MOST_PX = 4096
"""Of a screen's side."""


class Canvas:
    """A raster on a map, layers of outlines on it, and what the user does there.

    Coordinates given and handed out are those of the raster's CRS.
    """

    def __init__(
        self,
        frame: Frame,
        shown: tuple[RasterReader, Stretch | None] | None,
        layers: Sequence[str],
        *,
        told: Callable[[str], None],
        height_px: int = HEIGHT_PX,
    ) -> None:
        """Show a raster.

        Args:
            frame: Where it is.
            shown: The raster, and how its samples are shown (None: as on the page of a report);
                only outlines are shown where None.
            layers: Names of the layers of outlines, from the lowest.
            told: Called, in any thread, with what went wrong.
            height_px: Of the map on the screen.
        """
        self.place = Place.of(frame)
        self.on_point: Callable[[float, float, bool], None] = lambda *_: None
        """Called with x, y, and whether it was a plain click: one without shift."""
        self.on_box: Callable[[tuple[float, float, float, float]], None] = lambda _: None
        """Called with x0, y0, x1, y1 of a box that was drawn."""
        self.on_key: Callable[[dict[str, Any]], None] = lambda _: None
        """Called with what the browser says of a key."""
        self._shown: tuple[RasterReader, Stretch] | None = None
        self._whole_step = step_for(frame.window, _WHOLE_PX)
        self._images = [_image() for _ in range(3)]
        self._layers = {
            name: ipyleaflet.GeoJSON(
                data=_collection([]), name=name, point_style={"radius": 6, "weight": 2}
            )
            for name in (*layers, "box")
        }
        self._height_px = height_px
        self.map = self._new_map()
        self.style = ipywidgets.HTML(_STYLE, layout=ipywidgets.Layout(display="none"))
        """To be shown beside the map."""
        self._shift = self._is_boxing = self._is_boxed = False
        self._corner: tuple[float, float] | None = None
        self._last: tuple[Any, Any] = None, None
        self.map.on_interaction(self._pointed)
        self.map.observe(lambda _: self._moved(), "bounds")
        # Of a large file without overviews all is read for the whole: parts do not wait for it.
        self._look, self._look_far = Work(told, lambda: None), Work(told, lambda: None)
        if shown is not None:
            self._look_far.do(lambda: self._draw_whole(*shown))

    def listen(self, over: Any) -> None:
        """Hear keys, and whether shift is held, while the pointer is over a widget.

        The widget holds the map, and no fields that are typed into: they would get no keys.
        """
        self._events = ipyevents.Event(
            source=over,
            watched_events=["mousedown", "keydown"],
            ignore_modifier_key_events=True,
        )
        self._events.on_dom_event(self._heard)

    def _new_map(self) -> Any:
        centre, zoom = self.place.fitting(self._corners(), (self._height_px, _WIDTH_PX))
        crs = "Simple" if self.place.is_flat else "EPSG3857"
        shown = ipyleaflet.Map(
            layers=(*self._images, *self._layers.values()),
            crs=ipyleaflet.projections[crs],
            center=centre,
            zoom=zoom,
            min_zoom=min(zoom - 2, 0),
            max_zoom=max(self.place.closest_zoom, zoom),
            scroll_wheel_zoom=True,
            # Both would answer to what is meant as clicks.
            double_click_zoom=False,
            box_zoom=False,
            zoom_snap=ZOOM_STEP,
            attribution_control=False,
            layout=ipywidgets.Layout(height=f"{self._height_px}px"),
        )
        shown.default_style = {"cursor": "crosshair"}
        shown.add_class("geoseg-map")
        if not self.place.is_flat:
            shown.add(ipyleaflet.ScaleControl(position="bottomleft", imperial=False))
        return shown

    def _corners(self) -> Any:
        frame = self.place.frame
        w, h = frame.width, frame.height
        return frame.to_crs(np.array([(0, 0), (w, 0), (w, h), (0, h)]))

    # ------------------------------------------------------------------------------ what is shown

    def show(self, layer: str, features: Sequence[dict[str, Any]]) -> None:
        """Show features, of `drawn`, in a layer, instead of what it had."""
        self._layers[layer].data = _collection(features)

    def drawn(self, geometry: shapely.Geometry, **style: Any) -> dict[str, Any]:
        """Return a geometry as a layer shows it; style is Leaflet's of paths."""
        return {
            "type": "Feature",
            "geometry": shapely.geometry.mapping(self.place.on_map(geometry)),
            "properties": {"style": style},
        }

    def go(self, bounds: tuple[float, float, float, float], *, room: float = 3.0) -> None:
        """Move so that a box is seen, and `room` times as much a side."""
        x0, y0, x1, y1 = bounds
        corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
        rows, cols = self._shape()
        centre, zoom = self.place.fitting(corners, (int(rows / room), int(cols / room)))
        with self.map.hold_sync():
            self.map.center, self.map.zoom = centre, zoom

    def wait(self, timeout_s: float) -> bool:
        """Wait until the picture is up to date; False if it takes longer."""
        return self._look_far.wait(timeout_s) and self._look.wait(timeout_s)

    def _shape(self) -> tuple[int, int]:
        (left, top), (right, bottom) = self.map.pixel_bounds or ((0, 0), (0, 0))
        rows, cols = round(bottom - top), round(right - left)
        if 0 < rows <= _MOST_PX and 0 < cols <= _MOST_PX:
            return rows, cols
        return self._height_px, _WIDTH_PX

    def _moved(self) -> None:
        self._look.do_last(self._draw_seen, _SETTLED_S)

    def _draw_whole(self, raster: RasterReader, stretch: Stretch | None) -> None:
        """Draw all of the raster, coarsely, beneath what is drawn of parts."""
        self._shown = raster, stretch or fit_stretch(raster, raster.roles)
        self._moved()
        whole = self.place.whole()
        rows, cols = whole.shape
        shape = max(rows // self._whole_step, 1), max(cols // self._whole_step, 1)
        self._draw(self._images[0], Screen(whole.bounds, shape))

    def _draw_seen(self) -> None:
        """Draw what the browser shows, sharply."""
        if not self.map.bounds or self._shown is None:
            return
        (south, west), (north, east) = self.map.bounds
        screen = self.place.screen((west, south, east, north), self._shape())
        found = self.place.looked_at(screen)
        idle, old = self._images[1:]
        if found is None or found[1] >= self._whole_step > 1:
            idle.opacity = old.opacity = 0
            return
        # Never the old picture in the new one's place: it stays until the new one is seen.
        self._draw(idle, screen)
        time.sleep(_LOADED_S)
        old.opacity = 0
        self._images[1:] = [old, idle]

    def _draw(self, image: Any, screen: Screen) -> None:
        picture = None if self._shown is None else self.place.picture(*self._shown, screen)
        if picture is None:
            return
        left, low, right, high = screen.bounds
        corners = self.place.from_plane_to_map(np.array([(left, low), (right, high)]))
        (west, south), (east, north) = corners.tolist()
        with image.hold_sync():
            image.url = data_url(picture)
            image.bounds = [(south, west), (north, east)]
            image.opacity = 1

    # ---------------------------------------------------------------------------- what is pointed

    def draw_box(self) -> None:
        """Take the next drag for a box instead of moving the map; a second time, not any more."""
        self._is_boxing = not self._is_boxing
        self._corner = None
        self.map.dragging = not self._is_boxing

    @property
    def is_boxing(self) -> bool:
        """Whether the next drag is a box."""
        return self._is_boxing

    def _heard(self, event: dict[str, Any]) -> None:
        # ipyevents listens twice to widgets that were shown again, and then says all twice.
        at = event.get("type"), event.get("timeStamp")
        if at == self._last:
            return
        self._last = at
        if event.get("type") == "mousedown":
            # Leaflet says where a click was, but not of the keys that were held.
            self._shift = bool(event.get("shiftKey"))
        elif event.get("type") == "keydown":
            self.on_key(event)

    def _pointed(self, **said: Any) -> None:
        kind = said.get("type")
        if kind not in {"mousedown", "mousemove", "mouseup", "click"}:
            return
        latitude, longitude = said["coordinates"]
        [(x, y)] = self.place.from_map(np.array([(longitude, latitude)])).tolist()
        if kind == "mousedown":
            self._is_boxed = False
            self._corner = (x, y) if self._is_boxing else None
        elif kind == "click":
            # A drag that was a box ends with a click, too.
            if not self._is_boxed and not self._is_boxing:
                self.on_point(x, y, not self._shift)
        elif self._corner is not None:
            self._drag(self._corner, (x, y), is_over=kind == "mouseup")

    def _drag(self, start: tuple[float, float], end: tuple[float, float], *, is_over: bool) -> None:
        (x0, x1), (y0, y1) = (sorted(pair) for pair in zip(start, end, strict=True))
        box = shapely.box(x0, y0, x1, y1)
        self.show("box", [] if is_over else [self.drawn(box, color="#ffff00", fill=False)])
        if is_over and box.area:
            self._is_boxed = True
            self.draw_box()
            self.on_box((x0, y0, x1, y1))


def _image() -> Any:
    return ipyleaflet.ImageOverlay(url=_NOTHING, bounds=[(0, 0), (1, 1)], opacity=0)


def _collection(features: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)}
