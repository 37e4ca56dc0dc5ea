"""A command of the plugin is heard, ended, and never outlives the call."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from geoseg.qgis import process
from geoseg.qgis.command import CommandError
from geoseg.qgis.process import CancelledError, run_command

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-in command is of POSIX")

HEAD = """
import json, os, signal, subprocess, sys, time
def say(**event): print(json.dumps(event), flush=True)
open(os.environ["PID_FILE"], "w").write(str(os.getpid()))
"""


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Run a stand-in for the command; returns its result and what was told."""
    monkeypatch.setattr(process, "_PIPES_S", 0.3)
    told = []

    def run(body: str, cancelled=lambda: False, tell=told.append):
        path = tmp_path / "geoseg"
        path.write_text(f"#!{sys.executable}\n{HEAD}{body}")
        path.chmod(0o755)
        environ = {**os.environ, "PID_FILE": str(tmp_path / "pid")}
        try:
            return run_command(
                str(path), ["segment", "--", "a"], environ, tell=tell, cancelled=cancelled
            ), told
        finally:
            assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))

    return run


def cancels(folder: Path):
    """Return what cancels once the stand-in is ready."""
    return (folder / "ready").exists


def test_events_are_told_in_order_and_the_result_is_returned(call):
    result, told = call(
        "say(event='hello', version='1')\nprint('no event')\nprint('wait', file=sys.stderr)\n"
        "say(event='progress', args=sys.argv[1:])\nsay(event='result', features=3)\nsys.exit(1)"
    )
    assert result == {"event": "result", "features": 3}
    kinds = [e["event"] for e in told]
    assert [k for k in kinds if k != "said"] == ["hello", "progress", "result"]
    assert {"event": "said", "message": "wait"} in told
    args = next(e["args"] for e in told if e["event"] == "progress")
    assert args == ["segment", "--json", "--watch-stdin", "--", "a"]


def test_of_a_bar_that_overwrites_itself_the_last_state_is_told(call):
    _, told = call("sys.stderr.write('1%\\r50%\\r100%\\n')\nsay(event='result')")
    assert [e["message"] for e in told if e["event"] == "said"] == ["100%"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("say(event='hello')\nsay(event='error', message='no such word')\nsys.exit(2)",
         "^no such word$"),
        ("print('Error: No such option: --watch-stdin', file=sys.stderr)\nsys.exit(2)",
         "is older than this plugin; upgrade it"),
        ("print('Usage: x\\n\\nError: No such option: --tiels', file=sys.stderr)\nsys.exit(2)",
         "^No such option: --tiels$"),
        ("print('Traceback\\nKeyError: 3', file=sys.stderr)\nsay(event='hello')\nsys.exit(1)",
         "ended with exit code 1 and without a result; it said last: KeyError: 3"),
        ("print('WARNING: dim\\nerror: no such file: a', file=sys.stderr)\nsys.exit(2)",
         "^no such file: a$"),
        ("say(event='hello')\nos.kill(os.getpid(), 9)", "exit code -9 .* it said last: nothing"),
        ("sys.exit(5)", r"does not work as the command geoseg \(exit code 5, it said: nothing\)"),
    ],
)  # fmt: skip
def test_without_a_result_one_line_says_why(call, body, words):
    with pytest.raises(CommandError, match=words) as caught:
        call(body)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_started_is_one_line(tmp_path):
    with pytest.raises(CommandError, match="cannot be started"):
        run_command(str(tmp_path / "no"), ["x"], os.environ, tell=print, cancelled=lambda: False)


LASTS = "import pathlib\npathlib.Path(__file__).with_name('ready').touch()\ntime.sleep(60)"


def test_cancelling_ends_it_in_order(call, tmp_path):
    began = time.monotonic()
    with pytest.raises(CancelledError):
        call(
            "def end(*_):\n    open(__file__ + '.end', 'w').close()\n    sys.exit(130)\n"
            f"signal.signal(signal.SIGTERM, end)\n{LASTS}",
            cancelled=cancels(tmp_path),
        )
    assert time.monotonic() - began < 10
    assert (tmp_path / "geoseg.end").exists()


def test_one_that_is_deaf_is_killed_after_a_while(call, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "_GRACE_S", 0.2)
    with pytest.raises(CancelledError):
        call(f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{LASTS}", cancels(tmp_path))


def test_an_error_of_the_listener_ends_it(call):
    def refuse(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call("say(event='hello')\ntime.sleep(60)", tell=refuse)


def test_a_grandchild_that_holds_the_pipes_is_not_waited_for(call, tmp_path):
    began = time.monotonic()
    result, _ = call(
        "child = subprocess.Popen(['sleep', '20'])\n"
        "open(__file__ + '.child', 'w').write(str(child.pid))\nsay(event='result')"
    )
    psutil.Process(int((tmp_path / "geoseg.child").read_text())).kill()
    assert result == {"event": "result"}
    assert time.monotonic() - began < 10
