"""From a real tile and words to a map, with tiny models: files, classes, scores, provenance."""

from __future__ import annotations

import json
import signal
import sys

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
import torch

import geoseg
from geoseg import LandClass, Legend, cli
from geoseg.backends.models import sam2
from geoseg.config import ModelOptions
from geoseg.demo import sample_tile
from geoseg.errors import ResumeMismatchError

TREES = "rgb_trees_florida.tif"
CUT = {"tile": 256, "overlap": 96}
CPU = ModelOptions(device="cpu")
LEGEND = Legend(
    classes=[
        LandClass(name="tree", prompts=("tree", "small tree with grass, and bare soil")),
        LandClass(name="building", threshold=0.2),
    ]
)


@pytest.fixture
def pair(saved) -> str:
    return f"grounding-dino:{saved('grounding-dino')}+sam:{saved('sam')}"


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command in this process; returns exit code, stdout and stderr."""
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["geoseg", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as done:
            cli.main()
        out, err = capsys.readouterr()
        return int(done.value.code or 0), out, err

    yield call
    for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
        signal.signal(number, handler)


def segment(backend, out=None, **options):
    source = sample_tile(TREES)
    legend = options.pop("legend", LEGEND)
    return geoseg.segment(source, legend, out=out, backend=backend, models=CPU, **CUT, **options)


def test_the_command_makes_a_map_that_says_what_made_it(run, pair, saved, tmp_path):
    out = tmp_path / "map.gpkg"
    code, text, err = run(
        "segment", sample_tile(TREES), "--prompt", "tree, building; solar panel", "--device", "cpu",
        "--backend", pair, "--tile", 256, "--overlap", 96, "--out", out, "--json",
    )  # fmt: skip
    assert (code, err) == (0, "")
    found = gpd.read_file(out, layer="features")
    assert len(found) == json.loads(text.splitlines()[-1])["features"] > 10
    assert set(found["class"]) <= {"tree", "building", "solar panel"}
    assert found["class"].nunique() > 1
    # The detector's own threshold, as none is given.
    assert found.score.between(0.25, 1).all()
    assert (found.area_ha > 0).all()
    assert shapely.is_valid(found.geometry).all()
    whole = shapely.box(*gpd.read_file(out, layer="features").total_bounds)
    assert whole.area > 0
    recipe = json.loads(pyogrio.read_info(out, layer="features")["layer_metadata"]["geoseg"])
    detector, segmenter = recipe["models"]
    assert json.loads(text.splitlines()[-1])["models"] == recipe["models"]
    assert (detector["family"], segmenter["family"]) == ("grounding-dino", "sam")
    assert detector["source"] == str(saved("grounding-dino"))
    assert len(segmenter["sha256"]) == 64
    assert segmenter["licence"] == "not stated beside the weights"
    assert detector["sha256"][:12] in recipe["backend"]
    assert segmenter["sha256"][:12] in recipe["backend"]


def test_python_workers_batches_and_a_second_run_give_the_same_map(pair, tmp_path):
    first = segment(pair, tmp_path / "a.gpkg").features()
    assert set(first["class"]) == {"tree", "building"}
    second = segment(pair, tmp_path / "b.gpkg").features()
    assert (tmp_path / "a.gpkg").read_bytes() == (tmp_path / "b.gpkg").read_bytes()
    assert second.equals(first)
    threads = torch.get_num_threads()
    several = segment(pair, workers=2).features()
    torch.set_num_threads(threads)
    assert len(several) == len(first)
    assert np.allclose(several.score, first.score, atol=1e-4)
    whole = shapely.union_all(first.geometry)
    assert shapely.union_all(several.geometry).symmetric_difference(whole).area < 0.01 * whole.area
    batched = segment(pair, batch=4).features()
    assert shapely.union_all(batched.geometry).symmetric_difference(whole).area < 0.01 * whole.area


def test_other_weights_do_not_continue_a_run(pair, saved, tmp_path):
    out = tmp_path / "map.gpkg"
    segment(pair, out, keep_run_folder=True)
    other = f"grounding-dino:{saved('grounding-dino')}+sam2:{saved('sam2')}"
    with pytest.raises(ResumeMismatchError, match="backend: "):
        segment(other, out, overwrite=True)


def test_a_run_with_embeddings_kept_encodes_nothing_and_makes_the_same_map(
    saved, tmp_path, monkeypatch
):
    looked = []
    encode = sam2.Sam2.encode
    monkeypatch.setattr(sam2.Sam2, "encode", lambda net, p: looked.append(len(p)) or encode(net, p))
    spec, kept = f"everything:sam2:{saved('sam2')}", tmp_path / "kept"
    keeping = CPU.model_copy(update={"cache": str(kept)})
    maps = [tmp_path / f"{name}.gpkg" for name in ("without", "cold", "warm")]
    counts = []
    for out, models in zip(maps, (CPU, keeping, keeping), strict=True):
        looked.clear()
        geoseg.segment(
            sample_tile(TREES), out=out, backend=spec, models=models, threshold=0.0, **CUT
        )
        counts.append(sum(looked))
    assert counts[0] == counts[1] == len(list(kept.iterdir())) > 1
    assert counts[2] == 0
    assert len({out.read_bytes() for out in maps}) == 1


def test_a_detector_alone_gives_boxes_and_their_outlines_lie_within(saved):
    backend = f"owlv2:{saved('owlv2')}"
    boxes = segment(backend, threshold=0.4).features()
    assert len(boxes) > 5
    areas = shapely.area(shapely.envelope(boxes.geometry.to_numpy()))
    # Where boxes of a class overlap, the better one keeps the pixels.
    assert (np.isclose(boxes.geometry.area, areas)).mean() > 0.3


@pytest.mark.parametrize("segmenter", ["sam", "sam-hq", "sam2", "edgetam", "segment-anything"])
def test_boxes_of_a_layer_are_outlined_and_everything_needs_no_words(segmenter, saved, tmp_path):
    family = segmenter.replace("segment-anything", "sam")
    raster = geoseg.open_raster(sample_tile(TREES))
    t = raster.frame.transform
    corners = [(40, 50, 90, 120), (200, 180, 280, 250), (300, 20, 380, 80)]
    shapes = [shapely.box(*(t @ (x0, y0)), *(t @ (x1, y1))) for x0, y0, x1, y1 in corners]
    layer = gpd.GeoDataFrame(
        {"class": ["hut", "barn", "hut"]}, geometry=shapes, crs=raster.frame.crs
    )
    layer.to_file(tmp_path / "huts.gpkg")
    spec = f"{family}:{saved(segmenter)}"
    found = segment(spec, legend=None, boxes=tmp_path / "huts.gpkg").features()
    assert set(found["class"]) <= {"hut", "barn"}
    assert len(found) > 0
    room = shapely.union_all(shapely.buffer(shapes, 0.1 * 60))
    assert found.within(room).all()
    run = segment(f"everything:{spec}", legend=None, threshold=0.0)
    assert run.complete
    assert set(run.features()["class"]) <= {"segment"}
