"""What is asked of models of outlines? Masks under prompts, or of all they see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from geoseg.backends.detections import Detections, Picture
from geoseg.backends.prompts import Prompt
from geoseg.instances import Mask


@dataclass(frozen=True, slots=True, eq=False)
class Cutout:
    """A mask, cropped to its own box."""

    box: tuple[int, int, int, int]
    """x0, y0, x1, y1 in pixels of the tile, half-open."""
    mask: Mask
    """(row, col) of the box's size."""
    quality: float
    """How sure the segmenter is of the outline, 0..1 (SAM: predicted IoU)."""


class Outliner(Protocol):
    """A model of outlines."""

    @property
    def identity(self) -> str:
        """Name and version (revision or digest of weights)."""
        ...

    def ready(self) -> Self:
        """Return one whose weights are loaded: bad ones are found before any tile.

        Raises:
            BackendError: They cannot be used.
        """
        ...


class Segmenter(Outliner, Protocol):
    """Anything that turns boxes or points into masks."""

    def cut(
        self,
        pictures: Sequence[Picture],
        prompts: Sequence[Detections],
        shapes: Sequence[tuple[int, int]],
    ) -> list[list[Cutout | None]]:
        """Return the mask of every prompt of every picture.

        Args:
            pictures: What to look at.
            prompts: Boxes (or points) in pixels of the picture, at least one per picture.
            shapes: (rows, cols) of the tile each picture shows: what masks are made in.

        Returns:
            Per picture and prompt, in order, a Cutout; None where nothing is there.
        """
        ...


class Proposer(Outliner, Protocol):
    """A segmenter that says of its own accord what it sees."""

    def propose(
        self,
        pictures: Sequence[Picture],
        points: Sequence[NDArray[np.float32]],
        shapes: Sequence[tuple[int, int]],
    ) -> list[list[Cutout]]:
        """Return the segments under points, each once, that the segmenter is sure of.

        Args:
            pictures: What to look at.
            points: (n, 2) x, y in pixels of each picture.
            shapes: (rows, cols) of the tile each picture shows.
        """
        ...


@runtime_checkable
class Interactive(Outliner, Protocol):
    """A segmenter that can be asked again and again about a picture it has looked at."""

    def look(self, picture: Picture) -> Any:
        """Return what is seen in a picture: all that costs time and does not know the prompt."""
        ...

    def ask(self, seen: Any, prompt: Prompt, shape: tuple[int, int]) -> list[Cutout]:
        """Return masks that one object may have, the best first; none where nothing is there.

        Args:
            seen: What `look` returned.
            prompt: In pixels of the picture; has a positive point, a box or a mask.
            shape: (rows, cols) of the tile the picture shows: what masks are made in.
        """
        ...
