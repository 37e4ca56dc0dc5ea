"""A picture holds what a reader of maps looks for, and each class in its colour."""

import dataclasses

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from affine import Affine
from scenes import UTM, ByIdentity, raster

import geoseg
from geoseg import LandClass, Legend
from geoseg.analysis import plot
from geoseg.errors import MapError
from geoseg.frame import Frame, horizontal_wkt
from geoseg.plotting import _to_north

mpl.use("agg")

IDS = np.zeros((60, 90), np.int32)
IDS[5:30, 10:40], IDS[40:55, 60:85] = 1, 2
NAMES = ("<b>$x_1$</b>", "_hidden")
LEGEND = Legend(
    classes=(
        LandClass(name=NAMES[0], kind="object", colour="#ff0000"),
        LandClass(name=NAMES[1], kind="object", colour="#0000ff"),
    )
)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def made(tmp_path=None, **options):
    backend = options.pop("backend", ByIdentity((0, 1)))
    out = None if tmp_path is None else tmp_path / "m.gpkg"
    scene = dataclasses.replace(raster(IDS), **options)
    return geoseg.segment(scene, LEGEND, backend=backend, out=out, tile=40, overlap=8)


def pixels(ax):
    ax.figure.canvas.draw()
    return np.asarray(ax.figure.canvas.buffer_rgba())[..., :3].astype(int)


def colour_at(ax, x, y):
    image = pixels(ax)
    col, row = ax.transData.transform((x, y))
    return image[image.shape[0] - 1 - int(row), int(col)]


def test_classes_stand_in_the_legend_as_they_are_called_and_in_their_place():
    run = made(crs=UTM)
    ax = run.plot(raster=False)
    said = [text.get_text().strip("\u200b") for text in ax.get_legend().get_texts()]
    assert said == [NAMES[0].replace("$", r"\$"), NAMES[1]]
    for feature in run.features().itertuples():
        middle = feature.geometry.representative_point()
        red, green, blue = colour_at(ax, middle.x, middle.y)
        assert green < 200
        assert (red > blue) == (feature[2] == NAMES[0])


def test_scale_and_north_are_drawn_where_there_is_a_crs():
    texts = [text.get_text() for text in made(crs=UTM).plot().texts]
    assert "N" in texts
    assert any(text.endswith("m") for text in texts)
    assert not made(crs=None, transform=Affine.identity()).plot().texts


@pytest.mark.parametrize(
    ("crs", "transform", "north"),
    [
        ("EPSG:32621", Affine(10, 0, 500_000, 0, -10, 9_000_000), (0, 1)),
        ("EPSG:4326", Affine(0.1, 0, 10, 0, -0.1, 60), (0, 1)),
        # On the meridian 90 E of the polar stereographic of 45 W.
        ("EPSG:3413", Affine(100, 0, 700_000, 0, -100, 700_000), (-(0.5**0.5), -(0.5**0.5))),
    ],
)
def test_north_is_where_it_is(crs, transform, north):
    frame = Frame(10, 10, transform, horizontal_wkt(crs))
    assert _to_north(frame) == pytest.approx(north, abs=2e-3)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:4326", Affine(0.001, 0, 10, 0, -0.001, 60)),
        (UTM, Affine(1, 0.3, 500_000, 0.3, -1, 9_000_000)),
        (None, Affine.identity()),
    ],
)
def test_the_raster_lies_beneath_its_polygons(crs, transform):
    run = made(crs=crs, transform=transform)
    ax = run.plot()
    image = ax.images[0]
    to_picture = image.get_transform() - ax.transData
    corners = to_picture.transform([(0, 0), (90, 60)])
    assert corners == pytest.approx(run._made_of[0].frame.to_crs(np.array([(0, 0), (90, 60)])))
    if crs is not None and transform.b == 0:
        assert ax.get_aspect() == pytest.approx(1 / np.cos(np.radians(59.97)), rel=1e-3)


def test_failed_tiles_are_hatched(tmp_path):
    class Failing(ByIdentity):
        def answer(self, tile):
            if tile.window.x0 == 0:
                raise RuntimeError("out of luck")
            return super().answer(tile)

    ax = made(tmp_path, crs=UTM, backend=Failing((0, 1))).plot()
    assert "failed tiles" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_map_on_the_disk_looks_like_its_run(tmp_path):
    run = made(tmp_path, crs=UTM)
    one = pixels(run.plot(raster=False))
    assert (pixels(plot(run.path, raster=False)) == one).all()
    with pytest.raises(MapError, match="raster in memory; pass --raster"):
        plot(run.path)


def test_a_map_without_polygons_can_be_looked_at():
    empty = raster(np.zeros((30, 30), np.int32), crs=UTM)
    run = geoseg.segment(empty, LEGEND, backend=ByIdentity(()), tile=40, overlap=8)
    assert run.plot().get_legend() is None
