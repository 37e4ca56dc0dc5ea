"""Where do a model's weights lie, and are they the ones that were meant?

A folder or file of the user, or OWNER/NAME@REVISION on the Hugging Face hub. What the cache holds
is used without asking the network, so that a run tomorrow loads what it loaded today. Everything
is then loaded from local files, and known by the digest of what was read.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.backends.catalogue import CHECKPOINTS, HUB, find, licence_of, usual
from geoseg.errors import BackendError

log = logging.getLogger(__name__)

_SAFE = ("*.safetensors", "*.safetensors.index.json")
_PICKLES = ("*.bin", "*.bin.index.json")
_TEXTS = ("*.json", "*.txt", "*.model", "README.md")
_REPO = re.compile(r"^[\w.-]+/[\w.-]+$")
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights on this machine."""

    family: str
    """Name of the adapter that runs them."""
    source: str
    """OWNER/NAME on the hub, or the path that was given."""
    path: Path
    """The folder, or a single weight file."""
    revision: str | None
    """Commit of the hub; None for the user's own files."""
    sha256: str
    """Digest over names and contents of weights, configuration and vocabulary."""
    licence: str
    """Of the weights, or that it is not known."""

    @property
    def identity(self) -> str:
        """Family, source, revision and digest."""
        at = f"@{self.revision[:_DIGITS]}" if self.revision else ""
        return f"{self.family} {self.source}{at} sha256:{self.sha256[:_DIGITS]}"

    def facts(self) -> dict[str, Any]:
        """Return what the output file says of the weights, JSON-able."""
        return {
            "family": self.family,
            "source": self.source,
            "revision": self.revision,
            "sha256": self.sha256,
            "licence": self.licence,
        }


def locate(family: str, argument: str | None = None, *, offline: bool = False) -> Weights:
    """Find weights, downloading them if they are not here and that is allowed.

    Args:
        family: Name of the adapter.
        argument: A folder, a file, OWNER/NAME, OWNER/NAME@REVISION, or a name of the catalogue;
            the family's usual weights where None.
        offline: Open no socket.

    Raises:
        BackendError: They cannot be had; says what to do.
    """
    wanted = argument if argument is not None else usual(family).repo
    name, _, revision = wanted.partition("@")
    path = _here(wanted)
    if path is not None:
        return _local(family, path)
    if name in CHECKPOINTS:
        name = _of_family(find(name).name, family)
    elif not _REPO.match(name):
        raise BackendError(
            f"no weights at '{wanted}'; give {family}: a folder, a weight file, OWNER/NAME of the "
            "hub, or a name from `geoseg models list`"
        )
    folder = fetch(name, revision or None, offline=offline)
    return Weights(
        family, name, folder, _commit(folder), _digest(folder), _licence(folder, licence_of(name))
    )


def _here(wanted: str) -> Path | None:
    """Return the file or folder of this name, or None."""
    try:
        path = Path(wanted).expanduser()
        return path if wanted and path.exists() else None
    except (OSError, RuntimeError, ValueError):
        # Too long, in the home of nobody, or with a NUL: no path.
        return None


def _of_family(name: str, family: str) -> str:
    checkpoint = find(name)
    if checkpoint.family != family:
        raise BackendError(
            f"'{name}' are weights for {checkpoint.family}; use --backend "
            f"{checkpoint.family}:{name}"
        )
    return checkpoint.repo


def _local(family: str, path: Path) -> Weights:
    if path.is_dir() and not any(_weight_files(path)):
        raise BackendError(
            f"{path} holds no weights (*.safetensors, *.bin); give the folder that "
            "`geoseg models fetch` or save_pretrained wrote"
        )
    licence = _licence(path, "not stated beside the weights")
    return Weights(family, str(path.resolve()), path, None, _digest(path), licence)


def fetch(
    repo: str,
    revision: str | None = None,
    *,
    to: Path | None = None,
    anew: bool = False,
    offline: bool = False,
) -> Path:
    """Return the folder of a hub repository, from the cache or else from the network.

    Args:
        repo: OWNER/NAME.
        revision: Commit, tag or branch; the main branch where None.
        to: A folder of the user's instead of the cache.
        anew: Ask the hub even if the cache holds it.
        offline: Open no socket.

    Raises:
        BackendError: It cannot be had; says what to do.
    """
    here = None if anew else cached(repo, revision)
    if here is not None:
        return here
    if offline:
        raise BackendError(
            f"{repo} is not in the cache, and --offline forbids a download; run `geoseg models "
            f"fetch {repo}` with a network first, or give a folder"
        )
    folder = _download(repo, revision, to, (*_SAFE, *_TEXTS))
    if not any(_weight_files(folder)):
        # No safetensors in the repository: its pickles are read as tensors only.
        folder = _download(repo, revision, to, (*_PICKLES, *_TEXTS))
    return folder


def cached(repo: str, revision: str | None = None) -> Path | None:
    """Return the folder of a repository in the cache, or None; opens no socket."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repo, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError):
        return None
    return folder if any(_weight_files(folder)) else None


def _download(repo: str, revision: str | None, to: Path | None, patterns: Iterable[str]) -> Path:
    from huggingface_hub import errors, snapshot_download

    at = f"@{revision}" if revision else ""
    log.warning("downloading %s%s from %s", repo, at, HUB)
    try:
        return Path(
            snapshot_download(repo, revision=revision, local_dir=to, allow_patterns=list(patterns))
        )
    except errors.GatedRepoError as error:
        raise BackendError(
            f"{repo} is gated: accept its licence at {HUB}{repo}, log in with `hf auth login` (or "
            "set HF_TOKEN), and run again"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise BackendError(f"{repo} has no revision '{revision}'; see {HUB}{repo}") from error
    except errors.RepositoryNotFoundError as error:
        raise BackendError(
            f"there is no model {repo} on the hub, or it is private (log in with `hf auth login`); "
            "`geoseg models list` names those that are known"
        ) from error
    except (errors.LocalEntryNotFoundError, errors.HfHubHTTPError, ConnectionError) as error:
        raise BackendError(
            f"{repo} is not in the cache and the hub cannot be reached; where there is a network, "
            f"run `geoseg models fetch {repo} --to FOLDER`, bring the folder here, and write it "
            "after the backend: BACKEND:FOLDER"
        ) from error
    except OSError as error:
        raise BackendError(f"{repo} cannot be downloaded: {error.strerror or error}") from error


def _weight_files(folder: Path) -> list[Path]:
    found = [*folder.glob("*.safetensors"), *folder.glob("*.bin"), *folder.glob("*.pth")]
    return sorted(f for f in found if f.is_file())


def _commit(folder: Path) -> str | None:
    """Return the commit that a cache folder is of: its name."""
    return folder.name if re.fullmatch(r"[0-9a-f]{40}", folder.name) else None


def _digest(path: Path) -> str:
    """Hash what a model is made from; names too, so that two swapped files are noticed."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    total = hashlib.sha256()
    texts = [f for pattern in _TEXTS[:-1] for f in path.glob(pattern)]
    for file_path in sorted({*_weight_files(path), *texts}):
        with file_path.open("rb") as file:
            total.update(file_path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _licence(path: Path, otherwise: str) -> str:
    """Return the licence that a model card beside the weights states."""
    card = (path if path.is_dir() else path.parent) / "README.md"
    try:
        text = card.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return otherwise
    head = re.match(r"\s*---\n(.*?)\n---", text, re.DOTALL)
    stated = re.search(r"^license:\s*(\S.*?)\s*$", head[1], re.MULTILINE) if head else None
    return stated[1] if stated and stated[1] != "other" else otherwise
