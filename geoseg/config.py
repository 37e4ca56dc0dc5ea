"""What does a run depend on? Frozen settings, checked before any work.

`RunConfig` is what the user chose. `fingerprint` holds exactly what changes a tile's result: two
runs with equal fingerprints may share tiles.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from geoseg.errors import ConfigError
from geoseg.grid import Grid
from geoseg.legend import Legend
from geoseg.units import parse_area, parse_length
from geoseg.window import Window

DEFAULT_TILE_PX = 1024
DEFAULT_OVERLAP_PX = 128
DEFAULT_THRESHOLD = 0.5

FORMAT_VERSION = 2
"""Version of what is stored in a run folder."""


_LISTED = 6
"""Differences that messages list."""

_SHOWN = 60
"""Characters of a value that messages show."""


OF_THE_USER = frozenset({"offline", "cache", "cache_size"})
"""Options of models that are for the user of a machine to say: they change no answer, and a map
must not bring them along."""

_SIZE = TypeAdapter(Annotated[ByteSize, Field(ge=2**20)])


class _Settings(BaseModel):
    """Frozen values whose errors name the option."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def build(cls, **settings: Any) -> Self:
        """Check settings.

        Raises:
            ConfigError: Names the setting, what was found and what is allowed.
        """
        try:
            return cls(**settings)
        except ValidationError as error:
            first = error.errors()[0]
            option = "--" + str(first["loc"][0]).replace("_", "-") if first["loc"] else ""
            message = first["msg"].removeprefix("Value error, ")
            found = f" {first['input']!r}: " if option else ""
            raise ConfigError(f"{option}{found}{message}") from error


class ModelOptions(_Settings):
    """How models are loaded and run; backends without a model ignore them."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    """`auto` (the first of CUDA, MPS, CPU that is there), `cuda`, `cuda:1`, `mps` or `cpu`."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the networks; `auto`: bf16 on CUDA (fp16 where it has none), else fp32."""
    offline: bool = False
    """Fetch nothing: weights must be in a folder or in the cache. The command `--offline` also has
    every socket refused, which would outlive a call from Python."""
    compile: bool = False
    """Run image encoders through `torch.compile`: slow to start, faster per tile."""
    gsd: Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)] | None = None
    """Ground size in metres of the pixels that models are shown; None: the raster's own."""
    one_class_per_pass: bool = False
    """Ask detectors for one class at a time: slower, and classes do not compete."""
    cache: str | None = None
    """Folder that keeps what image encoders of segmenters made of pictures, so that one that was
    seen before need not be encoded; `auto`: the user's own. None: nothing is kept."""
    cache_size: ByteSize = ByteSize(4 * 10**9)
    """Most bytes of `cache`; what was used least recently goes."""

    @field_validator("cache")
    @classmethod
    def _is_folder(cls, value: str | None) -> str | None:
        if value is None or value == "auto":
            return value
        # Workers may have a working folder of their own; a tilde of nobody stays a name.
        whole = os.path.abspath(os.path.expanduser(value))  # noqa: PTH100, PTH111
        if not value.strip() or "\0" in value:
            raise ValueError("give a folder, or auto for your own cache")
        return whole

    @field_validator("cache_size", mode="before")
    @classmethod
    def _is_room(cls, value: Any) -> Any:
        try:
            return _SIZE.validate_python(value)
        except ValidationError:
            raise ValueError("give a size on disk, as 4GB or 500MB") from None

    @model_validator(mode="after")
    def _cache_is_asked(self) -> Self:
        if self.cache is None and self.cache_size != type(self).model_fields["cache_size"].default:
            raise ValueError(
                "--cache-size says how much --cache may hold; give that too, as --cache auto"
            )
        return self


class Finish(_Settings):
    """What is done to outlines when all tiles are done; changes no tile."""

    simplify: str | None = None
    """Farthest that an outline may move, as `2px` or `1.5m`; None: it follows pixel edges."""
    smooth: bool = False
    """Round the corners of outlines, which move by no more than `simplify` says (2 px) in all."""
    min_area: str | None = None
    """Least area of a polygon, as `500m2`; None: any."""
    min_hole: str | None = None
    """Least area of a hole, as `200m2`; smaller ones are filled. None: any."""
    small: Literal["merge", "drop"] | None = None
    """What becomes of covers below `min_area`: they go to the neighbour with the longest shared
    border (also where None), or nowhere. Objects are always dropped."""
    regularize: tuple[str, ...] = ()
    """Names of objects' classes whose outlines get right angles."""
    columns: tuple[str, ...] = ()
    """Further columns of the map, see columns.py."""

    @field_validator("simplify")
    @classmethod
    def _is_length(cls, value: str | None) -> str | None:
        if value is not None:
            parse_length(value)
        return value

    @field_validator("min_area", "min_hole")
    @classmethod
    def _is_area(cls, value: str | None) -> str | None:
        if value is not None:
            parse_area(value)
        return value

    @model_validator(mode="after")
    def _small_is_asked(self) -> Self:
        if self.small is not None and self.min_area is None:
            raise ValueError(
                f"--small {self.small} says what becomes of polygons below --min-area; give that "
                "too, as --min-area 500m2"
            )
        return self

    def words(self) -> dict[str, Any]:
        """Return what was asked for, as it is given to `geoseg.segment`."""
        asked = self.model_dump(exclude_defaults=True)
        return {k: ", ".join(v) if isinstance(v, tuple) else v for k, v in asked.items()}

    def is_regular(self, legend: Legend) -> NDArray[np.bool_]:
        """Return (classes,) whether a class gets right angles."""
        return np.array([c.name in self.regularize for c in legend.classes])

    @property
    def reshapes(self) -> bool:
        """Whether outlines leave the pixel edges."""
        return self.simplify is not None or self.smooth


