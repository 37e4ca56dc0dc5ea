"""What is asked for? An ordered list of classes, from words, a TOML file or a preset.

A class of kind `object` is counted: instances are kept apart. A class of kind `cover` is measured:
connected regions, dissolved across seams.
"""

from __future__ import annotations

import colorsys
import re
import tomllib
import unicodedata
import zlib
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from geoseg.errors import ConfigError

Kind = Literal["object", "cover"]

MAX_CLASSES = 1000

_SEPARATORS = re.compile(r"[,;\n]")

_STUFF = """
agriculture asphalt background bare bareland beach built built-up burn burned burnt canopy clearing
clearings cloud clouds cover crop cropland crops deforestation developed farmland flooded forest
forests grass grassland green greenery ice impervious lake lakes land lawn mangrove mangroves marsh
meadow mud ocean orchard pasture pastures pavement plantation rangeland reservoir river
rivers road roads rock sand savanna sea shadow shadows shore shrub shrubland shrubs snow soil stream
swamp urban vegetation vineyard water waterbody wetland wetlands wood woodland woods
"""
_COVER_WORDS = frozenset(_STUFF.split())
"""Words for stuff that is measured by area; everything else is counted."""

_COLOURS = {
    "vegetation": "#4d9221",
    "forest": "#1b7837",
    "tree": "#276419",
    "grass": "#a6d96a",
    "pasture": "#a6d96a",
    "crop": "#f1c232",
    "cropland": "#f1c232",
    "water": "#2b7bba",
    "river": "#2b7bba",
    "lake": "#2b7bba",
    "pond": "#41a6d9",
    "wetland": "#41b6a6",
    "flooded vegetation": "#41b6a6",
    "bare soil": "#c9a26b",
    "sand": "#e3cf9e",
    "built-up": "#c0392b",
    "building": "#c0392b",
    "road": "#6d6875",
    "snow": "#dff3fb",
    "cloud": "#f2f2f2",
    "shadow": "#4a4a4a",
    "burned": "#7f2704",
}
"""Colours that land-cover maps commonly use for these words."""


def default_kind(name: str) -> Kind:
    """Return `cover` for words that name stuff (forest, water), else `object`."""
    words = name.lower().split()
    return "cover" if words and any(w in _COVER_WORDS for w in words) else "object"


def default_colour(name: str) -> str:
    """Return `#rrggbb`: the customary colour of the word, or one derived from its letters."""
    known = _COLOURS.get(name.lower()) or _COLOURS.get(name.lower().rstrip("s"))
    if known:
        return known
    hue = zlib.crc32(name.lower().encode("utf-8", "replace")) % 360 / 360
    return "#" + "".join(f"{round(255 * v):02x}" for v in colorsys.hls_to_rgb(hue, 0.5, 0.6))


def _clean(text: str) -> str:
    """Normalise a class name or prompt; refuse what would break files or models later."""
    for char in text:
        if unicodedata.category(char) in ("Cc", "Cs", "Co", "Cn"):
            raise ValueError(f"character U+{ord(char):04X} is not allowed in a class name")
    if not text.strip():
        raise ValueError("a name or prompt is blank")
    return unicodedata.normalize("NFC", " ".join(text.split()))


_LONGEST = 200

_SHOWN = 40
"""Characters of a name that messages show."""

Word = Annotated[str, Field(min_length=1, max_length=_LONGEST)]


class LandClass(BaseModel):
    """One class of a legend."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Word
    """What the class is called in the output."""
    prompts: Annotated[tuple[Word, ...], Field(min_length=1)] = ()
    """What the backend looks for: the name, or these aliases; a pixel or object of any counts."""
    kind: Kind = "object"
    """`object`: instances, counted. `cover`: connected regions, measured."""
    colour: Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")] = "#000000"
    """`#rrggbb`."""
    threshold: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)] | None = None
    """Least score of this class, 0..1; the run's threshold where None."""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("name"), str):
            name = data["name"]
            if isinstance(data.get("prompts"), str):
                data = {**data, "prompts": (data["prompts"],)}
            data = {
                "prompts": (name,),
                "kind": default_kind(name),
                "colour": default_colour(name),
                **{k: v for k, v in data.items() if v is not None},
            }
        return data

    @field_validator("name")
    @classmethod
    def _clean_name(cls, value: str) -> str:
        return _clean(value)

    @field_validator("prompts")
    @classmethod
    def _clean_prompts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_clean(v) for v in value)


