"""What is fitted once per run? Channels to bands, words to classes."""

from __future__ import annotations

from dataclasses import dataclass

from geoseg.backends.onnx.card import Card
from geoseg.backends.onnx.inputs import Channels, fit_channels
from geoseg.backends.vocabulary import known
from geoseg.legend import Legend
from geoseg.raster import RasterReader


@dataclass(frozen=True, slots=True)
class Wanted:
    """One class of the legend, in the net's terms."""

    members: tuple[int, ...]
    """The net's classes that it means; a pixel or object of any counts."""
    threshold: float
    """Least probability."""
    is_cover: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything fitted for one run."""

    channels: Channels
    classes: tuple[Wanted, ...]
    """As in the legend."""


def fit_plan(card: Card, raster: RasterReader, legend: Legend) -> Plan:
    """Fit a net to a raster and a legend.

    Raises:
        BackendError: A word the card does not know, or bands the raster lacks.
    """
    words = card.words()
    topics = [c.name for c in card.classes if c.words != ()]
    classes = []
    for land_class in legend.classes:
        meant = [words[known(p, words, card.name, topics)] for p in land_class.prompts]
        threshold = 0.5 if land_class.threshold is None else land_class.threshold
        members = tuple(sorted({k for ks in meant for k in ks}))
        classes.append(Wanted(members, threshold, land_class.kind == "cover"))
    return Plan(fit_channels(card.input, raster, card.name), tuple(classes))
