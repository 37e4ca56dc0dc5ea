"""How are the user's own nets run? Any ONNX file with a model card beside it (see card.py).

Semantic nets are run on a lattice of windows anchored in the raster: a pixel's answer is the same,
bit for bit, for every tiling. `--threshold` is the least probability of a pixel. By default it is
one half, so that a pixel is of a class that is more likely than all others together, and unsure
pixels are of none; lower it for more pixels, raise it for surer ones. At 0, with all classes of
the net asked as covers, every pixel goes to the net's first choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from geoseg.backends.onnx.card import Card, Instance
from geoseg.backends.onnx.instance import InstanceNet
from geoseg.backends.onnx.net import Net, digest
from geoseg.backends.onnx.plan import Plan, fit_plan
from geoseg.backends.onnx.semantic import SemanticNet
from geoseg.config import ModelOptions
from geoseg.errors import BackendError
from geoseg.instances import Instances
from geoseg.legend import Legend
from geoseg.pixels import Pixels
from geoseg.raster import RasterReader

__all__ = ["Onnx", "onnx"]

_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Onnx:
    """The backend of a net and its card."""

    model: SemanticNet | InstanceNet
    plan: Plan | None = field(default=None, repr=False)
    """Set by `fit`."""

    @classmethod
    def load(cls, card: str | Path, *, device: str = "auto") -> Onnx:
        """Read a card and open the model beside it.

        Args:
            card: The TOML file.
            device: `auto`, `cpu`, `cuda` or `cuda:1`.

        Raises:
            ConfigError: The card has an error.
            BackendError: The model cannot be run, or is not what the card says.
        """
        read = Card.load(card)
        return cls.of(read, Path(card).parent / read.model, device=device)

    @classmethod
    def of(cls, card: Card, file: Path, *, device: str = "auto") -> Onnx:
        """Open a model that may lie anywhere, and check it against a card.

        Raises:
            BackendError: The model cannot be run, or is not what the card says.
        """
        found = digest(file)
        if card.sha256 not in {None, found}:
            raise BackendError(
                f"model '{file.name}' has SHA-256 {found[:_DIGITS]}..., its card wants "
                f"{str(card.sha256)[:_DIGITS]}...: get that version, or correct the card"
            )
        net = Net(str(file.resolve()), found, device, card.input.layout)
        _check_input(net, card)
        model = (
            InstanceNet(net, card, card.output)
            if isinstance(card.output, Instance)
            else SemanticNet(net, card, card.output)
        )
        model.check()
        return cls(model)

    @property
    def identity(self) -> str:
        """Name, digests of model and card and, once fitted, of what was fitted."""
        card = self.model.card
        parts = [self.model.net.digest, sha256(card.model_dump_json().encode()).hexdigest()]
        if self.plan is not None:
            parts.append(sha256(repr(self.plan).encode()).hexdigest())
        return " ".join([card.name, *(part[:_DIGITS] for part in parts)])

    @property
    def halo_px(self) -> int:
        """How far from a pixel its answer looks; the card's margin for instance nets."""
        return self.model.halo_px

    def facts(self) -> list[dict[str, str | None]]:
        """Return what the output file says of the weights."""
        card, net = self.model.card, self.model.net
        return [
            {
                "family": "onnx",
                "source": card.name,
                "revision": None,
                "sha256": net.digest,
                "licence": card.licence,
            }
        ]

    def fit(self, raster: RasterReader, legend: Legend) -> Onnx:
        """Return the backend with everything that depends on raster and legend fitted.

        Raises:
            BackendError: A word the card does not know, or bands the raster lacks.
        """
        return replace(self, plan=fit_plan(self.model.card, raster, legend))

    def segment(self, tiles: Sequence[Pixels]) -> list[Instances]:
        """Return the instances of each tile.

        Raises:
            BackendError: `fit` was not called, or the net does not fit its card.
        """
        if self.plan is None:
            raise BackendError(
                f"backend '{self.model.card.name}' is not fitted; call fit(raster, legend) first"
            )
        return [self.model.segment(self.plan, tile) for tile in tiles]


def onnx(card: str | None, options: ModelOptions) -> Onnx:
    """Return the backend of a model card.

    Raises:
        BackendError: No card is named, or its model cannot be run.
    """
    if card is None:
        raise BackendError("backend onnx needs a model card: write onnx:CARD.toml")
    return Onnx.load(card, device=options.device)


def _check_input(net: Net, card: Card) -> None:
    """Compare the axes that the model declares with the card."""
    side = card.input.size_px
    wanted = {"N": (1, ""), "C": (len(card.input.bands), "bands")}
    wanted |= {"H": (side, "size_px"), "W": (side, "size_px")}
    for axis, size in net.input_shape.items():
        asked, name = wanted[axis]
        if isinstance(size, int) and size != asked:
            knob = f"correct `{name}` or `layout`" if name else "export it for single pictures"
            raise BackendError(
                f"model '{net.file}' takes {axis} = {size} in layout {card.input.layout}, its card "
                f"says {asked}: {knob}"
            )
