"""What must be known of a net to run it? A model card: a TOML file beside the model file.

    name = "my-net"
    model = "my-net.onnx"
    licence = "CC-BY-4.0"

    [input]
    bands = ["red", "green", "blue", "nir"]
    samples = "reflectance"
    mean = [0.12, 0.11, 0.09, 0.30]
    std = [0.05, 0.05, 0.05, 0.09]
    size_px = 256
    margin_px = 32

    [output]
    kind = "semantic"
    activation = "softmax"

    [[class]]
    name = "water"
    words = ["water", "river", "lake"]

The docstrings below say what each field means.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path, PureWindowsPath
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from geoseg.backends.vocabulary import plain, singulars
from geoseg.bands import ROLES
from geoseg.errors import ConfigError

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1, max_length=500)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Input(_Part):
    """What the net wants to see."""

    bands: Annotated[tuple[str, ...], Field(min_length=1)]
    """Band roles in the order of the net's channels: blue, green, red, nir, swir1, ..."""
    samples: Literal["reflectance", "unit", "byte", "raw"]
    """`reflectance` 0..1, guessed from the type and range of the raster; `unit` 0..1 and `byte`
    0..255 of the picture (8-bit samples as they are, others by the run's stretch); `raw`: as they
    are stored."""
    mean: tuple[Finite, ...] = ()
    """Subtracted, per band, in the unit of `samples`; 0 where left out."""
    std: tuple[Positive, ...] = ()
    """Divided by after that; 1 where left out."""
    layout: Literal["NCHW", "NHWC", "CHW", "HWC"] = "NCHW"
    """Order of the net's axes, of the input and of a semantic net's output."""
    size_px: Annotated[int, Field(ge=8, le=8192)]
    """Side of the window of a semantic net; of an instance net, what the sides of a tile are filled
    up to a multiple of."""
    margin_px: Annotated[int, Field(ge=0)] = 0
    """How far from the edge of its window an answer is not used."""

    @field_validator("bands")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for role in value:
            if role not in ROLES:
                near = get_close_matches(role, ROLES, 1)
                hint = f"; did you mean '{near[0]}'?" if near else ""
                raise ValueError(f"unknown band '{role}'{hint} (allowed: {', '.join(ROLES)})")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name in ("mean", "std"):
            values = getattr(self, name)
            if values and len(values) != len(self.bands):
                raise ValueError(f"{name} has {len(values)} numbers for {len(self.bands)} bands")
        if 2 * self.margin_px >= self.size_px:
            raise ValueError(
                f"margin_px {self.margin_px} leaves nothing of size_px {self.size_px}; at most "
                f"{(self.size_px - 1) // 2}"
            )
        return self


class Semantic(_Part):
    """A net that answers a number per class and pixel of its window."""

    kind: Literal["semantic"]
    activation: Literal["softmax", "sigmoid", "none"]
    """What makes probabilities of the output; `none`: it is probabilities."""
    exclusive: bool | None = None
    """Whether the classes of a pixel add up to one; where left out, all but sigmoid."""
    name: Text | None = None
    """Which output, of a net with several."""

    @property
    def adds_up(self) -> bool:
        """Whether the probability of any of several classes is their sum, and not the largest."""
        return self.activation != "sigmoid" if self.exclusive is None else self.exclusive


class Instance(_Part):
    """A net that answers boxes with a label, a score and a mask, duplicates removed."""

    kind: Literal["instance"]
    boxes: Text = "boxes"
    """Name of the output (n, 4)."""
    scores: Text = "scores"
    """Name of the output (n,), 0..1."""
    labels: Text = "labels"
    """Name of the output (n,): 0 is the first class of the card."""
    masks: Text = "masks"
    """Name of the output (n, row, col)."""
    box_format: Literal["xyxy", "cxcywh"] = "xyxy"
    """Corners, or centre and size."""
    box_unit: Literal["px", "fraction"] = "px"
    """Pixels of the input, or 0..1 of its sides."""
    mask_frame: Literal["box", "window"] = "box"
    """What a mask is stretched over."""
    activation: Literal["sigmoid", "none"] = "none"
    """What makes probabilities of the masks."""


class CardClass(_Part):
    """A class of the net; the order is that of its channels or labels."""

    name: Text
    """As the makers call it."""
    words: tuple[Text, ...] | None = None
    """What people type for it, in singular; its name where left out; [] for a background."""

    @property
    def asked_by(self) -> tuple[str, ...]:
        """The words, in lower case."""
        return tuple(plain(w) for w in ((self.name,) if self.words is None else self.words))


