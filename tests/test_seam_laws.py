"""The promise of geoseg: the map does not depend on how the raster was cut.

With a model that is perfect inside every tile, the public API gives the untiled truth. With one
that is not, nothing is drawn twice.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import rasterio.features
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st
from scenes import (
    GEOREF,
    ByComponent,
    ByIdentity,
    Cut,
    Noisy,
    apart,
    blobs,
    canonical,
    classes_image,
    cuts,
    examples,
    instances,
    legend,
    raster,
    seeds,
    shapes,
    sizes,
    truth,
    voronoi,
)
from scipy import ndimage

import geoseg

OBJECTS = legend("object", "object")
LAYERS = st.sampled_from([voronoi, blobs, shapes])


def drawn(features) -> list[tuple[bytes, str]]:
    return sorted(
        (canonical(g), c) for g, c in zip(features.geometry, features["class"], strict=True)
    )


def expected(ids: np.ndarray, classes: tuple[int, ...]) -> list[tuple[bytes, str]]:
    outlines = truth(ids, len(classes))
    return sorted(
        (canonical(g), f"c{c}") for g, c in zip(outlines, classes, strict=True) if not g.is_empty
    )


def check_facts(features, score: float = 0.9) -> None:
    """Check what a perfect model's features say of themselves."""
    assert features["id"].tolist() == list(range(1, len(features) + 1))
    assert (features["score"] == score).all()
    assert (features["seam_iou"].dropna() == 1).all()


