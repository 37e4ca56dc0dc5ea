"""Who finds the classes in a tile?

A backend turns the pixels of tiles into Instances. Built-in ones and those of other packages
(entry-point group `geoseg.backends`) are named in one registry and imported when asked for.
How names compose (`grounding-dino+sam2`) is said in compose.py.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import entry_points
from importlib.util import find_spec
from types import MappingProxyType, ModuleType
from typing import Any, Literal, Protocol, runtime_checkable

from geoseg.config import ModelOptions
from geoseg.errors import BackendError, MissingDependencyError
from geoseg.instances import Instances
from geoseg.legend import Legend
from geoseg.pixels import Pixels
from geoseg.raster import RasterReader

ENTRY_POINTS = "geoseg.backends"


@runtime_checkable
class Backend(Protocol):
    """Anything that finds the classes of a legend in tiles.

    With worker processes it is pickled; it must give the same answer for the same pixels.
    """

    @property
    def identity(self) -> str:
        """Name and version (revision or digest of weights): enters the run's fingerprint."""
        ...

    @property
    def halo_px(self) -> int:
        """Context in pixels beyond which a pixel's answer no longer changes; 0 for none."""
        ...

    def segment(self, tiles: Sequence[Pixels]) -> list[Instances]:
        """Return one Instances per tile, in pixels of that tile, classes as in the legend."""
        ...


@runtime_checkable
class Fittable(Protocol):
    """A backend that looks once at the raster and the legend before the first tile."""

    def fit(self, raster: RasterReader, legend: Legend) -> Backend:
        """Return a backend ready for this run.

        Raises:
            BackendError: It does not know a class, or lacks a band; says what it does know.
        """
        ...


Role = Literal["backend", "detector", "segmenter"]


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """A registered backend, or a part that backends are composed of."""

    name: str
    """What `--backend` takes."""
    target: str
    """`"module:callable"`; called without arguments, or with the weights and ModelOptions."""
    summary: str
    """One line: what it does and which words it knows."""
    extra: str | None = None
    """The extra of geoseg that installs what it needs."""
    requires: tuple[str, ...] = ()
    """Modules that must be importable."""
    role: Role = "backend"
    """Whether it works alone, finds boxes, or turns boxes into masks."""
    configurable: bool = False
    """Whether its target takes (weights or None, ModelOptions)."""
    proposes: bool = False
    """Whether a segmenter says of its own accord what it sees: `everything:NAME`."""
    keeps: bool = False
    """Whether it can keep what its encoder makes of pictures (ModelOptions.cache)."""


_TORCH = ("torch", "torchvision", "transformers")


def _model(
    name: str, target: str, summary: str, role: Role, more: tuple[str, ...] = ()
) -> BackendInfo:
    target = f"geoseg.backends.models.{target}"
    return BackendInfo(
        name,
        target,
        summary,
        "models",
        (*_TORCH, *more),
        role,
        configurable=True,
        proposes=role == "segmenter",
        keeps=role == "segmenter",
    )


