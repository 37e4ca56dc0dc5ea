"""Where are water, snow, cloud and shadow? The nets of the package ukis-csmask (Apache-2.0, DLR).

Made for Sentinel-2 and Landsat as top-of-atmosphere reflectance. The model files are found inside
the installed package, which is never imported; what geoseg knows of them is in two model cards.
With their margin of 32 px, classes change no more often at borders of cells than elsewhere (on
reflectance; see benchmarks/csmask.py); without a margin it is four times as often.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from geoseg.backends.onnx import Onnx
from geoseg.backends.onnx.card import Card
from geoseg.config import ModelOptions
from geoseg.errors import BackendError, MissingDependencyError
from geoseg.instances import Instances
from geoseg.legend import Legend
from geoseg.pixels import Pixels
from geoseg.raster import RasterReader

log = logging.getLogger(__name__)

PACKAGE = "ukis_csmask"

_FULL, _WITHOUT_SWIR = "csmask6", "csmask4"


def card(name: str) -> Card:
    """Return one of the two cards: `csmask6` or `csmask4`."""
    path = resources.files(__name__) / f"{name}.toml"
    return Card.parse(path.read_text("utf-8"), f"model card '{name}'")


KNOWN_WORDS: tuple[str, ...] = tuple(sorted({w for c in card(_FULL).classes for w in c.asked_by}))
"""Every word the backend knows."""


@dataclass(frozen=True, slots=True)
class Csmask:
    """The choice between the two nets, made by the bands of the raster."""

    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:1`."""

    @property
    def identity(self) -> str:
        """The name; `fit` returns a backend that says which net it is."""
        return "csmask"

    @property
    def halo_px(self) -> int:
        """The halo of both nets."""
        wanted = card(_FULL).input
        return wanted.size_px - wanted.margin_px

    def fit(self, raster: RasterReader, legend: Legend) -> Onnx:
        """Return the net for the raster's bands, fitted.

        Raises:
            MissingDependencyError: ukis-csmask is not installed.
            BackendError: Another version of it is, a word is unknown, or bands are missing.
        """
        name = _FULL
        if not {"swir1", "swir2"} <= raster.roles.keys() and "nir" in raster.roles:
            log.warning(
                "no bands swir1 and swir2: csmask takes its net of 4 bands, which errs more often "
                "(name bands with --bands or --sensor)"
            )
            name = _WITHOUT_SWIR
        chosen = card(name)
        return Onnx.of(chosen, folder() / chosen.model, device=self.device).fit(raster, legend)

    def segment(self, tiles: Sequence[Pixels]) -> list[Instances]:
        """Refuse: the nets are chosen by `fit`.

        Raises:
            BackendError: Always.
        """
        raise BackendError(
            f"backend 'csmask' is not fitted to its {len(tiles)} tiles; call fit(raster, legend)"
        )


def csmask(argument: str | None, options: ModelOptions) -> Csmask:
    """Return the backend.

    Raises:
        BackendError: Other weights are asked for.
    """
    if argument is not None:
        raise BackendError(
            f"backend csmask has weights of its own, got '{argument}'; use onnx:CARD"
        )
    return Csmask(options.device)


def folder() -> Path:
    """Return where the package lies, without importing it.

    Raises:
        MissingDependencyError: It is not installed.
    """
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            "backend 'csmask' needs the package 'ukis-csmask', which is not installed; "
            'pip install "geoseg[csmask]"'
        )
    return Path(spec.submodule_search_locations[0])
