"""What does a run leave behind? Its map, and what there is to say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.export.table import LAYER
from geoseg.legend import Legend
from geoseg.overview import overview
from geoseg.raster import RasterReader

if TYPE_CHECKING:
    import geopandas as gpd
    import ipyleaflet
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run."""

    path: Path
    """The map."""
    count: int
    """Number of features."""
    tiles: int
    """Number of tiles."""
    failed: Mapping[str, str]
    """Reason for each tile that failed; empty if the map is complete."""
    broken_links: int
    """Links that were cut because they would have joined objects that one tile saw apart."""
    seconds: Mapping[str, float]
    """Wall time per step."""
    notes: Mapping[str, tuple[str, ...]]
    """What the backend said of tiles, by tile name; only tiles of which it said something."""
    models: tuple[Mapping[str, Any], ...]
    """Of each model: family, source, revision, sha256 and licence of its weights."""
    sieved: Mapping[str, int]
    """How many polygons below `min_area` were `merged` into neighbours or `dropped`, and how many
    holes below `min_hole` were `filled`; without those that were not asked for."""
    _made_of: tuple[RasterReader, Legend] = field(repr=False)
    _keep: Any = field(default=None, repr=False)

    @property
    def complete(self) -> bool:
        """Whether every tile is in the map."""
        return not self.failed

    def features(self) -> gpd.GeoDataFrame:
        """Return the map: the columns that README names, and geometry."""
        import geopandas as gpd

        suffix = self.path.suffix.lower()
        if suffix == ".parquet":
            return gpd.read_parquet(self.path)
        if suffix == ".gpkg":
            return gpd.read_file(self.path, layer=LAYER)
        return gpd.read_file(self.path)

    def plot(self, ax: Axes | None = None, *, raster: bool = True) -> Axes:
        """Draw the map with matplotlib: legend, scale bar, north arrow, failed tiles hatched.

        Args:
            ax: Where to draw; a new figure where None.
            raster: Draw the raster beneath the polygons.

        Raises:
            MissingDependencyError: Matplotlib is not installed.
        """
        from geoseg.export.read import open_map
        from geoseg.plotting import plot

        reader, legend = self._made_of
        beneath = overview(reader) if raster else None
        failed = [outline for *_, outline in open_map(self.path).failed()]
        return plot(self.features(), legend, reader.frame, beneath=beneath, failed=failed, ax=ax)

    def explore(self, *, raster: bool = True, **options: Any) -> ipyleaflet.Map:
        """Return a widget for notebooks: the polygons can be pointed at, nothing is fetched.

        Args:
            raster: Show the raster beneath the polygons.
            options: `most` and `base`, of `geoseg.webmap.explore`.

        Raises:
            MissingDependencyError: ipyleaflet is not installed.
            MapError: The map has no CRS, so no place on Earth.
        """
        from geoseg.webmap import explore

        reader, legend = self._made_of
        crs = reader.frame.crs
        beneath = (overview(reader), crs) if raster and crs is not None else None
        return explore(self.features(), legend, beneath=beneath, **options)
