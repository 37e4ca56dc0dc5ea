"""What a user of QGIS gets who compares two dates: polygons, hectares, one line when refused."""

from __future__ import annotations

import os
import signal

import geopandas as gpd
import pandas as pd
import pytest
import rasterio
import shapely
from scripts import benchmark

from geoseg import segment
from geoseg.analysis import change
from geoseg.qgis import events

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-in command is of POSIX")

KILL = benchmark("kill")
PARTS = ("before", "after", "before_clouds", "after_clouds", "change")


@pytest.fixture(scope="module")
def dates(lakes, tmp_path_factory):
    """Two lakes, of which the first has half dried up at the later date."""
    later = tmp_path_factory.mktemp("later") / "drier.tif"
    with rasterio.open(lakes) as source:
        data, profile = source.read(), source.profile
    data[:, 20:60, 20:45] = data[:, :1, :1]
    data[:, 5:10, 5:10] = data[:, 30:31, 60:61]
    with rasterio.open(later, "w", photometric="MINISBLACK", **profile) as to:
        to.write(data)
    return lakes, later


@pytest.fixture(scope="module")
def maps(dates, tmp_path_factory):
    """What `segment` makes of them."""
    folder = tmp_path_factory.mktemp("maps")
    paths = [folder / "earlier.gpkg", folder / "later.gpkg"]
    for raster, path in zip(dates, paths, strict=True):
        segment(raster, "water", out=path, sensor="naip")
    return paths


@pytest.fixture(scope="module")
def later_dates(dates, maps):
    """The earlier raster, and the later date by kind."""
    return dates[0], {"raster": dates[1], "map": maps[1]}


def compare(qgis, before, after, out, *extra: str):
    return qgis.run(
        "run", "geoseg:change", "--", f"BEFORE={before}", f"AFTER={after}", f"OUTPUT={out}", *extra
    )


def features(path) -> gpd.GeoDataFrame:
    return gpd.read_file(path, layer="features")


