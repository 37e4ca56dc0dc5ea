"""A first map in one command: a sample tile, a few words, a picture."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.errors import RasterError
from geoseg.geotiff import open_raster
from geoseg.legend import Legend
from geoseg.outcome import Run
from geoseg.preview import draw_map
from geoseg.progress import Progress
from geoseg.run import segment

if TYPE_CHECKING:
    from collections.abc import Iterable

TILE = "multispectral_coast_olinda.tif"
LEGEND = Legend.parse("water, forest, built-up")


def sample_tile(name: str) -> Path:
    """Return the path of a sample tile: installed with the package, or in a source checkout.

    Raises:
        RasterError: It is in neither place.
    """
    package = Path(str(resources.files("geoseg")))
    places: Iterable[Path] = (package / "sample_tiles", package.parent / "sample_tiles")
    for place in places:
        if (place / name).exists():
            return place / name
    raise RasterError(f"sample tile {name} is missing from this installation; reinstall geoseg")


def run_demo(folder: Path, progress: Progress | None = None) -> Run:
    """Segment the sample tile into `demo.gpkg` and draw `demo.png`, replacing older ones.

    Tiles are small on purpose: the map has seams to hide.
    """
    tile = sample_tile(TILE)
    run = segment(
        tile,
        LEGEND,
        out=folder / "demo.gpkg",
        tile=160,
        overlap=64,
        overwrite=True,
        fresh=True,
        progress=progress,
    )
    draw_map(open_raster(tile), run.features(), LEGEND, folder / "demo.png")
    return run
