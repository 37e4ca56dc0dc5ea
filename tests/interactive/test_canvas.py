"""A canvas shows what a browser looks at, sharply, and tells what is done there."""

import base64

import numpy as np
import pytest
from affine import Affine
from browsers import click, drag, look, mouse, press
from rasterio.io import MemoryFile
from scenes import GEOREF, UTM

from geoseg import ArrayRaster
from geoseg.errors import TileFailedError
from geoseg.interactive.canvas import Canvas

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

SOON_S = 20
SHAPE = 1700, 2000
NOISE = np.random.default_rng(0).integers(1, 250, (3, *SHAPE)).astype(np.uint8)


def made(raster=None, **options):
    raster = raster or ArrayRaster(NOISE, None, GEOREF, UTM)
    raster = ArrayRaster(
        raster.data, None, options.get("transform", GEOREF), options.get("crs", UTM)
    )
    told = []
    canvas = Canvas(raster.frame, (raster, None), ("a", "b"), told=told.append)
    canvas.listen(canvas.map)
    assert canvas.wait(SOON_S)
    return canvas, told


def shown(canvas):
    """Return the pictures that are seen, from the lowest."""
    found = []
    for image in canvas.map.layers[:3]:
        if image.opacity:
            with MemoryFile(base64.b64decode(image.url.partition(",")[2])) as file:
                found.append((image, file.open().read()))
    return found


@pytest.mark.parametrize("place", [{}, {"crs": None, "transform": Affine.identity()}])
def test_far_away_all_of_it_is_shown_coarsely_and_close_by_each_pixel(place):
    canvas, told = made(**place)
    look(canvas)
    assert canvas.wait(SOON_S)
    (_, picture), *_ = shown(canvas)
    assert picture.shape == (4, 425, 500)
    look(canvas, zoom=canvas.place.closest_zoom)
    assert canvas.wait(SOON_S)
    _, (image, picture) = shown(canvas)
    assert picture.shape == (4, 500, 800)
    assert picture[3].all()
    # So close that neighbours on the screen are the same pixel, and each is one of the raster.
    (south, west), (north, east) = image.bounds
    middle = np.array([((west + east) / 2, (south + north) / 2)])
    [(col, row)] = canvas.place.frame.to_pixels(canvas.place.from_map(middle)).astype(int).tolist()
    around = NOISE[:, row - 1 : row + 2, col - 1 : col + 2].reshape(3, -1).T.tolist()
    assert picture[:3, 250, 400].tolist() in around
    assert not told


def test_pictures_take_turns_so_that_none_is_seen_in_the_place_of_another():
    canvas, _ = made()
    zoom = canvas.place.closest_zoom
    seen = []
    for step in range(3):
        lat, lon = canvas.map.center
        look(canvas, (lat, lon + step * 0.001), zoom)
        assert canvas.wait(SOON_S)
        seen.append([image.opacity for image in canvas.map.layers[:3]])
    assert seen == [[1, 1, 0], [1, 0, 1], [1, 1, 0]]


def test_clicks_boxes_and_keys_are_told_in_the_rasters_own_coordinates():
    canvas, _ = made()
    points, boxes, keys = [], [], []
    canvas.on_point = lambda *said: points.append(said)
    canvas.on_box = boxes.append
    canvas.on_key = lambda event: keys.append(event["key"])
    click(canvas, (500_123, 4_999_000))
    click(canvas, (500_500, 4_998_000), shiftKey=True)
    press(canvas, "b")
    assert [p[:2] for p in points] == [
        pytest.approx((500_123, 4_999_000), abs=1e-4),
        pytest.approx((500_500, 4_998_000), abs=1e-4),
    ]
    assert [p[2] for p in points] == [True, False]
    assert keys == ["b"]
    canvas.draw_box()
    assert not canvas.map.dragging
    drag(canvas, (500_300, 4_999_000), (500_100, 4_998_500))
    assert boxes == [pytest.approx((500_100, 4_998_500, 500_300, 4_999_000), abs=1e-4)]
    assert canvas.map.dragging
    assert len(points) == 2
    click(canvas, (500_123, 4_999_000))
    assert len(points) == 3
    assert len(boxes) == 1


def test_what_a_browser_says_twice_counts_once():
    canvas, _ = made()
    keys = []
    canvas.on_key = lambda event: keys.append(event["key"])
    for stamp in (5.25, 5.25, 6.5):
        press(canvas, "a", timeStamp=stamp)
    assert keys == ["a", "a"]


def test_a_box_is_seen_while_it_is_drawn():
    canvas, _ = made()
    canvas.draw_box()
    mouse(canvas, "mousedown", (500_300, 4_999_000))
    mouse(canvas, "mousemove", (500_100, 4_998_500))
    [box] = canvas.map.layers[-1].data["features"]
    assert box["geometry"]["type"] == "Polygon"
    # A mere click is no box; the next drag still is one.
    mouse(canvas, "mouseup", (500_300, 4_999_000))
    assert canvas.map.layers[-1].data["features"] == []
    assert canvas.is_boxing
    canvas.draw_box()
    assert canvas.map.dragging


def test_going_somewhere_shows_it_with_room_around():
    canvas, _ = made()
    look(canvas)
    canvas.go((501_000, 4_998_000, 501_200, 4_998_100))
    look(canvas)
    (south, west), (north, east) = canvas.map.bounds
    corners = canvas.place.to_map(np.array([(501_000, 4_998_000), (501_200, 4_998_100)]))
    assert (corners > (west, south)).all()
    assert (corners < (east, north)).all()
    assert (east - west) < 8 * np.ptp(corners[:, 0])


def test_a_part_that_cannot_be_read_is_a_line_and_other_parts_are_shown():
    class Torn(ArrayRaster):
        def read(self, window):
            if window.x0 < 900 and window.width < 900:
                raise TileFailedError("cannot read there")
            return super().read(window)

    told = []
    torn = Torn(NOISE, None, GEOREF, UTM)
    canvas = Canvas(torn.frame, (torn, None), (), told=told.append)
    assert canvas.wait(SOON_S)
    zoom = canvas.place.closest_zoom
    corner, other = (
        (lat, lon)
        for lon, lat in canvas.place.to_map(
            torn.frame.to_crs(np.array([(500, 800), (1900, 800)]))
        ).tolist()
    )
    look(canvas, corner, zoom)
    assert canvas.wait(SOON_S)
    assert told == ["cannot read there"]
    look(canvas, other, zoom)
    assert canvas.wait(SOON_S)
    assert len(told) == 1
    assert len(shown(canvas)) == 2


def test_nothing_is_fetched():
    canvas, _ = made()
    assert not [x for x in canvas.map.layers if type(x).__name__ == "TileLayer"]
    assert all(image.url.startswith("data:") for image in canvas.map.layers[:3])
