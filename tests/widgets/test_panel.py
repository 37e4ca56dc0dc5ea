"""A review by keyboard: each key decides about the polygon that is seen, at once."""

import threading
from contextlib import closing

import numpy as np
import pytest
import shapely
from browsers import click, look, press
from prompts import Knowing, coloured
from scenes import GEOREF, ByIdentity, raster

import geoseg
from geoseg import Legend
from geoseg.export.held import connect
from geoseg.interactive.session import Session
from geoseg.legend import LandClass
from geoseg.widgets.panel import panel

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

SOON_S = 20
IDS = np.zeros((60, 90), np.int32)
for number, (y, x) in enumerate(((5, 5), (5, 40), (30, 5), (30, 40), (30, 70)), 1):
    IDS[y : y + 10 + number, x : x + 12] = number
LEGEND = Legend.parse("hut, barn, <i>field</i>")


@pytest.fixture
def opened(tmp_path):
    """Return a review of five polygons, and its panel."""
    path = tmp_path / "m.gpkg"
    scene = raster(IDS)
    geoseg.segment(
        scene, LEGEND, backend=ByIdentity((0, 1, 2, 0, 1)), tile=128, overlap=16, out=path
    )
    with geoseg.review(path, scene, order="id", by="me") as review:
        review._session = Session(coloured(IDS * 40), Knowing(), out=tmp_path / "x.gpkg")
        shown = panel(review)
        assert done(shown)
        yield review, shown


def done(shown):
    return shown.desk.wait(SOON_S) and shown.canvas.wait(SOON_S)


def pressed(shown, *keys):
    for key in keys:
        press(shown.canvas, key)
    assert done(shown)


def layer(shown, name):
    [found] = [x for x in shown.canvas.map.layers if x.name == name]
    return found.data["features"]


def test_it_shows_the_polygon_what_is_known_of_it_and_how_many_are_left(opened):
    review, shown = opened
    assert "<b>hut</b>, id 1" in shown.about.value
    assert "score 0.90" in shown.about.value
    assert "5 open" in shown.about.value
    assert [b.description for b in shown.names.children] == ["1 hut", "2 barn", "3 <i>field</i>"]
    [outline] = layer(shown, "polygon")
    look(shown.canvas)
    (south, west), (north, east) = shown.canvas.map.bounds
    x0, y0, x1, y1 = shapely.geometry.shape(outline["geometry"]).bounds
    assert west < x0 < x1 < east
    assert south < y0 < y1 < north
    assert (x1 - x0) > (east - west) / 12
    pressed(shown, "n", "n")
    assert "<i>" not in shown.about.value
    assert review.counts["open"] == 5


def test_each_key_is_a_decision_and_goes_on(opened):
    review, shown = opened
    pressed(shown, "a", "r", "2")
    assert review.counts == {"accepted": 1, "rejected": 1, "edited": 1, "open": 2}
    assert review.current.id == 4
    pressed(shown, "p")
    assert (review.current.cls, review.current.review) == ("barn", "edited")
    assert "edited" in shown.about.value
    pressed(shown, "u")
    assert review.counts["open"] == 3
    assert review.current.id == 3
    pressed(shown, "ArrowRight", "ArrowRight")
    assert review.current.id == 5
    pressed(shown, "u", "u", "u")
    assert "nothing to undo" in shown.desk.line.value
    assert (review.counts["open"], review.current.id) == (5, 1)


def test_buttons_do_what_keys_do(opened):
    review, shown = opened
    {b.description[:6]: b for b in shown.buttons.children}["Accept"].click()
    shown.names.children[1].click()
    assert done(shown)
    assert review.counts["accepted"] == review.counts["edited"] == 1
    assert review.go(2).cls == "barn"


def test_when_all_are_reviewed_it_says_so(opened):
    _, shown = opened
    pressed(shown, *"aaaaa")
    assert "all are reviewed" in shown.about.value
    assert layer(shown, "polygon") == []
    pressed(shown, "a")
    assert "all are reviewed" in shown.desk.line.value
    pressed(shown, "p")
    assert "id 5" in shown.about.value


def test_the_map_moves_only_to_another_polygon(opened):
    _, shown = opened
    look(shown.canvas, shown.canvas.map.center, 12)
    pressed(shown, "9")
    assert "there is no class 9; there are 3" in shown.desk.line.value
    assert shown.canvas.map.zoom == 12
    pressed(shown, "n")
    assert shown.canvas.map.zoom != 12


def test_an_outline_is_drawn_anew_by_clicks(opened):
    review, shown = opened
    click(shown.canvas, GEOREF @ (45, 10))
    assert layer(shown, "waiting") == []
    pressed(shown, "d")
    click(shown.canvas, GEOREF @ (45, 10))
    assert done(shown)
    assert len(layer(shown, "mask")) == 1
    # Here, keys mean the outline: none of them decides about the polygon.
    pressed(shown, "a", "r", "1")
    assert review.counts["open"] == 5
    pressed(shown, "Enter")
    assert layer(shown, "mask") == layer(shown, "prompts") == []
    edited = review.go(1)
    assert edited.review == "edited"
    want = shapely.transform(shapely.box(40, 5, 52, 17), review._editor.frame.to_crs)
    assert edited.geometry.symmetric_difference(want).area < 1e-6
    assert edited.area_ha == pytest.approx(want.area / 1e4, rel=2e-3)


