"""A folder that was named to keep embeddings can, or is refused; and nothing is made for asking."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from geoseg.backends.compose import interactive
from geoseg.backends.keeping import check_cache
from geoseg.config import ModelOptions
from geoseg.errors import ConfigError


def everything(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.mark.parametrize("cache", [None, "auto", ".", "new", "new/er", "link"])
def test_what_may_be_made_is_not_made_yet(tmp_path, monkeypatch, cache):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "linked").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "linked")
    before = everything(tmp_path)
    check_cache(ModelOptions(cache=cache))
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    ("cache", "said"),
    [
        ("file", "file: .*file is no folder; give a folder"),
        ("file/kept", "kept: .*file is no folder; give a folder"),
        ("dangling", "dangling: .*dangling is no folder"),
        ("a" * 300, f"cannot be used: {os.strerror(36)}"),
    ],
)
def test_what_can_be_no_folder_is_refused_in_one_line(tmp_path, monkeypatch, cache, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    options = ModelOptions(cache=cache)
    for ask in (lambda: check_cache(options), lambda: interactive("sam2", options)):
        with pytest.raises(ConfigError, match=said) as caught:
            ask()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("cache", "said"), [(".", "cannot be written"), ("new", "cannot be made")])
def test_a_folder_that_is_read_only_is_refused(tmp_path, monkeypatch, cache, said):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(
        ConfigError, match=rf"{said}: .* is not writable \(Permission denied\); give"
    ):
        check_cache(ModelOptions(cache=cache))