def test_two_rasters_give_what_python_gives_and_every_parameter_is_heard(qgis, dates, tmp_path):
    aoi, out, kept = tmp_path / "area.geojson", tmp_path / "change of lakes.gpkg", tmp_path / "maps"
    kept.mkdir()
    box = shapely.box(500000, 5000000 - 1100, 500650, 5000000)
    area = gpd.GeoDataFrame(geometry=[box], crs="EPSG:32633").to_crs(4326)
    area.to_file(aoi)
    done = compare(
        qgis, *dates, out, "PROMPT=water", "BACKEND=spectral", "SENSOR=naip",
        "BANDS=red=1,green=2,blue=3,nir=4", f"AOI={aoi}", "MIN_AREA=0.3ha", "SIMPLIFY=1px",
        f"MAPS={kept}", f"MATRIX={tmp_path / 'ha.csv'}", "WORKERS=2", "EXTRA=--unchanged",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    twin = change(
        *dates,
        "water",
        out=tmp_path / "twin.gpkg",
        bands="red=1,green=2,blue=3,nir=4",
        sensor="naip",
        aoi=area,
        min_area="0.3ha",
        simplify="1px",
        unchanged=True,
    )
    found = features(out)
    assert set(found["class"]) == {"water -> unmapped", "water -> water"}
    assert found.equals(twin.features())
    assert sorted(p.name for p in kept.iterdir()) == [
        "change of lakes_after.gpkg", "change of lakes_before.gpkg"
    ]  # fmt: skip
    said = qgis.results(done)
    table = pd.read_csv(said.pop("MATRIX"), index_col="before")
    assert table.to_numpy() == pytest.approx(twin.matrix.to_numpy())
    assert {name: float(value) for name, value in said.items() if name != "OUTPUT"} == {
        "POLYGONS": len(found),
        "FAILED_TILES": 0,
        "LOST_HA": pytest.approx(table["unmapped"]["water"]),
        "GAINED_HA": pytest.approx(table["water"]["unmapped"]),
        "NOT_COMPARED_HA": twin.not_compared_ha,
    }
    # Too small for a polygon, and counted.
    lost, gained = float(said["LOST_HA"]), float(said["GAINED_HA"])
    assert 0 < gained < 0.3 < lost
    assert f"water: {lost:.2f} ha lost, {gained:.2f} ha gained" in done.stdout
    assert "co-registration" in done.stdout


def test_two_maps_are_compared_and_never_replaced(qgis, maps, tmp_path):
    layers = [f"{path}|layername=features" for path in maps]
    done = compare(qgis, *layers, tmp_path / "change.gpkg")
    assert done.returncode == 0, done.stdout + done.stderr
    found = features(tmp_path / "change.gpkg")
    assert len(found) == 2
    assert found.equals(change(*maps, out=tmp_path / "twin.gpkg").features())
    assert "MATRIX" not in qgis.results(done)
    before = maps[0].read_bytes()
    done = compare(qgis, *layers, maps[0])
    assert done.returncode == 1
    assert "is the input; give another --out" in done.stderr
    assert maps[0].read_bytes() == before


def test_tiles_that_failed_are_told_and_not_compared(qgis, dates, maps, tmp_path):
    torn = tmp_path / "torn.tif"
    whole = dates[0].read_bytes()
    torn.write_bytes(whole[: int(len(whole) * 0.9)])
    cut = {"tile": 64, "overlap": 8, "keep_going": True}
    segment(torn, "water", out=tmp_path / "torn.gpkg", sensor="naip", **cut)
    done = compare(qgis, tmp_path / "torn.gpkg", maps[1], tmp_path / "change.gpkg")
    assert done.returncode == 0, done.stdout + done.stderr
    said = qgis.results(done)
    assert int(said["FAILED_TILES"]) > 0
    assert float(said["NOT_COMPARED_HA"]) > 0
    assert f"{said['FAILED_TILES']} tiles of the two dates failed" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("later", "extra", "message"),
    [
        ("raster", ("PROMPT=watr",), "does not know the word 'watr'"),
        ("raster", (), 'say what to look for: --prompt "forest, water" or --legend FILE'),
        ("map", ("PROMPT=water",), "give two rasters, or two maps"),
        ("raster", ("PROMPT=water", "MATRIX=hectares.txt"), "takes .csv, .json"),
    ],
)
def test_what_cannot_be_compared_is_one_line_of_the_command(
    qgis, later_dates, tmp_path, later, extra, message
):
    before, afters = later_dates
    done = compare(qgis, before, afters[later], tmp_path / "change.gpkg", *extra)
    assert done.returncode == 1
    assert message in done.stderr
    assert "does not work as the command" not in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "number"),
    [("rasters", signal.SIGTERM), ("maps", signal.SIGTERM), ("rasters", signal.SIGKILL)],
)
def test_when_qgis_ends_nothing_is_left_and_nothing_is_half_done(qgis, tmp_path, kind, number):
    names = ["earlier.tif", "later.tif"]
    for name, size in zip(names, (640, 600), strict=True):
        KILL.draw(tmp_path / name, size)
    asked = ["PROMPT=water", "EXTRA=--tile 144"]
    making = "change_before.gpkg.geoseg/tiles/*"
    if kind == "maps":
        for k, raster in enumerate(names.copy()):
            names[k] = raster.replace(".tif", ".gpkg")
            segment(tmp_path / raster, "water", out=tmp_path / names[k], sensor="naip")
            (tmp_path / raster).unlink()
        asked, making = ["EXTRA=--tile 16"], "change.gpkg.geoseg/dates/*"
    qgis.end(
        number, lambda: any(tmp_path.glob(making)),
        "run", "geoseg:change", "--", f"BEFORE={tmp_path / names[0]}",
        f"AFTER={tmp_path / names[1]}", f"OUTPUT={tmp_path / 'change.gpkg'}", *asked,
    )  # fmt: skip
    # QGIS may leave statistics of the rasters beside them.
    left = {p.name for p in tmp_path.iterdir() if not p.name.endswith(".aux.xml")}
    assert left == {*names, making.partition("/")[0]}


@pytest.mark.parametrize("parts", [PARTS, PARTS[-1:]])
def test_the_bar_moves_through_the_maps_that_are_made(parts):
    told = [
        {"event": "progress", "step": f"{part} {step}", "done": done, "total": 4}
        for part in parts
        for step in ("detect", "stitch", "write")
        for done in range(5)
    ]
    bar = [events.percent(event, parts) for event in told]
    assert bar == sorted(bar)
    assert (bar[0], bar[-1]) == (0, 100)
    assert events.percent(told[0]) is None


def test_classes_are_added_up_and_what_there_is_not_is_not_told():
    result = {
        "features": 3,
        "lost_ha": {"forest": 2.0, "water": 0.5},
        "gained_ha": {"forest": 0.0, "water": 1.25},
        "not_compared_ha": 4.0,
        "objects": {},
        "coregistration": None,
    }
    assert events.balance(result) == {"LOST_HA": 2.5, "GAINED_HA": 1.25, "NOT_COMPARED_HA": 4.0}
    assert list(events.changed(result)) == [
        "3 polygons of change",
        "forest: 2.00 ha lost, 0.00 ha gained",
        "water: 0.50 ha lost, 1.25 ha gained",
        "not compared: 4.00 ha",
    ]
