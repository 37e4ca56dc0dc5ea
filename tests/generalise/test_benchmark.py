"""The benchmark's short form: no fault of a map escapes it, and geoseg's has none."""

from __future__ import annotations

from scripts import benchmark

from geoseg.config import Finish

FAULTS = ("invalid", "gaps", "overlaps", "gap_px", "overlap_px")


def test_generalised_maps_have_no_faults_where_single_polygons_have():
    bench = benchmark("generalise")
    found = bench.measure(150, Finish(simplify="2px"))
    assert found["polygons"] > 75
    assert [found[name] for name in FAULTS] == [0] * len(FAULTS)
    assert found["vertices_after"] < found["vertices_before"] / 2
    assert max(abs(drift) for drift in found["area_drift_percent"].values()) < 5
    assert found["same_for_two_tilings"]
    assert found["per_polygon"]["gap_px"] > 100
    assert found["per_polygon"]["overlap_px"] > 100
