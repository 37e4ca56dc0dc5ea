"""Weights: where they are looked for, how they are known, and what is said when there are none."""

from __future__ import annotations

import hashlib
import socket
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import constants, errors

from geoseg.backends import catalogue
from geoseg.backends.catalogue import CHECKPOINTS, SAM_LICENCE, find, licence_of, usual
from geoseg.backends.weights import fetch, locate
from geoseg.errors import BackendError

REPO = "IDEA-Research/grounding-dino-tiny"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def no_socket(monkeypatch):
    """Fail whatever opens a socket."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of the hub."""
    folder = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


def fill(cache, repo=REPO, names=("model.safetensors", "config.json")):
    root = cache / ("models--" + repo.replace("/", "--"))
    snapshot = root / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(COMMIT)
    for name in names:
        (snapshot / name).write_text(name)
    return snapshot


def test_a_folder_is_known_by_the_digest_of_what_is_read(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "notes.pdf").write_bytes(b"1")
    first = locate("sam2", str(tmp_path))
    assert (first.source, first.revision) == (str(tmp_path), None)
    assert first.licence == "not stated beside the weights"
    (tmp_path / "notes.pdf").write_bytes(b"2")
    assert locate("sam2", str(tmp_path)).sha256 == first.sha256
    (tmp_path / "model.safetensors").write_bytes(b"weighty")
    second = locate("sam2", str(tmp_path))
    assert second.sha256 != first.sha256
    (tmp_path / "config.json").write_text("{ }")
    assert locate("sam2", str(tmp_path)).sha256 != second.sha256


def test_swapped_files_are_noticed(tmp_path):
    for order in (("a", "b"), ("b", "a")):
        folder = tmp_path / order[0]
        folder.mkdir()
        for name, content in zip(("1.safetensors", "2.safetensors"), order, strict=True):
            (folder / name).write_text(content)
    assert locate("sam", str(tmp_path / "a")).sha256 != locate("sam", str(tmp_path / "b")).sha256


def test_a_file_is_known_by_its_own_digest(tmp_path):
    file = tmp_path / "sam.pth"
    file.write_bytes(b"tensors")
    found = locate("sam", str(file))
    assert found.sha256 == hashlib.sha256(b"tensors").hexdigest()
    assert found.identity == f"sam {file} sha256:{found.sha256[:12]}"


def test_the_cache_is_used_without_a_socket_and_gives_the_commit(cache):
    snapshot = fill(cache)
    for wanted in (None, REPO, f"{REPO}@{COMMIT}", "grounding-dino-tiny"):
        for offline in (True, False):
            found = locate("grounding-dino", wanted, offline=offline)
            assert found.path == snapshot
            assert found.revision == COMMIT
            assert found.licence == "Apache-2.0"
            assert f"{REPO}@{COMMIT[:12]} sha256:" in found.identity


def test_a_cache_without_weights_is_no_cache(cache):
    fill(cache, names=("config.json",))
    with pytest.raises(BackendError, match="--offline forbids a download"):
        locate("grounding-dino", offline=True)


def test_the_licence_is_read_from_the_model_card(tmp_path, cache):
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "README.md").write_text("---\ntags: [a]\nlicense: mit\n---\n# Model\n")
    assert locate("sam", str(tmp_path)).licence == "mit"
    snapshot = fill(cache, "facebook/sam3")
    (snapshot / "README.md").write_text("---\nlicense: other\n---\n")
    assert locate("sam3").licence == SAM_LICENCE


def answer(monkeypatch, error):
    def download(*_: object, local_files_only: bool = False, **__: object) -> str:
        raise errors.LocalEntryNotFoundError("none") if local_files_only else error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)


def http(kind, status=403):
    return kind("no", response=SimpleNamespace(headers={}, request=None, status_code=status))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (http(errors.GatedRepoError), "is gated: accept its licence at https://huggingface.co/a/b"),
        (http(errors.RepositoryNotFoundError, 404), "there is no model a/b on the hub, or it is"),
        (http(errors.RevisionNotFoundError, 404), "a/b has no revision 'v9'"),
        (http(errors.HfHubHTTPError, 500), "the hub cannot be reached"),
        (errors.LocalEntryNotFoundError("x"), "run `geoseg models fetch a/b --to FOLDER`"),
        (OSError(28, "No space left on device"), "a/b cannot be downloaded: No space left"),
    ],
)
def test_what_the_hub_refuses_is_one_line_that_says_what_to_do(monkeypatch, error, words):
    answer(monkeypatch, error)
    with pytest.raises(BackendError) as caught:
        fetch("a/b", "v9")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_safetensors_come_first_and_pickles_only_without_them(monkeypatch, tmp_path):
    asked = []

    def download(_repo, *, allow_patterns=(), local_files_only=False, **_: object) -> str:
        if local_files_only:
            raise errors.LocalEntryNotFoundError("none")
        asked.append(allow_patterns)
        if "*.bin" in allow_patterns:
            (tmp_path / "pytorch_model.bin").write_bytes(b"")
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert fetch("a/b") == tmp_path
    assert "*.safetensors" in asked[0]
    assert not {"*.bin", "*.pth", "*.py"} & set(asked[0])
    assert "*.bin" in asked[1]
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("family", "argument", "words"),
    [
        ("sam", "nowhere/at/all", "no weights at 'nowhere/at/all'; give sam: a folder"),
        ("sam", "owlv2-base", "are weights for owlv2; use --backend owlv2:owlv2-base"),
        ("sam", "", "no weights at ''"),
    ],
)
def test_what_cannot_be_weights_is_refused(family, argument, words):
    with pytest.raises(BackendError) as caught:
        locate(family, argument)
    assert words in str(caught.value)


def test_an_empty_folder_is_no_model(tmp_path):
    with pytest.raises(BackendError, match="holds no weights"):
        locate("sam", str(tmp_path))


def test_the_catalogue_names_each_once_and_knows_the_usual_one_of_each_family():
    assert len({(c.repo, c.family) for c in CHECKPOINTS.values()}) == len(CHECKPOINTS)
    for checkpoint in CHECKPOINTS.values():
        assert find(checkpoint.name) is checkpoint
        assert find(checkpoint.repo).repo == checkpoint.repo
        assert usual(checkpoint.family).family == checkpoint.family
        assert checkpoint.licence == licence_of(checkpoint.repo)
    assert find("sam2") is usual("sam2")
    assert CHECKPOINTS["sam3"].gated
    with pytest.raises(
        BackendError, match=r"unknown model 'sam2\.1-tny'; did you mean 'sam2\.1-tiny'"
    ):
        find("sam2.1-tny")
    assert licence_of("a/b") == f"see {catalogue.HUB}a/b"
