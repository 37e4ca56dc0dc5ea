"""The segmenter without weights: true to clicks on any picture, and right on drawn ones."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio.features
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import geoseg
from geoseg.backends import find
from geoseg.backends.compose import load
from geoseg.backends.detections import Detections, Picture
from geoseg.backends.growing import CANDIDATES, Grow
from geoseg.backends.growing.basins import basins
from geoseg.backends.growing.borders import borders
from geoseg.backends.growing.colours import lab, steepness
from geoseg.backends.growing.drawing import HOLE
from geoseg.backends.growing.seen import see
from geoseg.backends.outlining import Cutout, Interactive
from geoseg.backends.prompts import Prompt
from geoseg.errors import BackendError
from geoseg.instances import Mask
from geoseg.raster import ArrayRaster

GROW = Grow()


def points(*said: tuple[float, float, bool]) -> Prompt:
    return Prompt(
        np.array([(x, y) for x, y, _ in said], np.float32), np.array([s for *_, s in said])
    )


def full(cutout: Cutout, shape: tuple[int, int]) -> Mask:
    x0, y0, x1, y1 = cutout.box
    mask = np.zeros(shape, bool)
    mask[y0:y1, x0:x1] = cutout.mask
    return mask


def ask(picture: Picture, prompt: Prompt, shape: tuple[int, int] | None = None) -> list[Mask]:
    shape = shape or picture.shape[:2]
    return [full(c, shape) for c in GROW.ask(GROW.look(picture), prompt, shape)]


def iou(one: Mask, other: Mask) -> float:
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


def painted(mask: Mask, colour: int = 200, noise: float = 8) -> Picture:
    """Draw an object of one colour on the colour 90, with noise."""
    random = np.random.default_rng(7)
    plain = np.where(mask, colour, 90)[..., None] + random.normal(0, noise, (*mask.shape, 3))
    return np.clip(plain, 0, 255).astype(np.uint8)


def disc(x: float, y: float, radius: float, side: int = 96) -> Mask:
    rows, cols = np.mgrid[:side, :side] + 0.5
    return (cols - x) ** 2 + (rows - y) ** 2 <= radius**2


def house(side: int = 96) -> Mask:
    mask = np.zeros((side, side), bool)
    mask[30:60, 20:70] = True
    return mask


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    """Flat ones, noise, few colours, black areas; down to a pixel."""
    rows, cols = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    colours = random.integers(0, 256, (draw(st.integers(1, 6)), 3), np.uint8)
    colours[0] *= np.uint8(draw(st.booleans()))
    coarse = random.integers(0, len(colours), (1 + rows // 5, 1 + cols // 5))
    fine = draw(st.sampled_from((1, 5)))
    if fine == 1:
        coarse = random.integers(0, len(colours), (rows, cols))
    return colours[np.kron(coarse, np.ones((fine, fine), int))[:rows, :cols]]


@st.composite
def prompts(draw: st.DrawFn, shape: tuple[int, int]) -> Prompt:
    """Points in and near the picture, on its edges too, with or without a box and a mask."""
    rows, cols = shape
    x, y = st.integers(-2, 2 * cols + 2), st.integers(-2, 2 * rows + 2)
    said = draw(st.lists(st.tuples(x, y, st.booleans()), max_size=5))
    clicks = np.array([(a / 2, b / 2) for a, b, _ in said], np.float32).reshape(-1, 2)
    signs = np.array([s for *_, s in said], bool)
    box = None
    if draw(st.booleans()):
        xs, ys = sorted(draw(st.tuples(x, x))), sorted(draw(st.tuples(y, y)))
        box = np.array((xs[0], ys[0], xs[1], ys[1]), np.float32) / 2
    mask = None
    if draw(st.booleans()):
        mask = np.random.default_rng(draw(st.integers(0, 9))).random(shape) < 0.2
    return Prompt(clicks, signs, box, mask)


def pixel(x: float, y: float, picture: tuple[int, ...], shape: tuple[int, int]) -> tuple[int, int]:
    """Return the pixel of the tile that a place of the picture lies in, as drawing.py must."""
    row, col = int(y * shape[0] / picture[0]), int(x * shape[1] / picture[1])
    return min(row, shape[0] - 1), min(col, shape[1] - 1)


@given(st.data())
def test_masks_are_true_to_every_point_and_stay_in_their_box(data: st.DataObject) -> None:
    picture = data.draw(pictures())
    rows, cols = picture.shape[:2]
    prompt = data.draw(prompts((rows, cols)))
    shape = data.draw(st.sampled_from(((rows, cols), (1, 1), (2 * rows + 1, 3 * cols), (5, 7))))
    here = [
        (pixel(x, y, picture.shape, shape), bool(sign), (x, y))
        for (x, y), sign in zip(prompt.points.tolist(), prompt.positive.tolist(), strict=True)
        if 0 <= x <= cols and 0 <= y <= rows
    ]
    found = GROW.ask(GROW.look(picture), prompt, shape)

    assert len(found) <= CANDIDATES
    last = {place: sign for place, sign, _ in here}
    for cutout in found:
        assert type(cutout.quality) is float
        assert 0 <= cutout.quality <= 1
        assert cutout.mask.any()
        mask = full(cutout, shape)
        if len({place for place, *_ in here}) == len(here):
            assert all(mask[place] == sign for place, sign in last.items())
        if prompt.box is not None and shape == (rows, cols) and len(here) == 0:
            x0, y0, x1, y1 = prompt.box
            x, y = np.arange(cols), np.arange(rows)
            beyond = np.ix_((y + 1 <= y0) | (y >= max(y1, y0 + 1)), (x < cols))
            assert not mask[beyond].any()
            assert not mask[:, (x + 1 <= x0) | (x >= max(x1, x0 + 1))].any()
    if any(sign for _, sign, _ in here):
        assert found or not any(last.values())


@given(st.data())
def test_the_same_is_answered_again(data: st.DataObject) -> None:
    picture = data.draw(pictures())
    prompt = data.draw(prompts(picture.shape[:2]))
    one, other = (GROW.ask(GROW.look(picture), prompt, picture.shape[:2]) for _ in range(2))
    assert [c.box for c in one] == [c.box for c in other]
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(one, other, strict=True))
    assert [c.quality for c in one] == [c.quality for c in other]


@given(pictures())
@settings(max_examples=50)
def test_regions_of_the_tree_are_nested_and_in_one_piece(picture: Picture) -> None:
    seen = see(picture)
    tree = seen.tree
    assert sorted(np.unique(seen.leaf)) == list(range(tree.leaves))
    assert tree.size[-1] == seen.leaf.size
    for region in range(len(tree.parent)):
        mask = (seen.leaf >= tree.first[region]) & (seen.leaf < tree.stop[region])
        assert np.count_nonzero(mask) == tree.size[region]
        assert ndimage.label(mask, np.ones((3, 3)))[1] == 1
        y, x = np.nonzero(mask)
        assert tree.moments[region, :2] == pytest.approx((x.mean() + 0.5, y.mean() + 0.5))
        parent = tree.parent[region]
        if parent >= 0:
            assert region in tree.children[parent - tree.leaves]
            assert tree.level[region] <= tree.level[parent]
            assert tree.first[parent] <= tree.first[region]
            assert tree.stop[region] <= tree.stop[parent]


def test_borders_count_the_sides_that_regions_share() -> None:
    found = borders(np.array([[0, 0, 1], [2, 0, 1], [2, 2, 1]], np.int32))
    told = {(a, b): n for a, b, n in zip(found.one, found.other, found.length, strict=True)}
    assert told == {(0, 1): 2, (0, 2): 3, (1, 2): 1}


def test_colours_are_those_of_the_standard() -> None:
    primaries = np.array([[(255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 0)]], np.uint8)
    known = np.array([(100, 0, 0), (53.24, 80.09, 67.20), (87.73, -86.18, 83.18), (0, 0, 0)])
    np.testing.assert_allclose(lab(primaries)[:, 0].T, known, atol=0.05)


def test_basins_end_at_ridges() -> None:
    height = np.abs(np.array([[3, 1, 2, 5, 2, 0, 1, 9]], np.float32))
    assert basins(height).tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]
    assert basins(np.zeros((3, 4), np.float32)).max() == 0
    assert steepness(np.zeros((3, 1, 1), np.float32)).tolist() == [[0]]


OBJECTS = {
    "disc": (disc(48, 48, 20), (50, 46)),
    "small disc": (disc(30, 60, 5), (30, 60)),
    "house": (house(), (45, 45)),
    "on the corner": (disc(96, 96, 30), (96, 96)),
}


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("colour", [200, 0, 120], ids=["bright", "black", "faint"])
def test_a_click_in_an_object_gives_the_object(name: str, colour: int) -> None:
    mask, (x, y) = OBJECTS[name]
    assert iou(ask(painted(mask, colour), points((x, y, True)))[0], mask) > 0.9


@pytest.mark.parametrize("name", OBJECTS)
def test_a_loose_box_gives_the_object(name: str) -> None:
    mask, _ = OBJECTS[name]
    y, x = np.nonzero(mask)
    box = np.array((x.min() - 3, y.min() - 2, x.max() + 4, y.max() + 3), np.float32)
    assert iou(ask(painted(mask), Prompt(box=box))[0], mask) > 0.9


def test_a_rough_mask_gives_the_object() -> None:
    mask = house()
    rough = disc(45, 45, 20) & (np.arange(96) < 62)
    box = np.array((19, 29, 71, 61), np.float32)
    assert iou(ask(painted(mask), Prompt(mask=rough, box=box))[0], mask & near(rough)) > 0.85
    ragged = np.roll(mask, (2, -2), (0, 1)) & ~disc(60, 40, 4)
    assert iou(ask(painted(mask), Prompt(mask=ragged))[0], mask) > 0.95


def near(rough: Mask) -> Mask:
    return ndimage.binary_dilation(rough, iterations=8)


def two() -> tuple[Picture, Mask, Mask]:
    """Draw a house of a light and a dark half."""
    light, dark = house(), house()
    light[:, 45:], dark[:, :45] = False, False
    picture = painted(light | dark)
    picture[dark] = picture[dark] // 2 + 60
    return picture, light, dark


def test_further_clicks_add_and_take() -> None:
    picture, light, dark = two()
    one, other = (30, 45, True), (60, 45, True)
    assert iou(ask(picture, points(one, other))[0], light | dark) > 0.9
    assert iou(ask(picture, points(one, (60, 45, False)))[0], light) > 0.9
    assert iou(ask(picture, points((30, 45, False), other))[0], dark) > 0.9
    box = np.array((19, 29, 71, 61), np.float32)
    both = Prompt(np.array([(30.0, 45.0)], np.float32), np.array([False]), box)
    assert iou(ask(picture, both)[0], dark) > 0.9


def test_candidates_are_nested_and_hold_both_parts_and_the_whole() -> None:
    picture, light, dark = two()
    found = ask(picture, points((32, 45, True)))
    assert max(iou(m, light) for m in found) > 0.9
    assert max(iou(m, light | dark) for m in found) > 0.9
    for k, one in enumerate(found):
        for other in found[k + 1 :]:
            assert not (one & ~other).any() or not (other & ~one).any()


def test_small_holes_are_filled_and_large_ones_kept() -> None:
    for radius, filled in ((3, True), (9, False)):
        hole = disc(48, 48, radius)
        mask = disc(48, 48, 24) & ~hole
        assert (hole.sum() <= HOLE * mask.sum()) == filled
        found = ask(painted(mask), points((48, 32, True)))[0]
        assert bool(found[48, 48]) == filled
    mask = disc(48, 48, 24) & ~disc(48, 48, 3)
    assert not ask(painted(mask), points((48, 32, True), (48, 48, False)))[0][47:49, 47:49].any()


def test_points_of_both_signs_in_a_flat_area_part_it() -> None:
    flat = np.full((20, 40, 3), 128, np.uint8)
    found = ask(flat, points((10, 10, True), (30, 10, False)))[0]
    assert iou(found, np.broadcast_to(np.arange(40) < 20, (20, 40))) > 0.95


def test_nothing_is_found_where_nothing_positive_is_in_the_picture() -> None:
    picture = painted(house())
    for prompt in (
        points((-5, 5, True)),
        points((5, 5, False)),
        Prompt(box=np.array((200, 0, 300, 50), np.float32)),
        Prompt(mask=np.zeros((96, 96), bool)),
    ):
        assert ask(picture, prompt) == []


def test_masks_are_made_in_the_pixels_of_the_tile() -> None:
    mask = house()
    small, large = mask[::2, ::2], np.kron(mask, np.ones((2, 2), bool))
    for truth in (small, large):
        assert iou(ask(painted(mask), points((45, 45, True)), truth.shape)[0], truth) > 0.9


def test_tiles_are_cut_as_they_are_asked() -> None:
    mask = house()
    boxes = np.array([(18, 28, 72, 62), (45, 45, 45, 45), (300, 300, 310, 310)], np.float32)
    found = Detections(boxes, np.zeros(3, np.int32), np.full(3, np.nan, np.float32))
    box, point, nothing = GROW.cut([painted(mask)], [found], [mask.shape])[0]
    assert nothing is None
    assert box is not None
    assert point is not None
    assert iou(full(box, mask.shape), mask) > 0.9
    assert iou(full(point, mask.shape), mask) > 0.9


def test_it_is_a_segmenter_that_can_be_asked_again() -> None:
    assert isinstance(GROW, Interactive)
    assert find("grow").role == "segmenter"
    assert GROW.ready().identity.startswith("grow")


def test_everything_is_refused() -> None:
    with pytest.raises(BackendError, match="everything:sam2"):
        load("everything:grow")


def raster(picture: Picture) -> ArrayRaster:
    """Return a picture on 1 m pixels."""
    place = Affine(1, 0, 500_000, 0, -1, 1_000_000)
    roles = {"red": 1, "green": 2, "blue": 3}
    return ArrayRaster(np.moveaxis(picture, 2, 0), None, place, "EPSG:32633", roles)


def outlined(mask: Mask) -> shapely.Geometry:
    """Return a mask of that raster as polygons."""
    shapes = rasterio.features.shapes(
        mask.astype(np.uint8), mask, 4, raster(painted(mask)).transform
    )
    return shapely.union_all([shapely.geometry.shape(s) for s, _ in shapes])


def alike(one: shapely.Geometry, other: shapely.Geometry) -> float:
    return one.intersection(other).area / one.union(other).area


def test_segment_outlines_boxes_without_weights() -> None:
    mask = house()
    truth = outlined(mask)
    boxes = gpd.GeoDataFrame({"class": ["hut"]}, geometry=[truth.envelope], crs="EPSG:32633")
    found = geoseg.segment(raster(painted(mask)), backend="grow", boxes=boxes).features()
    assert found["class"].tolist() == ["hut"]
    assert alike(found.geometry[0], truth) > 0.9


def test_one_click_outlines_an_object_over_four_tiles(tmp_path: Path) -> None:
    mask = disc(128, 120, 80, 256)
    truth = outlined(mask)
    with geoseg.Session(
        raster(painted(mask)), "grow", out=tmp_path / "a.gpkg", tile=168, overlap=40
    ) as session:
        found = session.click(500_060, 999_890, crs="EPSG:32633")
    assert found is not None
    assert found.n_tiles == 4
    assert alike(found.geometry, truth) > 0.95
