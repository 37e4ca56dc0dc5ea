"""How does a map look in a notebook? Polygons that can be pointed at, over the raster.

ipyleaflet shows them, and brings its own JavaScript: nothing is fetched, as there is no base map
unless one is given. It comes with `pip install "geoseg[notebook]"`.
"""

from __future__ import annotations

import html
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import shapely

from geoseg.errors import MapError, MissingDependencyError
from geoseg.frame import Floats
from geoseg.legend import Legend
from geoseg.mercator import HALF_M, Bounds, data_url, drawn, to_lonlat, web_of
from geoseg.overview import Overview

if TYPE_CHECKING:
    import geopandas as gpd
    import ipyleaflet

MOST = 5000
"""Polygons that a page stays quick with."""

_LONLAT = "EPSG:4326"


def explore(
    features: gpd.GeoDataFrame,
    legend: Legend,
    *,
    beneath: tuple[Overview, str] | None = None,
    most: int = MOST,
    base: Any = None,
) -> ipyleaflet.Map:
    """Show a map as a widget.

    Args:
        features: Columns id, class, score, area_ha and geometry, in any CRS.
        legend: Classes and their colours; each is a layer that can be switched off.
        beneath: What the raster looks like, and the WKT of its CRS.
        most: Polygons that are shown; of more the largest, and the map says so.
        base: A layer of ipyleaflet to show beneath all, as a base map of the web.

    Raises:
        MissingDependencyError: ipyleaflet is not installed.
        MapError: The features have no CRS.
    """
    try:
        import ipyleaflet
    except ImportError as error:
        raise MissingDependencyError(
            'explore() shows an ipyleaflet map; install it with pip install "geoseg[notebook]"'
        ) from error
    if features.crs is None:
        raise MapError("a map without a CRS has no place on Earth; plot() draws it")
    middle = None if beneath is None else _middle(*beneath)
    shown = _in_lonlat(features, middle)
    if len(shown) > most:
        shown = shown.assign(_size=features.area).nlargest(most, "_size").drop(columns="_size")
    widget = ipyleaflet.Map(layers=[] if base is None else [base], scroll_wheel_zoom=True)
    if beneath is not None:
        widget.add(_picture(*beneath, middle or 0.0))
    for land_class in legend.classes:
        mine = shown[shown["class"] == land_class.name]
        if len(mine):
            widget.add(_layer(mine, land_class.colour))
    widget.add(ipyleaflet.LayersControl(position="topright", collapsed=False))
    widget.add(ipyleaflet.ScaleControl(position="bottomleft", imperial=False))
    widget.add(_told(widget, _said(len(shown), len(features))))
    if len(shown):
        x0, y0, x1, y1 = (float(v) for v in shown.total_bounds)
        widget.center = ((y0 + y1) / 2, (x0 + x1) / 2)
        widget.fit_bounds([[y0, x0], [y1, x1]])
    return widget


def _middle(seen: Overview, crs: str) -> float:
    """Return the longitude of the middle of a picture; beyond 180 where the CRS has it there."""
    height, width = seen.valid.shape
    x, y = seen.transform @ (width / 2, height / 2)
    lon, _ = pyproj.Transformer.from_crs(crs, _LONLAT, always_xy=True).transform(x, y)
    return float(lon) if math.isfinite(lon) else 0.0


def _in_lonlat(features: gpd.GeoDataFrame, middle: float | None) -> gpd.GeoDataFrame:
    """Return features in longitudes and latitudes, on the turn of the globe that a middle is on.

    Longitudes that they have already stay as they are.
    """
    shown = features.to_crs(_LONLAT)
    if len(features) == 0 or features.crs.is_geographic:
        return shown
    if middle is None:
        x0, y0, x1, y1 = features.total_bounds
        to_lonlat = pyproj.Transformer.from_crs(features.crs, _LONLAT, always_xy=True)
        middle = float(to_lonlat.transform((x0 + x1) / 2, (y0 + y1) / 2)[0])

    def beside(xy: Floats) -> Floats:
        turns = np.round((middle - xy[:, 0]) / 360)
        return np.column_stack((xy[:, 0] + 360 * turns, xy[:, 1]))

    # A map of all the Earth ends at its middle plus and minus 180 degrees, and is left alone.
    west, _, east, _ = shown.total_bounds
    if middle - 180 <= west and east <= middle + 180:
        return shown
    return shown.set_geometry(shapely.transform(shown.geometry.to_numpy(), beside), crs=_LONLAT)


def _said(shown: int, count: int) -> str:
    if shown < count:
        return f"the {shown:,} largest of {count:,} polygons"
    return f"{count:,} polygons"


def _layer(features: gpd.GeoDataFrame, colour: str) -> ipyleaflet.GeoJSON:
    """Return the polygons of one class as a layer."""
    import ipyleaflet

    name = str(features["class"].iloc[0])
    kept = [c for c in ("id", "class", "score", "area_ha") if c in features.columns]
    return ipyleaflet.GeoJSON(
        data=json.loads(features[[*kept, features.geometry.name]].to_json(drop_id=True)),
        # The control of layers shows names as HTML.
        name=html.escape(name),
        style={"color": colour, "weight": 1, "fillColor": colour, "fillOpacity": 0.4},
        hover_style={"weight": 3, "fillOpacity": 0.6},
    )


def _told(widget: ipyleaflet.Map, at_first: str) -> ipyleaflet.WidgetControl:
    """Return a box that says what is pointed at."""
    import ipyleaflet
    from ipywidgets import HTML

    box = HTML(html.escape(at_first))

    def tell(feature: dict[str, Any], **_: Any) -> None:
        box.value = _described(feature["properties"])

    for layer in widget.layers:
        if isinstance(layer, ipyleaflet.GeoJSON):
            layer.on_hover(tell)
    return ipyleaflet.WidgetControl(widget=box, position="bottomright")


def _described(properties: dict[str, Any]) -> str:
    """Return what is known of a polygon, as HTML."""
    found = [f"<b>{html.escape(str(properties['class']))}</b>"]
    for name, text in (("id", "id {:d}"), ("score", "score {:.2f}"), ("area_ha", "{:,.4g} ha")):
        value = properties.get(name)
        if value is not None:
            found.append(html.escape(text.format(value)))
    return "<br>".join(found)


def _picture(seen: Overview, crs: str, middle: float) -> ipyleaflet.ImageOverlay:
    """Return a raster's overview as the web's projection shows it, around a longitude."""
    import ipyleaflet

    web = web_of(middle)
    left, low, right, high = _web_bounds(seen, crs, web)
    image = drawn(seen, crs, web, (left, low, right, high), seen.valid.shape)
    (west, south), (east, north) = to_lonlat(
        np.array([(left, low), (right, high)]), middle
    ).tolist()
    return ipyleaflet.ImageOverlay(
        url=data_url(image), bounds=((south, west), (north, east)), name="raster"
    )


def _web_bounds(seen: Overview, crs: str, web: str) -> Bounds:
    """Return what of the web's projection a picture covers."""
    height, width = seen.valid.shape
    t = seen.transform
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)])
    x = t.a * corners[:, 0] + t.b * corners[:, 1] + t.c
    y = t.d * corners[:, 0] + t.e * corners[:, 1] + t.f
    to_web = pyproj.Transformer.from_crs(crs, web, always_xy=True)
    known = to_web.transform_bounds(x.min(), y.min(), x.max(), y.max())
    left, low, right, high = np.clip(known, -HALF_M, HALF_M).tolist()
    return left, low, right, high
