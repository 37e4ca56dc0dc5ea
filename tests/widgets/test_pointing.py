"""A session's map: what is clicked is outlined, in order, and what is accepted is kept."""

import sys
import threading
import time

import numpy as np
import pytest
import shapely
from browsers import click, drag, press
from prompts import Knowing, coloured
from scenes import GEOREF

from geoseg.errors import MissingDependencyError
from geoseg.interactive.session import Session
from geoseg.widgets.pointing import pointing

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

SOON_S = 20
IDS = np.zeros((60, 90), int)
IDS[5:20, 5:30] = 100
IDS[30:50, 40:80] = 200


class Slow(Knowing):
    """Looks at nothing before it may."""

    may: threading.Event

    def look(self, picture):
        assert self.may.wait(SOON_S)
        return super().look(picture)


@pytest.fixture
def may():
    gate = threading.Event()
    gate.set()
    yield gate
    gate.set()


@pytest.fixture
def widget(tmp_path, may):
    model = Slow()
    model.may = may
    with Session(coloured(IDS), model, out=tmp_path / "a.gpkg") as session:
        shown = pointing(session)
        assert done(shown)
        yield shown


def at(col, row):
    return GEOREF @ (col, row)


def done(widget):
    return widget.desk.wait(SOON_S) and widget.canvas.wait(SOON_S)


def layer(widget, name):
    [found] = [x for x in widget.canvas.map.layers if x.name == name]
    return found.data["features"]


def place(feature, canvas):
    """Return a feature of a layer in pixels of the raster."""
    frame = canvas.place.frame
    return shapely.transform(
        shapely.geometry.shape(feature["geometry"]),
        lambda lonlat: frame.to_pixels(canvas.place.from_map(lonlat)),
    )


def test_a_click_is_answered_with_the_sessions_outline_and_a_dot(widget):
    click(widget.canvas, at(10.5, 10.5))
    assert done(widget)
    [mask] = layer(widget, "mask")
    assert place(mask, widget.canvas).symmetric_difference(shapely.box(5, 5, 30, 20)).area < 0.01
    [dot] = layer(widget, "prompts")
    assert place(dot, widget.canvas).coords[0] == pytest.approx((10.5, 10.5), abs=1e-4)
    assert "score 0.90" in widget.desk.line.value
    assert layer(widget, "waiting") == []


def test_plain_and_shift_clicks_differ_in_sign_and_colour(widget):
    click(widget.canvas, at(10, 10))
    click(widget.canvas, at(60, 40), shiftKey=True)
    assert done(widget)
    assert [p.positive for p in widget.pointer.session.prompts] == [True, False]
    good, bad = (f["properties"]["style"]["fillColor"] for f in layer(widget, "prompts"))
    assert good != bad


def test_a_box_is_a_prompt(widget):
    press(widget.canvas, "b")
    assert widget.buttons["box"].button_style == "info"
    drag(widget.canvas, at(39, 29), at(81, 51))
    assert done(widget)
    assert widget.buttons["box"].button_style == ""
    [box] = widget.pointer.session.prompts
    assert box.kind == "box"
    assert np.round(box.pixels.bounds, 3).tolist() == [39, 29, 81, 51]
    [mask] = layer(widget, "mask")
    assert place(mask, widget.canvas).area == pytest.approx(800, abs=0.1)


def test_clicks_wait_while_a_tile_is_encoded_and_none_is_lost(widget, may):
    may.clear()
    for col in (6, 8, 10):
        click(widget.canvas, at(col, 10))
    assert len(layer(widget, "waiting")) == 3
    soon = time.monotonic() + SOON_S
    while "encoding a tile" not in widget.desk.line.value and time.monotonic() < soon:
        time.sleep(0.01)
    assert "encoding a tile \u2026, 2 more wait" in widget.desk.line.value
    may.set()
    assert done(widget)
    assert [p.pixels.x for p in widget.pointer.session.prompts] == pytest.approx([6, 8, 10])
    assert widget.pointer.session.encoded == 1
    assert layer(widget, "waiting") == []


def test_accepted_objects_stay_and_the_class_is_the_one_of_the_moment(widget, may):
    may.clear()
    click(widget.canvas, at(10, 10))
    widget.name.value = "hut"
    press(widget.canvas, "Enter")
    time.sleep(0.3)
    widget.name.value = "barn"
    click(widget.canvas, at(60, 40))
    may.set()
    assert done(widget)
    press(widget.canvas, "Enter")
    assert done(widget)
    kept = widget.pointer.session.features()
    assert kept["class"].tolist() == ["hut", "barn"]
    assert len(layer(widget, "accepted")) == 2
    assert layer(widget, "mask") == layer(widget, "prompts") == []
    assert widget.name.options == ("hut", "barn")
    assert "accepted: barn 2" in widget.desk.line.value


