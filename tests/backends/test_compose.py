"""A text becomes a backend, whatever paths hold."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from prompts import Boxes, Outlines

from geoseg import backends
from geoseg.backends import BackendInfo
from geoseg.backends.compose import _named, _parts, cloudless, load, needs_words
from geoseg.backends.prompted import Prompted
from geoseg.config import ModelOptions
from geoseg.errors import BackendError

ASKED: list[tuple[str | None, ModelOptions]] = []


def find(weights, options):
    ASKED.append((weights, options))
    return Boxes((0,))


def cut(weights, options):
    ASKED.append((weights, options))
    return Outlines()


@pytest.fixture
def fake(monkeypatch):
    """Known parts that load nothing."""
    import sys

    monkeypatch.setitem(sys.modules, "fake_parts", sys.modules[__name__])
    made = {
        name: BackendInfo(name, f"fake_parts:{function}", name, role=role, configurable=True)
        for name, function, role in (("find", "find", "detector"), ("cut", "cut", "segmenter"))
    }
    made["keep"] = replace(made["cut"], name="keep", keeps=True, proposes=True)
    monkeypatch.setattr(backends, "BUILT_IN", {**backends.BUILT_IN, **made})
    ASKED.clear()


@pytest.mark.parametrize(
    ("spec", "weights"),
    [
        ("find+cut", [None, None]),
        ("find:a/b@v1+cut", ["a/b@v1", None]),
        ("find+cut:/models/sam+hq", [None, "/models/sam+hq"]),
        ("find:/my+files/x+cut:C:\\weights", ["/my+files/x", "C:\\weights"]),
        ("find", [None]),
        ("find:./owl", ["./owl"]),
    ],
)
def test_parts_and_their_weights(fake, spec, weights):  # noqa: ARG001
    options = ModelOptions(gsd=0.5)
    made = load(spec, options)
    assert isinstance(made, Prompted)
    assert [w for w, _ in ASKED] == weights
    assert all(o is options for _, o in ASKED)
    assert made.view.gsd_m == 0.5
    assert (made.segmenter is None) == (len(weights) == 1)


@pytest.mark.parametrize("spec", ["everything:keep", "find+keep", "find+keep:w"])
def test_embeddings_are_kept_where_a_segmenter_makes_some(fake, spec):  # noqa: ARG001
    load(spec, ModelOptions(cache="auto"))
    assert ASKED[-1][1].cache == "auto"


@pytest.mark.parametrize("spec", ["find", "find+cut", "everything:cut", "spectral", "clipseg"])
def test_who_keeps_no_embeddings_does_not_pretend_to(fake, spec):  # noqa: ARG001
    with pytest.raises(BackendError, match=f"{re.escape(spec)}' keeps no embeddings: --cache does"):
        load(spec, ModelOptions(cache="auto"))


def test_an_unknown_name_is_said_to_be_unknown():
    with pytest.raises(BackendError, match="unknown backend 'sma2'"):
        load("sma2", ModelOptions(cache="auto"))


def test_who_knows_clouds_is_not_asked_to_keep_anything(fake):  # noqa: ARG001
    options = ModelOptions(cache="auto", gsd=0.5)
    backend = load("find+keep", options)
    ASKED.clear()
    # This one could keep some; others would refuse to.
    cloudless(backend, "find+keep", options)
    assert [o for _, o in ASKED] == [ModelOptions(gsd=0.5)] * 2


def test_a_plus_that_no_name_follows_belongs_to_the_path():
    assert _parts("sam:/a+b/c") == ("sam:/a+b/c", "", "")
    assert _parts("owlv2:/a+b+sam") == ("owlv2:/a+b", "+", "sam")
    assert _named("sam2 : x") == ("sam2", "x")


@pytest.mark.parametrize(
    ("spec", "boxes", "needed"),
    [("everything:sam2", None, False), ("sam2", "x.gpkg", False), ("owlv2+sam", None, True)],
)
def test_who_must_be_told_what_to_look_for(spec, boxes, needed):
    assert needs_words(spec, boxes) == needed
