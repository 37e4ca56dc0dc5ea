"""What is too small is merged, dropped or filled as on the whole raster, however it is cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from scenes import (
    GEOREF,
    ByComponent,
    ByIdentity,
    Noisy,
    apart,
    areas,
    blobs,
    canonical,
    classes_image,
    cuts,
    examples,
    legend,
    raster,
    seeds,
    shapes,
    sizes,
    truth,
    voronoi,
)
from sieving import filled, numbered, ripples, united

import geoseg
from geoseg import ArrayRaster
from geoseg.errors import ConfigError
from geoseg.window import Window


def rings(height: int, width: int, random: np.random.Generator) -> np.ndarray:
    return ripples(height, width, random, 3)


LAYERS = st.sampled_from([voronoi, blobs, shapes])
BITS = st.sampled_from([voronoi, blobs, shapes, rings])
IMAGES = st.sampled_from([classes_image, ripples])
LEAST = st.tuples(
    st.one_of(st.integers(0, 4), st.integers(0, 60)),
    st.one_of(st.integers(0, 60), st.integers(61, 900)),
)
"""Least area of a polygon, and of a hole."""

COLUMNS = ["id", "class", "score", "area_ha", "perimeter_m"]


def drawn(found) -> list[tuple[bytes, str]]:
    return [(canonical(g), c) for g, c in zip(found.geometry, found["class"], strict=True)]


def expected(ids: np.ndarray, cls: np.ndarray, least_hole: float) -> list[tuple[bytes, str]]:
    """Return what is drawn of final numbers, with small holes filled, in no order."""
    return sorted(
        (canonical(outline(filled(ids == i, ids > 0, least_hole))), f"c{cls[i]}")
        for i in np.unique(ids[ids > 0]).tolist()
    )


def told(before: np.ndarray, after: np.ndarray, least: tuple[int, int]) -> dict[str, int]:
    """Return what is said to have become of small patches, by their numbers, and of holes."""
    size_px = np.bincount(before.ravel())
    small = [i for i in np.unique(before[before > 0]).tolist() if size_px[i] < least[0]]
    ends = [int(after[before == i][0]) for i in small]
    filled_ = 0
    for i in np.unique(after[after > 0]).tolist():
        solid = filled(after == i, after > 0, least[1])
        filled_ += holes(after == i) - holes(solid)
    return {
        "merged": sum(end not in (i, 0) for i, end in zip(small, ends, strict=True)),
        "dropped": ends.count(0),
        "filled": filled_,
    }


def holes(mask: np.ndarray) -> int:
    return sum(len(part.interiors) for part in outline(mask).geoms)


def px(least: tuple[int, int]) -> dict[str, str]:
    return {"min_area": f"{least[0]}px", "min_hole": f"{least[1]}px"}


def outline(mask: np.ndarray) -> shapely.MultiPolygon:
    return truth(mask.astype(np.int32), 1)[0]


def counts_from_the_top(found) -> bool:
    """Tell whether features are numbered by first pixel in row-major order."""
    xy = [shapely.get_coordinates(g) for g in found.geometry]
    first = [min((-y, x) for x, y in points.tolist()) for points in xy]
    return found["id"].tolist() == list(range(1, len(found) + 1)) and first == sorted(first)


# ----------------------------------------------------------------------------------- covers


@examples(40)
@given(sizes, IMAGES, cuts(), seeds, st.integers(1, 4), LEAST)
def test_small_covers_go_to_the_neighbour_with_most_border(size, style, cut, random, count, least):
    image = style(*size, random, count)
    model = ByComponent(tuple(range(count)), cut.context, cover=True)
    run = geoseg.segment(
        raster(image),
        legend(*["cover"] * count),
        backend=model,
        **px(least),
        **cut.settings,
    )
    ids, cls = numbered(image)
    found, after = run.features(), united(ids, cls, least[0])
    assert sorted(drawn(found)) == expected(after, cls, least[1])
    assert run.sieved == told(ids, after, least)
    assert counts_from_the_top(found)
    assert (found["score"] == 0.9).all()
    assert (found["seam_iou"].dropna() == 1).all()


@examples(20)
@given(sizes, IMAGES, cuts(), seeds, st.integers(1, 3), LEAST)
def test_small_covers_that_are_dropped_leave_the_others_as_they_are(
    size, style, cut, random, count, least
):
    image = style(*size, random, count)
    model = ByComponent(tuple(range(count)), cut.context, cover=True)
    run = geoseg.segment(
        raster(image),
        legend(*["cover"] * count),
        backend=model,
        **px(least),
        small="drop",
        **cut.settings,
    )
    ids, cls = numbered(image)
    size_px = np.bincount(ids.ravel(), minlength=len(cls))
    after = np.where(size_px[ids] >= least[0], ids, 0)
    assert sorted(drawn(run.features())) == expected(after, cls, least[1])
    assert run.sieved == told(ids, after, least)


@examples(15)
@given(sizes, BITS, BITS, cuts(), seeds, LEAST)
def test_covers_that_may_overlap_have_no_neighbours(size, first, second, cut, random, least):
    layers = [(style(*size, random) > 0).astype(np.int32) for style in (first, second)]
    model = ByComponent((0, 1), cover=True)
    run = geoseg.segment(
        raster(layers[0], layers[1] * 2),
        legend("cover", "cover", exclusive=False),
        backend=model,
        **px(least),
        **cut.settings,
    )
    want = []
    for number, layer in enumerate(layers):
        ids, cls = numbered(layer * (number + 1))
        size_px = np.bincount(ids.ravel(), minlength=len(cls))
        want += expected(np.where(size_px[ids] >= least[0], ids, 0), cls, least[1])
    assert sorted(drawn(run.features())) == sorted(want)


def test_what_a_small_patch_kept_apart_is_one():
    image = np.ones((30, 40), np.int32)
    image[:, 20] = 2
    image[3:6, 5] = 3
    ids = {}
    for least in ("0px", "40px"):
        run = geoseg.segment(
            raster(image),
            legend("cover", "cover", "cover"),
            backend=ByComponent((0, 1, 2), cover=True),
            min_area=least,
            tile=16,
            overlap=4,
        )
        ids[least] = run.features()
    assert ids["0px"]["class"].tolist() == ["c0", "c1", "c0", "c2"]
    assert ids["40px"]["class"].tolist() == ["c0"]
    assert ids["40px"].area.tolist() == [image.size * 100]


# ---------------------------------------------------------------------------------- objects


@examples(30)
@given(sizes, BITS, cuts(), seeds, LEAST, st.booleans())
def test_small_objects_are_dropped_and_their_own_holes_filled(
    size, style, cut, random, least, split
):
    # Split: objects of several parts, whose parts may lie in each other's holes.
    ids = style(*size, random)
    ids, count = (ids, int(ids.max())) if split else apart(ids)
    cls = np.r_[-1, random.integers(0, 2, max(count, 1))]
    size_px = np.bincount(ids.ravel(), minlength=len(cls))
    run = geoseg.segment(
        raster(ids),
        legend("object", "object"),
        # Parts that no tile sees together are objects of their own, in any tiling that is given.
        backend=ByIdentity(tuple(cls[1:].tolist())),
        **px(least),
        **({"tile": 128, "overlap": 16} if split else cut.settings),
    )
    left = np.where(size_px[ids] >= least[0], ids, 0)
    want = [
        (canonical(outline(filled(left == i, (left > 0) & (cls[left] == cls[i]), least[1]))), i)
        for i in np.unique(left[left > 0]).tolist()
    ]
    found = run.features()
    assert sorted(drawn(found)) == sorted((g, f"c{cls[i]}") for g, i in want)
    assert counts_from_the_top(found)


@examples(25)
@given(cuts(halves=True), seeds, LAYERS, LEAST, st.booleans())
def test_a_noisy_model_draws_nothing_twice_and_nothing_small(cut, random, style, least, cover):
    ids, count = apart(style(70, 80, random))
    ids[ids > 40] = 0
    classes = tuple(random.integers(0, 2, max(count, 1)).tolist())[:40]
    model = Noisy(classes, seed=int(random.integers(1000)), cover=cover)
    kind = "cover" if cover else "object"
    run = geoseg.segment(
        raster(ids),
        legend(kind, kind),
        backend=model,
        **px(least),
        **cut.settings,
    )
    found = run.features()
    assert found.geometry.is_valid.all()
    assert (found.area >= least[0] * 100).all()
    assert found["id"].tolist() == list(range(1, len(found) + 1))
    assert found["score"].between(0, 1).all()
    groups = [found] if cover else [group for _, group in found.groupby("class")]
    for group in groups:
        assert shapely.union_all(group.geometry.to_numpy()).area == group.area.sum()


# ----------------------------------------------------------------------------- any tiling


@examples(10)
@given(seeds, cuts(), cuts(), LEAST)
def test_the_map_is_the_same_in_any_tiling_also_in_an_area(random, one, other, least):
    image = classes_image(70, 80, random, 4)
    area = areas(Window(0, 0, 80, 70), random)
    if area is None:
        return
    t = GEOREF
    aoi = shapely.transform(
        shapely.multipolygons(area.polygons),
        lambda xy: np.column_stack((t.a * xy[:, 0] + t.c, t.e * xy[:, 1] + t.f)),
    )
    maps = []
    for cut in (one, other):
        run = geoseg.segment(
            raster(image),
            legend(*["cover"] * 4),
            backend=ByComponent((0, 1, 2, 3), cut.context, cover=True),
            aoi=aoi,
            **px(least),
            **cut.settings,
        )
        found = run.features()
        maps.append((found[COLUMNS], found.geometry.map(canonical).tolist(), run.sieved))
    assert maps[0][0].equals(maps[1][0])
    assert maps[0][1:] == maps[1][1:]


def test_processes_write_the_same_bytes_as_one(tmp_path: Path):
    image = classes_image(90, 100, np.random.default_rng(3), 4)
    sieved = []
    for workers in (1, 2):
        run = geoseg.segment(
            raster(image),
            legend(*["cover"] * 4),
            backend=ByComponent((0, 1, 2, 3), cover=True),
            min_area="9px",
            min_hole="2000m2",
            tile=40,
            overlap=12,
            workers=workers,
            out=tmp_path / f"{workers}.parquet",
        )
        sieved.append(run.sieved)
    assert sieved[0] == sieved[1]
    assert min(sieved[0]["merged"], sieved[0]["filled"]) > 0
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()


# ----------------------------------------------------------------------------- on the ground


@pytest.mark.parametrize("degrees", [1e-4, 1e-3])
@pytest.mark.parametrize("lat", [-70.0, 5.0, 61.0])
def test_square_metres_are_those_of_the_column(degrees, lat):
    # Pixels of a geographic raster differ from row to row.
    random = np.random.default_rng(11)
    base = raster(blobs(120, 130, random))
    ids, count = apart(base.data[0])
    there = ArrayRaster(
        np.stack([ids, *base.data[1:]]), None, Affine(degrees, 0, 10, 0, -degrees, lat), "EPSG:4326"
    )
    settings = {"backend": ByIdentity((0,) * count), "tile": 48, "overlap": 10}
    everything = geoseg.segment(there, legend("object"), **settings).features()
    all_m2 = everything["area_ha"].to_numpy() * 1e4
    for least in np.quantile(all_m2, [0.3, 0.6, 0.9]) * [0.999, 1 - 2e-6, 1 + 2e-6]:
        run = geoseg.segment(there, legend("object"), min_area=f"{least}m2", **settings)
        found = run.features()["area_ha"].to_numpy() * 1e4
        assert found.tolist() == all_m2[all_m2 >= least].tolist()


def test_a_hole_on_the_ground_is_measured_where_it_lies():
    ids = np.ones((60, 60), np.int32)
    ids[5:15, 5:15] = ids[40:50, 40:50] = 0
    base = raster(ids)
    steep = ArrayRaster(base.data, None, Affine(0.01, 0, 10, 0, -0.01, 80), "EPSG:4326")
    settings = {"backend": ByIdentity((0,)), "tile": 32, "overlap": 8}
    rings = shapely.get_rings(geoseg.segment(steep, legend("object"), **settings).features()
                              .geometry.explode().to_numpy())[1:]  # fmt: skip
    holes = np.sort(
        [steep.frame.measure(np.array([shapely.Polygon(frame_px(steep, r))]))[0][0] for r in rings]
    )
    assert holes[1] > holes[0] * 1.02
    for least, left in ((holes[0] * 0.9999, 2), (holes[0] * 1.0001, 1), (holes[1] * 1.0001, 0)):
        run = geoseg.segment(steep, legend("object"), min_hole=f"{least}m2", **settings)
        assert len(run.features().geometry[0].geoms[0].interiors) == left


def frame_px(there: ArrayRaster, ring) -> np.ndarray:
    return np.rint(there.frame.to_pixels(shapely.get_coordinates(ring)))


# ---------------------------------------------------------------------------------- limits


class Failing(ByIdentity):
    """Fails where tiles begin at one place."""

    def answer(self, tile):
        if tile.core.x0 == 24 and tile.core.y0 == 24:
            raise RuntimeError("cannot")
        return super().answer(tile)


def test_a_hole_of_a_tile_that_failed_stays():
    settings = {"tile": 28, "overlap": 4, "min_hole": "5000px"}
    ids = np.ones((100, 100), np.int32)
    ids[3:8, 3:8] = 0
    run = geoseg.segment(raster(ids), legend("object"), backend=Failing((0,)), **settings)
    assert not run.complete
    (found,) = run.features().geometry
    assert shapely.area(found) == (100 * 100 - 24 * 24) * 100


def test_sizes_do_not_change_tiles(tmp_path: Path):
    # The run folder of one is that of the other: nothing is detected again.
    image = classes_image(60, 60, np.random.default_rng(5), 3)
    model = Counting((0, 1, 2), cover=True)
    for name, sizes_asked in (("a", {}), ("a", {"min_area": "20px", "min_hole": "9px"})):
        geoseg.segment(
            raster(image),
            legend(*["cover"] * 3),
            backend=model,
            tile=32,
            overlap=8,
            out=tmp_path / f"{name}.parquet",
            keep_run_folder=True,
            overwrite=True,
            **sizes_asked,
        )
    assert model.asked == [9]


class Counting(ByComponent):
    """Counts the tiles it was shown."""

    def __init__(self, classes, *, cover):
        super().__init__(classes, cover=cover)
        object.__setattr__(self, "asked", [0])

    def answer(self, tile):
        self.asked[0] += 1
        return super().answer(tile)


@pytest.mark.parametrize("option", ["min_area", "min_hole"])
def test_metres_need_a_crs_and_say_so_before_anything_is_read(option):
    base = raster(np.ones((40, 40), np.int32), crs=None)

    class Unread(ArrayRaster):
        def read(self, window):
            raise AssertionError(window)

    there = Unread(base.data, base.valid, base.frame.transform, None)
    flag = "--" + option.replace("_", "-")
    with pytest.raises(ConfigError, match=rf"^{flag}: 500 m2 .* without a CRS; give it in px"):
        geoseg.segment(there, legend("object"), backend=ByIdentity((0,)), **{option: "500m2"})


def test_small_needs_to_know_what_is_small():
    with pytest.raises(ConfigError, match=r"--small drop says .* --min-area"):
        geoseg.segment(
            raster(np.ones((9, 9), np.int32)),
            legend("object"),
            backend=ByIdentity((0,)),
            small="drop",
        )