def test_undo_takes_back_clicks_then_objects_and_clear_forgets(widget):
    widget.name.value = "hut"
    click(widget.canvas, at(10, 10))
    press(widget.canvas, "Enter")
    click(widget.canvas, at(60, 40))
    press(widget.canvas, "u")
    assert done(widget)
    assert layer(widget, "mask") == []
    assert len(layer(widget, "accepted")) == 1
    press(widget.canvas, "z", ctrlKey=True)
    assert done(widget)
    assert len(layer(widget, "mask")) == 1
    assert layer(widget, "accepted") == []
    press(widget.canvas, "Escape")
    assert done(widget)
    assert layer(widget, "mask") == layer(widget, "prompts") == []


def test_what_goes_wrong_is_one_line(widget):
    for act, want in (
        (lambda: press(widget.canvas, "Enter"), "the object has no class yet"),
        (lambda: click(widget.canvas, at(-50, 10)), "outside"),
        (lambda: click(widget.canvas, at(2, 2)), "nothing is found there"),
    ):
        act()
        assert done(widget)
        said = widget.desk.line.value
        assert want in said
        assert "Traceback" not in said
        assert "\n" not in said
    assert layer(widget, "waiting") == []


def test_a_new_kernel_shows_what_was_accepted(widget, tmp_path):
    widget.name.value = "<b>hut</b>"
    click(widget.canvas, at(10, 10))
    press(widget.canvas, "Enter")
    assert done(widget)
    assert "<b>" not in widget.desk.line.value
    widget.pointer.session.close()
    with Session(coloured(IDS), Knowing(), out=tmp_path / "a.gpkg") as session:
        again = pointing(session)
        assert done(again)
        assert len(layer(again, "accepted")) == 1
        assert again.name.options == ("<b>hut</b>",)


def test_the_users_own_progress_is_told_too(tmp_path):
    told = []
    session = Session(
        coloured(IDS), Knowing(), out=tmp_path / "a.gpkg", progress=lambda *said: told.append(said)
    )
    with session:
        shown = pointing(session)
        click(shown.canvas, at(10, 10))
        assert done(shown)
    assert told[0][0] == "encode"


def test_the_last_map_is_told_instead_of_those_before_and_the_user_always(tmp_path):
    told = []
    with Session(
        coloured(IDS), Knowing(), out=tmp_path / "a.gpkg", progress=lambda *said: told.append(said)
    ) as session:
        maps = [pointing(session) for _ in range(3)]
        assert all(done(shown) for shown in maps)
        heard = []
        for k, shown in enumerate(maps):
            shown.desk.progress = lambda *_, k=k: heard.append(k)
        session.progress("encode", 0, 1)
        assert heard == [2]
        assert told == [("encode", 0, 1)]


def test_after_each_object_only_that_one_is_drawn(widget, monkeypatch):
    drawn, draw = [], widget.canvas.drawn

    def drawing(geometry, **style):
        drawn.append(round(geometry.area / 100))
        return draw(geometry, **style)

    monkeypatch.setattr(widget.canvas, "drawn", drawing)
    monkeypatch.setattr(widget.pointer.session, "features", lambda: 1 / 0)
    widget.name.value = "hut"
    for place_ in (at(10, 10), at(60, 40)):
        click(widget.canvas, place_)
        assert done(widget)
        press(widget.canvas, "Enter")
        assert done(widget)
    # Once as a mask, once as an object.
    assert [area for area in drawn if area] == [375, 375, 800, 800]
    assert len(layer(widget, "accepted")) == 2


@pytest.mark.parametrize("package", ["ipyleaflet", "ipyevents"])
def test_what_to_install_is_said(package, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    for name in [n for n in sys.modules if n.startswith("geoseg.widgets.")]:
        monkeypatch.delitem(sys.modules, name)
    with (
        Session(coloured(IDS), Knowing(), out=tmp_path / "a.gpkg") as session,
        pytest.raises(
            MissingDependencyError, match=rf'{package}.*pip install "geoseg\[notebook\]"'
        ),
    ):
        session.map()
