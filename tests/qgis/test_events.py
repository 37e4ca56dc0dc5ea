"""What does the plugin make of what the command says?"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.qgis import events


@given(
    st.text() | st.from_type(type(None)).map(json.dumps) | st.lists(st.integers()).map(json.dumps)
)
def test_a_line_that_is_no_event_is_none(line):
    assert events.parse(line) is None
    event = {"event": "log", "message": line}
    assert events.parse(json.dumps(event)) == event


@given(st.lists(st.integers(1, 50), min_size=3, max_size=3))
def test_the_bar_only_moves_forward_from_0_to_100(totals):
    told = [
        {"event": "progress", "step": step, "done": done, "total": total}
        for step, total in zip(("detect", "stitch", "write"), totals, strict=True)
        for done in range(total + 1)
    ]
    bar = [events.percent(event) for event in told]
    assert bar == sorted(bar)
    assert (bar[0], bar[-1]) == (0, 100)


def test_a_step_of_nothing_is_done_and_an_unknown_one_moves_nothing():
    assert events.percent({"step": "write", "done": 0, "total": 0}) == 100
    assert events.percent({"step": "dream", "done": 1, "total": 2}) is None
    assert events.percent({"event": "hello"}) is None


@pytest.mark.parametrize(
    ("left", "words"),
    [(None, ""), (0.2, ""), (40, ", about 40 s left"), (600, ", about 10 min left"),
     (12000, ", about 3 h 20 min left")],
)  # fmt: skip
def test_progress_says_how_long_it_takes(left, words):
    event = {"step": "detect", "done": 3, "total": 16, "seconds_left": left}
    assert events.progress_text(event) == f"detect: 3 of 16{words}"


RESULT = {"event": "result", "features": 5, "tiles": 40, "failed": {}, "notes": {}, "models": []}


def test_a_complete_map_misses_nothing():
    assert list(events.missing(RESULT)) == []
    assert list(events.summary(RESULT)) == ["5 polygons from 40 tiles"]


def test_tiles_that_are_missing_are_named_with_their_reasons():
    failed = {f"r{k}": f"cannot read {k}" for k in range(25)}
    head, *lines, rest, hint = events.missing({**RESULT, "failed": failed})
    assert head.startswith("the map is incomplete: 25 of 40 tiles failed")
    assert lines == [f"  r{k}: cannot read {k}" for k in range(20)]
    assert rest == "  and 5 others"
    assert "--retry-failed" in hint


def test_notes_are_counted_by_tile_and_weights_are_told():
    notes = {"r0": ["dim", "dim"], "r1": ["dim", "at the left"]}
    models = [{"source": "x/y", "licence": "MIT"}]
    assert list(events.summary({**RESULT, "notes": notes, "models": models}))[1:] == [
        "weights of x/y: MIT",
        "2 tiles: dim",
        "1 tile: at the left",
    ]
