"""How fast is a step, and who hears of it how often?"""

from __future__ import annotations

import time

import pytest

from geoseg.progress import Pace, Watch, paced


def test_what_an_earlier_run_did_does_not_count(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    pace = Pace(500)
    clock[0] = 110.0
    assert pace.per_second is None
    pace.reach(520)
    assert pace.per_second == pytest.approx(2)
    assert pace.seconds_left(600) == pytest.approx(40)


def test_nothing_is_said_before_there_is_something_to_judge_by():
    assert Pace(3).seconds_left(10) is None


def test_a_step_is_told_at_most_every_so_often_and_when_it_ends():
    told = []
    tell = paced(lambda *said: told.append(said[:3]), every_s=1000)
    for done in range(5):
        tell("detect", done, 4)
    tell("write", 0, 0)
    assert told == [("detect", 0, 4), ("detect", 4, 4), ("write", 0, 0)]


def test_a_watch_tells_all_and_then_checks():
    said = []
    watch = Watch(
        lambda *a: said.append(("a", *a)),
        None,
        lambda *a: said.append(("b", *a)),
        check=lambda: said.append("checked"),
    )
    watch("detect", 1, 2)
    assert said == [("a", "detect", 1, 2), ("b", "detect", 1, 2), "checked"]
    assert watch.seconds["detect"] >= 0
