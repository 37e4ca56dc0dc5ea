"""Figures of objects are those that COCO's evaluator and the definition of PQ give on masks."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from scenes import UTM, apart, blobs, examples, seeds, shapes, sizes, truth, voronoi

from geoseg.analysis.classed import open_classed
from geoseg.analysis.evaluation.counts import Counts
from geoseg.analysis.evaluation.layers import numbered
from geoseg.analysis.evaluation.matching import COCO_IOUS, count, match_class, panoptic
from geoseg.analysis.evaluation.overlaps import find_overlaps
from geoseg.analysis.evaluation.zones import (
    INTERIOR,
    MEMBERS,
    OUTSIDE,
    SEAM,
    ZONES,
    Seams,
    survey,
)
from geoseg.frame import Frame, horizontal_wkt
from geoseg.grid import Grid
from geoseg.window import Window

mask = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
from pycocotools.coco import COCO  # noqa: E402
from pycocotools.cocoeval import COCOeval  # noqa: E402

PLACE = Affine(0.3, 0, 500_123.1, 0, -0.3, 5_000_321.7)
NAMES = ["a", "b"]


def scene(height, width, random):
    """Draw the masks, classes and scores of a reference and of a map that is not quite right."""
    draw = (shapes, blobs, voronoi)[random.integers(3)]
    ids, number = apart(draw(height, width, random))
    masks = [ids == k for k in range(1, number + 1)]
    cls = random.integers(0, 2, number).tolist()
    right = [(m, c, 0.0) for m, c in zip(masks, cls, strict=True) if random.random() < 0.9]
    mapped = []
    for m, c in zip(masks, cls, strict=True):
        for _ in range(int(random.choice([0, 1, 1, 1, 2]))):
            moved = np.roll(m, random.integers(-2, 3, 2), (0, 1)) & (random.random(m.shape) > 0.1)
            wrong = c if random.random() < 0.9 else 1 - c
            mapped.append((moved, wrong, float(random.choice([0.3, 0.5, 0.5, 0.9]))))
    return right, [p for p in mapped if p[0].any()]


def layer(polygons, frame):
    outlines = [truth(m.astype(np.int32), 1, frame.transform)[0] for m, _, _ in polygons]
    columns = {"class": [NAMES[c] for _, c, _ in polygons], "score": [s for *_, s in polygons]}
    return gpd.GeoDataFrame(columns, geometry=outlines, crs=UTM)


def frame_of(height, width):
    return Frame(width, height, PLACE, horizontal_wkt(UTM))


def overlapping(right, mapped, frame, folder, *, seams=None, area=None):
    ground, _ = survey(
        folder / "counted.tif",
        frame,
        seams or Seams.of(None, 1),
        area=area,
        failed=np.empty(0, object),
        raster=None,
    )
    sides = [
        numbered(open_classed(layer(polygons, frame), "X"), NAMES) for polygons in (mapped, right)
    ]
    return find_overlaps(*sides, ground, 0.3), ground


def coco(right, mapped, zones=None):
    """Return what COCO's evaluator says of masks, with zones in place of sizes."""

    def annotations(polygons, side):
        for number, (m, cls, score) in enumerate(polygons, 1):
            rle = mask.encode(np.asfortranarray(m.astype(np.uint8)))
            size = int(m.sum()) if zones is None else int(zones[side][number - 1])
            yield {"id": number, "image_id": 1, "category_id": cls + 1, "segmentation": rle,
                   "area": size, "iscrowd": 0, "score": score}  # fmt: skip

    sides = []
    with redirect_stdout(io.StringIO()):
        for side, polygons in enumerate((right, mapped)):
            data = COCO()
            height, width = polygons[0][0].shape
            data.dataset = {
                "images": [{"id": 1, "height": height, "width": width}],
                "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
                "annotations": list(annotations(polygons, side)),
            }
            data.createIndex()
            sides.append(data)
        found = COCOeval(*sides, "segm")
        if zones is not None:
            found.params.maxDets = [1, 10, 10_000]
            found.params.areaRng = [list(MEMBERS[zone]) for zone in ZONES]
            found.params.areaRngLbl = list(ZONES)
        found.evaluate()
        found.accumulate()
        if zones is None:
            found.summarize()
    return found


