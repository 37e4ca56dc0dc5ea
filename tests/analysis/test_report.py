"""A report says what the map says, on a page that asks nobody for anything."""

import base64
import functools
import hashlib
import http.server
import shutil
import subprocess
import threading
import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from drawn import NODATA, FailingAtTheLeft, drawn
from pages import Reader
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile
from scenes import UTM, ByComponent, raster

import geoseg
from geoseg import LandClass, Legend
from geoseg.analysis import change, report, sample, save_sample
from geoseg.analysis.page import picture
from geoseg.convert import export
from geoseg.errors import GeosegError, MapError, MissingDependencyError, OutputError

NAMES = ("<script>alert(1)</script>", '"><img src=http://example.com/x onerror=alert(2)>')
LEGEND = Legend(
    classes=tuple(
        LandClass(name=name, kind="cover", colour=colour)
        for name, colour in zip(NAMES, ("#ff0000", "#0000ff"), strict=True)
    )
)
IMAGE = np.zeros((60, 90), np.int32)
IMAGE[:30, :40], IMAGE[30:, 48:], IMAGE[:, 80:] = 1, 2, NODATA


def made(folder, image=IMAGE, *, model=ByComponent, name="m"):
    first = drawn(folder, image, name=name)
    geoseg.segment(
        first.with_suffix(".tif"),
        LEGEND,
        backend=model((0, 1), cover=True),
        out=first,
        tile=64,
        overlap=8,
        overwrite=True,
        fresh=True,
    )
    return first


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return made(tmp_path_factory.mktemp("plain"))


def page_of(path, out, **options):
    done = report(path, out, overwrite=True, **options)
    text = done.path.read_text("utf-8")
    return done, Reader(text), text


def rows(found):
    """Return the cells of all tables as one line of text, to look for rows in."""
    return " ".join(" ".join(found.text).split())


def test_a_page_asks_for_nothing_and_runs_nothing(plain, tmp_path):
    zones = gpd.GeoDataFrame(
        {"name": ["<iframe src=//example.com>"]}, geometry=[shapely.box(0, 0, 1e6, 1e7)], crs=UTM
    )
    _, found, text = page_of(plain, tmp_path / "r.html", zones=zones, title="</title><b>")
    assert not {"script", "iframe", "link", "object", "embed", "base", "form"} & set(found.tags)
    for tag, name, value in found.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name != "style"
        if name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            assert value.startswith(("data:", "#")), (tag, name, value)
    assert found.tags.count("img") == 1
    said = "".join(found.text)
    for name in (*NAMES, "<iframe src=//example.com>", "</title><b>"):
        assert name in said
    [policy] = [v for t, k, v in found.attributes if k == "content" and v.startswith("default-src")]
    style = text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert "url(" not in style
    assert "@import" not in style


def test_a_page_can_be_read_aloud(plain, tmp_path):
    _, found, _ = page_of(plain, tmp_path / "r.html")
    assert ("html", "lang", "en") in found.attributes
    headings = [tag for tag in found.tags if tag in ("h1", "h2", "h3")]
    assert headings[0] == "h1"
    assert set(headings[1:]) == {"h2"}
    assert found.tags.count("table") == found.tags.count("caption") > 0
    assert found.tags.count("th") == sum(k == "scope" for _, k, _ in found.attributes)
    assert all(v for t, k, v in found.attributes if (t, k) == ("img", "alt"))
    assert {"img"} == {t for t, k, _ in found.attributes if k == "alt"}


def test_shares_are_of_the_ground_that_has_data(plain, tmp_path):
    _, found, _ = page_of(plain, tmp_path / "r.html")
    # 1200, 960 and 2640 of the 4800 pixels that have data; a pixel is a hundredth of a hectare.
    text = rows(found)
    assert f"{NAMES[0]} 1 12.0" in text
    for share in ("25.0", "20.0", "55.0"):
        assert f" {share} " in text
    assert "unmapped" in text
    assert "88.9 % of the raster" in text


