"""Does the fuzzer find nothing in a short time, and would it find what is there?"""

from __future__ import annotations

import signal

import pytest
from scripts import benchmark

from geoseg.legend import Legend


@pytest.fixture(scope="module")
def fuzz():
    return benchmark("fuzz")


@pytest.mark.parametrize(
    ("kind", "examples"),
    [("prompts", 100), ("legends", 60), ("names", 60), ("bands", 60), ("options", 60),
     ("paths", 60), ("cards", 30), ("layers", 60), ("files", 25)],
)  # fmt: skip
def test_no_input_makes_the_command_fall_over(fuzz, kind, examples):
    if kind == "cards":
        pytest.importorskip("onnx", reason="a card needs a net")
        pytest.importorskip("onnxruntime", reason="a card needs a net")
    found = fuzz.run(examples, 60, [kind])
    assert (found["tracebacks"], found["hangs"]) == (0, 0)
    assert found["inputs"] >= examples * fuzz.KINDS[kind][1] * 0.5


def test_a_planted_fault_is_found_and_made_small(fuzz, monkeypatch, capsys):
    sound = Legend.parse.__func__

    def parse(cls, text):
        if "," in text:
            raise ValueError("planted")
        return sound(cls, text)

    monkeypatch.setattr(Legend, "parse", classmethod(parse))
    assert fuzz.run(150, 60, ["prompts"])["tracebacks"] == 1
    assert "ValueError: planted" in capsys.readouterr().out


def test_a_child_that_dies_or_hangs_is_a_finding_and_is_replaced(fuzz, monkeypatch, tmp_path):
    with fuzz.Child() as child:
        assert child.call(["backends"]).code == 0
        child._process.kill()
        assert child.call(["backends"]).fate == "death"
        assert child.call(["backends"]).code == 0
        child._process.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(fuzz, "HANG_S", 0.5)
        assert child.call(["backends"]).fate == "hang"
        monkeypatch.undo()
        assert child.call(["plan", str(tmp_path / "no.tif"), "--prompt", "water"]).code == 2
