"""Every polygon comes once, in its order, and none that is open is forgotten."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import ConfigError
from geoseg.reviewed import STATES
from geoseg.reviewing.queue import OPEN, ORDERS, Queue, check_order

KNOWN = st.one_of(st.none(), st.integers(0, 3).map(float))
SAID = st.sampled_from([None, None, *STATES, "seen"])
ROWS = st.lists(
    st.tuples(st.integers(1, 50), KNOWN, KNOWN, SAID), max_size=12, unique_by=lambda row: row[0]
)


@given(rows=ROWS, order=st.sampled_from(ORDERS))
def test_the_order_is_that_of_a_plain_sort(rows, order):
    def key(row):
        number, score, area, _ = row
        if order == "id":
            return (number,)
        first = score if order == "score" else area and -area
        return (first is not None, first or 0, number)

    assert Queue(rows, order).ids.tolist() == [row[0] for row in sorted(rows, key=key)]


@given(rows=ROWS, start=st.integers(0, 11))
def test_whoever_decides_sees_each_open_one_once(rows, start):
    queue = Queue(rows, "score")
    open_ = {row[0] for row in rows if row[-1] not in STATES}
    if rows:
        queue.at = start % len(rows)
    queue.to_open()
    seen = []
    while queue.current is not None:
        seen.append(queue.current)
        queue.say(queue.current, "accepted")
        queue.to_open()
    assert sorted(seen) == sorted(open_)
    assert queue.counts()[OPEN] == 0
    assert sum(queue.counts().values()) == len(rows)


@given(rows=ROWS)
def test_steps_lead_through_all_and_stop_at_the_ends(rows):
    queue = Queue(rows, "id")
    forth = []
    for _ in range(len(rows) + 1):
        queue.step(1)
        forth.append(queue.current)
    ids = sorted(row[0] for row in rows)
    assert forth == ([*ids, ids[-1]] if ids else [None])
    for number in reversed(ids):
        assert queue.current == number
        queue.step(-1)
    assert queue.current == (ids[0] if ids else None)


def test_from_nowhere_one_steps_to_either_end():
    rows = [(k, None, None, "accepted") for k in (1, 2, 3)]
    queue = Queue(rows, "id")
    queue.step(1)
    assert queue.current == 1
    queue = Queue(rows, "id")
    queue.step(-1)
    assert queue.current == 3


def test_states_are_counted_as_they_are_said():
    queue = Queue([(1, 0.5, None, None), (2, 0.1, None, "edited"), (3, 0.2, None, "seen")], "score")
    assert queue.counts() == {"accepted": 0, "rejected": 0, "edited": 1, "open": 2}
    queue.say(1, "rejected")
    queue.say(99, "rejected")
    assert queue.counts() == {"accepted": 0, "rejected": 1, "edited": 1, "open": 1}
    assert queue.place(99) is None
    queue.say(1, None)
    assert queue.counts()["open"] == 2


def test_another_order_is_refused():
    with pytest.raises(ConfigError, match="order 'size' is none of: score, id, area"):
        check_order("size")
