"""What a review said is heeded: a map reads as if what is left out had been deleted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from scripts import benchmark

from geoseg.analysis import accuracy, evaluate, report, sample, stats
from geoseg.analysis.design import Plan
from geoseg.convert import Wishes, export
from geoseg.errors import ConfigError, MapError
from geoseg.export.edit import Editor
from geoseg.export.read import open_map
from geoseg.reviewed import ONLY, STATES, keeps

BENCH = benchmark("review")
COUNT = 30
SAID = {k: (*STATES, None)[k % 4] for k in range(1, COUNT + 1)}
FORMS = pytest.mark.parametrize("only", ONLY)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return maps: `whole`, reviewed in part, and for each --only one without the others."""
    found = tmp_path_factory.mktemp("maps")
    BENCH.draw_map(found / "new.gpkg", COUNT)
    shutil.copy(found / "new.gpkg", found / "whole.gpkg")
    with Editor(found / "whole.gpkg") as editor:
        for number, state in SAID.items():
            if state is not None:
                editor.change(number, review=state)
    for only in ONLY:
        shutil.copy(found / "whole.gpkg", found / f"{only}.gpkg")
        with Editor(found / f"{only}.gpkg") as editor:
            for number, state in SAID.items():
                if not keeps(state, only):
                    editor.remove(number)
    export(found / "whole.gpkg", found / "whole.parquet")
    export(found / "whole.gpkg", found / "whole.geojson")
    return found


@pytest.fixture
def whole(folder):
    return folder / "whole.gpkg"


def left(only: str) -> list[int]:
    return [number for number, state in SAID.items() if keeps(state, only)]


@FORMS
def test_a_map_reads_as_if_the_others_were_not_there(folder, whole, only):
    for path in (whole, folder / "whole.parquet"):
        found = open_map(path).reviewed(only)
        assert found.count == len(left(only))
        assert [n for b in found.batches() for n in b.column("id").to_pylist()] == left(only)
        assert [n for (n,) in found.columns("id")] == left(only)
        assert found.rejected() == 0
        assert open_map(path).rejected() == len([s for s in SAID.values() if s == "rejected"])


@FORMS
def test_numbers_are_those_of_the_rest(folder, whole, only, caplog):
    rest, frame = folder / f"{only}.gpkg", gpd.read_file(whole, layer="features")
    for layer in (whole, folder / "whole.parquet"):
        pd.testing.assert_frame_equal(stats(layer, only=only), stats(rest))
    pd.testing.assert_frame_equal(
        stats(frame, only=only), stats(frame[frame["id"].isin(left(only))])
    )
    counted = stats(folder / "whole.geojson", only=only)
    assert counted["count"].sum() == len(left(only))
    plan = Plan(n=60, seed=3)
    drawn, wanted = sample(whole, plan, only=only), sample(rest, plan)
    assert drawn.points.drop(columns="geometry").equals(wanted.points.drop(columns="geometry"))
    filled = drawn.points.assign(reference=drawn.points["map_class"])
    found = accuracy(whole, filled, design=drawn.design, only=only)
    assert found.overall == 1
    assert not found.notes
    reference = gpd.read_file(rest, layer="features")
    judged = evaluate(whole, reference, only=only)
    assert judged.table.equals(evaluate(rest, reference).table)
    assert judged.nested()["only"] == only
    assert not any("rejected" in line for line in caplog.messages)


@FORMS
@pytest.mark.parametrize("ending", [".gpkg", ".parquet", ".fgb", ".geojson"])
def test_exports_hold_the_rest(whole, tmp_path, only, ending):
    out = tmp_path / f"out{ending}"
    assert export(whole, out, Wishes(only=only)).count == len(left(only))
    read = gpd.read_parquet if ending == ".parquet" else gpd.read_file
    found = read(out, **({"layer": "features"} if ending == ".gpkg" else {})).set_index("id")
    assert sorted(found.index) == left(only)
    assert {k: None if pd.isna(v) else v for k, v in found["review"].items()} == {
        k: SAID[k] for k in left(only)
    }


@FORMS
def test_pixels_and_labels_are_those_of_the_rest(folder, whole, tmp_path, only):
    rest = folder / f"{only}.gpkg"
    for name in ("out.tif", "coco.json"):
        export(whole, tmp_path / name, Wishes(only=only))
        export(rest, tmp_path / f"rest_{name}", Wishes(format="coco" if "json" in name else None))
    seen = [rasterio.open(tmp_path / name).read() for name in ("out.tif", "rest_out.tif")]
    assert np.array_equal(*seen)
    labels = [json.loads((tmp_path / n).read_text()) for n in ("coco.json", "rest_coco.json")]
    assert len(labels[0]["annotations"]) == len(left(only))
    assert labels[0]["annotations"] == labels[1]["annotations"]


def test_a_project_shows_the_file_itself(whole, tmp_path):
    for name in ("map.qgz", "stac.json"):
        with pytest.raises(ConfigError, match=r"--only is for GPKG.* leave it out"):
            export(whole, tmp_path / name, Wishes(only="kept"))


