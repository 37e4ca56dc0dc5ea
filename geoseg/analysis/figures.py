"""How does a map that is on the disk look, on paper and in a notebook?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from geoseg import plotting, webmap
from geoseg.export.read import Map, open_map
from geoseg.origin import open_origin
from geoseg.overview import Overview, overview

if TYPE_CHECKING:
    import geopandas as gpd
    import ipyleaflet
    from matplotlib.axes import Axes


def plot(map: str | Path, *, raster: str | Path | bool = True, ax: Axes | None = None) -> Axes:  # noqa: A002
    """Draw a map with matplotlib: legend, scale bar, north arrow, failed tiles hatched.

    Args:
        map: A .gpkg or .parquet that geoseg wrote.
        raster: Draw its raster beneath, or this one if it has moved; False for polygons alone.
        ax: Where to draw; a new figure where None.

    Raises:
        MapError: It is no map, says not what made it, or its raster is not there.
        MissingDependencyError: Matplotlib is not installed.
    """
    found = open_map(Path(map))
    frame = found.made_by().frame
    failed = [outline for *_, outline in found.failed()]
    beneath = None if raster is False else _beneath(found, raster)
    return plotting.plot(
        features_of(found), found.legend, frame, beneath=beneath, failed=failed, ax=ax
    )


def explore(
    map: str | Path,  # noqa: A002
    *,
    raster: str | Path | bool = True,
    most: int = webmap.MOST,
    base: Any = None,
) -> ipyleaflet.Map:
    """Return a widget for notebooks: polygons can be pointed at, nothing is fetched.

    Args:
        map: A .gpkg or .parquet that geoseg wrote.
        raster: Show its raster beneath, or this one if it has moved; False for polygons alone.
        most: Polygons that are shown; of more the largest, and the widget says so.
        base: A layer of ipyleaflet to show beneath all, as a base map of the web.

    Raises:
        MapError: It is no map, says not what made it, its raster is not there, or has no CRS.
        MissingDependencyError: ipyleaflet is not installed.
    """
    found = open_map(Path(map))
    crs = found.made_by().frame.crs
    seen = None if crs is None or raster is False else _beneath(found, raster)
    beneath = None if seen is None or crs is None else (seen, crs)
    return webmap.explore(features_of(found), found.legend, beneath=beneath, most=most, base=base)


def _beneath(found: Map, raster: str | Path | Literal[True]) -> Overview:
    return overview(open_origin(found, None if raster is True else str(raster)))


def features_of(found: Map) -> gpd.GeoDataFrame:
    """Return the whole map as a table."""
    import geopandas as gpd
    import pyarrow as pa

    table = pa.Table.from_batches(found.batches(), schema=found.fields)
    columns = table.drop_columns(["geometry"]).to_pandas()
    shapes = gpd.GeoSeries.from_wkb(table.column("geometry").to_pandas(), crs=found.crs)
    return gpd.GeoDataFrame(columns, geometry=shapes)
