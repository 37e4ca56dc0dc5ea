"""Which published weights are known by name, under which licence?

Any other weights of a known family work too: `--backend sam2:FOLDER` or `sam2:OWNER/NAME@REVISION`.
Identifiers and licences are those of the model cards on the Hugging Face hub.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from geoseg.errors import BackendError

HUB = "https://huggingface.co/"

APACHE = "Apache-2.0"
SAM_LICENCE = (
    "SAM License (Meta): no military use; redistribution under the same terms; gated download"
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Published weights."""

    name: str
    """What `geoseg models` calls them."""
    family: str
    """The part of `--backend` that runs them."""
    repo: str
    """OWNER/NAME on the hub."""
    licence: str = APACHE
    gated: bool = False
    """Whether the licence must be accepted on the hub before a download."""


_ALL = (
    Checkpoint("grounding-dino-tiny", "grounding-dino", "IDEA-Research/grounding-dino-tiny"),
    Checkpoint("grounding-dino-base", "grounding-dino", "IDEA-Research/grounding-dino-base"),
    Checkpoint(
        "mm-grounding-dino-tiny",
        "mm-grounding-dino",
        "openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg_v3det",
    ),
    Checkpoint("llmdet-tiny", "mm-grounding-dino", "iSEE-Laboratory/llmdet_tiny"),
    Checkpoint("llmdet-base", "mm-grounding-dino", "iSEE-Laboratory/llmdet_base"),
    Checkpoint("llmdet-large", "mm-grounding-dino", "iSEE-Laboratory/llmdet_large"),
    Checkpoint("owlv2-base", "owlv2", "google/owlv2-base-patch16-ensemble"),
    Checkpoint("owlv2-large", "owlv2", "google/owlv2-large-patch14-ensemble"),
    Checkpoint("owlvit-base", "owlvit", "google/owlvit-base-patch32"),
    Checkpoint("omdet-turbo-tiny", "omdet-turbo", "omlab/omdet-turbo-swin-tiny-hf"),
    Checkpoint("sam-base", "sam", "facebook/sam-vit-base"),
    Checkpoint("sam-large", "sam", "facebook/sam-vit-large"),
    Checkpoint("sam-huge", "sam", "facebook/sam-vit-huge"),
    Checkpoint("sam-hq-base", "sam-hq", "syscv-community/sam-hq-vit-base"),
    Checkpoint("sam2.1-tiny", "sam2", "facebook/sam2.1-hiera-tiny"),
    Checkpoint("sam2.1-small", "sam2", "facebook/sam2.1-hiera-small"),
    Checkpoint("sam2.1-base-plus", "sam2", "facebook/sam2.1-hiera-base-plus"),
    Checkpoint("sam2.1-large", "sam2", "facebook/sam2.1-hiera-large"),
    Checkpoint("edgetam", "edgetam", "yonigozlan/EdgeTAM-hf"),
    Checkpoint("sam3", "sam3", "facebook/sam3", SAM_LICENCE, gated=True),
    Checkpoint("sam3-tracker", "sam3-tracker", "facebook/sam3", SAM_LICENCE, gated=True),
    Checkpoint("clipseg", "clipseg", "CIDAS/clipseg-rd64-refined"),
)

CHECKPOINTS: Mapping[str, Checkpoint] = MappingProxyType({c.name: c for c in _ALL})
"""By name, families together; the first of a family is what its bare name means."""


def usual(family: str) -> Checkpoint:
    """Return the weights that `--backend FAMILY` means."""
    return next(c for c in _ALL if c.family == family)


def find(name: str) -> Checkpoint:
    """Return the weights of this name (as of `geoseg models list`) or hub identifier.

    Raises:
        BackendError: There are none; names the closest.
    """
    for checkpoint in _ALL:
        if name in (checkpoint.name, checkpoint.repo):
            return checkpoint
    if name in {c.family for c in _ALL}:
        return usual(name)
    near = get_close_matches(name, CHECKPOINTS, 1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise BackendError(f"unknown model '{name}'{hint} (known: {', '.join(CHECKPOINTS)})")


def licence_of(repo: str) -> str:
    """Return the licence of weights on the hub, as far as they are in the catalogue."""
    return next((c.licence for c in _ALL if c.repo == repo), "see " + HUB + repo)