def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("x")


@given(sizes, seeds)
@examples(60)
def test_ap_is_that_of_coco_on_masks_in_every_zone(tmp_path_factory, size, random):
    right, mapped = scene(*size, random)
    if not right or not mapped:
        return
    frame = frame_of(*size)
    grid = Grid(frame.window, 24, 4)
    seams = Seams.of(grid, float(random.integers(1, 9)))
    found, _ = overlapping(right, mapped, frame, folder(tmp_path_factory), seams=seams)
    zones = (found.reference.zone, found.map.zone)
    oracle = coco(right, mapped, zones)
    # IoU, recall, class, zone, cap
    table = oracle.eval["precision"][:, :, :, :, 2].mean(axis=1)
    for cls in range(2):
        mine = match_class(found, cls, 0.5)
        wanted = np.where(table[:, cls] < 0, np.nan, table[:, cls]).T
        assert np.array_equal(mine.precision, wanted, equal_nan=True)
        whole = oracle.evalImgs[cls * len(ZONES)] or {"dtIds": [], "dtMatches": [[]]}
        partners = zip(whole["dtIds"], whole["dtMatches"][0], strict=True)
        assert {tuple(pair) for pair in (mine.pairs + 1).tolist()} == {p for p in partners if p[1]}


@given(sizes, seeds)
@examples(20)
def test_mean_ap_is_what_coco_prints(tmp_path_factory, size, random):
    right, mapped = scene(*size, random)
    if not right or not 0 < len(mapped) <= 100:
        return
    found, _ = overlapping(right, mapped, frame_of(*size), folder(tmp_path_factory))
    average = np.stack([match_class(found, cls, 0.5).precision[0] for cls in range(2)])
    known = average[~np.isnan(average).any(axis=1)]
    stats = coco(right, mapped).stats
    wanted = (known.mean(), known[:, 0].mean(), known[:, 5].mean()) if len(known) else (-1,) * 3
    assert stats[:3] == pytest.approx(wanted, abs=1e-12)


def panoptic_of_images(right, mapped):
    """Follow section 4 of Kirillov et al. (2019) on two images of segment numbers."""
    ious, found, wanted = [], set(range(1, mapped.max() + 1)), set(range(1, right.max() + 1))
    for a in sorted(found):
        for b in sorted(wanted):
            both = ((mapped == a) & (right == b)).sum()
            union = ((mapped == a) | (right == b)).sum()
            if both / union > 0.5:
                ious.append(both / union)
    tp = len(ious)
    return sum(ious), Counts(tp, len(found) - tp, len(wanted) - tp)


@given(sizes, seeds)
@examples(40)
def test_panoptic_quality_is_that_of_its_definition_on_pixels(tmp_path_factory, size, random):
    ids, number = apart(shapes(*size, random))
    moved, _ = apart(np.roll(ids, random.integers(-2, 3, 2), (0, 1)) * (random.random(size) > 0.02))
    if not number or not moved.any():
        return
    frame = frame_of(*size)
    sides = [[(i == k, 0, 1.0) for k in range(1, i.max() + 1)] for i in (ids, moved)]
    found, _ = overlapping(*sides, frame, folder(tmp_path_factory))
    counts, total = panoptic(found, 0)["whole"]
    wanted_total, wanted = panoptic_of_images(ids, moved)
    assert counts == wanted
    assert total == pytest.approx(wanted_total, abs=1e-6)


