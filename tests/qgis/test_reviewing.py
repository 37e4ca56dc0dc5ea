"""A map is reviewed while somebody edits it in QGIS, and neither takes the other's word away."""

from __future__ import annotations

import json

import geopandas as gpd
import pytest
import shapely
from scripts import benchmark

import geoseg

BENCH = benchmark("review")
COUNT = 12
NEW = shapely.box(500_024, 4_999_974, 500_026, 4_999_976)
"""What is added in QGIS."""


def test_a_review_goes_on_over_what_is_done_in_qgis(qgis, tmp_path):
    path = BENCH.draw_map(tmp_path / "map.gpkg", COUNT)
    with geoseg.review(path, by="ann", order="id") as review:
        moved = review.go(4).geometry
        review.go(1)
        review.accept()
        review.reject()
        with qgis.talk("editing.py", path) as program:

            def heard():
                return json.loads(program.stdout.readline())

            before = heard()["before"]
            assert before["fields"][-3:] == ["review", "reviewed_by", "reviewed_at"]
            assert before["reviews"] == {"1": "accepted", "2": "rejected"}
            assert heard() == {"editing": True}
            # QGIS has the layer in edit mode, and has not saved yet.
            review.go(6)
            review.relabel("boat")
            assert review.accept().id == 8
            print(file=program.stdin, flush=True)
            assert heard() == {"saved": True, "errors": []}

            assert review.counts == {"accepted": 3, "rejected": 1, "edited": 1, "open": COUNT - 4}
            assert review.go(5).cls == "barn"
            assert review.reject().id == 8
            assert review.go(4).geometry.equals(shapely.affinity.translate(moved, 1000, 1000))
            assert review.accept().id == 8
            # A copy of what was accepted has its word, and an id of its own.
            copied, added = review.go(COUNT + 1), review.go(COUNT + 2)
            assert copied.review == "accepted"
            assert copied.geometry == review.go(1).geometry
            assert added.geometry.equals(NEW)
            assert added.area_ha == pytest.approx(4e-4, rel=1e-2)
            review.go(added.id)
            review.redraw(NEW.buffer(0.5))
            print(file=program.stdin, flush=True)
            after = heard()["after"]
    reviews = dict.fromkeys((1, 4, 7, COUNT + 1), "accepted")
    reviews |= {2: "rejected", 5: "rejected", 6: "edited", COUNT + 2: "edited"}
    assert {int(k): v for k, v in after["reviews"].items()} == reviews
    assert after["count"] == COUNT + 1
    assert after["near"] == ["hut"]
    far = shapely.affinity.translate(moved, 1000, 1000).bounds
    # QGIS takes it from the index, which has single precision.
    assert after["extent"] == pytest.approx(far[2:], abs=0.5)
    assert after["classes"] == ["hut", "tree", "boat"]
    found = gpd.read_file(path, layer="features").set_index("id")
    assert 3 not in found.index
    assert found["review"].dropna().to_dict() == reviews
    assert BENCH.is_sound(path, COUNT + 1)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
