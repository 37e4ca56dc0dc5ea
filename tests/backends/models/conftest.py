"""Tiny models, made and saved once."""

from __future__ import annotations

import pytest
import tiny


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Return a function that gives the folder of a tiny model by the name of its family."""
    folders = {}

    def folder(family: str):
        if family not in folders:
            folders[family] = tiny.MODELS[family](tmp_path_factory.mktemp(family))
        return folders[family]

    return folder