def test_shares_are_of_the_area_that_was_asked_for(tmp_path):
    first = drawn(tmp_path, IMAGE)
    aoi = tmp_path / "aoi.gpkg"
    left = shapely.box(499_000, 4_999_400, 500_400, 5_000_000)
    gpd.GeoDataFrame(geometry=[left], crs=UTM).to_file(aoi)
    geoseg.segment(
        first.with_suffix(".tif"), LEGEND, backend=ByComponent((0, 1), cover=True), out=first,
        aoi=aoi, tile=64, overlap=8, overwrite=True, fresh=True,
    )  # fmt: skip
    text = rows(page_of(first, tmp_path / "r.html")[1])
    assert f"{NAMES[0]} 1 12.01 50.0" in text
    assert "inside the area of interest" in text
    assert "44.4 % of the raster" in text
    # Another area is not what the map was made with.
    gpd.GeoDataFrame(geometry=[left.buffer(-100)], crs=UTM).to_file(aoi)
    text = rows(page_of(first, tmp_path / "r.html")[1])
    assert "The area of interest of the map was not at hand" in text
    assert f"{NAMES[0]} 1 12.01 25.0" in text


def test_the_same_map_is_the_same_page_whatever_pictures_a_user_likes(plain, tmp_path):
    import matplotlib as mpl

    first = page_of(plain, tmp_path / "a.html")[2]
    with mpl.rc_context({"figure.facecolor": "black", "font.size": 20, "savefig.dpi": 30}):
        second = page_of(plain, tmp_path / "b.html")[2]
    assert first == second


def test_folders_stay_private(plain, tmp_path):
    text = page_of(plain, tmp_path / "r.html")[2]
    assert str(plain.parent) not in text
    assert "m.tif" in text


def test_what_failed_comes_first(tmp_path, run):
    path = made(tmp_path, model=FailingAtTheLeft)
    done, found, text = page_of(path, tmp_path / "r.html")
    assert len(done.missing) == 1
    assert text.index("This map is incomplete") < text.index("side of a pixel")
    assert "<b>out of luck</b>" in "".join(found.text)
    code, _, err = run("report", path, "--out", tmp_path / "c.html")
    assert code == 1
    assert "tiles failed" in err
    assert (tmp_path / "c.html").read_text("utf-8") == text