@FORMS
def test_a_report_says_what_it_counts(whole, tmp_path, only):
    made = report(whole, tmp_path / "page.html", picture=False, only=only)
    page = made.path.read_text()
    said = {"accepted": "accepted or put right", "kept": "no reviewer rejected"}
    assert f"those alone count that {'a reviewer ' * (only == 'accepted')}{said[only]}" in page
    assert f"{len(left(only))}</dd>" in page


def test_what_was_rejected_and_counts_is_told_once(whole, tmp_path, caplog):
    rejected = len([state for state in SAID.values() if state == "rejected"])
    told = f"{rejected} of the {COUNT} polygons of {whole} were rejected in a review, and count "
    points = sample(whole, Plan(n=60))
    filled = points.points.assign(reference=points.points["map_class"])
    reference = gpd.read_file(whole, layer="features")
    for step in (
        lambda: stats(whole),
        lambda: sample(whole, Plan(n=60)),
        lambda: accuracy(whole, filled, design=points.design),
        lambda: evaluate(whole, reference),
        lambda: report(whole, tmp_path / "page.html", points=filled, picture=False),
        lambda: export(whole, tmp_path / "out.tif"),
    ):
        caplog.clear()
        step()
        heard = [line for line in caplog.messages if "rejected" in line]
        assert heard == [f"{told}nevertheless; pass --only kept to leave them out"]
    page = (tmp_path / "page.html").read_text()
    assert f"{rejected} of its polygons were rejected in a review, and count" in page
    caplog.clear()
    export(whole, tmp_path / "coco.json", Wishes(only="kept"))
    assert not caplog.messages


@FORMS
def test_a_map_that_nobody_looked_at_is_refused(folder, tmp_path, only):
    new, said = folder / "new.gpkg", r"not been reviewed: review it with geoseg\.review\('"
    frame = gpd.read_file(new, layer="features")
    for layer in (new, frame):
        for measure in (stats, sample):
            with pytest.raises(MapError, match=said):
                measure(layer, only=only)
    with pytest.raises(MapError, match=said):
        evaluate(new, frame, only=only)
    with pytest.raises(MapError, match=said):
        report(new, tmp_path / "page.html", only=only)
    with pytest.raises(MapError, match=said):
        export(new, tmp_path / "out.gpkg", Wishes(only=only))
    assert list(tmp_path.iterdir()) == []


def test_all_may_be_rejected_but_of_what_is_accepted_there_must_be_some(folder, tmp_path):
    path = Path(shutil.copy(folder / "new.gpkg", tmp_path))
    with Editor(path) as editor:
        for number in range(1, COUNT + 1):
            editor.change(number, review="rejected")
    assert stats(path, only="kept")["count"].sum() == 0
    with pytest.raises(MapError, match="no polygon that somebody accepted: review it"):
        stats(path, only="accepted")


def test_what_is_rejected_need_not_be_whole(folder, tmp_path):
    path = Path(shutil.copy(folder / "new.gpkg", tmp_path))
    with Editor(path) as editor:
        editor.change(4, **{"class": None, "review": "rejected"})
    with pytest.raises(MapError, match=r"feature 4 of .* has no class"):
        stats(path)
    assert stats(path, only="kept")["count"].sum() == COUNT - 1


@pytest.mark.parametrize("command", ["stats", "sample", "accuracy", "evaluate", "report", "export"])
def test_each_command_knows_it(folder, tmp_path, run, command):
    whole, out = folder / "whole.gpkg", tmp_path / "out.gpkg"
    points = tmp_path / "points.gpkg"
    code, _, err = run("sample", whole, "--out", points, "--n", "60", "--only", "kept")
    assert code == 0, err
    assert err.rstrip().endswith(f"accuracy {whole} {points} --only kept")
    filled = gpd.read_file(points, layer="points").assign(reference="tree")
    filled.to_file(tmp_path / "filled.gpkg")
    arguments = {
        "stats": ("--json",),
        "sample": ("--out", out, "--n", "60"),
        "accuracy": (tmp_path / "filled.gpkg", "--json"),
        "evaluate": (f"{folder / 'kept.gpkg'}|layername=features", "--json"),
        "report": ("--out", tmp_path / "page.html", "--no-picture"),
        "export": ("--to", out),
    }[command]
    code, out_, err = run(command, whole, *arguments, "--only", "kept")
    assert code == 0, err
    assert "rejected in a review" not in err
    if command == "stats":
        assert sum(row["count"] for row in json.loads(out_)["rows"]) == len(left("kept"))
    if command == "evaluate":
        assert json.loads(out_)["only"] == "kept"
    for made in (out, tmp_path / "page.html"):
        made.unlink(missing_ok=True)
    code, _, err = run(command, whole, *arguments, "--only", "edited")
    assert code == 2
    assert "--only 'edited' is none of: accepted, kept" in err
