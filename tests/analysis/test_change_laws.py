"""Transitions are those of a crosstab, whatever the tiling; what was not seen is never change."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from scenes import GEOREF, UTM, canonical, classes_image, examples, seeds, truth

from geoseg import ArrayRaster, segment
from geoseg.analysis.changes.aligned import UNSEEN, Date, align, common_classes
from geoseg.analysis.changes.matrix import Matrix, transition_matrix
from geoseg.analysis.changes.polygons import BothDates, backend_of, legend_of, name_of
from geoseg.analysis.changes.seen import Seen, beyond_ha, common_ground, pixel_of, valid_at
from geoseg.analysis.classed import open_classed
from geoseg.analysis.pixelarea import pixels_m2
from geoseg.frame import Frame, horizontal_wkt
from geoseg.window import Window

NAMES = ("forest", "sand", "water")
NOWHERE = np.zeros(0, object)


def layer_of(image, transform=GEOREF, crs=UTM):
    """Return a layer of the classes 1, 2, 3 of an image."""
    shapes = truth(image, len(NAMES), transform)
    here = ~shapely.is_empty(shapes)
    names = np.array(NAMES, object)[here]
    return open_classed(gpd.GeoDataFrame({"class": names}, geometry=shapes[here], crs=crs), "MAP")


def frame_of(image, transform=GEOREF, crs=UTM):
    height, width = image.shape
    return Frame(width, height, transform, horizontal_wkt(crs))


def aligned_of(images, valids, folder, grid=None, area=None):
    layers = [layer_of(image) for image in images]
    dates = [
        Date(layer, Seen(None if v is None else raster_of(v), None, NOWHERE))
        for layer, v in zip(layers, valids, strict=True)
    ]
    classes = common_classes(layers)
    return align(dates, classes, grid or frame_of(images[0]), folder, area)


def raster_of(valid):
    return ArrayRaster(np.zeros((1, *valid.shape), np.uint8), valid, GEOREF, UTM)


def two(height, width, random):
    images = [classes_image(height, width, random, 3) for _ in range(2)]
    # Both dates have every class, so that names are known.
    for image in images:
        image[0, :3] = 1, 2, 3
    return images, [random.random((height, width)) < 0.8 for _ in range(2)]


@examples(25)
@given(size=st.tuples(st.integers(4, 60), st.integers(4, 60)), random=seeds)
def test_the_matrix_is_the_crosstab(size, random, tmp_path):
    images, valids = two(*size, random)
    found = transition_matrix(aligned_of(images, valids, tmp_path))
    seen = valids[0] & valids[1]
    wanted = np.zeros((4, 4), np.int64)
    np.add.at(wanted, (images[0][seen], images[1][seen]), 1)
    assert found.names == ("unmapped", *NAMES)
    assert (found.px == wanted).all()
    height, width = size
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    frame = frame_of(images[0])
    area = frame.pixels_m2(np.column_stack((x.ravel(), y.ravel()))).reshape(size) / 1e4
    ha = np.zeros((4, 4))
    np.add.at(ha, (images[0][seen], images[1][seen]), area[seen])
    np.testing.assert_allclose(found.ha, ha, rtol=1e-6)
    np.testing.assert_allclose(found.not_compared_ha, area[~seen].sum(), rtol=1e-6)
    np.testing.assert_allclose(found.table().loc["total", "total"], area[seen].sum(), rtol=1e-6)


@examples(4)
@given(random=seeds, tile=st.integers(16, 60), unchanged=st.booleans())
def test_polygons_are_the_transitions_in_any_tiling(random, tile, unchanged, tmp_path):
    images, valids = two(50, 64, random)
    aligned = aligned_of(images, valids, tmp_path)
    matrix = transition_matrix(aligned)
    wanted = matrix.occurring(unchanged=unchanged)
    drawn = []
    for side in (tile, 64):
        run = segment(
            BothDates(aligned.frame, *aligned.dates, {"shape": [2, 50, 64]}),
            legend_of(aligned, wanted), backend=backend_of(aligned, wanted), tile=side, overlap=0,
            out=tmp_path / "map.parquet", overwrite=True,
        )  # fmt: skip
        found = run.features()
        drawn.append({(canonical(g), c) for g, c in
                      zip(found.geometry, found["class"], strict=True)})  # fmt: skip
    assert drawn[0] == drawn[1]
    ha = found.groupby("class")["area_ha"].sum()
    assert set(ha.index) == {name_of(aligned, t) for t in wanted}
    for transition in wanted:
        np.testing.assert_allclose(ha[name_of(aligned, transition)], matrix.ha[transition], 1e-6)


def test_doubt_is_change_from_and_to_nothing():
    def of(px):
        return Matrix(("unmapped", "a", "b"), np.zeros((3, 3)), np.array(px), 0.0)

    assert not of([[0, 0, 0], [0, 9, 5], [0, 5, 9]]).is_doubtful
    assert of([[9, 4, 3], [4, 9, 5], [0, 5, 9]]).is_doubtful
    # With one class there is nothing else to become.
    assert not of([[9, 4, 0], [4, 9, 0], [0, 0, 0]]).is_doubtful


def test_ground_outside_of_what_was_looked_at_is_no_change(tmp_path):
    image = np.ones((20, 30), np.int32)
    image[0, :3] = 1, 2, 3
    layers = [layer_of(image), layer_of(image)]
    looked = np.array([shapely.box(0, 0, 30, 8)], object)
    failed = np.array([shapely.box(10, 0, 14, 20)], object)
    seen = [Seen(None, looked, NOWHERE), Seen(None, None, failed)]
    dates = [Date(layer, s) for layer, s in zip(layers, seen, strict=True)]
    aligned = align(dates, common_classes(layers), frame_of(image), tmp_path)
    codes = [burnt.read(Window(0, 0, 30, 20)) for burnt in aligned.dates]
    assert ((codes[0] == UNSEEN).nonzero()[0] >= 8).all()
    assert (codes[0] == UNSEEN).sum() == 12 * 30
    assert (codes[1][:, 10:14] == UNSEEN).all()
    assert (codes[1] == UNSEEN).sum() == 4 * 20
    assert sorted(p.name for p in tmp_path.iterdir()) == ["date0.tif", "date1.tif"]


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        (UTM, GEOREF),
        (UTM, Affine(300, 20, 500_000, 20, -300, 5_000_000)),
        ("EPSG:3857", Affine(30, 0, 1_000_000, 0, -30, 11_000_000)),
        ("EPSG:4326", Affine(0.002, 0, 10, 0, -0.002, 60)),
        ("EPSG:4326", Affine(0.0, 0.002, 10, 0.002, 0, 50)),
        ("EPSG:3035", Affine(5000, 0, 4_000_000, 0, -5000, 3_000_000)),
    ],
)
def test_the_ground_of_pixels_is_exact_to_a_millionth(crs, transform):
    frame = Frame(700, 300, transform, horizontal_wkt(crs))
    for window in (Window(0, 0, 700, 300), Window(123, 45, 380, 299), Window(699, 299, 700, 300)):
        x, y = np.meshgrid(np.arange(window.x0, window.x1) + 0.5,
                           np.arange(window.y0, window.y1) + 0.5)  # fmt: skip
        exact = frame.pixels_m2(np.column_stack((x.ravel(), y.ravel()))).reshape(window.shape)
        found = np.broadcast_to(pixels_m2(frame, window), window.shape)
        np.testing.assert_allclose(found, exact, rtol=1e-6)
    whole = np.broadcast_to(pixels_m2(frame, frame.window), (300, 700))
    part = Window(11, 22, 333, 244)
    rows, cols = part.slices_in(frame.window)
    assert (np.broadcast_to(pixels_m2(frame, part), part.shape) == whole[rows, cols]).all()


def test_validity_is_that_of_the_pixel_under_the_centre():
    random = np.random.default_rng(3)
    valid = random.random((40, 50)) < 0.5
    raster = raster_of(valid)
    # A finer grid, half a pixel off, that reaches beyond the raster.
    grid = Frame(130, 90, Affine(5, 0, 499_987, 0, -5, 5_000_013), horizontal_wkt(UTM))
    good = valid_at(raster, grid, grid.window)
    x, y = pixel_of(raster.frame, grid, grid.window)
    inside = (x >= 0) & (x < 50) & (y >= 0) & (y < 40)
    assert 0 < inside.sum() < inside.size
    assert (good[inside] == valid[y[inside], x[inside]]).all()
    assert not good[~inside].any()
    part = Window(17, 5, 101, 64)
    assert (valid_at(raster, grid, part) == good[5:64, 17:101]).all()


def test_ground_that_the_later_grid_does_not_reach_is_measured():
    made = Frame(50, 40, GEOREF, horizontal_wkt(UTM))
    whole = made.measure(np.array([shapely.box(0, 0, 50, 40)]))[0][0] / 1e4
    half = made.measure(np.array([shapely.box(0, 0, 20, 40)]))[0][0] / 1e4
    east = Frame(90, 90, Affine(10, 0, 500_200, 0, -10, 5_000_100), horizontal_wkt(UTM))
    assert beyond_ha(made, east) == pytest.approx(half)
    assert common_ground(made, east) == Window(0, 10, 30, 50)
    far = Frame(90, 90, Affine(10, 0, 600_200, 0, -10, 5_000_100), horizontal_wkt(UTM))
    assert beyond_ha(made, far) == pytest.approx(whole)
    assert common_ground(made, far).area == 0
    around = Frame(90, 90, Affine(0.0002, 0, 14.99, 0, -0.0002, 45.16), horizontal_wkt("EPSG:4326"))
    assert beyond_ha(made, around) == beyond_ha(made, made) == 0


def test_a_much_finer_raster_is_read_in_small_parts(monkeypatch):
    valid = np.random.default_rng(4).random((90, 70)) < 0.5
    raster = raster_of(valid)
    grid = Frame(7, 9, Affine(100, 0, 500_000, 0, -100, 5_000_000), horizontal_wkt(UTM))
    whole = valid_at(raster, grid, grid.window)
    assert (whole == valid[5::10, 5::10]).all()
    monkeypatch.setattr("geoseg.analysis.changes.seen.BLOCK_PX", 70)
    assert (valid_at(raster, grid, grid.window) == whole).all()


def test_a_raster_in_another_crs_is_found_on_the_ground(tmp_path):
    random = np.random.default_rng(8)
    image = classes_image(60, 70, random, 3)
    image[0, :3] = 1, 2, 3
    layers = [layer_of(image), layer_of(image)]
    side = 10 / 111_320
    grid = Frame(120, 90, Affine(side, 0, 14.9996, 0, -side, 45.1535), horizontal_wkt("EPSG:4326"))
    assert common_ground(frame_of(image), grid).area > 1000
    seen = Seen(raster_of(np.ones(image.shape, bool)), None, NOWHERE)
    aligned = align([Date(layer, seen) for layer in layers], common_classes(layers), grid, tmp_path)
    codes = aligned.dates[0].read(grid.window)
    x, y = pixel_of(frame_of(image), grid, grid.window)
    inside = (x >= 0) & (x < 70) & (y >= 0) & (y < 60)
    assert ((codes != UNSEEN) == inside).all()
    # Centres that fall on an edge to within 1/256 pixel may belong to either side.
    assert (codes[inside] != image[y[inside], x[inside]]).mean() < 0.01
