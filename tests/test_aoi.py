"""An area of interest: the map is that of the untiled raster cut to it, and no more is read."""

from __future__ import annotations

import json
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pyogrio
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import assume, given
from hypothesis import strategies as st
from scenes import (
    GEOREF,
    UTM,
    ByComponent,
    ByIdentity,
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
    truth,
    voronoi,
)
from scipy import ndimage

import geoseg
from geoseg.aoi import Within, find_area
from geoseg.config import RunConfig
from geoseg.errors import ConfigError, ResumeMismatchError
from geoseg.frame import Frame
from geoseg.grid import Grid
from geoseg.raster import sample
from geoseg.reproject import CHORD_PX
from geoseg.window import Window

THINGS = legend("object", "object")
SIZES = st.tuples(st.integers(1, 90), st.integers(1, 90))


@dataclass(frozen=True, eq=False)
class Watched(geoseg.ArrayRaster):
    """Remembers what was read."""

    reads: tuple[list, ...] = ((),)

    def read(self, window):
        self.reads[0].append(window)
        return super().read(window)


def watched(*layers, **options) -> Watched:
    source = raster(*layers, **options)
    return Watched(source.data, source.valid, source.transform, source.crs, reads=([],))


def placed(area, transform=GEOREF):
    """Return the polygons of an area on the map."""
    frame = Frame(1, 1, transform, None)
    return shapely.multipolygons(shapely.transform(area.polygons, frame.to_crs))


def segment(source, classes, model, area, **cut):
    return geoseg.segment(source, classes, backend=model, aoi=placed(area), **cut)


def pieces(ids, classes, area):
    """Return (class, outline) of the connected parts inside an area, in order of their numbers."""
    inside = area.mask(Window(0, 0, ids.shape[1], ids.shape[0]))
    parts, count = apart(np.where(inside, ids, 0))
    first = [np.flatnonzero(parts == k)[0] for k in range(1, count + 1)]
    of = [classes[ids.flat[at] - 1] for at in first]
    cut = shapely.intersection(truth(parts, count), placed(area))
    return [(f"c{of[k]}", cut[k]) for k in np.argsort(first, kind="stable").tolist()]


def check_equal(features, want) -> None:
    assert features["class"].tolist() == [c for c, _ in want]
    for found, (_, wanted) in zip(features.geometry, want, strict=True):
        gap = shapely.symmetric_difference(found, wanted).area
        # New vertices lie on a fine grid: what that moves is along the edge.
        assert gap <= 1e-9 * wanted.area + 10 * 2.0**-24 * wanted.length
    assert features.geometry.is_valid.all()
    assert features.geom_type.isin(["MultiPolygon"]).all()


@examples(15)
@given(SIZES, st.sampled_from([voronoi, blobs, shapes]), cuts(), seeds)
def test_objects_equal_the_untiled_truth_cut_to_the_area(size, style, cut, random):
    ids, count = apart(style(*size, random))
    classes = tuple(random.integers(0, 2, max(count, 1)).tolist())
    area = areas(Window(0, 0, size[1], size[0]), random)
    assume(area is not None)
    model = ByIdentity(classes, cut.context, shuffle=int(random.integers(100)))
    source = watched(ids)
    run = segment(source, THINGS, model, area, **cut.settings)
    check_equal(run.features(), pieces(ids, classes, area))
    assert run.broken_links == 0
    check_reads(source, area, cut, run)


def check_reads(source, area, cut, run) -> None:
    """Only tiles that decide a touched pixel are read; statistics read what touches the area."""
    grid = Grid(source.frame.window, cut.tile, cut.overlap)
    inside = area.mask(grid.raster)
    tiles = [t.read for t in grid if inside[t.core.slices_in(grid.raster)].any()]
    assert run.tiles == len(tiles)
    assert sorted(map(repr, source.reads[0][-len(tiles) :])) == sorted(map(repr, tiles))
    assert all(area.touches(window) for window in source.reads[0])


