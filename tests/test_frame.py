"""Laws of frames: coordinates as rasterio's, areas and lengths as the geodesic's."""

from __future__ import annotations

import math

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geoseg.frame import Frame, horizontal_wkt

PLACES = {
    "utm": ("EPSG:32633", Affine(10, 0, 500_000, 0, -10, 5_400_000)),
    "lonlat": ("EPSG:4326", Affine(0.001, 0, 13.0, 0, -0.001, 55.0)),
    "lonlat_equator": ("EPSG:4326", Affine(0.001, 0, -60.0, 0, -0.001, 0.2)),
    "mercator_60n": ("EPSG:3857", Affine(20, 0, 1_100_000, 0, -20, 8_399_737)),
    "polar": ("EPSG:3413", Affine(100, 0, -400_000, 0, -100, -900_000)),
    "laea": ("EPSG:3035", Affine(25, 0, 4_300_000, 0, -25, 3_200_000)),
    "us_feet": ("EPSG:2227", Affine(3, 0, 6_050_000, 0, -3, 2_110_000)),
    "south_up": ("EPSG:32633", Affine(10, 0, 500_000, 0, 10, 5_400_000)),
    "mirrored": ("EPSG:32633", Affine(-10, 0, 500_000, 0, -10, 5_400_000)),
    "rotated": (
        "EPSG:32633",
        Affine.translation(500_000, 5_400_000) @ Affine.rotation(30) @ Affine.scale(8, -11),
    ),
    "sheared": ("EPSG:32633", Affine(10, 3, 500_000, -2, -10, 5_400_000)),
    "nad27": ("EPSG:26710", Affine(10, 0, 500_000, 0, -10, 4_200_000)),
}
OUTER = [(0, 0), (600, 0), (600, 450), (300, 450), (300, 200), (0, 200)]
EARTH_M2 = 510_065_621_724_089
"""Surface of the ellipsoid WGS 84."""
HOLE = [(400, 50), (400, 150), (500, 150), (500, 50)]
SHAPE = shapely.MultiPolygon([shapely.Polygon(OUTER, [HOLE]), shapely.box(20, 300, 120, 440)])


def frame_of(place: str, width: int = 700, height: int = 500) -> Frame:
    crs, transform = PLACES[place]
    return Frame(width, height, transform, horizontal_wkt(crs))


def geodesic(frame: Frame, geometry: shapely.Geometry) -> tuple[float, float]:
    """Measure on the ellipsoid, edge by edge of four pixels: the straight edge on the map."""
    crs = pyproj.CRS.from_wkt(frame.crs)
    to_lonlat = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    geod = crs.get_geod()
    area = length = 0.0
    for part in shapely.get_parts(shapely.segmentize(geometry, 4.0)):
        for k, ring in enumerate((part.exterior, *part.interiors)):
            lon, lat = to_lonlat.transform(*frame.to_crs(np.array(ring.coords)).T)
            ring_area, ring_length = geod.polygon_area_perimeter(lon, lat)
            area += -abs(ring_area) if k else abs(ring_area)
            length += ring_length
    return area, length


@pytest.mark.parametrize("place", PLACES)
def test_measures_are_those_of_the_ellipsoid(place):
    frame = frame_of(place)
    area, length = frame.measure(np.array([SHAPE, SHAPE.geoms[1]]))
    for k, geometry in enumerate((SHAPE, SHAPE.geoms[1])):
        want_area, want_length = geodesic(frame, geometry)
        assert area[k] == pytest.approx(want_area, rel=1e-5)
        assert length[k] == pytest.approx(want_length, rel=1e-5)


