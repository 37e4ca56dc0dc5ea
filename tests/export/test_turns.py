"""A turn is whole or not there, and leaves no lock behind."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from scripts import benchmark

from geoseg.errors import MapError, OutputError
from geoseg.export import held, turns
from geoseg.export.turns import Turns

BENCH = benchmark("review")
ALL = "UPDATE features SET class = 'hut'"


@pytest.fixture
def path(tmp_path):
    return BENCH.draw_map(tmp_path / "map.gpkg", 5)


@pytest.fixture
def opened(monkeypatch):
    """Return the connections that are opened."""
    found = []

    def connect(path):
        found.append(held.connect(path, 0.05))
        return found[-1]

    monkeypatch.setattr(turns, "connect", connect)
    return found


def is_open(db) -> bool:
    try:
        db.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return False
    return True


def classes(path) -> set[str]:
    with closing(sqlite3.connect(path)) as db:
        return {name for (name,) in db.execute("SELECT class FROM features")}


def test_one_connection_is_kept_and_goes_when_it_is_closed(path, opened):
    mine = Turns(path)
    for _ in range(3):
        with mine.change() as db, mine.look() as same:
            assert db is same
            db.execute(ALL)
    assert len(opened) == 1
    mine.close()
    assert not is_open(opened[0])
    assert classes(path) == {"hut"}
    with pytest.raises(MapError, match="was closed; open it again"), mine.look():
        pass


@pytest.mark.parametrize("error", [KeyboardInterrupt, sqlite3.OperationalError, MapError])
def test_what_is_broken_off_is_not_there(path, opened, error):
    before = path.read_bytes()
    mine = Turns(path)

    def break_off(db):
        db.execute(ALL)
        raise error("no more")

    with pytest.raises((error, OutputError)), mine.change() as db:
        break_off(db)
    assert path.read_bytes() == before
    assert not is_open(opened[0])
    with mine.change() as db:
        db.execute(ALL)
    assert classes(path) == {"hut"}


def test_where_there_is_a_log_nothing_stays_open(path, opened):
    mine = Turns(path)
    with mine.look() as db:
        db.execute("PRAGMA journal_mode = WAL")
    assert not is_open(opened[0])
    for _ in range(2):
        with mine.change() as db:
            db.execute(ALL)
        assert not any(map(is_open, opened))
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_only_what_others_write_is_a_change(path):
    mine, other = Turns(path), Turns(path)
    with mine.settle(), mine.change() as db:
        db.execute(ALL)
    assert not mine.is_changed()
    with mine.change() as db:
        db.execute(ALL)
    assert not mine.is_changed()
    with other.change() as db:
        db.execute("UPDATE features SET class = 'tree'")
    assert mine.is_changed()
    with mine.change() as db:
        db.execute("UPDATE features SET score = 0")
    assert mine.is_changed(), "not looked at yet"
    with pytest.raises(MapError), mine.settle():
        raise MapError("not now")
    assert mine.is_changed()
    with mine.settle():
        pass
    assert not mine.is_changed()
    mine.close()
    other.close()
