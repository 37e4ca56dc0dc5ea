"""The benchmark runs, and finds no difference to what it compares with."""

import pytest
from scripts import benchmark

pytest.importorskip("pycocotools", reason="pycocotools is not installed")

BENCHMARK = benchmark("evaluate")


def test_figures_are_those_of_pycocotools_and_of_the_definition():
    found = BENCHMARK.agreement(2)
    assert found["max_difference_ap"] < 1e-9
    assert found["max_difference_pq"] < 1e-9


def test_the_command_is_measured():
    found = BENCHMARK.cost(50)
    assert found["polygons"] == 50
    assert found["peak_mb"] > 0
    assert 0 < found["AP"] < found["PQ"] < 1
