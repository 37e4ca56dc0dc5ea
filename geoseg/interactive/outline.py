"""What is an object that was pointed at, on the ground? Its outline and its measures."""

from __future__ import annotations

import math
from dataclasses import dataclass

import shapely

from geoseg.frame import Frame
from geoseg.interactive.follow import Found
from geoseg.polygons import outlines

ENDS_EARLY = "it goes on beyond the tiles that were looked at; raise reach to follow it farther"


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """One object, not yet kept."""

    geometry: shapely.MultiPolygon
    """Along pixel edges, in the raster's CRS."""
    crs: str | None
    """WKT of that CRS, or None."""
    score: float
    """How sure the segmenter is of it, 0..1 (SAM: predicted IoU)."""
    area_ha: float
    """Area on the ellipsoid in hectares, NaN without a CRS."""
    perimeter_m: float
    """Length of all rings on the ellipsoid in metres, NaN without a CRS."""
    n_tiles: int
    """Tiles that saw it."""
    seam_iou: float
    """Agreement of the tiles where more than one looked, 0..1; NaN where only one did."""
    notes: tuple[str, ...]
    """What the user should know of it, each in one line."""

    def __repr__(self) -> str:
        size = "" if math.isnan(self.area_ha) else f", {self.area_ha:.4g} ha"
        return f"<outline: score {self.score:.2f}{size}>"

    def _repr_svg_(self) -> str:
        """Draw it in a notebook."""
        return str(self.geometry._repr_svg_())


def outline_of(found: Found, frame: Frame) -> Outline:
    """Return an object on the ground."""
    pixels = outlines(found.runs, 1)
    area_m2, perimeter_m = frame.measure(pixels)
    geometry = shapely.set_coordinates(pixels.copy(), frame.to_crs(shapely.get_coordinates(pixels)))
    return Outline(
        shapely.orient_polygons(geometry, exterior_cw=False)[0],
        frame.crs,
        found.score,
        float(area_m2[0]) / 1e4,
        float(perimeter_m[0]),
        found.n_tiles,
        found.seam_iou,
        (ENDS_EARLY,) if found.ends_early else (),
    )
