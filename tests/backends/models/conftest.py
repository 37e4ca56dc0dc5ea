"""Tiny models, saved once for all tests."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import tiny
import torch
from segmenters import CPU, FAMILIES

# Tiny models spend their time waiting for threads.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def saved(tmp_path_factory) -> Callable[[str], Path]:
    """Return the folder (or file) of a tiny model by the name of its family."""
    return cache(lambda name: tiny.MODELS[name](tmp_path_factory.mktemp(name)))


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="session")
def ready(saved):
    """Return a family's segmenter, loaded once."""
    return cache(lambda family: FAMILIES[family](str(saved(family)), CPU))