class Legend(BaseModel):
    """An ordered list of classes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: Annotated[tuple[LandClass, ...], Field(min_length=1, max_length=MAX_CLASSES)]
    """In the order of the user; a class is referred to by its index."""
    exclusive: bool = True
    """Covers share no pixel: each goes to the cover with the most evidence. Objects are not
    concerned: a boat may lie on water."""

    @field_validator("classes")
    @classmethod
    def _unique(cls, value: tuple[LandClass, ...]) -> tuple[LandClass, ...]:
        seen: dict[str, str] = {}
        for land_class in value:
            folded = land_class.name.casefold()
            if folded in seen:
                also = f" (also as '{seen[folded]}')" if seen[folded] != land_class.name else ""
                raise ValueError(f"class '{land_class.name}' is named twice{also}")
            seen[folded] = land_class.name
        return value

    @property
    def coverages(self) -> tuple[int, ...]:
        """Per class, the number of its coverage: classes of one coverage share no pixel.

        Covers of an exclusive legend are one; any other class is its own.
        """
        covers = [i for i, c in enumerate(self.classes) if c.kind == "cover" and self.exclusive]
        return tuple(covers[0] if i in covers else i for i in range(len(self.classes)))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a prompt: `"forest, water; solar panel"`, each phrase one class.

        Raises:
            ConfigError: No class name, a duplicate, a legend file, or a character that is not
                allowed.
        """
        names = [part.strip() for part in _SEPARATORS.split(text)]
        names = [name.rstrip(".") for name in names if name.strip(" .")]
        if not names:
            raise ConfigError(
                f"no class name in the prompt '{text.strip()}'; pass --prompt \"forest, water\""
            )
        file = next((name for name in names if name.lower().endswith(".toml")), None)
        if file is not None:
            raise ConfigError(
                f"'{file}' is a legend file, not a word; pass it with --legend, or as "
                "geoseg.Legend.load(FILE) in Python"
            )
        return cls._build({"classes": [{"name": name} for name in names]}, "--prompt")

    @classmethod
    def load(cls, source: str | Path) -> Self:
        """Read a preset (`deforestation`, `wetland`, `landuse`) or a TOML file.

        Raises:
            ConfigError: Neither exists, or the file has an error: says which field and where.
        """
        text = _read(str(source))
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"legend '{source}' is not TOML: {error}") from error
        if "class" in data:
            data = {**{k: v for k, v in data.items() if k != "class"}, "classes": data["class"]}
        return cls._build(data, f"legend '{source}'")

    @classmethod
    def _build(cls, data: dict[str, Any], where: str) -> Self:
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise ConfigError(f"{where}: {_explain(error, data)}") from error


def presets() -> tuple[str, ...]:
    """Return the names of the legends that come with geoseg."""
    folder = resources.files("geoseg") / "legends"
    return tuple(sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".toml")))


def _read(source: str) -> str:
    if source in presets():
        return (resources.files("geoseg") / "legends" / f"{source}.toml").read_text("utf-8")
    path = Path(source)
    try:
        return path.read_text("utf-8")
    except FileNotFoundError as error:
        raise ConfigError(
            f"no legend '{source}': neither a file nor a preset ({', '.join(presets())})"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"legend '{source}' cannot be read: {error}") from error


def _explain(error: ValidationError, data: dict[str, Any]) -> str:
    """Say in one line which field of which class is wrong."""
    first = error.errors()[0]
    place, where = _place(list(first["loc"]), data)
    field = str(where[0]) if where else ""
    if first["type"] == "extra_forbidden":
        allowed = list(LandClass.model_fields) if place else ["exclusive", "class"]
        near = get_close_matches(field, allowed, 1, 0.5)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        return f"{place}unknown field '{field}'{hint} (allowed: {', '.join(allowed)})"
    if first["type"] == "missing":
        return f"{place}field '{field}' is missing"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "string_unicode":
        lone = next(char for char in first["input"] if unicodedata.category(char) == "Cs")
        return f"{place}character U+{ord(lone):04X} is not allowed in a class name"
    if field == "class" and first["type"] in ("tuple_type", "model_type"):
        message = "classes are written as [[class]] tables, each with a name"
    if first["type"] == "string_pattern_mismatch":
        message = "is not of the form '#1b7837'"
    label = f"{field}: " if field and field != "class" else ""
    complete = not label or isinstance(first["input"], dict | list | tuple)
    return f"{place}{label}{message}" + ("" if complete else f", got {first['input']!r}")


def _place(loc: list[str | int], data: dict[str, Any]) -> tuple[str, list[str | int]]:
    """Name the class that an error is in, and return the rest of its location."""
    if loc[:1] != ["classes"]:
        return "", loc
    if len(loc) == 1 or not isinstance(loc[1], int):
        return "", ["class", *loc[1:]]
    entry = data["classes"][loc[1]]
    name = entry.get("name") if isinstance(entry, dict) else None
    return f"class {loc[1] + 1}" + (f" '{name}'" if name else "") + ": ", loc[2:]


def one_class(name: object) -> LandClass:
    """Return the class that somebody names.

    Raises:
        ConfigError: It is no name, or names several.
    """
    if not isinstance(name, str):
        raise ConfigError(f"a class has a name, got {name!r}"[:_SHOWN])
    shown = repr(name if len(name) <= _SHOWN else f"{name[:_SHOWN]}\N{HORIZONTAL ELLIPSIS}")
    if not name.strip(" .,;\n"):
        raise ConfigError(f"{shown} is no name of a class")
    if len(name) > _LONGEST:
        raise ConfigError(f"{shown} has {len(name)} characters; a class has {_LONGEST} at most")
    new, *others = Legend.parse(name).classes
    if others:
        raise ConfigError(
            f"{shown} names {1 + len(others)} classes; give one, without , ; or lines"
        )
    return new
