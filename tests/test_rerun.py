"""A map that is made again is the same map, or it is said why not."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from rasters import draw
from scenes import UTM, ByIdentity, legend, raster

import geoseg
from geoseg.errors import MapError, RasterError
from geoseg.rerun import Means, rerun

AREA = gpd.GeoDataFrame(geometry=[shapely.box(5e5 + 50, 5e6 - 300, 5e5 + 600, 5e6)], crs=UTM)


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "work"
    place.mkdir()
    draw(place / "scene.tif", bands=5, photometric="MINISBLACK", compress="deflate")
    AREA.to_file(place / "area.gpkg", layer="mine")
    return place


def segment(folder: Path, name: str = "map.gpkg", **options) -> Path:
    options = {"threshold": 0.3, "bands": "red=1,green=2,blue=3,nir=4", **options}
    legend = options.pop("legend", "water, vegetation")
    source = options.pop("source", folder / "scene.tif")
    geoseg.segment(source, legend, out=folder / name, tile=32, overlap=8, **options)
    return folder / name


def reason(source: Path, **options) -> str:
    before = sorted(source.parent.iterdir())
    with pytest.raises(MapError) as caught:
        rerun(source, **options)
    assert sorted(source.parent.iterdir()) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def spoil(source: Path, change) -> None:
    """Change the recipe of a GeoParquet map."""
    table = pq.read_table(source)
    recipe = json.loads(table.schema.metadata[b"geoseg"])
    change(recipe)
    kept = {**table.schema.metadata, b"geoseg": json.dumps(recipe).encode()}
    pq.write_table(table.replace_schema_metadata(kept), source)


@pytest.mark.parametrize("name", ["map.gpkg", "map.parquet"])
def test_a_map_made_again_is_the_same_bytes(folder, name):
    source = segment(folder, name, aoi=f"{folder / 'area.gpkg'}|layername=mine")
    made = rerun(source)
    assert made.same == "bytes"
    assert made.run.count > 3
    again = folder / name.replace("map", "map_rerun")
    assert again == made.run.path
    assert again.read_bytes() == source.read_bytes()


def test_all_that_can_be_asked_for_is_asked_for_again(folder, monkeypatch):
    """Each setting alone changes the map or its recipe, and comes back."""
    legend = geoseg.Legend.parse("water; vegetation")
    odd = legend.model_copy(update={"exclusive": False})
    monkeypatch.chdir(folder)
    for number, options in enumerate((
        {"legend": odd}, {"threshold": 0.7}, {"bands": {"red": 5, "green": 2, "blue": 3, "nir": 4}},
        {"bands": None, "sensor": "landsat8", "source": "wide.tif"}, {"source": ["scene.tif"]},
        {"source": "tiles"}, {"source": ["tiles/b.tif", "tiles/a.tif"]},
        {"simplify": "2px"}, {"smooth": True}, {"min_area": "3px", "small": "drop"},
        {"min_hole": "2px"}, {"columns": ["means", "ndvi"]},
    )):  # fmt: skip
        if "wide.tif" in str(options):
            draw(folder / "wide.tif", bands=6, photometric="MINISBLACK")
        if "tiles" in str(options) and not (folder / "tiles").exists():
            (folder / "tiles").mkdir()
            draw(folder / "tiles" / "a.tif", bands=4, photometric="MINISBLACK")
            beside = UTM_SHIFTED
            draw(folder / "tiles" / "b.tif", bands=4, photometric="MINISBLACK", transform=beside)
        source = segment(folder, f"map{number}.gpkg", **options)
        monkeypatch.chdir("/")
        assert rerun(source).same == "bytes", options
        monkeypatch.chdir(folder)


UTM_SHIFTED = rasterio.Affine(10, 0, 500_000 + 700, 0, -10, 5_000_000)


def test_how_it_is_worked_changes_nothing(folder):
    source = segment(folder)
    made = rerun(source, folder / "other.gpkg", means=Means(batch=3, trust_input=True))
    assert made.same == "bytes"


def test_another_format_has_the_same_polygons(folder):
    source = segment(folder)
    assert rerun(source, folder / "map.parquet").same == "polygons"


def test_a_folder_that_was_moved_is_made_again(folder, tmp_path, caplog):
    source = segment(folder, aoi=folder / "area.gpkg")
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    shutil.rmtree(folder)
    assert rerun(moved / source.name).same == "polygons"
    assert "was moved or touched; taken for the same by its size and both ends" in caplog.text


def test_a_raster_that_changed_is_refused(folder, caplog):
    source = segment(folder)
    with rasterio.open(folder / "scene.tif", "r+") as target:
        data = target.read()
        data[:, :20] = 7
        target.write(data)
    said = reason(source)
    assert "the raster is not as it was when" in said
    assert "ends_sha256" in said
    assert said.endswith("pass it with --raster to take it all the same")
    made = rerun(source, raster=[str(folder / "scene.tif")])
    assert made.same == "nothing"
    assert "--raster is another raster than that of" in caplog.text


def test_a_raster_that_was_touched_is_the_same_where_all_of_it_was_hashed(folder, caplog):
    source = segment(folder)
    os.utime(folder / "scene.tif", (1, 1))
    assert rerun(source).same == "polygons"
    assert "the raster was touched (mtime: " in caplog.text
    assert "every byte is as it was" in caplog.text


def test_a_raster_that_was_touched_is_refused_where_its_middle_may_be_another(folder):
    scene = draw(folder / "scene.tif", bands=5, photometric="MINISBLACK", shape=(170, 160))
    source = segment(folder)
    with scene.open("r+b") as file:
        file.seek(2**16 + 5)
        file.write(b"another")
    said = reason(source)
    assert "its size and both ends are the same" in said
    assert said.endswith("over 128 KiB; pass it with --raster to take it all the same")
    assert rerun(source, raster=[str(scene)]).same == "nothing"


def test_parts_that_were_touched_are_the_same_raster(folder):
    (folder / "tiles").mkdir()
    for name, place in (("a", rasterio.Affine(10, 0, 500_000, 0, -10, 5e6)), ("b", UTM_SHIFTED)):
        draw(folder / f"tiles/{name}.tif", bands=4, photometric="MINISBLACK", transform=place)
    source = segment(folder, source=folder / "tiles")
    os.utime(folder / "tiles" / "b.tif", (1, 1))
    assert rerun(source).same == "polygons"


def test_a_raster_that_has_gone_is_told(folder, tmp_path, caplog):
    source = segment(folder)
    other = (folder / "scene.tif").rename(tmp_path / "renamed.tif")
    assert "is neither there nor beside the map; pass --raster FILE" in reason(source)
    assert rerun(source, raster=[str(other)]).same == "polygons"
    assert "another raster" not in caplog.text


def test_an_area_that_has_gone_is_told(folder):
    source = segment(folder, aoi=folder / "area.gpkg")
    (folder / "area.gpkg").unlink()
    assert "area.gpkg" in reason(source)


def test_other_versions_are_told(folder, caplog):
    source = segment(folder, "map.parquet")
    spoil(source, lambda recipe: recipe["versions"].update(numpy="1.0"))
    assert rerun(source).same == "polygons"
    assert "was made with other versions: numpy: 1.0 -> " + np.__version__ in caplog.text
    assert caplog.records[0].levelno == logging.WARNING


def test_objects_cannot_be_made_again(tmp_path):
    ids = np.ones((30, 30), np.int32)
    out = tmp_path / "map.gpkg"
    model, things = ByIdentity((0,)), legend("object")
    geoseg.segment(raster(ids, crs=UTM), things, backend=model, out=out, tile=32, overlap=8)
    assert "was made in Python with objects (backend, source)" in reason(out)


def test_an_open_raster_may_be_given_as_a_file(folder):
    draw(folder / "scene.tif")
    opened = geoseg.open_raster(folder / "scene.tif")
    source = segment(folder, source=opened, bands=None)
    assert "objects (source)" in reason(source)
    assert rerun(source, raster=[str(folder / "scene.tif")]).same == "polygons"


def test_a_recipe_that_was_changed_is_refused(folder):
    source = segment(folder, "map.parquet")
    whole = source.read_bytes()
    for change, said in (
        (lambda r: r["asked"].pop("source"), "objects (source)"),
        (lambda r: r["asked"].pop("backend"), "objects (backend)"),
        (lambda r: r["asked"]["legend"].update(classes=[]), "asks for a legend that is none"),
        (lambda r: r["asked"].update(workers=9), "says too little of how it was made"),
    ):
        source.write_bytes(whole)
        spoil(source, change)
        assert said in reason(source)


def test_a_file_does_not_open_the_network(folder):
    source = segment(folder, "map.parquet")
    spoil(source, lambda r: r["asked"].update(source=["https://example.org/scene.tif"]))
    said = reason(source)
    assert "a file may not open the network; pass --raster with the URL" in said


def test_a_file_does_not_say_where_anything_is_kept(folder):
    source = segment(folder, "map.parquet")
    brought = {"cache": str(folder / "kept"), "cache_size": 10**9, "offline": False}
    spoil(source, lambda r: r["asked"].update(models=brought))
    # With a cache, this backend would be refused.
    assert rerun(source, means=Means(offline=True)).same == "polygons"
    assert not (folder / "kept").exists()


def test_a_file_does_not_let_a_raster_reach_outside(folder, tmp_path):
    outside = draw(tmp_path / "secret.tif", bands=4, photometric="MINISBLACK")
    page = folder / "page.vrt"
    with rasterio.open(outside) as inside:
        inner = "".join(
            f'<VRTRasterBand dataType="Byte" band="{b}"><SimpleSource><SourceFilename>{outside}'
            f"</SourceFilename><SourceBand>{b}</SourceBand></SimpleSource></VRTRasterBand>"
            for b in inside.indexes
        )
        page.write_text(
            f'<VRTDataset rasterXSize="{inside.width}" rasterYSize="{inside.height}">'
            f"<SRS>{UTM}</SRS><GeoTransform>500000,10,0,5000000,0,-10</GeoTransform>{inner}"
            "</VRTDataset>"
        )
    source = segment(folder, source=page, trust_input=True)
    with pytest.raises(RasterError, match="--trust-input"):
        rerun(source)
    assert rerun(source, means=Means(trust_input=True)).same == "bytes"


def test_a_map_without_a_recipe_is_refused(folder):
    source = segment(folder, "map.fgb")
    assert "says nothing of how it was made" in reason(source)


# ------------------------------------------------------------------------------- the command


def test_the_command_says_whether_it_is_the_same(folder, run):
    source = segment(folder)
    code, out, err = run("rerun", source, "--workers", "1")
    assert (code, out) == (0, "")
    assert err.strip().endswith(f"map_rerun.gpkg: byte for byte the same as {source}")
    code, out, err = run("rerun", source, "--overwrite", "--json")
    assert code == 0
    told = json.loads(out.splitlines()[-1])
    assert (told["event"], told["same"], told["complete"]) == ("result", "bytes", True)
    code, _, err = run("rerun", source)
    assert code == 2
    assert "is already there; pass --overwrite" in err


def test_the_command_fails_where_the_map_is_another(folder, run):
    source = segment(folder)
    draw(folder / "scene.tif", bands=5, photometric="MINISBLACK", paint=np.ndarray.sort)
    again = ("rerun", source, "--overwrite", "--raster", folder / "scene.tif")
    code, out, err = run(*again)
    assert (code, out) == (1, "")
    assert f"map_rerun.gpkg: not the same as {source}" in err
    code, out, _ = run(*again, "--json")
    assert code == 1
    assert json.loads(out.splitlines()[-1])["same"] == "nothing"


def test_the_command_exports(folder, run):
    source = segment(folder)
    code, out, err = run("export", source, "--to", folder / "map.fgb")
    assert (code, out) == (0, "")
    assert err.strip() == f"{len(gpd.read_file(folder / 'map.fgb'))} polygons in {folder}/map.fgb"
    for to, said in (("map.shp", "no known format"), ("map.json", "may be of two formats")):
        code, out, err = run("export", source, "--to", folder / to)
        assert (code, out) == (2, "")
        assert said in err
        assert err.count("\n") == 1
    code, _, err = run("export", folder / "area.gpkg", "--to", folder / "x.fgb")
    assert (code, err.count("\n")) == (2, 1)
    assert "is no map of geoseg" in err
    code, _, _ = run("export", source, "--to", folder / "l.json", "--format", "coco", "--chips", 32)
    assert code == 0
    assert len(json.loads((folder / "l.json").read_text())["images"]) == 6
