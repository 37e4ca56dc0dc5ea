"""Which key does what is a table, and nothing is done by what is typed into a field."""

import pytest

from geoseg.interactive.keys import POINTING, REDRAWING, REVIEWING, action

TABLES = (POINTING, REVIEWING, REDRAWING)


def key(name, tag="DIV", **held):
    return {"type": "keydown", "key": name, "target": {"tagName": tag}, **held}


@pytest.mark.parametrize(
    ("table", "event", "want"),
    [
        (POINTING, key("Enter"), "accept"),
        (POINTING, key("u"), "undo"),
        (POINTING, key("U", shiftKey=True), "undo"),
        (POINTING, key("z", ctrlKey=True), "undo"),
        (POINTING, key("z", metaKey=True), "undo"),
        (POINTING, key("z"), None),
        (POINTING, key("Escape"), "clear"),
        (POINTING, key("b"), "box"),
        (REVIEWING, key("a"), "accept"),
        (REVIEWING, key("a", ctrlKey=True), None),
        (REVIEWING, key("a", altKey=True), None),
        (REVIEWING, key("r"), "reject"),
        (REVIEWING, key("ArrowRight"), "next"),
        (REVIEWING, key("p"), "previous"),
        (REVIEWING, key("9"), "relabel 9"),
        (REVIEWING, key("0"), None),
        (REVIEWING, key("d"), "redraw"),
        (REDRAWING, key("Enter"), "take"),
        (REDRAWING, key("Escape"), "leave"),
        (REDRAWING, key("a"), None),
        (REDRAWING, {}, None),
    ],
)
def test_a_key_does_what_the_table_says(table, event, want):
    assert action(table, event) == want


@pytest.mark.parametrize("tag", ["INPUT", "TEXTAREA", "SELECT", "input"])
def test_what_is_typed_does_nothing(tag):
    assert not [k for table in TABLES for k in table if action(table, key(k, tag)) is not None]


def test_a_key_that_is_held_down_counts_once():
    assert action(REVIEWING, key("a", repeat=True)) is None
