"""The benchmark of many polygons writes what it says; its short form."""

from __future__ import annotations

import json
import sys

from scripts import benchmark

MILLION = benchmark("million")


def test_every_format_has_all_polygons(tmp_path):
    for way in MILLION.WAYS:
        assert MILLION.work(way, 50, tmp_path) == 50, way


def test_a_process_per_format_is_measured(monkeypatch, tmp_path, capsys):
    asked = ["million.py", "--count", "30", "--formats", ".fgb", "--json", "--folder"]
    monkeypatch.setattr(sys, "argv", [*asked, str(tmp_path)])
    assert MILLION.main() == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report) == [".gpkg", ".fgb"]
    for found in report.values():
        assert found["polygons"] == 30
        assert found["peak_mb"] >= found["start_mb"] > 10
    assert list(tmp_path.iterdir()) == []
