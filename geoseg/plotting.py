"""How does a map look on paper? Polygons over the raster, with legend, scale bar and north arrow.

Matplotlib draws; it comes with `pip install "geoseg[notebook]"`.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import shapely

from geoseg.errors import MissingDependencyError
from geoseg.frame import Frame
from geoseg.legend import LandClass, Legend
from geoseg.overview import Overview

if TYPE_CHECKING:
    import geopandas as gpd
    from matplotlib.axes import Axes

_FILL = 0.45
_SIDE_IN = 8.0
_MARGIN_IN = 3.4
"""For numbers on the left and the legend on the right."""

_LABEL_CHARS, _LABEL_LINES = 26, 3
"""How much of a name the legend has room for."""

_FAILED_COLOUR = "#d7191c"


def plot(
    features: gpd.GeoDataFrame,
    legend: Legend,
    frame: Frame,
    *,
    beneath: Overview | None = None,
    failed: Sequence[shapely.Polygon] = (),
    ax: Axes | None = None,
) -> Axes:
    """Draw a map.

    Args:
        features: Columns class and geometry, in the CRS of the frame.
        legend: Classes in the order of the picture's legend, and their colours.
        frame: The raster's; gives the picture its extent, scale and north.
        beneath: What the raster looks like; nothing beneath the polygons where None.
        failed: Outlines of tiles that are missing, in the CRS of the frame; hatched.
        ax: Where to draw; a new figure where None.

    Returns:
        The axes, in coordinates of the CRS.

    Raises:
        MissingDependencyError: Matplotlib is not installed.
    """
    import geopandas as gpd

    try:
        import matplotlib as mpl
        from matplotlib.patches import Patch
        from matplotlib.transforms import Affine2D
    except ImportError as error:
        raise MissingDependencyError(
            'plot() draws with matplotlib; install it with pip install "geoseg[notebook]"'
        ) from error
    ax = ax or _new_axes(frame)
    if beneath is not None:
        height, width = beneath.valid.shape
        t = beneath.transform
        place = Affine2D(np.array([(t.a, t.b, t.c), (t.d, t.e, t.f), (0, 0, 1)]))
        ax.imshow(
            beneath.image,
            extent=(0, width, height, 0),
            transform=place + ax.transData,
            interpolation="nearest",
        )
    shown = []
    for land_class in legend.classes:
        mine = features[features["class"] == land_class.name]
        if len(mine):
            face = mpl.colors.to_rgba(land_class.colour, _FILL)
            mine.plot(
                ax=ax, facecolor=face, edgecolor=land_class.colour, linewidth=0.6, aspect=None
            )
            shown.append(
                Patch(facecolor=face, edgecolor=land_class.colour, label=_label(land_class))
            )
    if failed:
        style: dict[str, Any] = {"facecolor": "none", "edgecolor": _FAILED_COLOUR, "hatch": "///"}
        gpd.GeoSeries(list(failed)).plot(ax=ax, aspect=None, **style)
        shown.append(Patch(label="failed tiles", **style))
    _frame_axes(ax, frame)
    if shown:
        ax.legend(handles=shown, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)
    return ax


def figure_size(frame: Frame) -> tuple[float, float]:
    """Return width and height in inches of a figure that a map fits into, with its legend."""
    left, right, low, high = _extent(frame)
    wide = min(max((right - left) / (high - low) / _aspect(frame), 0.3), 3.0)
    width, height = (_SIDE_IN, _SIDE_IN / wide) if wide > 1 else (_SIDE_IN * wide, _SIDE_IN)
    return width + _MARGIN_IN, height + 1


def _new_axes(frame: Frame) -> Axes:
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=figure_size(frame), layout="constrained")
    return ax


def _extent(frame: Frame) -> tuple[float, float, float, float]:
    """Return left, right, low and high of a raster in its CRS."""
    w, h = frame.width, frame.height
    x, y = frame.to_crs(np.array([(0, 0), (w, 0), (w, h), (0, h)])).T
    return float(x.min()), float(x.max()), float(y.min()), float(y.max())


def _aspect(frame: Frame) -> float:
    """Return how many times longer a unit of y is to be drawn than one of x."""
    if frame.crs is None or not pyproj.CRS.from_wkt(frame.crs).is_geographic:
        return 1.0
    _, _, low, high = _extent(frame)
    return 1 / max(math.cos(math.radians((low + high) / 2)), 0.01)


def _label(land_class: LandClass) -> str:
    """Return a name as matplotlib shows it as it is."""
    lines = textwrap.wrap(
        land_class.name, _LABEL_CHARS, max_lines=_LABEL_LINES, placeholder="\N{HORIZONTAL ELLIPSIS}"
    )
    plain = "\n".join(lines).replace("$", r"\$")
    # What begins with an underscore is left out of legends; a space of no width is not seen.
    return f"\u200b{plain}" if plain.startswith("_") else plain


def _frame_axes(ax: Axes, frame: Frame) -> None:
    left, right, low, high = _extent(frame)
    if frame.crs is None:
        # Rows count downwards where pixels have no other place.
        low, high = (high, low) if frame.transform.e > 0 else (low, high)
    ax.set_xlim(left, right)
    ax.set_ylim(low, high)
    ax.set_aspect(_aspect(frame))
    ax.ticklabel_format(useOffset=False, style="plain")
    ax.tick_params(labelsize="x-small")
    ax.locator_params(axis="x", nbins=4)
    ax.locator_params(axis="y", nbins=6)
    ax.set_xlabel("")
    ax.set_ylabel("")
    if frame.crs is not None:
        _scale_bar(ax, frame)
        _north(ax, frame)


def _scale_bar(ax: Axes, frame: Frame) -> None:
    """Draw a bar of 1, 2 or 5 times a power of ten metres, about a fifth of the picture long.

    Its length holds along the middle of the map, as a geodesic.
    """
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    left, right, low, high = _extent(frame)
    y = (low + high) / 2
    middle = (left + right) / 2
    near = frame.to_plane(np.array([(middle, y), (middle + (right - left) / 100, y)]))
    unit_m = float(frame.between_m(near[:1], near[1:])[0]) / ((right - left) / 100)
    most_m = (right - left) * unit_m / 4
    power = 10 ** math.floor(math.log10(most_m))
    length_m = next(k * power for k in (5, 2, 1) if k * power <= most_m)
    long = length_m / unit_m / (right - left)
    bar = Rectangle(
        (0.97 - long, 0.03),
        long,
        0.008,
        transform=ax.transAxes,
        facecolor="black",
        edgecolor="white",
    )
    ax.add_patch(bar)
    text = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"
    ax.text(
        0.97 - long / 2,
        0.045,
        text,
        transform=ax.transAxes,
        ha="center",
        va="bottom",
        size="small",
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
    )


def _north(ax: Axes, frame: Frame) -> None:
    """Draw an arrow to where north is at the middle of the map."""
    from matplotlib.patheffects import withStroke

    east, north = _to_north(frame)
    size = 0.07
    # As long whichever way it points: the axes may not be square.
    left, right, low, high = _extent(frame)
    width, height = right - left, (high - low) * _aspect(frame)
    short = min(width, height) * size
    dx, dy = east * short / width, north * short / height
    x, y = 0.94, 0.92
    style = [withStroke(linewidth=2.5, foreground="white")]
    ax.annotate(
        "",
        xy=(x + dx / 2, y + dy / 2),
        xytext=(x - dx / 2, y - dy / 2),
        xycoords="axes fraction",
        arrowprops={"arrowstyle": "-|>", "color": "black", "path_effects": style},
    )
    ax.text(
        x + 0.75 * dx,
        y + 0.75 * dy,
        "N",
        transform=ax.transAxes,
        ha="center",
        va="center",
        size="small",
        path_effects=style,
    )


def _to_north(frame: Frame) -> tuple[float, float]:
    """Return x and y of the direction north as it is drawn at the middle of the map."""
    crs = pyproj.CRS.from_wkt(frame.crs or "")
    left, right, low, high = _extent(frame)
    x, y = (left + right) / 2, (low + high) / 2
    geodetic = crs.geodetic_crs
    if geodetic is None or crs.is_geographic:
        return 0.0, 1.0
    to_lonlat = pyproj.Transformer.from_crs(crs, geodetic, always_xy=True)
    lon, lat = to_lonlat.transform(x, y)
    step = 1e-4 if lat < 89 else -1e-4
    x1, y1 = to_lonlat.transform(lon, lat + step, direction="INVERSE")
    dx, dy = (x1 - x) / step, (y1 - y) / step
    long = math.hypot(dx, dy)
    return (dx / long, dy / long) if math.isfinite(long) and long > 0 else (0.0, 1.0)