@given(sizes, seeds)
@examples(30)
def test_zones_add_up_to_the_whole_and_follow_outlines(tmp_path_factory, size, random):
    right, mapped = scene(*size, random)
    if not right or not mapped:
        return
    frame, reach = frame_of(*size), float(random.integers(1, 9))
    seams = Seams.of(Grid(frame.window, 24, 4), reach)
    bottom = size[0] // 2 + 0.75
    area = np.array([shapely.box(0, 0, size[1], bottom)])
    found, ground = overlapping(
        right, mapped, frame, folder(tmp_path_factory), seams=seams, area=area
    )
    pairs = match_class(found, 0, 0.4).pairs
    counts = count(found, 0, pairs)
    assert counts["whole"] == counts["seam"] + counts["interior"]
    lines = [shapely.LineString([(x, -1e4), (x, 1e4)]) for x in seams.x]
    lines += [shapely.LineString([(-1e4, y), (1e4, y)]) for y in seams.y]
    for m, zone in zip((p[0] for p in right), found.reference.zone.tolist(), strict=True):
        outline = truth(m.astype(np.int32), 1, Affine.identity())[0]
        if int(outline.centroid.y) + 0.5 > bottom:
            assert zone == OUTSIDE
            continue
        # Whole numbers, but for rounding.
        touches = any(line.distance(outline.boundary) < reach - 0.5 for line in lines)
        assert zone == (SEAM if touches else INTERIOR)
    window = Window(0, 0, size[1], size[0])
    zones = ground.read(window)
    y, x = np.mgrid[: size[0], : size[1]]
    near = np.zeros(size, bool)
    for at, along in ((seams.x, x), (seams.y, y)):
        for line in at.tolist():
            near |= (along < line + reach) & (along + 1 > line - reach)
    counted = y + 0.5 < bottom
    assert (zones == np.where(counted, np.where(near, SEAM, INTERIOR), OUTSIDE)).all()


def test_polygons_of_nowhere_match_nothing(tmp_path):
    frame = frame_of(30, 30)
    box = np.zeros((30, 30), bool)
    box[3:9, 3:9] = True
    found, _ = overlapping([(box, 0, 0.0)], [(box, 1, 0.5)], frame, tmp_path)
    a, b = (match_class(found, cls, 0.5) for cls in range(2))
    assert (a.precision[0] == 0).all()
    assert np.isnan(b.precision).all()
    assert len(a.pairs) == len(b.pairs) == 0
    assert count(found, 0, a.pairs)["whole"] == Counts(0, 0, 1)


def test_without_scores_there_is_no_average_precision_but_pairs(tmp_path):
    frame = frame_of(30, 30)
    box = np.zeros((30, 30), bool)
    box[3:9, 3:9] = True
    found, _ = overlapping([(box, 0, 0.0)], [(box, 0, np.nan)], frame, tmp_path)
    mine = match_class(found, 0, 0.5)
    assert np.isnan(mine.precision).all()
    assert mine.pairs.tolist() == [[0, 0]]


@pytest.mark.parametrize(("iou", "pairs"), [(0.5, 1), (0.5000001, 0)])
def test_an_iou_of_a_half_is_a_half_wherever_the_map_lies(tmp_path, iou, pairs):
    frame = frame_of(30, 30)
    one, other = np.zeros((2, 30, 30), bool)
    one[3:9, 3:7], other[3:9, 3:11] = True, True
    found, _ = overlapping([(one, 0, 0.0)], [(other, 0, 0.5)], frame, tmp_path)
    assert len(match_class(found, 0, iou).pairs) == pairs
    assert panoptic(found, 0)["whole"][0] == Counts(0, 1, 1)
    assert COCO_IOUS[0] == 0.5


def test_what_the_edge_of_the_grid_cuts_is_compared_inside(tmp_path):
    frame = frame_of(30, 30)
    inside = truth(np.pad(np.ones((30, 5), np.int32), ((0, 0), (0, 25))), 1, frame.transform)
    wide = shapely.transform(shapely.box(-40, 0, 5, 30), lambda xy: frame.to_crs(np.asarray(xy)))
    far = shapely.transform(wide, lambda xy: xy - 1000)
    ground, _ = survey(
        tmp_path / "c.tif", frame, Seams.of(None, 1), area=None,
        failed=np.empty(0, object), raster=None,
    )  # fmt: skip
    sides = [
        numbered(
            open_classed(gpd.GeoDataFrame({"class": ["a"] * len(g)}, geometry=g, crs=UTM), "X"),
            NAMES,
        )
        for g in ([inside[0]], [wide, far])
    ]
    found = find_overlaps(*sides, ground, 0.5)
    assert found.iou.tolist() == [1.0]
    assert len(found.reference.cls) == 1
