"""How does a map keep a polygon that somebody drew?"""

from __future__ import annotations

import numpy as np
import shapely

from geoseg.errors import ConfigError
from geoseg.frame import Frame

_M2_PER_HA = 10_000.0


def whole(geometry: shapely.Geometry) -> shapely.MultiPolygon:
    """Return a polygon as every map has it: valid, flat, a MultiPolygon, counterclockwise.

    Raises:
        ConfigError: It encloses no ground, or is invalid.
    """
    kinds = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
    flat = shapely.force_2d(geometry)
    if (
        shapely.get_type_id(flat) not in kinds
        or flat.is_empty
        or not np.isfinite(shapely.get_coordinates(flat)).all()
        or not flat.is_valid
    ):
        raise ConfigError("no valid polygon: an outline encloses ground, and does not cross itself")
    several = shapely.multipolygons(shapely.get_parts(flat))
    return shapely.orient_polygons(several, exterior_cw=False)


def measures(geometry: shapely.Geometry | None, frame: Frame) -> dict[str, float | None]:
    """Return `area_ha` and `perimeter_m` of a polygon on the ground; Nones without a CRS.

    Args:
        geometry: (Multi)polygon in the CRS of a raster.
        frame: The raster's.
    """
    if geometry is None or geometry.is_empty or frame.crs is None:
        return {"area_ha": None, "perimeter_m": None}
    in_pixels = shapely.transform(geometry, frame.to_pixels)
    area_m2, perimeter_m = frame.measure(np.array([in_pixels], object))
    return {"area_ha": float(area_m2[0]) / _M2_PER_HA, "perimeter_m": float(perimeter_m[0])}