@examples(10)
@given(SIZES, cuts(), seeds, st.integers(1, 3), st.sampled_from(["cover", "object"]))
def test_regions_equal_those_of_the_untiled_truth_inside_the_area(size, cut, random, count, kind):
    image = classes_image(*size, random, count)
    area = areas(Window(0, 0, size[1], size[0]), random)
    assume(area is not None)
    model = ByComponent(tuple(range(count)), cut.context, cover=kind == "cover")
    run = segment(raster(image), legend(*[kind] * count), model, area, **cut.settings)
    found, total = run.features(), 0
    for cls in range(count):
        labels, n = ndimage.label(image == cls + 1)
        want = pieces(labels, (cls,) * n, area)
        check_equal(found[found["class"] == f"c{cls}"], want)
        total += len(want)
    assert len(found) == total


@examples(10)
@given(SIZES, cuts(), cuts(), seeds, st.sampled_from(["cover", "object"]))
def test_the_map_is_the_same_for_every_tiling_to_the_last_bit(size, one, other, random, kind):
    image = classes_image(*size, random, 2)
    area = areas(Window(0, 0, size[1], size[0]), random)
    assume(area is not None)
    same = []
    for cut in (one, other):
        model = ByComponent((0, 1), min(one.context, other.context), cover=kind == "cover")
        run = segment(raster(image), legend(kind, kind), model, area, **cut.settings)
        found = run.features()
        columns = ["id", "class", "score", "area_ha", "perimeter_m", "clipped"]
        same.append((found[columns].to_numpy().tolist(), list(map(canonical, found.geometry))))
    assert same[0] == same[1]


IDS, COUNT = apart(voronoi(90, 100, np.random.default_rng(5)))
SCENE = raster(IDS)
MODEL = ByIdentity((0,) * COUNT)
CUT = {"tile": 40, "overlap": 8}
PART = shapely.Polygon([GEOREF @ xy for xy in [(5.25, 7.5), (80.5, 20), (60, 85), (30, 40)]])


def layer(*polygons, crs=UTM):
    return gpd.GeoDataFrame(geometry=list(polygons), crs=crs)


def test_two_processes_give_the_same_as_one(tmp_path):
    written = []
    for workers in (1, 2):
        out = tmp_path / f"{workers}.parquet"
        run = geoseg.segment(
            SCENE, THINGS, backend=MODEL, aoi=PART, out=out, workers=workers, **CUT
        )
        written.append(run.path.read_bytes())
    assert written[0] == written[1]


def test_an_area_larger_than_the_raster_changes_nothing_but_the_column():
    whole = geoseg.segment(SCENE, THINGS, backend=MODEL, **CUT)
    huge = shapely.box(*GEOREF @ (-500, 900), *GEOREF @ (900, -500))
    cut = geoseg.segment(SCENE, THINGS, backend=MODEL, aoi=huge, **CUT)
    assert not cut.features().clipped.any()
    assert cut.features().drop(columns="clipped").equals(whole.features())
    assert "clipped" not in whole.features()


def test_what_reaches_the_edge_of_the_area_is_told():
    ids = np.zeros((40, 40), np.int32)
    ids[5:10, 5:10], ids[5:10, 20:30], ids[20:30, 10:20], ids[35:, 35:] = 1, 2, 3, 4
    # The second is cut in two; the third ends where the area does; the fourth is outside.
    part = shapely.box(*GEOREF @ (2, 20), *GEOREF @ (25, 2)).union(
        shapely.box(*GEOREF @ (10, 33), *GEOREF @ (25, 20))
    )
    run = geoseg.segment(raster(ids), THINGS, backend=ByIdentity((0,) * 4), aoi=part, **CUT)
    found = run.features()
    assert found.clipped.tolist() == [False, True, True]
    assert found.area.tolist() == [2500, 2500, 10_000]


@pytest.mark.parametrize("ending", [".gpkg", ".parquet", ".fgb", ".geojson"])
def test_every_format_has_the_column_last_and_the_recipe_names_the_area(tmp_path, ending):
    out = tmp_path / f"map{ending}"
    found = geoseg.segment(SCENE, THINGS, backend=MODEL, aoi=PART, out=out, **CUT).features()
    assert found.columns.tolist()[-3:] == ["seam_iou", "clipped", "geometry"]
    assert found.clipped.dtype == bool
    if ending == ".gpkg":
        kept = pyogrio.read_info(out, layer="features")["layer_metadata"]["geoseg"]
        area = find_area(PART, SCENE.frame)
        assert json.loads(kept)["aoi"] == area.identity