def objects(size, style, random, numbers: int = 2) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return connected objects, and a random class for each."""
    ids, count = apart(style(*size, random))
    return ids, tuple(random.integers(0, numbers, max(count, 1)).tolist())


# ---------------------------------------------------------------------------------- objects


@examples(75)
@given(sizes, LAYERS, cuts(), seeds)
def test_objects_equal_the_untiled_truth(size, style, cut, random):
    ids, classes = objects(size, style, random)
    model = ByIdentity(classes, cut.context, shuffle=int(random.integers(100)))
    run = geoseg.segment(raster(ids), OBJECTS, backend=model, **cut.settings)
    found = run.features()
    assert drawn(found) == expected(ids, classes)
    assert run.complete
    assert run.broken_links == 0
    check_facts(found)


def check_regions(kind, image, cut, count):
    """Every class gives the connected regions of the whole raster, seen tile by tile."""
    model = ByComponent(tuple(range(count)), cut.context, cover=kind == "cover")
    run = geoseg.segment(raster(image), legend(*[kind] * count), backend=model, **cut.settings)
    want = []
    for cls in range(count):
        labels, n = ndimage.label(image == cls + 1)
        want += expected(labels, (cls,) * n)
    assert drawn(run.features()) == sorted(want)
    check_facts(run.features())


@examples(30)
@given(sizes, cuts(), seeds, st.integers(1, 3))
def test_connected_regions_seen_as_objects_equal_the_untiled_truth(size, cut, random, count):
    # Here a tile does not know that two of its parts meet outside of it.
    check_regions("object", classes_image(*size, random, count), cut, count)


@examples(25)
@given(sizes, LAYERS, LAYERS, cuts(), seeds)
def test_objects_of_different_classes_may_lie_on_each_other(size, first, second, cut, random):
    below, n = apart(first(*size, random))
    above, m = apart(second(*size, random))
    above[above > 0] += n
    classes = (0,) * n + (1,) * m
    assume(classes)
    model = ByIdentity(classes, shuffle=int(random.integers(100)))
    run = geoseg.segment(raster(below, above), OBJECTS, backend=model, **cut.settings)
    want = expected(below, (0,) * n) + expected(above, classes)
    assert drawn(run.features()) == sorted(want)
    check_facts(run.features())


@examples(25)
@given(sizes, LAYERS, cuts(), seeds)
def test_a_feature_knows_how_many_tiles_saw_it(size, style, cut, random):
    ids, classes = objects(size, style, random)
    model = ByIdentity(classes, cut.context)
    run = geoseg.segment(raster(ids), OBJECTS, backend=model, **cut.settings)
    found = run.features()
    views = [set(np.unique(ids[place]).tolist()) for place in cut.seen(ids.shape)]
    numbers = by_outline(found, ids)
    assert found["n_tiles"].tolist() == [sum(n in view for view in views) for n in numbers]
    # Agreement is measured exactly where there was somebody to agree with.
    assert (found["seam_iou"].notna() == (found["n_tiles"] > 1)).all()


@examples(20)
@given(cuts(), seeds)
def test_two_blobs_of_one_object_stay_one_if_a_tile_can_see_both(cut, random):
    reach = 2 * ((cut.overlap + 1) // 2 - cut.context)
    ids = np.zeros((80, 90), np.int32)
    y, x = random.integers(0, 40, 2)
    h, w = random.integers(1, 20, 2)
    ids[y : y + h, x : x + w] = 1
    gap_y, gap_x = random.integers(0, reach, 2)
    ids[y + h + gap_y : y + h + gap_y + 5, x + w + gap_x : x + w + gap_x + 9] = 1
    ids[:1] = 2
    model = ByIdentity((0, 0), cut.context)
    run = geoseg.segment(raster(ids), legend("object"), backend=model, **cut.settings)
    assert drawn(run.features()) == expected(ids, (0, 0))


def ring(thick: int) -> np.ndarray:
    ids = np.zeros((150, 150), np.int32)
    ids[5:145, 5:145] = 1
    ids[5 + thick : 145 - thick, 5 + thick : 145 - thick] = 0
    return ids


def u_shape() -> np.ndarray:
    ids = ring(10)
    ids[5:135, 15:135] = 0
    return ids


def nested() -> np.ndarray:
    ids = ring(30)
    ids[40:110, 40:110] = 2
    ids[60:90, 60:90] = 0
    ids[70:80, 70:80] = 3
    return ids


@pytest.mark.parametrize("ids", [ring(1), ring(10), u_shape(), u_shape().T, nested()])
@pytest.mark.parametrize("cut", [Cut(48, 8, 2), Cut(40, 30, 5), Cut(64, 2, 0), Cut(149, 20, 0)])
def test_objects_larger_than_a_tile_are_one(ids, cut):
    classes = (0, 0, 1)
    model = ByIdentity(classes, cut.context)
    run = geoseg.segment(raster(ids), OBJECTS, backend=model, **cut.settings)
    assert drawn(run.features()) == expected(ids, classes)
    check_facts(run.features())


def test_seams_are_right_by_another_reckoning():
    # The truth of the other laws is drawn with geoseg.polygons; this one by GDAL.
    ids, count = apart(voronoi(80, 90, np.random.default_rng(7)))
    model = ByIdentity((0,) * count)
    run = geoseg.segment(raster(ids), legend("object"), backend=model, tile=32, overlap=8)
    polygons = rasterio.features.shapes(ids, ids > 0, connectivity=4, transform=GEOREF)
    want = {int(number): shapely.geometry.shape(outline) for outline, number in polygons}
    found = run.features()
    assert len(found) == len(want) == count
    for geometry in found.geometry:
        inside = geometry.representative_point()
        assert sum(g.equals(geometry) for g in want.values() if g.contains(inside)) == 1


# ----------------------------------------------------------------------------------- covers


@examples(40)
@given(sizes, cuts(), seeds, st.integers(1, 3))
def test_covers_equal_the_labels_of_the_whole_raster(size, cut, random, count):
    check_regions("cover", classes_image(*size, random, count), cut, count)


@examples(20)
@given(sizes, cuts(), seeds)
def test_a_cover_knows_how_many_cores_it_lies_in(size, cut, random):
    image = (blobs(*size, random) > 0).astype(np.int32)
    labels, _ = ndimage.label(image)
    model = ByComponent((0,), cut.context, cover=True)
    run = geoseg.segment(raster(image), legend("cover"), backend=model, **cut.settings)
    views = [set(np.unique(labels[p]).tolist()) for p in cut.seen(image.shape, cores=True)]
    numbers = by_outline(run.features(), labels)
    assert run.features()["n_tiles"].tolist() == [sum(n in v for v in views) for n in numbers]


@examples(15)
@given(sizes, LAYERS, LAYERS, cuts(), seeds)
def test_exclusive_covers_partition_what_any_of_them_claims(size, first, second, cut, random):
    layers = [(style(*size, random) > 0).astype(np.int32) for style in (first, second)]
    layers[1] *= 2
    model = ByComponent((0, 1), cut.context, cover=True)
    run = geoseg.segment(raster(*layers), legend("cover", "cover"), backend=model, **cut.settings)
    found = run.features()
    # Equal evidence: the first class of the legend wins.
    won, left = layers[0] > 0, (layers[1] > 0) & (layers[0] == 0)
    want = []
    for cls, mask in enumerate((won, left)):
        labels, n = ndimage.label(mask)
        want += expected(labels, (cls,) * n)
    assert drawn(found) == sorted(want)
    assert found.area.sum() == ((won | left).sum()) * 100


def test_covers_that_are_not_exclusive_may_lie_on_each_other():
    layers = [np.ones((40, 50), np.int32), np.full((40, 50), 2, np.int32)]
    model = ByComponent((0, 1), cover=True)
    for exclusive, want in ((True, ["c0"]), (False, ["c0", "c1"])):
        asked = legend("cover", "cover", exclusive=exclusive)
        run = geoseg.segment(raster(*layers), asked, backend=model, tile=16, overlap=4)
        assert run.features()["class"].tolist() == want


@examples(10)
@given(sizes, cuts(), seeds)
def test_objects_and_covers_do_not_disturb_each_other(size, cut, random):
    # A cover below, objects above: a boat may lie on water.
    ids, count = apart(shapes(*size, random))
    image = (blobs(*size, random) > 0).astype(np.int32)
    below, n = ndimage.label(image)
    model = Both(count, cut.context)
    run = geoseg.segment(
        raster(image, ids), legend("cover", "object"), backend=model, **cut.settings
    )
    want = expected(below, (0,) * n) + expected(ids, (1,) * count)
    assert drawn(run.features()) == sorted(want)


class Both(ByIdentity):
    """A cover in band 1, objects in band 2."""

    def __init__(self, count, context):
        super().__init__((1,) * max(count, 1), context)

    def answer(self, tile):
        whole = tuple(slice(0, n) for n in tile.data.shape[1:])
        found = self.parts(self.spoil(tile.data[1], tile), tile)
        return instances([*found, (whole, tile.data[0] > 0, 0)])


# ------------------------------------------------------------------------------------ order


@examples(8)
@given(seeds, cuts(), cuts())
def test_ids_are_the_same_in_any_tiling_and_count_from_the_top(random, one, other):
    ids, classes = objects((70, 80), voronoi, random)
    maps = []
    for cut in (one, other):
        model = ByIdentity(classes, cut.context, shuffle=int(random.integers(100)))
        run = geoseg.segment(raster(ids), OBJECTS, backend=model, **cut.settings)
        columns = ["id", "class", "score", "area_ha", "perimeter_m"]
        found = run.features()
        maps.append((found[columns], found.geometry.map(canonical).tolist()))
        first = [min(map(tuple, np.argwhere(ids == n).tolist())) for n in by_outline(found, ids)]
        assert first == sorted(first)
    assert maps[0][0].equals(maps[1][0])
    assert maps[0][1] == maps[1][1]


def by_outline(found, ids: np.ndarray) -> list[int]:
    """Return the object number of each feature."""
    number = {canonical(g): n for n, g in enumerate(truth(ids, int(ids.max())), 1)}
    return [number[canonical(g)] for g in found.geometry]


def test_processes_write_the_same_bytes_as_one(tmp_path: Path):
    ids, classes = objects((90, 100), blobs, np.random.default_rng(3))
    for workers in (1, 2):
        geoseg.segment(
            raster(ids),
            OBJECTS,
            backend=ByIdentity(classes, 2),
            tile=40,
            overlap=12,
            workers=workers,
            out=tmp_path / f"{workers}.parquet",
        )
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()


def test_the_order_of_tiles_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from geoseg.store import Store

    ids, classes = objects((90, 100), voronoi, np.random.default_rng(4))
    in_order = Store.to_do
    orders = (
        lambda found: found,
        lambda found: found[::-1],
        lambda found: found[::2] + found[1::2],
    )
    for name, order in enumerate(orders):
        monkeypatch.setattr(Store, "to_do", lambda self, o=order: o(in_order(self)))
        geoseg.segment(
            raster(ids),
            OBJECTS,
            backend=ByIdentity(classes),
            tile=32,
            overlap=8,
            out=tmp_path / f"{name}.parquet",
        )
    assert len({p.read_bytes() for p in tmp_path.iterdir()}) == 1


# ------------------------------------------------------------------------------------ noise


def check_nothing_doubled(found) -> None:
    for _, group in found.groupby("class"):
        shared = 0.0
        for a, b in itertools.combinations(group.geometry, 2):
            shared += a.intersection(b).area if a.intersects(b) else 0.0
        assert shared == 0
    assert found.geometry.is_valid.all()
    assert not found.geometry.is_empty.any()
    assert found["score"].between(0, 1).all()
    assert found["seam_iou"].dropna().between(0, 1).all()
    assert found["id"].is_unique


def noisy_objects(cut: Cut, random: np.random.Generator, style):
    ids, classes = objects((70, 80), style, random)
    ids[ids > 40] = 0
    model = Noisy(classes[:40], seed=int(random.integers(1000)))
    return geoseg.segment(raster(ids), OBJECTS, backend=model, **cut.settings).features()


@examples(40)
@given(cuts(halves=True), seeds, LAYERS)
def test_a_noisy_model_draws_no_object_on_another(cut, random, style):
    check_nothing_doubled(noisy_objects(cut, random, style))


@pytest.mark.parametrize("seed", range(3))
def test_nor_where_more_than_neighbours_overlap(seed):
    cut = Cut(40, 30, 0)
    check_nothing_doubled(noisy_objects(cut, np.random.default_rng(seed), blobs))


@examples(20)
@given(cuts(), seeds, LAYERS)
def test_a_noisy_model_draws_no_cover_on_another(cut, random, style):
    ids, classes = objects((70, 80), style, random)
    ids[ids > 40] = 0
    model = Noisy(classes[:40], seed=int(random.integers(1000)), cover=True)
    run = geoseg.segment(raster(ids), legend("cover", "cover"), backend=model, **cut.settings)
    found = run.features()
    check_nothing_doubled(found)
    # Exclusive: not even one class on another.
    assert shapely.union_all(found.geometry.to_numpy()).area == found.area.sum()


# ----------------------------------------------------------------------------------- nodata


class Watching(ByIdentity):
    """Remembers which tiles it was shown."""

    def __init__(self, classes, context=0):
        super().__init__(classes, context)
        object.__setattr__(self, "shown", [])

    def answer(self, tile):
        self.shown.append(tile.window)
        assert tile.valid.any()
        return super().answer(tile)


@examples(20)
@given(sizes, LAYERS, cuts(), seeds)
def test_no_polygon_covers_nodata(size, style, cut, random):
    ids, classes = objects(size, style, random)
    valid = blobs(*size, random) > 0
    left, _ = apart(np.where(valid, ids, 0))
    model = Watching(classes, cut.context)
    run = geoseg.segment(raster(ids, valid=valid), OBJECTS, backend=model, **cut.settings)
    assert run.complete
    found = run.features()
    mask = rasterio.features.rasterize(
        [*found.geometry, shapely.Point(-1e9, 0)], valid.shape, transform=GEOREF
    )
    assert (mask > 0).tolist() == (left > 0).tolist()
    assert found.area.sum() == (left > 0).sum() * 100


def test_tiles_without_a_valid_pixel_are_not_shown_to_the_backend():
    ids = np.ones((100, 100), np.int32)
    valid = np.zeros((100, 100), bool)
    valid[:20, :20] = True
    model = Watching((0,))
    run = geoseg.segment(
        raster(ids, valid=valid), legend("object"), backend=model, tile=30, overlap=4
    )
    assert run.tiles == 16
    assert len(model.shown) == 1
    assert run.features().area.tolist() == [400 * 100]


def test_a_raster_of_nodata_gives_an_empty_map():
    ids = np.ones((40, 40), np.int32)
    run = geoseg.segment(
        raster(ids, valid=np.zeros((40, 40), bool)),
        legend("object"),
        backend=ByIdentity((0,)),
        tile=16,
        overlap=4,
    )
    assert run.complete
    assert run.count == 0
    assert run.features().empty
    assert run.features().crs is not None
