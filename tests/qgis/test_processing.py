"""What a user of QGIS gets: the algorithm, the map, its colours, one line when it is refused.

One start of QGIS takes some seconds, so few of them answer many questions.
"""

from __future__ import annotations

import configparser
import json
import os
import signal
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from rasterio.features import rasterize
from scripts import benchmark

from geoseg import segment
from geoseg.export.read import open_map

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-in command is of POSIX")

ROOT = Path(__file__).parents[2]
KILL = benchmark("kill")
COLOURS = {"water": "#123456", "vegetation": "#fedcba"}


def features(path: Path) -> gpd.GeoDataFrame:
    return gpd.read_file(path, layer="features")


def test_the_toolbox_lists_the_algorithms_and_the_metadata_tell_of_each(qgis):
    done = qgis.run("list")
    assert done.returncode == 0
    rows = [line.split("\t") for line in done.stdout.splitlines() if "\tgeoseg:" in line]
    assert {row[1]: row[2] for row in rows} == {
        "geoseg:segment": "Segment a raster with words",
        "geoseg:change": "Find change between two dates",
        "geoseg:evaluate": "Evaluate a map",
    }
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "geoseg" / "qgis" / "metadata.txt", "utf-8")
    assert all(f'"{row[2]}"' in metadata["general"]["about"] for row in rows)


def test_every_parameter_reaches_the_command_and_the_map_is_the_same(qgis, lakes, tmp_path):
    box = gpd.GeoDataFrame(geometry=gpd.GeoSeries.from_xy([500450], [4999600]).buffer(600))
    area = box.set_crs("EPSG:32633").to_crs("EPSG:4326")
    area.to_file(tmp_path / "area.geojson")
    out, twin = tmp_path / "map of lakes.gpkg", tmp_path / "twin.gpkg"
    done = qgis.run(
        "run", "geoseg:segment", "--",
        f"INPUT={lakes}", "PROMPT=water, vegetation", "BACKEND=spectral", f"OUTPUT={out}",
        f"AOI={tmp_path / 'area.geojson'}", "THRESHOLD=0.6", "TILE=64", "OVERLAP=16", "WORKERS=2",
        "BANDS=red=1,green=2,blue=3,nir=4", "SENSOR=naip", "DEVICE=auto", "EXTRA=--memory 4GB",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    segment(
        lakes,
        "water, vegetation",
        out=twin,
        aoi=area,
        threshold=0.6,
        tile=64,
        overlap=16,
        bands="red=1,green=2,blue=3,nir=4",
        sensor="naip",
    )
    found = features(out)
    assert len(found) > 2
    assert found.clipped.any()
    assert found.equals(features(twin))
    said = qgis.results(done)
    assert said == {"OUTPUT": str(out), "POLYGONS": str(len(found)), "FAILED_TILES": "0"}
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "area.geojson", "map of lakes.gpkg", "twin.gpkg"
    ]  # fmt: skip


def test_a_wrong_prompt_is_an_error_in_the_words_of_the_command(qgis, lakes, tmp_path):
    out = tmp_path / "map.gpkg"
    done = qgis.run("run", "geoseg:segment", "--", f"INPUT={lakes}", "PROMPT=watr", f"OUTPUT={out}")
    assert done.returncode != 0
    assert "does not know the word 'watr'" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "workers"), [(signal.SIGTERM, 1), (signal.SIGINT, 1), (signal.SIGKILL, 2)]
)
def test_when_qgis_ends_nothing_is_left_and_nothing_is_half_done(qgis, tmp_path, number, workers):
    scene, out = tmp_path / "scene.tif", tmp_path / "map.gpkg"
    KILL.draw(scene, 640)
    tiles = tmp_path / "map.gpkg.geoseg" / "tiles"
    qgis.end(
        number, lambda: any(tiles.glob("*")),
        "run", "geoseg:segment", "--", f"INPUT={scene}", "PROMPT=water", f"OUTPUT={out}",
        "TILE=32", "OVERLAP=8", f"WORKERS={workers}",
    )  # fmt: skip
    # QGIS may leave statistics of the raster beside it.
    left = {p.name for p in tmp_path.iterdir()} - {"scene.tif.aux.xml"}
    assert left == {"map.gpkg.geoseg", "scene.tif"}


