"""What made a map? The text that is stored in it, and that `geoseg rerun` repeats.

It holds what the tiles depend on (the fingerprint of the run), what models were used, the pixel
grid, and what was asked for in the words in which it was asked. Workers, batches, memory and where
tiles are kept change nothing in a map, and are not in it. What lets an input reach further
(`trust_input`) is not either: that is for the user to say each time, not for a file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyproj
from affine import Affine
from pydantic import BaseModel, ConfigDict
from pyproj.exceptions import CRSError

from geoseg.access import is_local, without_secrets
from geoseg.bands import parse
from geoseg.config import OF_THE_USER, ModelOptions
from geoseg.errors import MapError
from geoseg.frame import Frame
from geoseg.legend import Legend

IN_MEMORY = "in_memory"

OF_THE_PLACE = frozenset({"path", "mtime_ns", "sources"})
"""What a copy of a raster has of its own in an identity; `sources` is a digest of other paths."""

BY_HAND = "by_hand"
"""Fact of a map whose polygons somebody drew: no command makes it again."""


class Asked(BaseModel):
    """What may stand in the part `asked` of a recipe: a map may come from anyone."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    source: list[str] | None = None
    legend: dict[str, Any] | None = None
    backend: str | None = None
    models: dict[str, Any] | None = None
    boxes: str | None = None
    aoi: str | None = None
    mask_clouds: str | None = None
    tile: int | None = None
    overlap: int | None = None
    threshold: float | None = None
    bands: dict[str, int] | None = None
    sensor: str | None = None
    composite: str | None = None
    simplify: str | None = None
    smooth: bool | None = None
    min_area: str | None = None
    min_hole: str | None = None
    small: str | None = None
    regularize: str | None = None
    columns: str | None = None
    in_memory: list[str]


_FILES = ("source", "boxes", "aoi")
"""What is asked for by naming files."""

_LOST = object()


def words_of(**given: Any) -> dict[str, Any]:
    """Return what was asked for, JSON-able; `in_memory` names what was no name but an object.

    Args:
        given: Arguments of `geoseg.segment`; None where nothing was asked for.
    """
    plain = {name: _plain(name, value) for name, value in given.items() if value is not None}
    lost = sorted(name for name, value in plain.items() if value is _LOST)
    kept = {n: value for n, value in plain.items() if value is not None and n not in lost}
    return {**kept, IN_MEMORY: lost}


def _plain(name: str, value: Any) -> Any:
    if name in _FILES:
        return _places(name, value)
    if name == "bands":
        return dict(sorted((parse(value) if isinstance(value, str) else value).items()))
    if isinstance(value, Legend):
        return value.model_dump(mode="json")
    if isinstance(value, ModelOptions):
        # Nothing is the same as what is usual, said aloud.
        exclude = set(OF_THE_USER)
        return value.model_dump(mode="json", exclude=exclude, exclude_defaults=True) or None
    return value if isinstance(value, str | int | float) else _LOST


def _places(name: str, value: Any) -> Any:
    if isinstance(value, str | Path):
        place = str(value)
        whole = str(Path(place).absolute()) if is_local(place) else without_secrets(place)
        return [whole] if name == "source" else whole
    if isinstance(value, Sequence):
        return [place for one in value for place in _places(name, one)]
    return _LOST


def recipe_text(
    fingerprint: Mapping[str, Any],
    models: Sequence[Mapping[str, Any]],
    frame: Frame,
    words: Mapping[str, Any],
) -> str:
    """Return the recipe of a run as text: equal runs have equal texts.

    Args:
        fingerprint: What its tiles depend on.
        models: Of each model: source, revision, digest and licence of its weights.
        frame: The raster's.
        words: What was asked for, of `words_of`.
    """
    grid = {
        "width": frame.width,
        "height": frame.height,
        "transform": list(frame.transform)[:6],
        "crs": frame.crs,
    }
    facts = {**fingerprint, "models": list(models), "frame": grid, "asked": words}
    return json.dumps(facts, sort_keys=True)


def _frame(grid: Mapping[str, Any]) -> Frame:
    transform = Affine(*(float(v) for v in grid["transform"]))
    frame = Frame(int(grid["width"]), int(grid["height"]), transform, grid["crs"])
    if frame.width < 1 or frame.height < 1 or transform.is_degenerate:
        raise ValueError("no pixel grid")
    if frame.crs is not None:
        pyproj.CRS.from_wkt(frame.crs)
    return frame


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe as it was found in a map."""

    text: str
    """As it is stored."""
    facts: Mapping[str, Any]
    """What it says: see `recipe_text`."""
    frame: Frame
    """The raster's."""
    legend: Legend
    """The classes, in the order of their ids."""

    @classmethod
    def parse(cls, text: str, where: str) -> Recipe:
        """Read a recipe.

        Args:
            text: As it is stored.
            where: The map, for messages.

        Raises:
            MapError: It is none, or of an older geoseg.
        """
        try:
            facts = json.loads(text)
            frame = _frame(facts["frame"])
            Asked.model_validate(facts["asked"])
            return cls(text, facts, frame, Legend.model_validate(facts["legend"]))
        except (ValueError, TypeError, KeyError, CRSError) as error:
            raise MapError(
                f"{where} says too little of how it was made (it is damaged, or was written by an "
                "older geoseg); make it anew with geoseg segment"
            ) from error

    @property
    def asked(self) -> dict[str, Any]:
        """What was asked for, as `words_of` gave it."""
        return dict(self.facts["asked"])

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What the tiles depended on."""
        return {k: v for k, v in self.facts.items() if k not in ("models", "frame", "asked")}

    @property
    def raster(self) -> dict[str, Any]:
        """The identity of the raster."""
        start = "raster."
        return {k.removeprefix(start): v for k, v in self.facts.items() if k.startswith(start)}

    @property
    def rasters(self) -> list[str]:
        """Paths and URLs of the raster, or of the parts of a mosaic; none of one in memory."""
        known = self.raster
        parts = [v for k, v in sorted(known.items()) if k.startswith("source.")] or [known]
        return [part["path"] for part in parts if "path" in part]


def without(identity: Any, names: AbstractSet[str]) -> Any:
    """Return an identity without some of what it says, also of its parts."""
    if not isinstance(identity, Mapping):
        return identity
    return {k: without(v, names) for k, v in identity.items() if k not in names}