def test_another_area_does_not_continue_an_unfinished_run(tmp_path):
    out = tmp_path / "map.gpkg"
    options = {"backend": MODEL, "out": out, "keep_run_folder": True, "overwrite": True, **CUT}
    geoseg.segment(SCENE, THINGS, aoi=PART, **options)
    geoseg.segment(SCENE, THINGS, aoi=layer(PART), **options)
    for other in (PART.buffer(3), None):
        with pytest.raises(ResumeMismatchError, match=r"aoi: \w{12}, columns 5\.25\.\.80\.5, rows"):
            geoseg.segment(SCENE, THINGS, aoi=other, **options)


def test_a_plan_counts_the_tiles_that_are_read():
    class Blind(type(SCENE)):
        def read(self, window):
            raise AssertionError(f"{window} was read")

    config = RunConfig.build(legend=THINGS, **CUT)
    source = Blind(SCENE.data, None, GEOREF, UTM)
    part = shapely.box(*GEOREF @ (1, 9), *GEOREF @ (9, 1))
    found = geoseg.plan(source, "a", config, aoi=part)
    assert found.tiles == 1
    assert found.read_ratio == pytest.approx(36**2 / 9000, abs=1e-3)
    assert geoseg.plan(source, "a", config).read_ratio > 1
    assert found.output_mb[1] < geoseg.plan(source, "a", config).output_mb[1]


# ------------------------------------------------------------------------------- statistics


@examples(40)
@given(st.integers(1, 400), st.integers(1, 400), seeds)
def test_statistics_are_of_the_area_and_nothing_else_is_read(height, width, random):
    area = areas(Window(0, 0, width, height), random)
    assume(area is not None)
    source = watched(np.ones((height, width), np.int32))
    found = sample(Within(source, area), blocks=4, side_px=16)
    assert found
    assert len(source.reads[0]) <= 16
    assert all(area.touches(window) for window in source.reads[0])
    for window, _, valid in found:
        assert (valid == area.mask(window)).all()


def test_a_thin_or_scattered_area_is_sampled_where_it_is():
    frame = Window(0, 0, 5000, 5000)
    source = geoseg.ArrayRaster(np.broadcast_to(np.uint8(1), (1, 5000, 5000)))
    dots = [shapely.box(x, 5000 - x, x + 9, 5009 - x) for x in (100, 1700, 4200)]
    area = find_area(shapely.multipolygons(dots), source.frame)
    found = sample(Within(source, area))
    assert {int(w.x0 > 1500) + int(w.x0 > 4000) for w, _, _ in found} == {0, 1, 2}
    assert sum(v.sum() for _, _, v in found) >= 9 * 9 * 3
    assert area.bounds.intersection(frame) == area.bounds


# ------------------------------------------------------------------- any CRS, exact to a hair

LONLAT = "EPSG:4326"
POLAR = "EPSG:3413"
NEAR_EDGE_PX = 2 * CHORD_PX + 1 / 256
"""Chords, the grid, and the oracle's own chords."""


def north_up(x, y, px, crs, size=(90, 80)):
    return Frame(size[1], size[0], Affine(px, 0, x, 0, -px, y), pyproj.CRS(crs).to_wkt())


ROTATED = Frame(80, 90, GEOREF @ Affine.rotation(30), pyproj.CRS(UTM).to_wkt())
CASES = {
    "utm from lonlat": (north_up(500_000, 5_000_000, 3000, UTM), LONLAT, (15, 43, 17, 44.5)),
    "rotated": (ROTATED, LONLAT, (14.995, 45.148, 15.006, 45.152)),
    "larger than the raster": (north_up(500_000, 5_000_000, 30, UTM), LONLAT, (-179, -80, 179, 80)),
    "lonlat from utm": (north_up(14, 46, 0.05, LONLAT), UTM, (500_000, 4_800_000, 700_000, 5e6)),
    "mercator": (
        north_up(1_600_000, 6e6, 5000, "EPSG:3857"),
        POLAR,
        (4.2e6, -2.6e6, 4.5e6, -2.4e6),
    ),
    "albers": (north_up(-9e5, 2e6, 9000, "EPSG:5070"), LONLAT, (-105, 35, -99, 40.5)),
    "polar cap": (north_up(-3e6, 3e6, 70_000, POLAR), LONLAT, (-180, 72, 180, 90)),
    "polar sector": (north_up(-3e6, 3e6, 70_000, POLAR), LONLAT, (-120, 65, 33, 88)),
    "lonlat over the date line": (north_up(170, 10, 0.25, LONLAT), LONLAT, (-185, -5, -175, 5)),
    "utm over the date line": (
        north_up(166_000, 1e5, 9000, "EPSG:32660"),
        LONLAT,
        (178, -3, 183, 0.5),
    ),
    "0..360 from -180..180": (
        north_up(180, 45, 1, LONLAT, (90, 180)),
        LONLAT,
        (-150, -20, -100, 20),
    ),
    "date line from utm": (north_up(175, 5, 0.1, LONLAT), "EPSG:32660", (6e5, -1e5, 1.2e6, 3e5)),
}


