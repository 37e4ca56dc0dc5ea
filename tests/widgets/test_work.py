"""What is asked is done in order, and nothing that goes wrong stops the rest."""

import threading
import time

from geoseg.errors import ConfigError
from geoseg.widgets.desk import Desk
from geoseg.widgets.work import Work

SOON_S = 20


def made():
    failed, told = [], []
    work = Work(failed.append, lambda: told.append(1))
    return work, failed, told


def test_it_is_done_in_order_in_another_thread():
    work, failed, told = made()
    done, where = [], set()
    for k in range(50):
        work.do(lambda k=k: (done.append(k), where.add(threading.get_ident())))
    assert work.wait(SOON_S)
    assert done == list(range(50))
    assert where != {threading.get_ident()}
    assert len(where) == 1
    assert not failed
    assert told


def test_what_waits_is_counted_and_the_asker_goes_on():
    work, _, _ = made()
    gate, begun = threading.Event(), threading.Event()
    work.do(lambda: (begun.set(), gate.wait(SOON_S)))
    assert begun.wait(SOON_S)
    for _ in range(3):
        work.do(lambda: None)
    assert work.waiting == 3
    assert work.is_busy
    assert not work.wait(0.01)
    gate.set()
    assert work.wait(SOON_S)
    assert work.waiting == 0


def test_only_the_last_of_many_looks_is_done():
    work, _, _ = made()
    done = []
    for k in range(20):
        work.do_last(lambda k=k: done.append(k), 0.05)
    assert work.wait(SOON_S)
    assert done[-1] == 19
    assert len(done) < 20


def test_what_fails_is_told_in_one_line_and_the_rest_is_done(caplog):
    work, failed, _ = made()
    done = []

    def refuse():
        raise ConfigError("it is outside")

    work.do(refuse)
    work.do(lambda: 1 / 0)
    work.do(lambda: done.append(1))
    assert work.wait(SOON_S)
    assert failed == ["it is outside", "unexpected ZeroDivisionError: division by zero"]
    assert done == [1]
    assert [r.message for r in caplog.records] == ["a widget failed"]


def test_a_widget_that_was_closed_does_not_end_the_work(caplog):
    calls = []

    def changed():
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("comm closed")

    def failed(_):
        raise RuntimeError("comm closed")

    work, done = Work(failed, changed), []
    work.do(lambda: done.append(1))
    assert work.wait(SOON_S)
    work.do(lambda: 1 / 0)
    work.do(lambda: done.append(2))
    assert work.wait(SOON_S)
    assert done == [1, 2]
    assert [r.message for r in caplog.records].count("a widget could not be told") == 2


def test_who_waits_reads_what_was_said():
    slow = []

    def changed():
        if not work.is_busy:
            time.sleep(0.05)
            slow.append(1)

    work = Work(slow.append, changed)
    work.do(lambda: None)
    assert work.wait(SOON_S)
    assert slow == [1]


def test_a_desk_that_was_waited_for_shows_its_line():
    for k in range(50):
        desk = Desk()
        desk.do(lambda k=k: f"done {k}")
        assert desk.wait(SOON_S)
        assert f"done {k}" in desk.line.value