class Card(_Part):
    """A model card."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")]
    """What messages and output files call the net."""
    model: Text
    """The `.onnx` file, relative to the card, in its folder or below."""
    licence: Text
    """Of the weights."""
    source: Text | None = None
    """Where they come from, and what to cite."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """Digest that the model file must have; any file where left out."""
    input: Input
    output: Annotated[Semantic | Instance, Field(discriminator="kind")]
    classes: Annotated[tuple[CardClass, ...], Field(min_length=1)]

    @field_validator("model")
    @classmethod
    def _inside(cls, value: str) -> str:
        # Read as Windows does, so that a card means the same everywhere.
        path = PureWindowsPath(value)
        if path.drive or path.root or ".." in path.parts:
            raise ValueError(f"'{value}' is outside the card's folder; keep the model beside it")
        return value

    @field_validator("classes")
    @classmethod
    def _unique(cls, value: tuple[CardClass, ...]) -> tuple[CardClass, ...]:
        names = [plain(c.name) for c in value]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"class '{name}' is named twice")
        return value

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a card.

        Raises:
            ConfigError: It is not there, or has an error: says which field and where.
        """
        try:
            return cls.parse(Path(path).read_text("utf-8"), f"model card '{path}'")
        except (OSError, UnicodeDecodeError) as error:
            what = error.strerror if isinstance(error, OSError) else "it is not text"
            raise ConfigError(f"model card '{path}' cannot be read: {what}") from error

    @classmethod
    def parse(cls, text: str, where: str) -> Self:
        """Read the text of a card; `where` names it in messages.

        Raises:
            ConfigError: It has an error: says which field and where.
        """
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{where} is not TOML: {error}") from error
        if "class" in data:
            data = {**{k: v for k, v in data.items() if k != "class"}, "classes": data["class"]}
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise ConfigError(f"{where}: {_explain(error, data)}") from error

    def words(self) -> dict[str, tuple[int, ...]]:
        """Return the indices of the classes that each known word means."""
        found: dict[str, tuple[int, ...]] = {}
        for index, card_class in enumerate(self.classes):
            for word in card_class.asked_by:
                head, _, last = word.rpartition(" ")
                # Cards may say "roads" where people type "road".
                for form in (word, *(f"{head} {s}".strip() for s in singulars(last))):
                    if index not in found.get(form, ()):
                        found[form] = (*found.get(form, ()), index)
        return found


def _explain(error: ValidationError, data: Mapping[str, Any]) -> str:
    """Say in one line which field is wrong."""
    first = error.errors()[0]
    loc = [p for p in first["loc"] if p not in {"semantic", "instance"}]
    if first["type"] == "extra_forbidden":
        allowed = _fields(loc, data)
        near = get_close_matches(str(loc[-1]), allowed, 1, 0.5)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        return f"unknown field '{_path(loc)}'{hint} (allowed: {', '.join(allowed)})"
    if first["type"] in {"missing", "union_tag_not_found"}:
        if first["type"] == "union_tag_not_found":
            loc.append("kind")
        return f"field '{_path(loc)}' is missing"
    message = first["msg"].removeprefix("Value error, ")
    if isinstance(first["input"], dict | list | tuple) or first["type"] == "value_error":
        return f"{_path(loc)}: {message}"
    return f"{_path(loc)}: {message}, got {first['input']!r}"


def _path(loc: list[int | str]) -> str:
    """Return `input.mean[2]`, or `class 3: words`, for the location of an error."""
    if loc[:1] == ["classes"]:
        rest = _path(loc[2:])
        return f"class {int(loc[1]) + 1}" + (f": {rest}" if rest else "") if loc[1:] else "class"
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _fields(loc: list[int | str], data: Mapping[str, Any]) -> list[str]:
    """Return the names that are allowed where an error is."""
    if len(loc) == 1:
        return ["class" if name == "classes" else name for name in Card.model_fields]
    parts: dict[str, type[_Part]] = {"input": Input, "output": Semantic, "classes": CardClass}
    if loc[0] == "output" and data["output"]["kind"] == "instance":
        return list(Instance.model_fields)
    return list(parts[str(loc[0])].model_fields)