@pytest.mark.parametrize("case", CASES)
def test_straight_edges_stay_straight_in_the_crs_they_were_drawn_in(case):
    frame, crs, (x0, y0, x1, y1) = CASES[case]
    hole = shapely.box(x0 + (x1 - x0) / 3, y0 + (y1 - y0) / 3, (x0 + x1) / 2, (y0 + y1) / 2)
    drawn = shapely.box(x0, y0, x1, y1).difference(hole)
    united = shapely.union_all(find_area(layer(drawn, crs=crs), frame).polygons)
    random = np.random.default_rng(1)
    points = random.random((4000, 2)) * (frame.width, frame.height)
    there = np.column_stack(
        pyproj.Transformer.from_crs(frame.crs, crs, always_xy=True).transform(
            *frame.to_crs(points).T
        )
    )
    turns = (-360, 0, 360) if crs == LONLAT else (0,)
    want = np.any([shapely.contains_xy(drawn, there[:, 0] + t, there[:, 1]) for t in turns], axis=0)
    pixels = shapely.points(points)
    found = shapely.contains(united, pixels)
    clear = shapely.distance(united.boundary, pixels) > NEAR_EDGE_PX
    assert want.mean() > 0.02
    assert (found == want)[clear].all()
    assert clear.mean() > 0.9


def test_parts_on_both_sides_of_the_date_line_are_one():
    frame = north_up(175, 5, 0.1, LONLAT, (100, 100))
    split = layer(shapely.box(178, -3, 180, 3), shapely.box(-180, -3, -178, 3), crs=LONLAT)
    (one,) = find_area(split, frame).polygons
    assert one.equals(shapely.box(30, 20, 70, 80))
    frame = north_up(500_000, 3e5, 6000, "EPSG:32660", (100, 100))
    assert len(find_area(split, frame).polygons) == 1


@examples(20)
@given(seeds)
def test_an_edge_is_followed_to_a_small_part_of_a_pixel(random):
    frame = north_up(3e5, 5e6, float(random.uniform(10, 20_000)), UTM, (500, 500))
    x, y = random.uniform(14, 16, 4), random.uniform(40, 45.1, 4)
    drawn = shapely.MultiPoint(np.column_stack((x, y))).convex_hull
    assume(drawn.area > 0)
    try:
        area = find_area(layer(drawn, crs=LONLAT), frame)
    except ConfigError:
        return
    dense = shapely.get_coordinates(shapely.segmentize(drawn, 0.001))
    to_raster = pyproj.Transformer.from_crs(LONLAT, UTM, always_xy=True)
    seen = frame.to_pixels(np.column_stack(to_raster.transform(*dense.T)))
    near = shapely.contains_xy(shapely.box(0, 0, 500, 500), *seen.T)
    edge = shapely.union_all(area.polygons).boundary
    far = shapely.distance(edge, shapely.points(seen[near]))
    assert far.max(initial=0) < CHORD_PX + 1 / 256


# ------------------------------------------------------------------------- what is refused

OTHER = shapely.box(0, 0, 5, 5)
BOW = shapely.Polygon([GEOREF @ xy for xy in [(10, 10), (50, 50), (50, 10), (10, 50)]])


def two_layers(folder):
    layer(PART).to_file(folder / "two.gpkg", layer="fields")
    layer(PART).to_file(folder / "two.gpkg", layer="farms", mode="a")
    return folder / "two.gpkg"


