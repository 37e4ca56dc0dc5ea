"""How does a map look in a notebook? Polygons that can be pointed at, over the raster.

ipyleaflet shows them, and brings its own JavaScript: nothing is fetched, as there is no base map
unless one is given. It comes with `pip install "geoseg[notebook]"`.
"""

from __future__ import annotations

import base64
import html
import json
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile
from rasterio.warp import Resampling, reproject

from geoseg.errors import MapError, MissingDependencyError
from geoseg.legend import Legend
from geoseg.overview import Overview

if TYPE_CHECKING:
    import geopandas as gpd
    import ipyleaflet

MOST = 5000
"""Polygons that a page stays quick with."""

_WEB = "EPSG:3857"
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
    shown = features.to_crs(_LONLAT)
    if len(shown) > most:
        shown = shown.assign(_size=features.area).nlargest(most, "_size").drop(columns="_size")
    widget = ipyleaflet.Map(layers=[] if base is None else [base], scroll_wheel_zoom=True)
    if beneath is not None:
        widget.add(_picture(*beneath))
    for land_class in legend.classes:
        mine = shown[shown["class"] == land_class.name]
        if len(mine):
            widget.add(_layer(mine, land_class.colour))
    widget.add(ipyleaflet.LayersControl(position="topright", collapsed=False))
    widget.add(ipyleaflet.ScaleControl(position="bottomleft", imperial=False))
    widget.add(_told(widget, _said(len(shown), len(features))))
    bounds = shown if len(shown) else features.to_crs(_LONLAT)
    if len(bounds):
        x0, y0, x1, y1 = (float(v) for v in bounds.total_bounds)
        widget.center = ((y0 + y1) / 2, (x0 + x1) / 2)
        widget.fit_bounds([[y0, x0], [y1, x1]])
    return widget


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


def _picture(seen: Overview, crs: str) -> ipyleaflet.ImageOverlay:
    """Return a raster's overview as the web's projection shows it."""
    import ipyleaflet

    rgba = np.concatenate([seen.image, 255 * seen.valid[..., None].astype(np.uint8)], axis=2)
    height, width = seen.valid.shape
    left, low, right, high = _web_bounds(seen, crs)
    image = np.zeros((4, height, width), np.uint8)
    reproject(
        np.ascontiguousarray(np.moveaxis(rgba, -1, 0)),
        image,
        src_transform=seen.transform,
        src_crs=crs,
        dst_transform=Affine((right - left) / width, 0, left, 0, (low - high) / height, high),
        dst_crs=_WEB,
        resampling=Resampling.nearest,
    )
    to_lonlat = pyproj.Transformer.from_crs(_WEB, _LONLAT, always_xy=True)
    (west, east), (south, north) = to_lonlat.transform((left, right), (low, high))
    return ipyleaflet.ImageOverlay(
        url=data_url(image), bounds=((south, west), (north, east)), name="raster"
    )


def _web_bounds(seen: Overview, crs: str) -> tuple[float, float, float, float]:
    """Return left, low, right and high of a picture in the web's projection."""
    height, width = seen.valid.shape
    t = seen.transform
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)])
    x = t.a * corners[:, 0] + t.b * corners[:, 1] + t.c
    y = t.d * corners[:, 0] + t.e * corners[:, 1] + t.f
    to_web = pyproj.Transformer.from_crs(crs, _WEB, always_xy=True)
    left, low, right, high = to_web.transform_bounds(x.min(), y.min(), x.max(), y.max())
    return left, low, right, high


def data_url(image: NDArray[np.uint8]) -> str:
    """Return a (band, row, col) picture of three or four bands as a PNG inside a URL."""
    bands, height, width = image.shape
    profile = {"driver": "PNG", "count": bands, "height": height, "width": width, "dtype": "uint8"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with MemoryFile() as file:
            with file.open(transform=Affine.identity(), **profile) as target:
                target.write(image)
            text = base64.b64encode(file.read()).decode("ascii")
    return f"data:image/png;base64,{text}"
