"""A card is read as it is written, and says in one line what is wrong with it."""

from __future__ import annotations

import pytest
from nets import INPUT, SEMANTIC, card

from geoseg.backends.onnx import card as cards
from geoseg.backends.onnx.card import Card
from geoseg.errors import ConfigError


def test_the_card_of_the_docstring_is_one():
    text = (cards.__doc__ or "").partition("\n\n")[2].partition("\nThe docstrings")[0]
    read = Card.parse("\n".join(line.strip() for line in text.splitlines()), "doc")
    assert read.input.bands == ("red", "green", "blue", "nir")
    assert read.classes[0].words == ("water", "river", "lake")


def test_words_lead_to_every_class_that_has_them(tmp_path):
    words = Card.load(card(tmp_path / "card.toml", SEMANTIC)).words()
    assert words["vegetation"] == (1, 2)
    assert words["river"] == (0,)
    assert "background" not in words


def test_a_class_without_words_is_asked_by_its_name_in_singular_too(tmp_path):
    path = card(tmp_path / "card.toml", SEMANTIC, classes=[{"name": "Paved_Roads"}])
    assert Card.load(path).words() == {"paved roads": (0,), "paved road": (0,)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 3}, "unknown field 'size' (allowed: name, model, licence, source, sha256, "),
        ({"nane": "x"}, "unknown field 'nane'; did you mean 'name'? (allowed: name, "),
        ({"size_px": "big"}, "input.size_px: Input should be a valid integer, "),
        ({"size_px": "big"}, "got 'big'"),
        ({"bands": ["red", "nirr"]}, "input.bands: unknown band 'nirr'; did you mean 'nir'? "),
        ({"mean": [0.1]}, "input: mean has 1 numbers for 3 bands"),
        ({"std": [1, 0, 1]}, "input.std[1]: Input should be greater than 0, got 0"),
        ({"margin_px": 8}, "input: margin_px 8 leaves nothing of size_px 16; at most 7"),
        ({"layout": "WHCN"}, "input.layout: Input should be 'NCHW', 'NHWC', 'CHW' or 'HWC', got"),
        ({"samples": "percent"}, "input.samples: Input should be 'reflectance', 'unit', 'byte' or"),
        ({"name": "two words"}, "name: String should match pattern"),
        ({"model": "../net.onnx"}, "model: '../net.onnx' is outside the card's folder; keep"),
        ({"model": "/etc/passwd"}, "model: '/etc/passwd' is outside the card's folder"),
        ({"model": "C:/net.onnx"}, "model: 'C:/net.onnx' is outside the card's folder"),
        ({"classes": []}, "field 'class' is missing"),
        ({"classes": [{"name": "a"}, {"name": "A"}]}, "class: class 'a' is named twice"),
        ({"classes": [{"name": "a", "word": "b"}]}, "unknown field 'class 1: word'; did you mean"),
        ({"classes": [{"name": "a"}, {"words": []}]}, "field 'class 2: name' is missing"),
    ],
)  # fmt: skip
def test_an_error_says_what_and_where_in_one_line(tmp_path, changes, message):
    path = card(tmp_path / "card.toml", SEMANTIC, **changes)
    with pytest.raises(ConfigError) as caught:
        Card.load(path)
    assert f"model card '{path}': " in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"kind": "semantic"}, "field 'output.activation' is missing"),
        ({"activation": "none"}, "field 'output.kind' is missing"),
        ({"kind": "panoptic"}, "output: Input tag 'panoptic' found using 'kind' does not match"),
        ({"kind": "semantic", "activation": "none", "boxes": "b"}, "unknown field 'output.boxes'"),
        ({"kind": "instance", "activaton": "none"}, "'output.activaton'; did you mean 'act"),
    ],
)  # fmt: skip
def test_an_error_of_the_output_says_what_and_where(tmp_path, output, message):
    with pytest.raises(ConfigError) as caught:
        Card.load(card(tmp_path / "card.toml", output))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"name = ", "is not TOML"), (b"\xff\xfe", "it is not text"), (None, "No such file")],
)
def test_a_file_that_is_no_card_is_said_so(tmp_path, content, message):
    path = tmp_path / "card.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        Card.load(path)


def test_the_model_may_lie_in_a_folder_below(tmp_path):
    assert Card.load(card(tmp_path / "c.toml", SEMANTIC, model="weights/a.onnx", **INPUT)).model