def from_text(name, text):
    def write(folder):
        (folder / name).write_text(text)
        return folder / name

    return write


BAD = {
    "no file": (
        lambda _: "nowhere.gpkg",
        "no such file: nowhere.gpkg (--aoi takes a vector layer)",
    ),
    "no layer": (from_text("a.gpkg", "?"), "a.gpkg is no vector layer that can be read: "),
    "a table": (from_text("a.csv", "a,b\n1,2\n"), "a.csv has no geometry; --aoi takes polygons"),
    "two layers": (
        two_layers,
        "two.gpkg has 2 layers; name one of them (fields, farms) as --aoi '",
    ),
    "no such layer": (
        lambda p: f"{two_layers(p)}|layername=x",
        "two.gpkg has no layer 'x'; name one",
    ),
    "points": (lambda _: layer(PART.centroid), "holds point; --aoi takes polygons"),
    "lines, too": (lambda _: layer(PART, PART.boundary), "holds linestring, polygon; --aoi takes"),
    "nothing": (lambda _: layer(), "the area of interest has no features; --aoi takes polygons"),
    "empty": (lambda _: layer(shapely.Polygon()), "has no features; --aoi takes polygons"),
    "an empty shape": (lambda _: shapely.Polygon(), "holds nothing; --aoi takes polygons"),
    "flat": (
        lambda _: layer(shapely.Polygon([(0, 0), (9, 9), (0, 0)])),
        "covers nothing; --aoi takes",
    ),
    "no numbers": (
        lambda _: layer(shapely.Polygon([(0, 0), (np.inf, 9), (9, 0)])),
        "has coordinates that are no numbers",
    ),
    "no crs": (lambda _: layer(PART, crs=None), "the area of interest has no coordinate reference"),
    "elsewhere": (
        lambda _: layer(OTHER, crs=LONLAT),
        "does not overlap the raster: it lies in x 0..5, y 0..5, the raster in x 15..15.0127",
    ),
    "beside": (
        lambda _: layer(shapely.box(*GEOREF @ (100, 90), *GEOREF @ (120, 0))),
        "does not overlap",
    ),
    "below the grid": (
        lambda _: shapely.Point(GEOREF @ (50, 50)).buffer(0.001),
        "does not overlap",
    ),
    "a crs of its own": (
        lambda _: layer(PART, crs='LOCAL_CS["site",UNIT["metre",1]]'),
        "cannot be brought to the raster's coordinate reference system",
    ),
    "heights": (
        lambda _: layer(PART, crs="EPSG:5773"),
        "is vertical, not a horizontal CRS; give it",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_an_area_that_cannot_be_used_is_refused_in_one_line(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, words = BAD[case]
    aoi = make(tmp_path)
    with pytest.raises(ConfigError) as caught:
        geoseg.segment(SCENE, THINGS, backend=MODEL, out="map.gpkg", aoi=aoi, **CUT)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("map*"))


def test_a_raster_without_crs_takes_an_area_without_one():
    source = raster(IDS, crs=None)
    run = geoseg.segment(source, THINGS, backend=MODEL, aoi=layer(PART, crs=None), **CUT)
    same = geoseg.segment(source, THINGS, backend=MODEL, aoi=PART, **CUT)
    assert run.features().equals(same.features())
    with pytest.raises(ConfigError, match="the raster has no coordinate reference system, the"):
        geoseg.segment(source, THINGS, backend=MODEL, aoi=layer(PART), **CUT)


def test_a_layer_is_named_as_in_qgis(tmp_path):
    path = f"{two_layers(tmp_path)}|layername=farms"
    assert find_area(path, SCENE.frame).identity == find_area(PART, SCENE.frame).identity


def test_polygons_that_overlap_or_cross_themselves_are_one_area():
    area = find_area(layer(BOW, PART), SCENE.frame)
    assert shapely.area(area.polygons).sum() == pytest.approx(
        shapely.union_all([shapely.make_valid(BOW), PART]).area / 100, rel=1e-4
    )


def test_a_pole_inside_is_refused_where_longitudes_cannot_show_it():
    around = layer(shapely.Point(0, 0).buffer(1e6), crs=POLAR)
    with pytest.raises(ConfigError, match="goes around a pole"):
        find_area(around, north_up(-180, 90, 1, LONLAT, (180, 360)))