def test_points_tell_how_right_it_is(plain, tmp_path, run):
    found = sample(plain, geoseg.analysis.Plan(60))
    found.points["reference"] = found.points["map_class"]
    points = tmp_path / "p.gpkg"
    save_sample(found, points)
    done, page, _ = page_of(plain, tmp_path / "r.html", points=points)
    assert not done.missing
    assert "100.0 ± 0.0 %" in rows(page)
    assert "Olofsson" in rows(page)
    found.points.loc[0, "reference"] = None
    save_sample(found, points)
    code, _, err = run("report", plain, "--out", tmp_path / "s.html", "--points", points, "-q")
    assert (code, err) == (1, "error: 1 points have no reference; the report says so\n")
    assert "1 place has not been looked at" in (tmp_path / "s.html").read_text("utf-8")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two dates, between which 600 pixels became the second class, and what changed."""
    folder = tmp_path_factory.mktemp("two")
    later = IMAGE.copy()
    later[:15, :40] = 2
    before, after = made(folder, name="before"), made(folder, later, name="after")
    change(before, after, out=folder / "change.gpkg")
    return before, after, folder / "change.gpkg"


def test_change_tells_what_was_lost_and_gained(two, tmp_path):
    minus = "\N{MINUS SIGN}"
    for path in two[:2]:
        _, found, _ = page_of(path, tmp_path / "r.html", change=two[2])
        text = rows(found)
        # Before, after, lost, gained and net: 600 of 1200 pixels of a hundredth of a hectare.
        assert f"{NAMES[0]} 12.01 6.00 6.00 0.00 {minus}6.00" in text
        assert f"{NAMES[1]} 9.61 15.61 0.00 6.00 +6.00" in text
        assert "6.00 ha changed class between before.gpkg and after.gpkg , 12.5 % of" in text
        assert "Pontius" in text


def test_a_change_of_other_maps_is_refused(two, plain, tmp_path):
    with pytest.raises(MapError, match=r"between before\.gpkg and after\.gpkg, not of"):
        report(plain, tmp_path / "r.html", change=two[2])
    with pytest.raises(MapError, match="is no map of change"):
        report(plain, tmp_path / "r.html", change=two[0])
    assert not (tmp_path / "r.html").exists()


def test_zones_have_their_rows(plain, tmp_path):
    left = gpd.GeoDataFrame(
        {"name": ["left"]}, geometry=[shapely.box(500_000, 4_999_000, 500_400, 5_000_000)], crs=UTM
    )
    text = rows(page_of(plain, tmp_path / "r.html", zones=left)[1])
    # 40 of 90 columns; of the first class all is there, of the second nothing.
    assert "left 12.0" in text
    assert "(outside) 0.0" in text


def test_a_zone_without_ground_has_a_row_also_where_there_are_no_hectares(tmp_path):
    from affine import Affine

    path = drawn(tmp_path, IMAGE, crs=None, transform=Affine(2, 0, 0, 0, 2, 0))
    shapes = [shapely.box(0, 0, 20, 20), shapely.box(5000, 5000, 5020, 5020)]
    zones = gpd.GeoDataFrame({"name": ["here", "far"]}, geometry=shapes)
    text = rows(page_of(path, tmp_path / "r.html", zones=zones, picture=False)[1])
    assert "far \N{EN DASH} \N{EN DASH}" in text


def test_a_map_without_a_place_has_shares_only(tmp_path):
    from affine import Affine

    path = drawn(tmp_path, IMAGE, crs=None, transform=Affine(2, 0, 0, 0, 2, 0))
    text = rows(page_of(path, tmp_path / "r.html")[1])
    assert "not known" in text
    assert "25.0" in text
    assert " ha " not in text


def test_many_polygons_are_drawn_from_afar(plain, tmp_path, monkeypatch):
    near = page_of(plain, tmp_path / "r.html")[2]
    monkeypatch.setattr(picture, "MOST", 0)
    # Without outlines; where its pixels are three of the raster's, edges move by one of those.
    for most_px, most_moved in ((100, 0.02), (30, 0.04)):
        monkeypatch.setattr(picture, "FAR_PX", most_px)
        one, other = (pixels(text) for text in (near, page_of(plain, tmp_path / "r.html")[2]))
        assert 0 < (np.abs(one - other).max(axis=0) > 20).mean() < most_moved


def pixels(text):
    url = text.partition('src="data:image/png;base64,')[2].partition('"')[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with MemoryFile(base64.b64decode(url)) as file, file.open() as source:
            return source.read().astype(int)


def test_names_of_any_length_and_number_leave_room_for_the_map(tmp_path):
    ids = np.kron(np.arange(1, 41).reshape(5, 8), np.ones((8, 8), int)).astype(np.int32)
    first = drawn(tmp_path, ids)
    classes = tuple(LandClass(name=f"{k} a long name " * 8, kind="cover") for k in range(40))
    geoseg.segment(
        first.with_suffix(".tif"), Legend(classes=classes), out=first, overwrite=True, fresh=True,
        backend=ByComponent(tuple(range(40)), cover=True), tile=64, overlap=8,
    )  # fmt: skip
    _, found, text = page_of(first, tmp_path / "r.html")
    assert "A map of 40 classes" in rows(found)
    assert pixels(text).shape[2] > 1000


# -------------------------------------------------------------------------------- bad input


def test_what_cannot_be_written_is_refused_before_any_work(plain, tmp_path):
    for out, message in (
        ("r.pdf", r"ending '\.pdf'; a report takes \.html"),
        ("there.html", "already there; pass --overwrite"),
        ("no/r.html", "does not exist"),
        ("", "is empty"),
    ):
        (tmp_path / "there.html").touch()
        with pytest.raises(GeosegError, match=message):
            report(plain, tmp_path / out if out else "", picture=False)
    with pytest.raises(OutputError, match="is the input"):
        report(plain, _beside(plain, tmp_path), zones=tmp_path / "z.html", overwrite=True)


def _beside(_, folder):
    (folder / "z.html").touch()
    return folder / "z.html"


@pytest.mark.parametrize("ending", [".geojson", ".fgb"])
def test_a_format_without_a_recipe_is_refused(plain, tmp_path, ending, run):
    other = tmp_path / f"m{ending}"
    export(plain, other)
    code, _, err = run("report", other, "--out", tmp_path / "r.html")
    assert code == 2
    assert "says nothing of how it was made" in err
    assert err.count("\n") == 1


def test_what_is_no_map_is_refused(tmp_path, run):
    (tmp_path / "m.gpkg").write_text("hello")
    code, _, err = run("report", tmp_path / "m.gpkg", "--out", tmp_path / "r.html")
    assert code == 2
    assert "is no map of geoseg" in err


def test_a_raster_that_has_moved_is_asked_for(tmp_path, run):
    path = made(tmp_path)
    moved = tmp_path / "else" / "n.tif"
    moved.parent.mkdir()
    path.with_suffix(".tif").rename(moved)
    code, _, err = run("report", path, "--out", tmp_path / "r.html")
    assert code == 2
    assert "pass --raster FILE, or --no-picture to do without" in err
    assert run("report", path, "--out", tmp_path / "r.html", "--raster", moved, "-q")[0] == 0
    assert run("report", path, "--out", tmp_path / "s.html", "--no-picture", "-q")[0] == 0
    without = (tmp_path / "s.html").read_text("utf-8")
    assert "<img" not in without
    assert "The raster was not at hand" in without
    other = drawn(moved.parent, np.ones((20, 20), np.int32), name="o").with_suffix(".tif")
    code, _, err = run("report", path, "--out", tmp_path / "t.html", "--raster", other)
    assert code == 2
    assert "not on the pixel grid" in err


def test_a_raster_in_memory_is_asked_for(tmp_path):
    out = tmp_path / "m.gpkg"
    pixels_ = raster(np.where(IMAGE == NODATA, 0, IMAGE), crs=UTM)
    geoseg.segment(pixels_, LEGEND, backend=ByComponent((0, 1), cover=True), out=out, tile=64,
                   overlap=8)  # fmt: skip
    with pytest.raises(MapError, match="in memory; pass --raster FILE, or --no-picture"):
        report(out, tmp_path / "r.html")
    assert not report(out, tmp_path / "r.html", picture=False).missing


def test_without_matplotlib_the_extra_is_named(plain, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r'geoseg\[notebook\]", or pass --no-picture'):
        report(plain, tmp_path / "r.html")
    assert report(plain, tmp_path / "r.html", picture=False).path.exists()


# -------------------------------------------------------------------------------- a browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                None)  # fmt: skip


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")
def test_a_browser_asks_nobody_for_anything(plain, tmp_path):
    asked = []

    class Recorder(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    handler = functools.partial(Recorder, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"http://127.0.0.1:{server.server_port}"
    text = page_of(plain, tmp_path / "r.html")[2]
    bad = (
        f'<img src="{host}/picture"><script>document.body.append("it ran")</script>'
        f'<style>main {{ background: url("{host}/style") }}</style>'
    )
    (tmp_path / "bad.html").write_text(text.replace("</main>", f"{bad}</main>"), "utf-8")
    (tmp_path / "control.html").write_text(f"<!DOCTYPE html><main>{bad}</main>", "utf-8")
    try:
        shown = {name: _show(tmp_path / f"{name}.html") for name in ("r", "bad")}
        assert asked == []
        # What a page without a policy asks for is heard.
        shown["control"] = _show(tmp_path / "control.html")
        assert set(asked) == {"/picture", "/style"}
    finally:
        server.shutdown()
        server.server_close()
    assert shown["control"].count("it ran") == 2
    assert shown["bad"].count("it ran") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown["r"]


def _show(path: Path) -> str:
    """Return a page's tree after a browser has shown it."""
    profile = path.with_suffix(".profile")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
               "--disable-background-networking", "--virtual-time-budget=2000")  # fmt: skip
    done = subprocess.run(  # noqa: S603
        [CHROMIUM, *options, f"--user-data-dir={profile}", "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout
