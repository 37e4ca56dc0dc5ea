"""Tiny models, saved once for all tests."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import tiny
import torch

# Tiny models spend their time waiting for threads.
torch.set_num_threads(1)

_MAKERS: dict[str, Callable[[Path], Path]] = {
    "sam": tiny.sam,
    "sam-hq": lambda folder: tiny.sam(folder, "SamHQ"),
    "sam2": tiny.sam2,
    "sam2-video": lambda folder: tiny.sam2(folder, video=True),
    "edgetam": tiny.edgetam,
    "sam3-tracker": tiny.sam3_tracker,
    "sam3-tracker-video": lambda folder: tiny.sam3_tracker(folder, video=True),
    "segment-anything": tiny.segment_anything,
    "sam3": tiny.sam3,
    "sam3-video": lambda folder: tiny.sam3(folder, video=True),
    "clipseg": tiny.clipseg,
}


@pytest.fixture(scope="session")
def saved(tmp_path_factory) -> Callable[[str], Path]:
    """Return the folder (or file) of a tiny model by name."""
    return cache(lambda name: _MAKERS[name](tmp_path_factory.mktemp(name)))
