"""The maps of a session and of a review in JupyterLab: what is clicked there happens, offline."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import numpy as np
import pytest
import shapely
from prompts import Knowing
from rasters import draw
from scenes import GEOREF, UTM, ByIdentity

import geoseg
from geoseg.interactive.session import Session

IDS = np.zeros((300, 450), np.uint8)
IDS[30:110, 40:200], IDS[150:260, 60:120], IDS[60:240, 300:390] = 100, 170, 240

POINTING = """
import geoseg
from prompts import Knowing
session = geoseg.Session("scene.tif", model=Knowing(), out="objects.gpkg")
pointing = session.map()
pointing
"""
REVIEWING = """
review = geoseg.review("map.gpkg", "scene.tif", order="id", by="me")
panel = review.map()
panel
"""
WHERE = """
import numpy as np
def where(canvas, col, row):
    frame, shown = canvas.place.frame, canvas.map
    [(lon, lat)] = canvas.place.to_map(frame.to_crs(np.array([(col, row)]))).tolist()
    side, ((left, top), _) = 256 * 2 ** shown.zoom, shown.pixel_bounds
    y = (1 - np.arcsinh(np.tan(np.radians(lat))) / np.pi) / 2
    return (lon + 180) / 360 * side - left, y * side - top
"""
PATHS = """
(() => {
    const map = document.querySelectorAll('.leaflet-container')[NUMBER];
    const found = [];
    for (const path of map.querySelectorAll('path')) {
        if (path.getAttribute('stroke') !== 'COLOUR') continue;
        const at = path.getScreenCTM();
        const rings = path.getAttribute('d').split('M').slice(1).map(ring =>
            ring.replace('z', '').split(/[ L]/).map(Number));
        const corner = map.getBoundingClientRect();
        found.push(rings.map(ring => {
            const points = [];
            for (let k = 0; k + 1 < ring.length; k += 2) {
                const p = new DOMPoint(ring[k], ring[k + 1]).matrixTransform(at);
                points.push([p.x - corner.x, p.y - corner.y]);
            }
            return points;
        }));
    }
    return found;
})()
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    for name in ("jupyterlab", "ipyleaflet", "ipyevents", "websocket"):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install 'geoseg[dev]'")
    from lab import CHROMIUM, Lab

    if CHROMIUM is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    folder = tmp_path_factory.mktemp("lab")

    def paint(data):
        data[:] = np.stack([IDS, IDS // 2, IDS // 3])

    place = {"crs": UTM, "transform": GEOREF}
    draw(folder / "scene.tif", shape=IDS.shape, paint=paint, **place)
    geoseg.segment(
        str(folder / "scene.tif"),
        "hut, barn",
        backend=ByIdentity((0,) * 255),
        tile=512,
        out=folder / "map.gpkg",
    )
    opened = Lab(folder, [POINTING, REVIEWING, WHERE])
    yield opened
    opened.close()


def shown(number, colour):
    """Return a question to the page: the outlines of a colour that a map shows."""
    return f"({PATHS.replace('NUMBER', str(number)).replace('COLOUR', colour).strip().rstrip(';')})"


def corner(lab, number):
    """Bring a map into sight; returns where its corner is."""
    return lab.js(
        f"""(() => {{
            const map = document.querySelectorAll('.leaflet-container')[{number}];
            map.scrollIntoView({{block: 'center'}});
            const box = map.getBoundingClientRect();
            return [box.x, box.y];
        }})()"""
    )


def at(lab, number, col, row):
    """Return where in the page a pixel of the raster is seen."""
    name = ("pointing", "panel")[number]
    x, y = corner(lab, number)
    dx, dy = lab.kernel(f"where({name}.canvas, {col}, {row})")
    return x + dx, y + dy


def seen(lab, number, colour):
    """Return the outlines of a colour that the browser shows, in pixels of its map."""
    paths = lab.js(shown(number, colour))
    return [shapely.Polygon(rings[0], rings[1:]) for rings in paths]


def expected(lab, geometry):
    """Return where the browser should show a geometry of the raster's CRS."""
    pixels = shapely.transform(geometry, lambda xy: np.column_stack(~GEOREF @ xy.T))
    [ring] = [part.exterior for part in pixels.geoms]
    return shapely.Polygon(
        [lab.kernel(f"where(pointing.canvas, {x}, {y})") for x, y in ring.coords]
    )


def agree(one, other):
    return one.intersection(other).area / one.union(other).area


def test_point_accept_reload_review(lab):
    lab.open()
    lab.command("notebook:run-all-cells")
    lab.until("document.querySelectorAll('.leaflet-container').length === 2")
    for name in ("pointing", "panel"):
        lab.kernel_until(f"bool({name}.canvas.map.bounds) and {name}.canvas.wait(1)")
        lab.kernel_until(f"{name}.desk.wait(1)")
    with Session(str(lab.folder / "scene.tif"), Knowing(), out=lab.folder / "x.gpkg") as session:
        want = session.click(*GEOREF @ (60.5, 50.5), crs=UTM).geometry
    point(lab, want)
    colour = accept(lab)
    reload(lab, want, colour)
    review(lab)
    # JupyterLab's own keys did nothing: 'a' and 'b' would have made cells.
    assert lab.js("document.querySelectorAll('.jp-Notebook .jp-CodeCell').length") == 3
    assert lab.raised() == []
    assert lab.hosts() == {"127.0.0.1"}
    assert lab.asked == []
    # What leaves is heard.
    lab.js("fetch('http://tiles.example/1.png').catch(() => null)")
    assert lab.hosts() == {"127.0.0.1", "tiles.example"}
    assert lab.asked == ["tiles.example"]


def point(lab, want):
    """Click at an object, and with shift at another: the mask lies where it belongs."""
    lab.click(*at(lab, 0, 60.5, 50.5))
    lab.kernel_until("session.current is not None and pointing.desk.wait(1)")
    lab.until(f"{shown(0, '#00b0ff')}.length === 1")
    assert lab.kernel("session.current.geometry.wkt") == want.wkt
    [mask] = seen(lab, 0, "#00b0ff")
    assert agree(mask, expected(lab, want)) > 0.97
    lab.shot("mask")
    lab.click(*at(lab, 0, 350, 100), modifiers=8)
    lab.kernel_until("len(session.prompts) == 2 and pointing.desk.wait(1)")
    assert lab.kernel("[p.positive for p in session.prompts]") == [True, False]
    zoom = "document.querySelector('.leaflet-control-zoom-in')"
    assert lab.js(f"getComputedStyle({zoom}).userSelect") == "none"


def accept(lab):
    """Type a name, which is no key of the map, and press Enter over it; returns the colour."""
    x, y = lab.js(
        "(r => [r.x + 20, r.y + 10])(document.querySelector("
        "'input[placeholder=\"class of the object\"]').getBoundingClientRect())"
    )
    lab.click(x, y)
    for letter in "bud":
        lab.press(letter)
    lab.kernel_until("pointing.name.value == 'bud'")
    assert lab.kernel("[len(session.prompts), pointing.canvas.is_boxing]") == [2, False]
    lab.mouse("mouseMoved", *at(lab, 0, 60, 50))
    lab.press("Enter")
    lab.kernel_until("len(session.features()) == 1 and pointing.desk.wait(1)")
    assert lab.kernel("session.features()['class'].tolist()") == ["bud"]
    lab.shot("accepted")
    return lab.kernel("session.classes[0].colour")


def reload(lab, want, colour):
    """Load the page anew: what the kernel has is shown again."""
    lab.command("docmanager:save")
    lab.open()
    lab.until("document.querySelectorAll('.leaflet-container').length === 2")
    lab.until(f"{shown(0, colour)}.length === 1")
    lab.kernel_until("pointing.canvas.wait(1)")
    corner(lab, 0)
    lab.shot("reloaded")
    [kept] = seen(lab, 0, colour)
    assert agree(kept, expected(lab, want)) > 0.97


def review(lab):
    """Decide about two polygons of three by keyboard: it is in the file."""
    lab.mouse("mouseMoved", *(v + 60 for v in corner(lab, 1)))
    for key, done in (("a", "accepted"), ("r", "rejected")):
        lab.press(key)
        lab.kernel_until(f"review.counts['{done}'] == 1 and panel.desk.wait(1)")
    assert lab.kernel("review.current.id") == 3
    for key, number in (("p", 2), ("n", 3)):
        lab.press(key)
        lab.kernel_until(f"review.current.id == {number} and panel.desk.wait(1)")
    lab.kernel_until("panel.canvas.wait(1)")
    lab.shot("review")
    with closing(sqlite3.connect(lab.folder / "map.gpkg")) as db:
        said = db.execute("SELECT id, review, reviewed_by FROM features ORDER BY id").fetchall()
    assert said == [(1, "accepted", "me"), (2, "rejected", "me"), (3, None, None)]
