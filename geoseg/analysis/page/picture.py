"""How does the map look? As `geoseg.analysis.plot` draws it, as a PNG inside a URL."""

from __future__ import annotations

import io
import tempfile
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio.features
import shapely
from affine import Affine

from geoseg import plotting
from geoseg.analysis.burnt import burnt_classes
from geoseg.analysis.classed import open_classed
from geoseg.analysis.figures import features_of
from geoseg.errors import MissingDependencyError
from geoseg.export.read import Map
from geoseg.frame import Frame
from geoseg.overview import Overview

if TYPE_CHECKING:
    import geopandas as gpd
    from matplotlib.axes import Axes

MOST = 20_000
"""Polygons that are drawn one by one; of more, a picture has room for their pixels only."""

FAR_PX = 640
"""Longest side of the raster that more polygons are burnt into."""

_WIDE_IN, _HIGH_IN = 7.0, 6.4
"""What paper of A4 has room for, so that words in the picture are as large as those around it."""

_DPI = 240

_LINE_IN = 0.19
"""Height of a line of the legend."""


def check_drawing() -> None:
    """Refuse to begin where nothing can draw.

    Raises:
        MissingDependencyError: Matplotlib is not installed.
    """
    try:
        import matplotlib as mpl  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "the picture of a report is drawn with matplotlib; install it with pip install "
            '"geoseg[notebook]", or pass --no-picture'
        ) from error


def picture_of(found: Map, beneath: Overview) -> str:
    """Return a map over its raster: equal maps are equal text.

    Args:
        found: The map.
        beneath: What the raster looks like.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    frame = found.made_by().frame
    afar = found.count > MOST
    features = _from_afar(found, frame) if afar else features_of(found)
    failed = [outline for *_, outline in found.failed()]
    width, height = plotting.figure_size(frame)
    scale = min(_WIDE_IN / width, _HIGH_IN / height)
    with mpl.rc_context():
        # What a user likes for other figures changes nothing here.
        mpl.rcdefaults()
        figure = Figure((width * scale, height * scale), layout="constrained")
        ax = plotting.plot(
            features, found.legend, frame, beneath=beneath, failed=failed, ax=figure.subplots()
        )
        if afar:
            # Outlines would cover what they enclose; failed tiles keep theirs.
            for drawn in ax.collections:
                drawn.set_linewidth(drawn.get_linewidth() if drawn.get_hatch() else 0)
        _drop_long_legend(ax, figure.get_figheight())
        file = io.BytesIO()
        figure.savefig(
            file,
            format="png",
            dpi=_DPI,
            bbox_inches="tight",
            pad_inches=0.03,
            metadata={"Software": None},
        )
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"


def _drop_long_legend(ax: Axes, height: float) -> None:
    """Take away a legend that leaves no room for the map: the table below it has the colours."""
    legend = ax.get_legend()
    if legend is None:
        return
    lines = sum(text.get_text().count("\n") + 1 for text in legend.get_texts())
    if lines * _LINE_IN > height:
        legend.remove()


def _from_afar(found: Map, frame: Frame) -> gpd.GeoDataFrame:
    """Return a (multi)polygon of each class, as far as a picture can show it."""
    import geopandas as gpd

    step = -(-max(frame.width, frame.height) // FAR_PX)
    far = Frame(
        -(-frame.width // step), -(-frame.height // step),
        frame.transform @ Affine.scale(step), frame.crs,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="geoseg-") as folder:
        burnt = burnt_classes(
            open_classed(found.path, "MAP", only=found.only), far, Path(folder) / "far.tif"
        )
        codes = burnt.read(far.window).astype(np.int32)
    parts: dict[int, list[shapely.Geometry]] = {}
    for shape, code in rasterio.features.shapes(codes, mask=codes > 0, transform=far.transform):
        parts.setdefault(int(code), []).append(shapely.geometry.shape(shape))
    return gpd.GeoDataFrame(
        {"class": [found.legend.classes[code - 1].name for code in parts]},
        geometry=[shapely.multipolygons(shapes) for shapes in parts.values()],
        crs=found.crs,
    )
