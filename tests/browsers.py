"""What a browser says to widgets, without one."""

from __future__ import annotations

import itertools
import math

_CLOCK = itertools.count(1)


def look(canvas, centre=None, zoom=None, shape=(500, 800)):
    """Have a browser show the map at a place (latitude, longitude), as Leaflet counts."""
    shown = canvas.map
    (lat, lon), zoom = centre or shown.center, shown.zoom if zoom is None else zoom
    if canvas.place.is_flat:
        unit = 2**zoom
        left, top = lon * unit - shape[1] / 2, -lat * unit - shape[0] / 2
        west, north = left / unit, -top / unit
        east, south = (left + shape[1]) / unit, -(top + shape[0]) / unit
    else:
        side = 256 * 2**zoom
        y = (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * side
        left, top = (lon + 180) / 360 * side - shape[1] / 2, y - shape[0] / 2
        west, east = (v / side * 360 - 180 for v in (left, left + shape[1]))
        north, south = (
            math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * v / side))))
            for v in (top, top + shape[0])
        )
    box = {"left": left, "top": top, "right": left + shape[1], "bottom": top + shape[0]}
    ground = {"west": west, "south": south, "east": east, "north": north}
    shown.set_state({"zoom": zoom, "center": [lat, lon], **box, **ground})


def mouse(canvas, kind, xy, **held):
    """Move or press the mouse at x and y of the raster's CRS."""
    import numpy as np

    [(lon, lat)] = canvas.place.to_map(np.array([xy], float)).tolist()
    if kind == "mousedown":
        _dom(canvas, {"type": "mousedown", **held})
    said = {"event": "interaction", "type": kind, "coordinates": [lat, lon]}
    canvas.map._handle_leaflet_event(None, said, [])


def click(canvas, xy, **held):
    """Click at x and y of the raster's CRS."""
    for kind in ("mousedown", "mouseup", "click"):
        mouse(canvas, kind, xy, **held)


def drag(canvas, start, end):
    """Drag from one place to another; browsers say that this was a click, too."""
    middle = tuple((a + b) / 2 for a, b in zip(start, end, strict=True))
    for kind, xy in (("mousedown", start), ("mousemove", middle), ("mouseup", end), ("click", end)):
        mouse(canvas, kind, xy)


def press(canvas, key, tag="DIV", **held):
    """Press a key while the pointer is over the map."""
    _dom(canvas, {"type": "keydown", "key": key, "target": {"tagName": tag}, **held})


def _dom(canvas, event):
    said = {"event": event["type"], "timeStamp": next(_CLOCK), **event}
    canvas._events._handle_mouse_msg(None, said, [])
