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


@pytest.fixture(scope="session")
def saved(tmp_path_factory) -> Callable[[str], Path]:
    """Return the folder (or file) of a tiny model by the name of its family."""
    return cache(lambda name: tiny.MODELS[name](tmp_path_factory.mktemp(name)))