class RunConfig(_Settings):
    """The settings of a run."""

    legend: Legend
    """What to look for."""
    tile: Annotated[int, Field(ge=16, le=2**20, strict=True)] = DEFAULT_TILE_PX
    """Side of what the backend sees at once, in pixels."""
    overlap: Annotated[int, Field(strict=True)] = DEFAULT_OVERLAP_PX
    """Pixels that neighbouring tiles share."""
    threshold: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)] = (
        DEFAULT_THRESHOLD
    )
    """Least score of classes that have no threshold of their own."""
    composite: str | None = None
    """Three roles that models are shown as red, green and blue; None: those colours."""
    workers: Annotated[int, Field(ge=1, le=1024, strict=True)] = 1
    """Processes; does not change the result."""
    batch: Annotated[int, Field(ge=1, le=256, strict=True)] = 1
    """Tiles given to the backend at once; does not change the result."""

    memory: ByteSize | None = None
    """Most bytes of memory that the run may take; does not change the result."""
    scheduler: str | None = None
    """Address of a Dask scheduler; does not change the result."""
    finish: Finish = Finish()
    """What is done to outlines when all tiles are done."""

    @field_validator("memory", mode="before")
    @classmethod
    def _is_size(cls, value: Any) -> Any:
        try:
            return None if value is None else _SIZE.validate_python(value)
        except ValidationError:
            raise ValueError("give a size of memory, as 2GB or 500MB") from None

    @field_validator("scheduler")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"(tcp|tls|ucx|ws|wss|inproc)://\S+", value):
            raise ValueError("give the address of a Dask scheduler, as tcp://host:8786")
        return value

    @model_validator(mode="after")
    def _one_source_of_workers(self) -> Self:
        if self.scheduler is not None and self.workers != 1:
            raise ValueError(
                f"--workers {self.workers} and --scheduler are both given; the cluster's workers "
                "count: leave --workers out"
            )
        return self

    @model_validator(mode="after")
    def _overlap_fits(self) -> Self:
        if not 0 <= self.overlap < self.tile:
            raise ValueError(
                f"overlap {self.overlap} is outside 0 <= overlap < tile ({self.tile}); lower "
                "--overlap or raise --tile"
            )
        Grid(Window(0, 0, 1, 1), self.tile, self.overlap)
        return self

    def filled(self) -> Legend:
        """Return the legend with the run's threshold in every class that had none."""
        return self.legend.model_copy(
            update={
                "classes": tuple(
                    c
                    if c.threshold is not None
                    else c.model_copy(update={"threshold": self.threshold})
                    for c in self.legend.classes
                )
            }
        )

    def fingerprint(self, raster: Mapping[str, Any], backend: str) -> dict[str, Any]:
        """Return what a tile's result depends on, flat and JSON-able.

        Args:
            raster: The raster's identity.
            backend: The fitted backend's identity.
        """
        return {
            "format": FORMAT_VERSION,
            "backend": backend,
            "tile": self.tile,
            "overlap": self.overlap,
            **({"composite": self.composite} if self.composite else {}),
            "legend": self.filled().model_dump(mode="json"),
            **{f"raster.{key}": value for key, value in sorted(raster.items())},
        }


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return `key: old -> new` for values that differ, down to single fields; the first few."""
    before, after = _flat(old), _flat(new)
    changed = [key for key in sorted({*before, *after}) if before.get(key) != after.get(key)]
    shown = [
        f"{k.removesuffix('_ns')}: {_short(k, before.get(k))} -> {_short(k, after.get(k))}"
        for k in changed[:_LISTED]
    ]
    more = len(changed) - len(shown)
    return [*shown, f"and {more} more"] if more else shown


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    """Return the leaves of nested JSON by their place, as `legend.classes[0].name`."""
    if isinstance(value, Mapping) and (value or not key):
        parts = {f"{key}.{k}" if key else str(k): v for k, v in value.items()}
    elif isinstance(value, list | tuple) and value:
        parts = {f"{key}[{i}]": v for i, v in enumerate(value)}
    else:
        return {key: value}
    return {leaf: v for place, part in parts.items() for leaf, v in _flat(part, place).items()}


def _short(key: str, value: Any) -> str:
    text = str(value)
    if key.endswith("_ns") and isinstance(value, int):
        text = datetime.fromtimestamp(value / 1e9, UTC).isoformat(" ", "milliseconds")
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]}...{text[-_SHOWN // 2 :]}"