@pytest.mark.parametrize("side", [0.1, 1.0])
def test_a_map_of_the_whole_earth_is_measured(side):
    wide, high = round(360 / side), round(180 / side)
    frame = Frame(wide, high, Affine(side, 0, -180, 0, -side, 90), horizontal_wkt("EPSG:4326"))
    parts = [(0, 0, wide, high), (0, 0, wide // 2, high), (0, 0, wide, high // 2)]
    area_m2, _ = frame.measure(np.array([shapely.box(*part) for part in parts], object))
    assert area_m2 == pytest.approx(np.array([1, 0.5, 0.5]) * EARTH_M2, rel=1e-9)
    # The far side of it from the centre, a pole and the edge included.
    third = shapely.box(0, 0, wide // 3, high)
    assert frame.measure(np.array([third], object))[0] == pytest.approx(EARTH_M2 / 3, rel=1e-9)


@pytest.mark.parametrize(
    ("crs", "half_x", "top_y"),
    [("EPSG:3857", 20037508.342789244, 20037508.342789244), ("EPSG:6933", 17367530.445, 7314540.8)],
)
def test_world_maps_whose_rows_are_parallels_are_measured(crs, half_x, top_y):
    transform = Affine(half_x / 500, 0, -half_x, 0, -top_y / 200, top_y)
    frame = Frame(1000, 400, transform, horizontal_wkt(crs))
    to_lonlat = pyproj.Transformer.from_crs(crs, 4326, always_xy=True)
    north = to_lonlat.transform(0, top_y)[1]
    _, y = pyproj.Proj("+proj=cea +ellps=WGS84")(0, north)
    whole_m2 = 4 * math.pi * 6378137 * y
    boxes = [(0, 0, 1000, 400), (0, 0, 1000, 200), (0, 0, 300, 400), (900, 0, 1000, 400)]
    area_m2, _ = frame.measure(np.array([shapely.box(*box) for box in boxes], object))
    assert area_m2 == pytest.approx(np.array([1, 0.5, 0.3, 0.1]) * whole_m2, rel=1e-7)


def test_pixels_centred_at_the_poles_end_there():
    transform = Affine(0.25, 0, -180.125, 0, -0.25, 90.125)
    frame = Frame(1440, 721, transform, horizontal_wkt("EPSG:4326"))
    area_m2, length_m = frame.measure(np.array([shapely.box(0, 0, 1440, 721)], object))
    assert area_m2 == pytest.approx(EARTH_M2, rel=1e-9)
    assert np.isfinite(length_m).all()


def test_gons_are_no_degrees():
    # NTF (Paris): longitudes and latitudes in gons.
    crs, there = horizontal_wkt("EPSG:4807"), Affine(0.001, 0, 2, 0, -0.001, 54)
    ground = pyproj.CRS.from_wkt(crs).get_geod()
    lon, lat = 0.9 * np.array([2, 2.1, 2.1, 2]), 0.9 * np.array([54, 54, 53.9, 53.9])
    area_m2, length_m = ground.polygon_area_perimeter(lon, lat)
    frame = Frame(100, 100, there, crs)
    measured = frame.measure(np.array([shapely.box(0, 0, 100, 100)], object))
    assert measured == (
        pytest.approx(abs(area_m2), rel=1e-5),
        pytest.approx(length_m, rel=1e-5),
    )
    assert frame.pixels_m2(np.array([[50.0, 50.0]])) == pytest.approx(-area_m2 / 1e4, rel=1e-4)


@pytest.mark.parametrize("place", PLACES)
def test_areas_of_parts_add_up(place):
    frame = frame_of(place)
    cells = [shapely.box(x, y, x + 100, y + 100) for x in range(0, 700, 100) for y in (0, 100)]
    areas, _ = frame.measure(np.array([*cells, shapely.box(0, 0, 700, 200)]))
    assert areas[:-1].sum() == pytest.approx(areas[-1], rel=1e-6)


@pytest.mark.parametrize("place", PLACES)
def test_a_geometrys_measures_do_not_depend_on_its_company(place):
    frame = frame_of(place)
    together = np.array(frame.measure(np.array([SHAPE, *SHAPE.geoms])))
    alone = np.array([frame.measure(np.array([g])) for g in (SHAPE, *SHAPE.geoms)])[:, :, 0].T
    # Bytes of a map must not depend on how features are batched.
    assert (together == alone).all()


numbers = st.floats(-1e6, 1e6)


@given(st.builds(Affine, *[numbers] * 6), st.lists(st.tuples(numbers, numbers), min_size=1))
def test_pixel_corners_map_as_affine_says(transform, points):
    found = Frame(10, 10, transform, None).to_crs(np.array(points))
    want = np.array([transform @ p for p in points])
    assert np.allclose(found, want, rtol=1e-12, atol=1e-3)


@pytest.mark.parametrize(
    ("place", "gsd_m"),
    [("utm", 10), ("south_up", 10), ("rotated", math.sqrt(88)), ("us_feet", 0.9144),
     ("laea", 25), ("mercator_60n", 10.03)],
)  # fmt: skip
def test_gsd_is_the_side_of_a_pixel_on_the_ground(place, gsd_m):
    assert frame_of(place, 10, 10).gsd_m == pytest.approx(gsd_m, rel=2e-3)


@pytest.mark.parametrize("place", PLACES)
def test_pixels_are_as_large_as_their_outlines(place):
    frame = frame_of(place)
    centres = np.array([[0.5, 0.5], [350.0, 250.25], [699.5, 499.5], [20.3, 480.5]])
    outlines = shapely.box(*(centres - 0.5).T, *(centres + 0.5).T)
    assert frame.pixels_m2(centres) == pytest.approx(frame.measure(outlines)[0], rel=1e-7)
    assert np.isnan(Frame(9, 9, Affine.identity(), None).pixels_m2(centres)).all()


def test_pixels_on_the_far_side_of_the_earth_are_as_large_as_near_ones():
    frame = Frame(400, 300, Affine(1e5, 0, -2e7, 0, -1e5, 1.5e7), horizontal_wkt("EPSG:3857"))
    rows = np.arange(300) + 0.5
    near, far = (frame.pixels_m2(np.column_stack((np.full(300, x), rows))) for x in (200.5, 399.5))
    assert far == pytest.approx(near, rel=1e-9)


def test_pixels_around_the_pole_are_as_large_as_their_outlines():
    frame = Frame(9, 9, Affine(25e3, 0, -112.5e3, 0, -25e3, 112.5e3), horizontal_wkt("EPSG:3413"))
    x, y = np.meshgrid(np.arange(9) + 0.5, np.arange(9) + 0.5)
    found = frame.pixels_m2(np.column_stack((x.ravel(), y.ravel())))
    outlines = shapely.box(x - 0.5, y - 0.5, x + 0.5, y + 0.5).ravel()
    assert found == pytest.approx(frame.measure(outlines)[0], rel=3e-6)


def test_without_a_crs_nothing_is_measured():
    frame = Frame(10, 10, Affine.identity(), None)
    area, length = frame.measure(np.array([SHAPE]))
    assert np.isnan(area).all()
    assert np.isnan(length).all()
    assert frame.gsd_m is None


def test_a_local_grid_is_measured_in_its_own_plane():
    local = 'ENGCRS["site",EDATUM["peg"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],'
    frame = Frame(10, 10, Affine.scale(2, -2), horizontal_wkt(local + 'LENGTHUNIT["foot",0.3048]]'))
    area, length = frame.measure(np.array([shapely.box(0, 0, 3, 4)]))
    assert area[0] == pytest.approx(48 * 0.3048**2)
    assert length[0] == pytest.approx(28 * 0.3048)


def test_no_geometries_no_measures():
    assert [len(m) for m in frame_of("utm").measure(np.array([], dtype=object))] == [0, 0]


@pytest.mark.parametrize(
    ("crs", "name"),
    [("EPSG:32633", "WGS 84 / UTM zone 33N"), ("EPSG:7415", "Amersfoort / RD New"),
     ("OGC:CRS84", "WGS 84 (CRS84)")],
)  # fmt: skip
def test_the_horizontal_part_of_a_crs_is_kept(crs, name):
    assert pyproj.CRS.from_wkt(horizontal_wkt(crs)).name == name


@pytest.mark.parametrize("crs", ["EPSG:5703", "EPSG:4978"])
def test_heights_and_geocentric_axes_are_no_map(crs):
    with pytest.raises(pyproj.exceptions.CRSError, match="not a horizontal CRS"):
        horizontal_wkt(crs)
