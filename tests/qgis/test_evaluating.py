"""What a user of QGIS gets who asks how good a map is: figures, a table, one line when refused."""

from __future__ import annotations

import os

import geopandas as gpd
import pandas as pd
import pytest
import shapely

from geoseg import segment
from geoseg.qgis import events

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-in command is of POSIX")


@pytest.fixture(scope="module")
def layers(lakes, tmp_path_factory):
    """A map of two lakes; and a reference that knows only one of them, in another CRS."""
    folder = tmp_path_factory.mktemp("judged")
    out, reference = folder / "map.gpkg", folder / "reference.gpkg"
    segment(lakes, "water", out=out, sensor="naip")
    lake = shapely.box(500200, 5000000 - 600, 500700, 5000000 - 200)
    truth = gpd.GeoDataFrame({"kind": ["lake"]}, geometry=[lake], crs="EPSG:32633")
    truth.to_crs(4326).to_file(reference)
    return out, reference


def judge(qgis, layers, *extra: str):
    out, reference = layers
    return qgis.run(
        "run", "geoseg:evaluate", "--", f"MAP={out}|layername=features", f"REFERENCE={reference}",
        *extra,
    )  # fmt: skip


def test_the_figures_of_the_whole_map_are_results_and_the_table_is_a_file(qgis, layers, tmp_path):
    table, aoi = tmp_path / "table.csv", tmp_path / "area.gpkg"
    box = shapely.box(500000, 5000000 - 1200, 500800, 5000000)
    gpd.GeoDataFrame(geometry=[box], crs="EPSG:32633").to_file(aoi)
    done = judge(
        qgis, layers, "CLASS_FIELD=kind", "MATCH=lake=water", f"AOI={aoi}", "BOUNDARY=15m",
        "SEAM=10", "IOU=0.6", f"OUTPUT={table}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = qgis.results(done)
    assert found["OUTPUT"] == str(table)
    assert float(found["MIOU"]) > 0.99
    assert float(found["BOUNDARY_F1"]) == 1
    assert found["FAILED_TILES"] == "0"
    assert "AP" not in found
    assert "water (cover), whole: IoU 0.99" in done.stdout
    # One tile has no seams.
    assert "water (cover), seam: IoU -" in done.stdout
    rows = pd.read_csv(table)
    assert rows["IoU"][0] == pytest.approx(float(found["MIOU"]))
    everything = judge(qgis, layers, "CLASS=water")
    assert float(qgis.results(everything)["MIOU"]) < 0.6
    assert "OUTPUT" not in qgis.results(everything)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ((), "has no column 'class'"),
        (("CLASS=sea",), "no class of the map is in the reference: the map has water"),
        (("CLASS=water", "BOUNDARY=far"), "--boundary 'far': give a length, as 2px or 1.5m"),
    ],
)
def test_what_cannot_be_judged_is_one_line_of_the_command(qgis, layers, extra, message):
    done = judge(qgis, layers, *extra)
    assert done.returncode != 0
    assert message in done.stderr
    assert "does not work as the command" not in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_filtered_layer_is_refused(qgis, layers):
    out, reference = layers
    filtered = f"{reference}|layername=reference|subset=\"kind\" = 'lake'"
    done = qgis.run("run", "geoseg:evaluate", "--", f"MAP={out}", f"REFERENCE={filtered}")
    assert done.returncode != 0
    assert "the reference, layer 'reference', has edits that are not saved, or a filter" in (
        done.stdout + done.stderr
    )


def test_figures_without_a_value_are_no_results():
    cover = {"IoU": 0.5, "boundary_F1": None}
    result = {
        "failed_tiles": 2,
        "zones": {
            "whole": {
                "mean": {"cover": cover},
                "classes": {"water": {"kind": "cover", **cover, "right": 3}},
            }
        },
    }
    assert events.figures(result) == {"MIOU": 0.5, "FAILED_TILES": 2}
    assert list(events.judged(result)) == [
        "water (cover), whole: IoU 0.500, boundary_F1 -, right 3"
    ]
