"""What do words and files ask for, and what is refused?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import ConfigError
from geoseg.legend import LandClass, Legend, default_colour, default_kind, presets


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("forest", ["forest"]),
        ("forest, water", ["forest", "water"]),
        ("forest; water\nsolar panel", ["forest", "water", "solar panel"]),
        ("forest. water.", ["forest. water"]),
        ("Forest., water.", ["Forest", "water"]),
        (" , forest ,, ", ["forest"]),
        ("bare   soil", ["bare soil"]),
        ("pâturage, 草地, été", ["pâturage", "草地", "été"]),
    ],
)
def test_a_prompt_is_a_list_of_classes(text, names):
    legend = Legend.parse(text)
    assert [c.name for c in legend.classes] == names
    assert [c.prompts for c in legend.classes] == [(n,) for n in names]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no class name in the prompt ''"),
        ("   ", "no class name"),
        (". ,", "no class name in the prompt '. ,'; pass --prompt"),
        (";;\n", "no class name"),
        ("Forest, forest", "class 'forest' is named twice (also as 'Forest')"),
        ("STRASSE, straße", "named twice"),
        ("cafe\u0301, caf\u00e9", "named twice"),
        ("for\x00est", "character U+0000 is not allowed"),
        ("forest\x1b[31m", "character U+001B is not allowed"),
        ("tree\ud800", "character U+D800 is not allowed"),
        ("two\twords", "character U+0009 is not allowed"),
        ("\u0378 unassigned", "character U+0378 is not allowed"),
        ("x" * 5000, "name: String should have at most 200 characters"),
        ("tree\ue000", "character U+E000 is not allowed"),
        ("x" * 201, "name: String should have at most 200 characters"),
        (",".join(f"c{i}" for i in range(1001)), "at most 1000 items"),
    ],
)
def test_bad_prompts_are_refused(text, words):
    with pytest.raises(ConfigError) as caught:
        Legend.parse(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


WORDS = st.lists(
    st.text(st.characters(codec="utf-8", categories=("L", "Nd")), min_size=1, max_size=20),
    min_size=1,
    max_size=6,
    unique_by=str.casefold,
)


@given(WORDS)
def test_a_legend_survives_json(words):
    try:
        legend = Legend.parse(", ".join(words))
    except ConfigError as error:  # e.g. two spellings of one letter
        assert "named twice" in str(error)  # noqa: PT017
        return
    assert Legend.model_validate_json(legend.model_dump_json()) == legend
    assert len(legend.classes) == len(words)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("forest", "cover"), ("Water", "cover"), ("flooded vegetation", "cover"),
     ("tree", "object"), ("solar panel", "object"), ("building", "object"), ("boat", "object")],
)  # fmt: skip
def test_stuff_is_measured_and_things_are_counted(name, kind):
    assert default_kind(name) == kind
    assert LandClass(name=name).kind == kind


def test_colours_are_customary_or_made_from_the_letters():
    assert default_colour("Forest") == LandClass(name="forest").colour == "#1b7837"
    assert default_colour("trees") == default_colour("tree")
    unknown = {default_colour(w) for w in ("boat", "car", "tent", "silo")}
    assert len(unknown) == 4
    assert all(len(c) == 7 for c in unknown)


def test_presets_load_and_are_exclusive_covers():
    assert presets() == ("deforestation", "landuse", "wetland")
    for name in presets():
        legend = Legend.load(name)
        assert legend.exclusive
        assert all(c.kind == "cover" and c.threshold is None for c in legend.classes)
        assert len({c.colour for c in legend.classes}) == len(legend.classes)


def test_a_file_says_all_there_is_to_say(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'exclusive = false\n[[class]]\nname = "pond"\nprompts = "small lake"\nkind = "object"\n'
        'colour = "#00FF7f"\nthreshold = 0.25\n[[class]]\nname = "reeds"\n'
    )
    legend = Legend.load(path)
    assert not legend.exclusive
    assert legend.classes[0] == LandClass(
        name="pond", prompts=("small lake",), kind="object", colour="#00FF7f", threshold=0.25
    )
    assert legend.classes[1].prompts == ("reeds",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[class]]\nname = "a"\ncolor = "#ffffff"',
         "class 1 'a': unknown field 'color'; did you mean 'colour'?"),
        ('[[class]]\nname = "a"\n[[class]]\nname = "b"\nfoo = 1',
         "class 2 'b': unknown field 'foo' (allowed: name, prompts, kind, colour, threshold)"),
        ('exclusiv = true\n[[class]]\nname = "a"',
         "unknown field 'exclusiv'; did you mean 'exclusive'? (allowed: exclusive, class)"),
        ('[[class]]\ncolour = "#ffffff"', "class 1: field 'name' is missing"),
        ("exclusive = true", "field 'class' is missing"),
        ("class = []", "at least 1 item"),
        ('[[class]]\nname = "a"\nkind = "stuff"', "class 1 'a': kind: "),
        ('[[class]]\nname = "a"\ncolour = "red"', "class 1 'a': colour: "),
        ('[[class]]\nname = "a"\nthreshold = 1.1', "class 1 'a': threshold: "),
        ('[[class]]\nname = "a"\nthreshold = nan', "class 1 'a': threshold: "),
        ('[[class]]\nname = "a"\nprompts = [""]', "class 1 'a': prompts: "),
        ('[[class]]\nname = "A"\n[[class]]\nname = "a"', "class 'a' is named twice"),
        ("[[class]]\nname = 3", "class 1 "),
        ("name = forest", "is not TOML"),
        ('[[class]]\nname = "a"\nthreshold = true', "class 1 'a': threshold: "),
        ('[[class]]\nname = "a"\nthreshold = "0.3"', "class 1 'a': threshold: "),
        ('[[class]]\nname = "a"\nname = "b"', "is not TOML"),
        ('exclusive = "perhaps"\n[[class]]\nname = "a"', "exclusive: "),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_with_field_and_place(tmp_path, text, words):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Legend.load(path)
    assert words in str(caught.value)
    assert "mine.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ['name = "   "', 'name = "a"\nprompts = [" "]'])
def test_blank_names_are_refused_in_a_file_too(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text("[[class]]\n" + text)
    with pytest.raises(ConfigError):
        Legend.load(path)


def test_what_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"neither a file nor a preset .deforestation, landuse"):
        Legend.load("forests.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        Legend.load(tmp_path)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        Legend.load(tmp_path / "bytes.toml")


@pytest.mark.parametrize(
    "name", ["مياه", "a\u200bb", "👨\u200d👩\u200d👧", "草地", "<b>", "$(x)", "=1", "%s{0}"]
)
def test_names_of_any_script_are_kept_as_they_are(name):
    assert [c.name for c in Legend.parse(name).classes] == [name]