def test_leaving_a_drawing_changes_nothing(opened):
    review, shown = opened
    pressed(shown, "d")
    click(shown.canvas, GEOREF @ (45, 10))
    pressed(shown, "b", "Escape")
    assert review.counts["open"] == 5
    assert not shown.canvas.is_boxing
    assert layer(shown, "mask") == []
    pressed(shown, "d", "Enter")
    assert "there is no outline yet" in shown.desk.line.value
    pressed(shown, "Escape", "a")
    assert review.counts["accepted"] == 1


def test_what_was_decided_elsewhere_is_not_decided_again_unseen(opened):
    review, shown = opened
    other = panel(review)
    assert done(other)
    pressed(other, "a")
    for key, at in (("r", 2), ("2", 3), ("u", 4), ("d", 5)):
        pressed(shown, key)
        assert "went on elsewhere; this is where it is now" in shown.desk.line.value
        assert f"id {at}" in shown.about.value
        review.accept()
    assert review.counts["accepted"] == 5
    pressed(shown, "u")
    pressed(shown, "u")
    assert review.counts["accepted"] == 4


def test_an_outline_is_not_given_to_another_polygon_than_it_was_drawn_for(opened):
    review, shown = opened
    pressed(shown, "d")
    click(shown.canvas, GEOREF @ (45, 10))
    assert done(shown)
    before = review.go(2).geometry
    pressed(shown, "Enter")
    assert "went on elsewhere" in shown.desk.line.value
    assert "id 2" in shown.about.value
    assert review.counts["edited"] == 0
    assert layer(shown, "mask") == []
    # Keys mean the polygon that is shown now.
    pressed(shown, "a")
    assert review.go(2).review == "accepted"
    assert review.current.geometry == before


class Late:
    """A review whose session takes long to be made."""

    def __init__(self, review):
        self._review, self._session = review, review.session
        self.may = threading.Event()

    def __getattr__(self, name):
        return getattr(self._review, name)

    @property
    def session(self):
        assert self.may.wait(SOON_S)
        return self._session


def test_clicks_and_keys_count_in_their_order_while_the_session_is_made(opened):
    review = Late(opened[0])
    shown = panel(review)
    assert done(shown)
    for last in ("Escape", "Enter"):
        review.may.clear()
        press(shown.canvas, "d")
        click(shown.canvas, GEOREF @ (45, 10))
        press(shown.canvas, last)
        review.may.set()
        assert done(shown)
        assert layer(shown, "mask") == layer(shown, "prompts") == layer(shown, "waiting") == []
        assert review.session.current is None
        assert review.counts["edited"] == (last == "Enter")
    assert "redrawn" in shown.desk.line.value


def test_a_click_after_what_cannot_be_outlined_is_told_why(opened):
    review, shown = opened
    pressed(shown, *"aaaaa")
    press(shown.canvas, "d")
    click(shown.canvas, GEOREF @ (45, 10))
    assert done(shown)
    assert "no polygon is looked at" in shown.desk.line.value
    assert layer(shown, "mask") == layer(shown, "waiting") == []
    assert review.session.prompts == ()


def test_a_button_that_is_pressed_while_it_goes_does_nothing(opened):
    review, shown = opened
    for name in ("take", "leave", "box"):
        shown.act(name)
    assert done(shown)
    assert not shown.canvas.is_boxing
    assert review.counts["open"] == 5


def test_taking_back_a_click_takes_back_no_object_of_the_map(opened):
    review, shown = opened
    review.session.click(*GEOREF @ (45, 10), crs=review.crs)
    review.session.accept("hut")
    pressed(shown, "d", "u")
    assert len(review.session.features()) == 1


def test_a_row_without_an_outline_is_shown_and_decided_about(opened):
    review, shown = opened
    with closing(connect(review.path)) as qgis:
        qgis.execute("UPDATE features SET geom = NULL WHERE id = 2")
    pressed(shown, "a")
    assert "id 2" in shown.about.value
    assert "color:#b00020" not in shown.desk.line.value
    assert layer(shown, "polygon") == []
    pressed(shown, "r")
    assert review.go(2).review == "rejected"


def test_classes_have_the_colours_that_the_file_says_now(opened):
    review, shown = opened
    review._editor.ensure_class(LandClass(name="boat", colour="#123456"))
    review.relabel("boat")
    review.go(1)
    pressed(shown, "n", "p")
    [outline] = layer(shown, "polygon")
    assert outline["properties"]["style"]["color"] == "#123456"
    assert "#123456" in shown.names.children[3].layout.border_left


def test_without_its_raster_a_map_can_be_reviewed_too(tmp_path):
    path = tmp_path / "m.gpkg"
    geoseg.segment(
        raster(IDS), LEGEND, backend=ByIdentity((0, 1, 2, 0, 1)), tile=128, overlap=16, out=path
    )
    with geoseg.review(path) as review:
        assert review.raster is None
        shown = review.map()
        assert done(shown)
        pressed(shown, "a")
        assert review.counts["accepted"] == 1
        assert len(layer(shown, "polygon")) == 1
        pressed(shown, "d")
        assert "color:#b00020" in shown.desk.line.value


def test_a_review_is_its_own_widget_in_a_notebook(opened):
    review, _ = opened
    assert "application/vnd.jupyter.widget-view+json" in review._repr_mimebundle_()
