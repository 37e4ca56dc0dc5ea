"""Which words does the backend know, and what do they mean?

People type many words for few things. Every alias leads to one concept; each concept has rules in
`table.toml`. Case, hyphens, plurals and harmless adjectives do not matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from geoseg.backends.vocabulary import known

CONCEPTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "vegetation": ("vegetation", "plant", "greenery", "green space", "green area"),
        "forest": (
            "forest", "wood", "woods", "woodland", "canopy", "tree cover", "rainforest", "jungle",
            "mangrove", "forest cover", "tree canopy",
        ),
        "tree": ("tree", "tree crown", "crown", "palm", "palm tree", "individual tree"),
        "grass": (
            "grass", "pasture", "meadow", "lawn", "grassland", "rangeland", "savanna", "turf",
            "herbaceous vegetation",
        ),
        "crop": (
            "crop", "cropland", "field", "farmland", "agriculture", "agricultural field",
            "agricultural land", "crop field", "farm", "plantation",
        ),
        "water": (
            "water", "river", "lake", "pond", "sea", "ocean", "reservoir", "stream", "waterbody",
            "water body", "open water", "surface water", "canal", "lagoon", "creek",
        ),
        "wetland": (
            "wetland", "flooded vegetation", "marsh", "swamp", "bog", "fen", "peatland",
            "aquatic vegetation", "reed",
        ),
        "bare soil": (
            "bare soil", "soil", "sand", "bare", "beach", "clearing", "bare ground", "bare land",
            "bareland", "bare earth", "dirt", "mud", "rock", "desert", "barren", "barren land",
        ),
        "built-up": (
            "built up", "built", "built up area", "urban", "urban area", "building", "house",
            "roof", "rooftop", "road", "street", "pavement", "asphalt", "concrete", "impervious",
            "impervious surface", "settlement", "town", "city", "developed", "developed land",
        ),
        "snow": ("snow", "ice", "glacier", "snow and ice"),
        "cloud": ("cloud", "cloud cover"),
        "shadow": ("shadow", "shade", "cloud shadow"),
        "burned": (
            "burned", "burnt", "burn", "burn scar", "burned area", "burnt area", "fire scar",
            "burned forest",
        ),
    }
)  # fmt: skip
"""Aliases by concept; the first is the concept's plain name."""

NARROWER: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "vegetation": frozenset({"forest", "tree", "grass", "crop", "wetland"}),
        "grass": frozenset({"crop", "wetland"}),
    }
)
"""Concepts that are a part of another: beside them the wider one means the rest."""

_CONCEPT_OF = {alias: name for name, aliases in CONCEPTS.items() for alias in aliases}

KNOWN_WORDS: tuple[str, ...] = tuple(sorted(_CONCEPT_OF))
"""Every word the backend knows, in lower case and singular."""


def concept_of(word: str) -> str:
    """Return the concept a word means.

    Raises:
        BackendError: It means none; the message names the closest known words.
    """
    return _CONCEPT_OF[known(word, KNOWN_WORDS, "spectral", tuple(CONCEPTS))]
