"""The command: exit codes, one clear line for bad input, nothing written."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasters import draw, mosaic

from geoseg import cli, config
from geoseg.backends import BUILT_IN, BackendInfo
from geoseg.backends.spectral import Spectral
from geoseg.interrupts import Interrupted

PROFILE = {"driver": "GTiff", "crs": "EPSG:32633", "transform": Affine(10, 0, 5e5, 0, -10, 5e6)}


def write(path: Path, data: np.ndarray, **extra: object) -> Path:
    count, height, width = data.shape
    size = {"count": count, "height": height, "width": width, "dtype": data.dtype}
    with rasterio.open(path, "w", **{**PROFILE, **size, **extra}) as target:
        target.write(data)
    return path


@pytest.fixture
def scene(tmp_path):
    """A lake in a meadow: red, green, blue, near infrared."""
    data = np.empty((4, 90, 120), np.uint8)
    data[:] = np.array([70, 110, 60, 190], np.uint8)[:, None, None]
    data[:, 20:60, 30:100] = np.array([30, 50, 60, 10], np.uint8)[:, None, None]
    return write(tmp_path / "scene.tif", data, photometric="MINISBLACK")


def test_a_map_is_made_and_reported(run, scene, tmp_path):
    out = tmp_path / "map.gpkg"
    code, _, err = run("segment", scene, "--prompt", "water, vegetation", "--out", out)
    assert code == 0
    assert "2 polygons" in err
    found = gpd.read_file(out, layer="features")
    water = found[found["class"] == "water"]
    assert water.area_ha.sum() == pytest.approx(40 * 70 * 100 / 1e4, rel=1e-3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["map.gpkg", "scene.tif"]


def test_several_rasters_or_a_folder_of_them_are_one(run, scene, tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    with rasterio.open(scene) as source:
        data, place = source.read(), source.transform
    parts = [
        write(
            folder / f"{x}.tif",
            data[..., x : x + 40],
            transform=place @ Affine.translation(x, 0),
            photometric="MINISBLACK",
        )
        for x in (0, 40, 80)
    ]
    maps = []
    for sources in ([scene], parts, [folder]):
        out = tmp_path / f"{len(maps)}.gpkg"
        assert run("segment", *sources, "--prompt", "water", "--out", out)[0] == 0
        maps.append(gpd.read_file(out, layer="features"))
    assert maps[0].equals(maps[1])
    assert maps[0].equals(maps[2])
    planned = [run("plan", *s, "--prompt", "water", "--json")[1] for s in ([scene], [folder])]
    assert planned[0] == planned[1]


def test_a_fourth_band_marked_alpha_is_near_infrared_if_the_user_says_so(run, scene, tmp_path):
    with rasterio.open(scene) as source:
        marked = write(tmp_path / "marked.tif", source.read(), photometric="RGB", alpha="YES")
    warned = run("segment", marked, "--prompt", "vegetation", "--out", tmp_path / "m.gpkg")
    assert "--sensor naip" not in warned[2]
    maps = []
    for path, options in ((scene, ()), (marked, ("--sensor", "naip"))):
        out = tmp_path / f"{path.stem}.gpkg"
        assert run("segment", path, "--prompt", "water", "--out", out, *options)[0] == 0
        maps.append(gpd.read_file(out, layer="features"))
    assert len(maps[0]) == 1
    assert maps[0].equals(maps[1])


def test_json_goes_to_stdout_as_events_and_the_result_is_last(run, scene, tmp_path):
    out = tmp_path / "map.fgb"
    code, text, _ = run("segment", scene, "--prompt", "water", "--out", out, "--json")
    hello, *progress, report = map(json.loads, text.splitlines())
    assert code == 0
    assert hello == {"event": "hello", "version": version("geoseg")}
    assert {e["event"] for e in progress} == {"progress", "log"}
    steps = [e for e in progress if e["event"] == "progress"]
    assert {e["step"] for e in steps if e["done"] == e["total"]} == {"detect", "stitch", "write"}
    assert report["event"] == "result"
    assert report["features"] == 1
    assert report["complete"] is True
    assert report["failed"] == {}


def test_what_was_too_small_is_counted_where_that_was_asked(run, tmp_path):
    data = np.empty((4, 90, 120), np.uint8)
    data[:] = np.array([70, 110, 60, 190], np.uint8)[:, None, None]
    for rows, cols in ((slice(20, 60), slice(30, 100)), (slice(80, 83), slice(5, 8))):
        data[:, rows, cols] = np.array([30, 50, 60, 10], np.uint8)[:, None, None]
    data[:, 40:42, 50:52] = 0
    scene = write(tmp_path / "scene.tif", data, photometric="MINISBLACK", nodata=0)
    ask = ("segment", scene, "--prompt", "water, vegetation", "--out", tmp_path / "map.fgb")
    _, _, err = run(*ask)
    assert "--min" not in err

    def holes() -> int:
        shapes = gpd.read_file(tmp_path / "map.fgb").geometry
        return sum(len(part.interiors) for shape in shapes for part in shape.geoms)

    lines = {}
    for tile in (40, 1024):
        counts = []
        for asked in ((), ("--min-hole", "20px")):
            again = ("--overwrite", "--min-area", "20px", "--tile", tile, "--overlap", 10)
            _, _, err = run(*ask, *again, *asked)
            counts.append(holes())
        assert counts[0] > counts[1]
        assert f"\n{counts[0] - counts[1]} holes below --min-hole were filled\n" in err
        lines[tile] = [line for line in err.splitlines() if "--min" in line]
    assert lines[40] == lines[1024]
    assert "1 polygons below --min-area were merged into neighbours, 0 were dropped" in err
    _, text, _ = run(*ask, "--overwrite", "--min-area", "20px", "--small", "drop", "--json")
    assert json.loads(text.splitlines()[-1])["sieved"] == {"merged": 0, "dropped": 1}


def test_what_a_backend_says_of_tiles_is_counted(run, scene, tmp_path, monkeypatch):
    answer = Spectral.segment

    def talk(self, tiles):
        said = [("dim",) if t.window.x0 else ("dim", "dim", "at the left") for t in tiles]
        return [replace(a, notes=n) for a, n in zip(answer(self, tiles), said, strict=True)]

    monkeypatch.setattr(Spectral, "segment", talk)
    ask = ("segment", scene, "--prompt", "water", "--tile", 80, "--overlap", 20, "--batch", 3)
    out = tmp_path / "map.fgb"
    _, _, err = run(*ask, "--out", out)
    assert "\n4 tiles: dim\n2 tiles: at the left\n" in err
    _, text, err = run(*ask, "--out", out, "--overwrite", "--json")
    assert "dim" not in err
    notes = json.loads(text.splitlines()[-1])["notes"]
    assert notes["r00000_c00000"] == ["dim", "dim", "at the left"]
    assert notes["r00001_c00001"] == ["dim"]


def test_plan_reads_no_pixels_and_writes_nothing(run, scene, tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a pixel was read")

    monkeypatch.setattr("geoseg.geotiff.GeoTiff.read", refuse)
    code, text, _ = run("plan", scene, "--prompt", "water", "--tile", 64, "--overlap", 16, "--json")
    assert code == 0
    plan = json.loads(text)
    assert (plan["tiles"], plan["width"], plan["height"]) == (6, 120, 90)
    assert list(tmp_path.iterdir()) == [scene]


def test_an_area_of_interest_in_another_crs_cuts_plan_and_map(run, scene, tmp_path):
    part = shapely.box(5e5 + 400, 5e6 - 500, 5e5 + 600, 5e6 - 300)
    layer = gpd.GeoDataFrame(geometry=[part], crs="EPSG:32633")
    layer.to_crs("EPSG:4326").to_file(tmp_path / "part.gpkg")
    asked = ("--prompt", "water", "--tile", 64, "--overlap", 48, "--aoi", tmp_path / "part.gpkg")
    code, text, _ = run("plan", scene, *asked, "--json")
    assert code == 0
    tiles = json.loads(text)["tiles"]
    code, text, _ = run("segment", scene, *asked, "--out", tmp_path / "map.gpkg", "--json")
    assert code == 0
    assert json.loads(text.splitlines()[-1])["tiles"] == tiles < 12
    found = gpd.read_file(tmp_path / "map.gpkg", layer="features")
    assert found.clipped.tolist() == [True]
    assert found.area.tolist() == pytest.approx([200 * 200], rel=1e-3)


def test_an_area_beside_the_raster_is_refused_in_one_line(run, scene, tmp_path):
    beside = shapely.box(7e5, 5e6, 7.1e5, 5.1e6)
    gpd.GeoDataFrame(geometry=[beside], crs="EPSG:32633").to_file(tmp_path / "part.gpkg")
    for command in (("plan",), ("segment", "--out", tmp_path / "map.gpkg")):
        asked = ("--prompt", "water", "--aoi", tmp_path / "part.gpkg")
        code, _, err = run(*command, scene, *asked)
        assert code == 2
        assert "does not overlap the raster: it lies in x 17.5" in err
        assert err.count("\n") == 1
    assert not (tmp_path / "map.gpkg").exists()


def test_backends_lists_words_and_what_is_missing(run, monkeypatch):
    missing = BackendInfo("dream", "dream.model:Dream", "dreams", "models", ("no_such_module_x",))
    monkeypatch.setattr("geoseg.backends.BUILT_IN", {**BUILT_IN, "dream": missing})
    code, listed, _ = run("backends")
    assert code == 0
    assert "river" in listed
    assert 'pip install "geoseg[models]"' in listed
    _, text, _ = run("backends", "--json")
    rows = {row["name"]: row for row in json.loads(text)}
    assert rows["spectral"]["installed"]
    assert not rows["dream"]["installed"]


def test_an_interrupt_that_a_library_turned_into_an_error_is_one(run, scene, tmp_path, monkeypatch):
    from geoseg.errors import OutputError

    def stop(*_: object, **__: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except Interrupted as cause:
            raise OutputError("cannot write: Error while accessing batch from stream") from cause

    monkeypatch.setattr("geoseg.run.segment", stop)
    code, _, err = run("segment", scene, "--prompt", "water", "--out", tmp_path / "map.gpkg")
    assert code == 130
    assert err.startswith("interrupted; what is done is kept")
    asked = ("segment", scene, "--prompt", "water", "--out", tmp_path / "map.gpkg", "--json")
    code, out, _ = run(*asked)
    last = json.loads(out.splitlines()[-1])
    assert (code, last["event"], last["code"]) == (130, "error", "Interrupted")
    assert last["exit_code"] == code


def test_the_version_is_told(run):
    from importlib.metadata import version

    code, out, _ = run("--version")
    assert (code, out.strip()) == (0, version("geoseg"))


def test_models_are_listed_and_shown_without_a_network(run, monkeypatch):
    monkeypatch.setattr("geoseg.backends.cache._of_hub", lambda _: {})
    code, listed, _ = run("models", "list")
    assert code == 0
    assert "sam3 " in listed
    assert "gated" in listed
    _, text, _ = run("models", "list", "--json")
    rows = {row["name"]: row for row in json.loads(text)}
    assert rows["sam2.1-tiny"]["repo"] == "facebook/sam2.1-hiera-tiny"
    code, shown, err = run("models", "show", "sam3")
    assert code == 0
    assert "no military use" in shown
    assert "the hub cannot be reached" in err
    _, text, _ = run("models", "show", "someone/else", "--json", "--offline")
    assert json.loads(text)["repo"] == "someone/else"


def test_fetching_prints_the_folder_alone(run, monkeypatch, tmp_path):
    asked = []

    def fetch(repo, revision, *, to, anew):
        asked.append((repo, revision, to, anew))
        return tmp_path

    monkeypatch.setattr("geoseg.backends.cache.fetch", fetch)
    code, out, _ = run("models", "fetch", "sam2@abc", "--to", tmp_path)
    assert (code, out.strip()) == (0, str(tmp_path))
    assert asked == [("facebook/sam2.1-hiera-tiny", "abc", tmp_path, True)]


SEGMENT = ("segment", "{scene}", "--out", "{folder}/map.gpkg")
WATER = (*SEGMENT, "--prompt", "water")


def of(raster: str, out: str = "{folder}/map.gpkg") -> tuple[str, ...]:
    return ("segment", raster, "--prompt", "water", "--out", out)


BAD = {
    "missing file": (of("{folder}/no.tif"), "no such file"),
    "not a raster": (of("{folder}/text.tif"), "not a raster"),
    "complex": (of("{folder}/complex.tif"), "complex"),
    "no prompt": (SEGMENT, "--prompt"),
    "two ways to ask": ((*WATER, "--legend", "landuse"), "both given"),
    "impossible position": (of("{folder}/nowhere.tif"), "outside its coordinate reference system"),
    "no prompts": ((*SEGMENT, "--legend", "{folder}/silent.toml"), "class 1 'a': prompts"),
    "empty prompt": ((*SEGMENT, "--prompt", " . , "), "no class name"),
    "unknown word": ((*SEGMENT, "--prompt", "watr"), "water"),
    "unknown word names the way out": ((*SEGMENT, "--prompt", "zebra crossing"), "--backend"),
    "duplicate": ((*SEGMENT, "--prompt", "Water, water"), "twice"),
    "threshold": ((*WATER, "--threshold", "1.5"), "--threshold"),
    "threshold nan": ((*WATER, "--threshold", "nan"), "--threshold"),
    "overlap too large": ((*WATER, "--tile", "64", "--overlap", "64"), "overlap 64"),
    "overlap negative": ((*WATER, "--overlap", "-1"), "overlap -1"),
    "tile zero": ((*WATER, "--tile", "0"), "--tile"),
    "tile word": ((*WATER, "--tile", "big"), "--tile"),
    "workers": ((*WATER, "--workers", "0"), "--workers"),
    "band that does not exist": ((*WATER, "--bands", "red=1,nir=9"), "1..4"),
    "band role": ((*WATER, "--bands", "rad=1"), "red"),
    "sensor": ((*WATER, "--sensor", "hubble"), "sentinel2"),
    "backend": ((*WATER, "--backend", "spectrl"), "spectral"),
    "legend file": ((*SEGMENT, "--legend", "{folder}/no.toml"), "landuse"),
    "legend field": (
        (*SEGMENT, "--legend", "{folder}/legend.toml"),
        "class 2 'lake': unknown field 'color'",
    ),
    "format": (of("{scene}", "{folder}/map.xyz"), ".gpkg"),
    "no folder": (of("{scene}", "{folder}/no/map.gpkg"), "does not exist"),
    "output is the input": (of("{folder}/same.gpkg", "{folder}/same.gpkg"), "input"),
    "output is there": (of("{scene}", "{folder}/there.gpkg"), "--overwrite"),
    "no words for a model": ((*SEGMENT, "--backend", "grounding-dino+sam2"), "--prompt"),
    "unknown model": ((*WATER, "--backend", "grounding-dno+sam2"), "'grounding-dino'"),
    "two segmenters": ((*WATER, "--backend", "sam+sam2"), "is not a detector and a segmenter"),
    "segmenter alone": ((*WATER, "--backend", "sam2"), "grounding-dino+sam2, give --boxes LAYER"),
    "everything of a detector": ((*SEGMENT, "--backend", "everything:owlv2"), "everything:sam2"),
    "everything of what proposes nothing": (
        (*SEGMENT, "--backend", "everything:grow"),
        "everything:sam2, or give --boxes",
    ),
    "boxes for a detector": (
        (*WATER, "--backend", "owlv2", "--boxes", "{folder}/same.gpkg"),
        "finds its own; use a segmenter alone",
    ),
    "weights of a backend without": ((*WATER, "--backend", "spectral:x"), "takes nothing after"),
    "nothing after the colon": ((*WATER, "--backend", "owlv2:"), "or owlv2:WEIGHTS"),
    "no weights": ((*WATER, "--backend", "owlv2:{folder}/none"), "no weights at"),
    "weights of another": ((*WATER, "--backend", "owlv2:sam-base"), "use --backend sam:sam-base"),
    "offline": ((*WATER, "--backend", "owlv2", "--offline"), "--offline forbids a download"),
    "device": ((*WATER, "--device", "gpu"), "--device 'gpu'"),
    "device not there": ((*WATER, "--backend", "owlv2", "--device", "cuda:9"), "cuda:9 is not"),
    "precision": ((*WATER, "--precision", "int8"), "--precision 'int8'"),
    "ground size": ((*WATER, "--gsd", "0"), "--gsd 0.0"),
    "no passes without words": (
        (*SEGMENT, "--backend", "everything:sam2", "--one-class-per-pass"),
        "--one-class-per-pass does nothing",
    ),
    "not heeded": ((*WATER, "--gsd", "0.5", "--compile"), "does not heed --compile, --gsd"),
    "cache of bands": ((*WATER, "--cache", "auto"), "'spectral' keeps no embeddings"),
    "cache of a detector": (
        (*WATER, "--backend", "owlv2", "--cache", "{folder}/kept"),
        "--cache does nothing; leave it out",
    ),
    "cache in a file": (
        (*SEGMENT, "--backend", "everything:sam2", "--cache", "{folder}/text.tif/kept"),
        "text.tif is no folder; give a folder that can be written, or auto",
    ),
    "cache size": ((*WATER, "--cache", "auto", "--cache-size", "lots"), "as 4GB or 500MB"),
    "cache size alone": ((*WATER, "--cache-size", "1GB"), "give that too, as --cache auto"),
    "cache without a name": ((*WATER, "--cache", ""), "give a folder, or auto"),
    "half precision of a net": (
        (*WATER, "--backend", "csmask", "--precision", "fp16"),
        "'csmask' does not heed --precision",
    ),
    "composite": ((*WATER, "--composite", "nir,red,swir1"), "has no band 'nir'"),
    "composite for bands": (
        (*WATER, "--composite", "nir,red,green", "--sensor", "naip"),
        "looks at bands, not at a picture",
    ),
    "composite of two": ((*WATER, "--composite", "nir,red"), "needs three roles"),
    "batch": ((*WATER, "--batch", "0"), "--batch"),
    "card": ((*WATER, "--backend", "onnx:{folder}/no.toml"), "model card"),
    "no card": ((*WATER, "--backend", "onnx"), "onnx:CARD.toml"),
    "mask": ((*WATER, "--mask-clouds", "csmusk"), "csmask"),
    "unknown weights": (("models", "show", "sam2.1-tiniest"), "did you mean 'sam2.1-tiny'"),
    "unknown option": ((*WATER, "--tiles", "64"), "--tile"),
    "demo folder": (("demo", "--folder", "{folder}/no"), "does not exist"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_line_and_nothing_written(run, scene, tmp_path, case):
    (tmp_path / "text.tif").write_text("hello")
    (tmp_path / "there.gpkg").write_text("precious")
    (tmp_path / "legend.toml").write_text(
        '[[class]]\nname = "forest"\n[[class]]\nname = "lake"\ncolor = "#0000ff"\n'
    )
    (tmp_path / "silent.toml").write_text('[[class]]\nname = "a"\nprompts = []\n')
    write(tmp_path / "complex.tif", np.zeros((1, 8, 8), np.complex64))
    far = Affine(10, 0, 5e8, 0, -10, 5e9)
    write(tmp_path / "nowhere.tif", np.zeros((3, 8, 8), np.uint8), transform=far)
    scene.rename(tmp_path / "same.gpkg")
    write(scene, np.zeros((4, 8, 8), np.uint8))
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    arguments, words = BAD[case]
    filled = [a.format(scene=scene, folder=tmp_path) for a in arguments]
    code, out, err = run(*filled)
    assert code == 2, err
    assert words in err
    assert "Traceback" not in err
    assert out == ""
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before
    message = [line for line in err.splitlines() if line.lower().startswith("error")]
    assert len(message) == 1


def test_a_read_error_costs_its_tile_and_exit_1(run, tmp_path):
    rng = np.random.default_rng(0)
    data = rng.integers(1, 255, (4, 256, 256)).astype(np.uint8)
    layout = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    path = write(tmp_path / "torn.tif", data, **layout)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * 0.8)])
    out = tmp_path / "map.gpkg"
    ask = ("segment", path, "--prompt", "water", "--out", out, "--tile", 64, "--overlap", 16)
    code, _, err = run(*ask)
    assert (code, out.exists()) == (2, False)
    assert "is truncated" in err
    code, _, err = run(*ask, "--keep-going")
    assert code == 1
    assert "failed" in err
    assert "Traceback" not in err
    failed = gpd.read_file(out, layer="failed_tiles")
    assert len(failed) > 0
    assert failed.reason.str.contains("cannot read").all()


def test_what_reaches_outside_is_for_trusted_input(run, tmp_path):
    (tmp_path / "in").mkdir()
    draw(tmp_path / "a.tif", bands=1, shape=(32, 32))
    page = mosaic(tmp_path / "in" / "m.vrt", ("../a.tif", 0))
    code, _, err = run("plan", page, "--prompt", "water")
    assert code == 2
    assert "outside its folder" in err
    assert run("plan", page, "--prompt", "water", "--trust-input")[0] == 0


def test_offline_is_for_rasters_too(run, tmp_path):
    out = tmp_path / "map.gpkg"
    address = "http://127.0.0.1:9/a.tif?token=SECRET"
    ask = ("segment", address, "--prompt", "water", "--out", out)
    for options, words in (
        (("--offline",), "--offline"),
        ((), "network"),
    ):
        code, _, err = run(*ask, *options)
        assert code == 2
        assert words in err
        assert "SECRET" not in err


def test_defaults_are_those_of_the_config():
    assert (cli.TILE, cli.OVERLAP) == (
        config.DEFAULT_TILE_PX,
        config.DEFAULT_OVERLAP_PX,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_is_130_and_continues_to_the_same_map(run, tmp_path, number):
    rng = np.random.default_rng(1)
    path = write(tmp_path / "scene.tif", rng.integers(1, 255, (4, 700, 700)).astype(np.uint8))
    out = tmp_path / "map.fgb"
    options = [
        "--prompt",
        "water, vegetation",
        "--tile",
        "64",
        "--overlap",
        "16",
        "--out",
        str(out),
    ]
    command = [sys.executable, "-m", "geoseg.cli", "segment", str(path), *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)  # noqa: S603
    tiles = tmp_path / "map.fgb.geoseg" / "tiles"
    for _ in range(600):
        if tiles.is_dir() and len(os.listdir(tiles)) > 20:  # noqa: PTH208
            break
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert not out.exists()
    kept = len(list(tiles.iterdir()))
    assert kept > 20
    assert run("segment", path, *options)[0] == 0
    again = out.read_bytes()
    assert run("segment", path, *options, "--overwrite")[0] == 0
    assert out.read_bytes() == again