@pytest.fixture(scope="module")
def inside(qgis, lakes, tmp_path_factory):
    """Return what the plugin did inside QGIS; see inside.py."""
    folder = tmp_path_factory.mktemp("inside")
    legend = folder / "legend.toml"
    classes = [
        f'[[class]]\nname = "{n}"\nkind = "cover"\ncolour = "{c}"' for n, c in COLOURS.items()
    ]
    legend.write_text("\n".join(classes))
    torn = folder / "torn.tif"
    noise = np.random.default_rng(0).integers(1, 255, (4, 256, 256)).astype(np.uint8)
    later = folder / "later.tif"
    with rasterio.open(lakes) as source:
        profile = {**source.profile, "width": 256, "height": 256}
        with rasterio.open(later, "w", photometric="MINISBLACK", **source.profile) as to:
            to.write(source.read()[:, ::-1])
    with rasterio.open(torn, "w", photometric="MINISBLACK", **profile) as to:
        to.write(noise)
    whole = torn.read_bytes()
    torn.write_bytes(whole[: int(len(whole) * 0.8)])
    done = qgis.script("inside.py", folder, lakes, later, torn, legend)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_map_of_change_is_loaded_in_its_own_colours(inside):
    changed = inside["changed"]
    assert changed["count"] == changed["results"]["POLYGONS"] > 0
    drawn = changed["loaded"]
    assert (drawn["renderer"], drawn["attribute"]) == ("categorizedSymbol", "class")
    legend = open_map(Path(changed["results"]["OUTPUT"])).legend
    assert drawn["colours"] == {c.name: c.colour for c in legend.classes}
    assert {"water -> vegetation", "vegetation -> water"} <= drawn["colours"].keys()


def test_the_map_opens_and_is_loaded_in_the_colours_of_its_legend(inside):
    wanted = {"renderer": "categorizedSymbol", "attribute": "class", "colours": COLOURS}
    assert inside["styled"]["opened"] == wanted
    assert inside["styled"]["loaded"] == wanted


def test_qgis_draws_polygons_where_they_are(inside, lakes):
    styled = inside["styled"]
    found = features(Path(styled["results"]["OUTPUT"]))
    assert styled["count"] == len(found) == 3
    with rasterio.open(lakes) as source:
        place = {"out_shape": source.shape, "transform": source.transform}
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(styled["png"]) as png:
        picture = png.read([1, 2, 3])
    for name in COLOURS:
        mask = rasterize(found[found["class"] == name].geometry, **place).astype(bool)
        inner = mask & np.roll(mask, 2, 0) & np.roll(mask, -2, 0)
        inner &= np.roll(mask, 2, 1) & np.roll(mask, -2, 1)
        assert inner.sum() > 1000
        assert (picture[:, inner] != 255).any(axis=0).mean() > 0.99


def test_a_selection_of_a_layer_in_memory_is_an_area_of_interest(inside):
    within = inside["within"]
    assert within["fine"]
    found = features(Path(within["results"]["OUTPUT"]))
    x0, y0, x1, y1 = found.total_bounds
    assert len(found) == 1
    assert (x0, y0, x1, y1) == (500200, 4999400, 500700, 4999800)


def test_an_incomplete_map_is_loaded_and_what_is_missing_is_told_and_drawn(inside):
    torn = inside["incomplete"]
    failed = torn["results"]["FAILED_TILES"]
    assert failed > 0
    assert torn["layers"] == {"Polygons": torn["results"]["POLYGONS"], "failed tiles": failed}
    assert torn["errors"][0].startswith(f"the map is incomplete: {failed} of 25 tiles failed")
    assert sum("cannot read" in line for line in torn["errors"]) == failed


def test_cancelling_is_an_error_and_writes_no_map(inside):
    assert inside["cancelled"] == {"errors": ["cancelled"], "written": False}


def test_what_cannot_be_done_is_one_clear_line(inside, lakes):
    refused = inside["refused"]
    assert refused["both"] == ["False: give classes in words or a legend, not both"]
    (service,), (unplaced,), (nowhere,) = (refused[k] for k in ("service", "unplaced", "nowhere"))
    assert "area_of_interest.fgb has no coordinate reference system" in unplaced
    assert "comes from a service (wms), geoseg reads files" in service
    assert nowhere.startswith(f"{lakes} is no command (from Settings > Options > Processing")


def test_the_dialog_offers_the_backends_of_the_command_and_takes_others(inside):
    dialog = inside["dialog"]
    assert dialog["first"] == 0
    assert dialog["found"][0] == "spectral"
    assert dialog["shown"] == "spectral"
    assert dialog["typed"] == "owlv2:/my/weights"
    # Two maps are compared as they are: no backend is asked for until one is chosen.
    assert dialog["unset"] == ""
