"""Which weights are on this machine, and what does the hub say of the others?"""

from __future__ import annotations

from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from geoseg.backends.catalogue import CHECKPOINTS, Checkpoint, find
from geoseg.backends.weights import fetch
from geoseg.errors import BackendError, MissingDependencyError

_HUB_PACKAGE = "huggingface_hub"


def known() -> list[dict[str, Any]]:
    """Return what is known of each of the catalogue's weights, without the network."""
    return [_row(checkpoint) for checkpoint in CHECKPOINTS.values()]


def describe(name: str, *, offline: bool = False) -> dict[str, Any]:
    """Return what is known of weights; the hub is asked for what is not cached.

    Args:
        name: A name of the catalogue, or OWNER/NAME.
        offline: Open no socket.

    Raises:
        BackendError: There are none of this name.
    """
    row = _row(_checkpoint(name.partition("@")[0]))
    if row["cached"] or offline or find_spec(_HUB_PACKAGE) is None:
        return row
    return {**row, **_of_hub(row["repo"])}


def download(name: str, to: Path | None = None) -> Path:
    """Download weights into the cache, or into a folder, and return where they are.

    Args:
        name: A name of the catalogue, or OWNER/NAME, each with @REVISION or without.
        to: A folder.

    Raises:
        BackendError: They cannot be had.
        MissingDependencyError: The package that downloads is not installed.
    """
    if find_spec(_HUB_PACKAGE) is None:
        raise MissingDependencyError(
            f"models are fetched with '{_HUB_PACKAGE}', which is not installed; pip install "
            '"geoseg[models]"'
        )
    wanted, _, revision = name.partition("@")
    return fetch(_checkpoint(wanted).repo, revision or None, to=to, anew=True)


def _checkpoint(name: str) -> Checkpoint:
    try:
        return find(name)
    except BackendError:
        if name.count("/") == 1:
            return Checkpoint(name, "not known", name, "see the model card on the hub")
        raise


def _row(checkpoint: Checkpoint) -> dict[str, Any]:
    found = _cached(checkpoint.repo)
    return {
        **asdict(checkpoint),
        "cached": found is not None,
        "revision": found[0] if found else None,
        "size_mb": found[1] if found else None,
    }


def _cached(repo: str) -> tuple[str, int] | None:
    """Return revision and size in MB of what the cache holds of a repository."""
    if find_spec(_HUB_PACKAGE) is None:
        return None
    from geoseg.backends.weights import cached

    folder = cached(repo)
    if folder is None:
        return None
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    return folder.name, round(size / 1e6)


def _of_hub(repo: str) -> dict[str, Any]:
    """Ask the hub for revision, size of what would be fetched, and licence."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        info = HfApi().model_info(repo, files_metadata=True, timeout=10)
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError):
        return {}
    except Exception as error:
        # The client's own transport raises what it likes where there is no network.
        if "onnect" in type(error).__name__ + str(error):
            return {}
        raise
    safe = [f for f in info.siblings or () if f.rfilename.endswith(".safetensors")]
    card: Any = info.card_data or {}
    return {
        "revision": info.sha,
        "size_mb": round(sum(f.size or 0 for f in safe) / 1e6) or None,
        **({"licence": card["license"]} if card.get("license") not in (None, "other") else {}),
    }
