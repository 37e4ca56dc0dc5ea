"""Are hectares right in every CRS, also far from the raster's centre?

    python benchmarks/areas.py [--polygons 200] [--side 20000] [--json]

Strews squares, slivers and L-shapes of 4 to 400 pixels over rasters of `--side` squared pixels in
six CRSs, measures them as a run does, and again without its projection: edges cut into single
pixels, their ends taken to longitude and latitude, and the polygon's area on the ellipsoid by
geodesics (Karney 2013, pyproj.Geod). Also what planar areas of the CRS would have said.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
import pyproj
import shapely
from affine import Affine

from geoseg.frame import Frame, horizontal_wkt

FRAMES = {
    "UTM 33N": ("EPSG:32633", Affine(10, 0, 400_000, 0, -10, 5_500_000)),
    "EPSG:4326": ("EPSG:4326", Affine(1e-4, 0, 13, 0, -1e-4, 56)),
    "EPSG:3857 at 60 N": ("EPSG:3857", Affine(10, 0, 1_000_000, 0, -10, 8_500_000)),
    "EPSG:3413 near the pole": ("EPSG:3413", Affine(25, 0, -250_000, 0, -25, 250_000)),
    "EPSG:3035": ("EPSG:3035", Affine(25, 0, 4_000_000, 0, -25, 3_500_000)),
    "EPSG:2227, feet": ("EPSG:2227", Affine(3, 0, 6_000_000, 0, -3, 2_150_000)),
}


def strew(count: int, side: int) -> list[shapely.Polygon]:
    """Return polygons of pixel edges."""
    random = np.random.default_rng(0)
    found = []
    for kind in range(count):
        x, y = random.integers(0, side - 400, 2).tolist()
        width, height = random.integers(4, 400, 2).tolist()
        box = shapely.box(x, y, x + width, y + (4 if kind % 3 == 1 else height))
        if kind % 3 == 2:
            corner = (x, y, x + width // 2, y + height // 2)
            box = shapely.difference(box, shapely.box(*corner))
        found.append(box)
    return found


def reference_m2(frame: Frame, polygon: shapely.Polygon) -> float:
    """Return the area on the ellipsoid by geodesics from pixel to pixel."""
    crs = pyproj.CRS.from_wkt(frame.crs)
    to_lonlat = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    ring = np.array(shapely.segmentize(polygon, 1.0).exterior.coords)
    lon, lat = to_lonlat.transform(*frame.to_crs(ring).T)
    return abs(float(crs.get_geod().polygon_area_perimeter(lon, lat)[0]))


def measure(count: int, side: int) -> dict[str, dict[str, float]]:
    """Return the largest relative error per CRS."""
    polygons = np.array(strew(count, side))
    found = {}
    for name, (code, transform) in FRAMES.items():
        frame = Frame(side, side, transform, horizontal_wkt(code))
        ours = frame.measure(polygons)[0]
        truth = np.array([reference_m2(frame, p) for p in polygons])
        planar = shapely.area(polygons) * abs(transform.determinant)
        found[name] = {
            "largest_error_ppm": round(float(np.abs(ours / truth - 1).max() * 1e6), 3),
            "planar_error_percent": round(float(np.abs(planar / truth - 1).max() * 100), 2),
        }
    return found


def main() -> None:
    """Print a line per CRS, with --json all of it as one line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--polygons", type=int, default=200)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found: dict[str, Any] = measure(args.polygons, args.side)
    if args.json:
        print(json.dumps(found))
        return
    for name, errors in found.items():
        print(f"{name:24} {errors['largest_error_ppm']:8.3f} ppm, "
              f"planar {errors['planar_error_percent']:.2f} %")  # fmt: skip


if __name__ == "__main__":
    main()