_BUILT_IN = (
    BackendInfo(
        "spectral",
        "geoseg.backends.spectral:Spectral",
        "spectral indices and texture; no weights, no GPU, no network",
    ),
    _model(
        "grounding-dino",
        "grounding_dino:grounding_dino",
        "boxes for any words (Grounding DINO)",
        "detector",
    ),
    _model(
        "mm-grounding-dino",
        "grounding_dino:mm_grounding_dino",
        "boxes for any words (MM-Grounding-DINO, LLMDet)",
        "detector",
    ),
    _model("owlv2", "owl:owlv2", "boxes for any words (OWLv2)", "detector"),
    _model("owlvit", "owl:owlvit", "boxes for any words (OWL-ViT)", "detector"),
    _model(
        "omdet-turbo",
        "omdet_turbo:omdet_turbo",
        "boxes for any words, fast (OmDet-Turbo)",
        "detector",
        ("timm",),
    ),
    BackendInfo(
        "grow",
        "geoseg.backends.growing:Grow",
        "outlines of boxes and points by colour and edges; no weights, no GPU, no network",
        role="segmenter",
    ),
    _model("sam", "sam:sam", "outlines of boxes and points (SAM)", "segmenter"),
    _model("sam-hq", "sam:sam_hq", "finer outlines of boxes and points (SAM-HQ)", "segmenter"),
    _model("sam2", "sam2:sam2", "outlines of boxes and points (SAM 2 and 2.1)", "segmenter"),
    _model(
        "edgetam",
        "sam2:edgetam",
        "outlines of boxes and points, fast (EdgeTAM)",
        "segmenter",
        ("timm",),
    ),
    _model(
        "sam3-tracker",
        "sam2:sam3_tracker",
        "outlines of boxes and points (the tracker of SAM 3; gated)",
        "segmenter",
    ),
    _model("sam3", "sam3:sam3", "boxes and outlines for any words (SAM 3; gated)", "detector"),
    _model("clipseg", "clipseg:clipseg", "a heat map for any words, for covers", "backend"),
    BackendInfo(
        "onnx",
        "geoseg.backends.onnx:onnx",
        "a net of your own: onnx:CARD.toml, an ONNX file with a model card",
        "onnx",
        ("onnxruntime",),
        configurable=True,
    ),
    BackendInfo(
        "csmask",
        "geoseg.backends.csmask:csmask",
        "water, snow, cloud, shadow and land; Sentinel-2 and Landsat reflectance; Apache-2.0",
        "csmask",
        ("onnxruntime", "ukis_csmask"),
        configurable=True,
    ),
)

BUILT_IN: Mapping[str, BackendInfo] = MappingProxyType({info.name: info for info in _BUILT_IN})


def available() -> dict[str, BackendInfo]:
    """Return every backend by name: the built-in ones and those of installed packages."""
    found = dict(BUILT_IN)
    for point in entry_points(group=ENTRY_POINTS):
        distribution = point.dist.name if point.dist else "unknown package"
        found.setdefault(point.name, BackendInfo(point.name, point.value, f"from {distribution}"))
    return dict(sorted(found.items()))


def words(name: str) -> tuple[str, ...]:
    """Return the words a backend knows, as its module lists them in `KNOWN_WORDS`.

    Empty for models, which take free text, and where packages are not installed.
    """
    info = available()[name]
    if info.extra == "models" or any(find_spec(module) is None for module in info.requires):
        return ()
    known: tuple[str, ...] = getattr(_module(info), "KNOWN_WORDS", ())
    return known


def of_role(role: Role) -> list[str]:
    """Return the names of backends, detectors or segmenters."""
    return [name for name, info in available().items() if info.role == role]


def find(name: str) -> BackendInfo:
    """Return what is registered under a name.

    Raises:
        BackendError: Nothing; the message lists what there is.
    """
    known = available()
    if name not in known:
        near = get_close_matches(name, known, 1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise BackendError(
            f"unknown backend '{name}'{hint} (--backend takes one of: {', '.join(known)}; or "
            "DETECTOR+SEGMENTER, or everything:SEGMENTER)"
        )
    return known[name]


def make(info: BackendInfo, argument: str | None, options: ModelOptions) -> Any:
    """Return what a registered target gives.

    Args:
        info: What to make.
        argument: Which weights, or None.
        options: How models are run.

    Raises:
        BackendError: It takes no weights, or they cannot be had.
        MissingDependencyError: It needs an extra that is not installed.
    """
    if argument is not None and not info.configurable:
        raise BackendError(f"backend '{info.name}' takes nothing after a colon, got '{argument}'")
    if argument == "":
        raise BackendError(f"nothing after the colon; write {info.name}, or {info.name}:WEIGHTS")
    for module in info.requires:
        if find_spec(module) is None:
            raise _missing(info, module)
    target = getattr(_module(info), info.target.partition(":")[2])
    return target(argument, options) if info.configurable else target()


def _module(info: BackendInfo) -> ModuleType:
    try:
        return importlib.import_module(info.target.partition(":")[0])
    except ModuleNotFoundError as error:
        raise _missing(info, str(error.name)) from error


def _missing(info: BackendInfo, module: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"backend '{info.name}' needs the package '{module}', which is not installed; "
        f'pip install "geoseg[{info.extra or info.name}]"'
    )
