"""A raster lies on a map where its pixels are, whatever its CRS; the map's pictures prove it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from scenes import examples

from geoseg import ArrayRaster
from geoseg.mercator import data_url
from geoseg.stretch import Stretch
from geoseg.widgets.place import Place, Screen

PLAIN = Stretch((0, 1, 2), (0, 0, 0), (255, 255, 255))
KINDS = {
    "utm": ("EPSG:32633", Affine(10, 0, 500_000, 0, -10, 5_000_000)),
    "turned": ("EPSG:32633", Affine(8, 3, 500_000, 2, -9, 5_000_000)),
    "degrees": ("EPSG:4326", Affine(0.001, 0, 10, 0, -0.001, 60)),
    "beyond 180": ("EPSG:4326", Affine(0.001, 0, 359.98, 0, -0.001, -17)),
    "across the date line": ("EPSG:32660", Affine(100, 0, 813_000, 0, -100, 4e6)),
    "south pole": ("EPSG:3031", Affine(100, 0, 300_000, 0, -100, 2e6)),
    "around the north pole": ("EPSG:3413", Affine(10, 0, -450, 0, -10, 300)),
    "near the south pole": ("EPSG:4326", Affine(0.01, 0, 10, 0, -0.01, -84.9)),
    "all of the web": ("EPSG:3857", Affine(445277.96, 0, -20037508.2, 0, -667916.94, 20037508.2)),
    "nowhere": (None, Affine.identity()),
    "nowhere, but placed": (None, Affine(0.5, 0, 100, 0, -0.5, 80)),
}


def scene(crs, transform, shape=(60, 90)):
    """Return a raster whose pixels say where they are."""
    rows, cols = np.indices(shape)
    return ArrayRaster(np.stack([rows, cols, rows * 0 + 9]).astype(np.uint8), None, transform, crs)


@pytest.mark.parametrize("kind", KINDS)
@examples(30)
@given(st.floats(0, 90), st.floats(0, 60))
def test_there_and_back(kind, col, row):
    frame = scene(*KINDS[kind]).frame
    place = Place.of(frame)
    xy = frame.to_crs(np.array([(col, row)]))
    back = place.from_map(place.to_map(xy))
    assert frame.to_pixels(back)[0] == pytest.approx((col, row), abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_web_does_not_show_lies_flat(kind):
    wanted = kind in ("around the north pole", "near the south pole") or KINDS[kind][0] is None
    assert Place.of(scene(*KINDS[kind]).frame).is_flat == wanted


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_shows_each_pixel_where_it_is(kind):
    raster = scene(*KINDS[kind])
    place = Place.of(raster.frame)
    left, low, right, high = place.whole().bounds
    # Some of it, closely, and some of what is beside it.
    wide, tall = right - left, high - low
    bounds = (left - wide / 9, low + tall / 3, left + wide / 2, high + tall / 9)
    screen = Screen(bounds, (240, 320))
    image = place.picture(raster, PLAIN, screen)
    assert 0.2 < (image[3] > 0).mean() < 1
    rows, cols = np.nonzero(image[3])
    picked = np.random.default_rng(0).choice(len(rows), 400)
    rows, cols = rows[picked], cols[picked]
    x = bounds[0] + (cols + 0.5) / 320 * (bounds[2] - bounds[0])
    y = bounds[3] - (rows + 0.5) / 240 * (bounds[3] - bounds[1])
    lonlat = place.from_plane_to_map(np.column_stack((x, y)))
    px = raster.frame.to_pixels(place.from_map(lonlat))
    seen = image[:2, rows, cols].T[:, ::-1]
    # GDAL warps with an eighth of a pixel to spare.
    assert (np.abs(seen + 0.5 - px) <= 0.5 + 0.15).all()


def test_pictures_of_two_maps_at_once_warn_nobody():
    raster = scene(*KINDS["utm"])
    place = Place.of(raster.frame)
    screen = Screen(place.whole().bounds, (24, 32))

    def draw(_):
        for _ in range(100):
            data_url(place.picture(raster, PLAIN, screen))

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(draw, range(3)))


@pytest.mark.parametrize("kind", KINDS)
def test_what_fits_is_seen(kind):
    frame = scene(*KINDS[kind]).frame
    place = Place.of(frame)
    corners = frame.to_crs(np.array([(0, 0), (90, 0), (90, 60), (0, 60)]))
    (lat, lon), zoom = place.fitting(corners, (400, 600))
    lonlat = place.to_map(corners)
    low, high = lonlat.min(axis=0), lonlat.max(axis=0)
    assert (low < (lon, lat)).all()
    assert ((lon, lat) < high).all()
    unit = 1 if place.is_flat else 256 / 360
    wide_px = (high - low)[0] * unit * 2**zoom
    assert wide_px <= 600 * 1.01
    assert zoom <= place.closest_zoom


@pytest.mark.parametrize("kind", KINDS)
def test_far_away_few_pixels_are_read(kind):
    raster = scene(*KINDS[kind], shape=(600, 900))
    place = Place.of(raster.frame)
    whole = place.whole()
    window, step = place.looked_at(Screen(whole.bounds, (60, 90)))
    assert window == raster.frame.window
    assert 5 <= step <= 12
    left, low, right, high = whole.bounds
    wide = right - left
    beside = Screen((right + wide, low, right + 2 * wide, high), (60, 90))
    assert place.looked_at(beside) is None
