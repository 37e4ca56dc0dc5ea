"""Has this network seen this picture before? What it saw, on disk, found by what is in the picture.

A file is named by the digest of the network and of the very pixels it is shown: another raster,
window, stretch, composite or ground size is another picture, so nothing here can be out of date.
Files are whole or not there, as they are written beside and renamed; one that a disk has damaged
counts as not there. Nothing waits for the disk: what a power failure takes is only made again.
Several processes may share a folder. Whoever writes makes room first, and what was used least
recently goes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save

from geoseg.backends.detections import Picture
from geoseg.backends.keeping import AUTO
from geoseg.backends.models.asking import Code
from geoseg.errors import BackendError

log = logging.getLogger(__name__)

_FORMAT = "geoseg embedding 1"

_OURS = re.compile(r"[0-9a-f]{64}\.embedding(\.\w+\.part)?")
"""Nothing else in the folder is counted, read or removed."""

_OLD_S = 3600.0
"""A part that nobody has written to for so long was left by a process that was killed."""

_FULL = (errno.ENOSPC, errno.EDQUOT)

_DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True)
class Embeddings:
    """What networks saw in pictures, in a folder of limited size."""

    folder: Path
    """Where; made when it is first written to."""
    most: int
    """Bytes that all of it may take."""
    network: str
    """Weights and arithmetic of the network that asks."""

    def read(self, picture: Picture) -> Code | None:
        """Return what the network saw in a picture, on the host; None where that is not kept."""
        name = self._name(picture)
        place = self.folder / name
        try:
            whole = memoryview(place.read_bytes())
        except OSError:
            return None
        digest, content = whole[:_DIGEST_BYTES], whole[_DIGEST_BYTES:]
        if _digest(name, content) != digest:
            log.debug("%s is damaged", place)
            return None
        with suppress(OSError):
            # So that it is known when it was last used.
            os.utime(place)
        return unpacked(bytes(content))

    def write(self, picture: Picture, code: Code) -> None:
        """Keep what the network saw in a picture, if that can be; if not, say so once."""
        name = self._name(picture)
        content = packed(code)
        beside = self.folder / f"{name}.{os.getpid()}x{threading.get_ident()}.part"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not self._make_room(_DIGEST_BYTES + len(content)):
                _tell(self.folder, "a single one is larger than all may be; raise --cache-size")
                return
            with beside.open("wb") as file:
                file.write(_digest(name, content))
                file.write(content)
            beside.replace(self.folder / name)
        except OSError as error:
            with suppress(OSError):
                beside.unlink()
            room = "make room there, or " if error.errno in _FULL else ""
            _tell(self.folder, f"{error.strerror}; {room}give another --cache")

    def _name(self, picture: Picture) -> str:
        total = hashlib.sha256(json.dumps((_FORMAT, self.network, picture.shape)).encode())
        total.update(np.ascontiguousarray(picture).data)
        return f"{total.hexdigest()}.embedding"

    def _make_room(self, size: int) -> bool:
        """Remove what was used least recently, until a file of a size fits; False if it cannot."""
        if size > self.most:
            return False
        files = sorted(self._files())
        taken = sum(bytes_ for _, bytes_, _ in files) + size
        long_ago = time.time() - _OLD_S
        for used, bytes_, path in files:
            is_part = path.suffix == ".part"
            if used < long_ago if is_part else taken > self.most:
                # Another process may be faster.
                path.unlink(missing_ok=True)
                taken -= bytes_
        return True

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Yield when they were last used, bytes and path of what is here."""
        for entry in os.scandir(self.folder):
            with suppress(FileNotFoundError):
                if _OURS.fullmatch(entry.name):
                    found = entry.stat()
                    yield found.st_mtime, found.st_size, Path(entry.path)


def packed(code: Code) -> bytes:
    """Return a code as a line of JSON and safetensors, of every tensor each bit.

    How a tensor lies in memory is kept too: networks compute by it, to the last digit.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, value in code.features.items():
        if isinstance(value, list):
            tensors |= {f"{name}.{k}": part for k, part in enumerate(value)}
        else:
            tensors[name] = value
    orders = {name: _order(tensor) for name, tensor in tensors.items()}
    facts = {"orders": orders, "sizes": (code.picture, code.seen, code.canvas)}
    laid = {
        name: tensor.cpu().permute(orders[name]).clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    return json.dumps(facts).encode() + b"\n" + save(laid)


def unpacked(content: bytes) -> Code:
    """Return the code that `packed` was given, on the host."""
    line, _, rest = content.partition(b"\n")
    facts = json.loads(line)
    features: dict[str, Any] = {}
    for key, laid in load(rest).items():
        order = facts["orders"][key]
        # A copy lies where torch wants tensors to begin, as one that it made itself does.
        tensor = laid.clone().permute([order.index(axis) for axis in range(len(order))])
        name, dot, place = key.partition(".")
        if dot:
            features.setdefault(name, {})[int(place)] = tensor
        else:
            features[name] = tensor
    whole = {
        name: [value[k] for k in range(len(value))] if isinstance(value, dict) else value
        for name, value in features.items()
    }
    picture, seen, canvas = (size and tuple(size) for size in facts["sizes"])
    return Code(whole, picture, seen, canvas)


def _order(tensor: torch.Tensor) -> list[int]:
    """Return the axes of a tensor from the slowest to the fastest in memory."""
    return sorted(range(tensor.dim()), key=tensor.stride, reverse=True)


def _digest(name: str, content: bytes | memoryview) -> bytes:
    """Return the digest of a file's content; of its name too, so that none can be swapped."""
    total = hashlib.sha256(name.encode())
    total.update(content)
    return total.digest()


def folder_of(cache: str) -> Path:
    """Return the folder that `--cache` means.

    Raises:
        BackendError: `auto`, and this user has no folder for caches.
    """
    if cache != AUTO:
        return Path(cache)
    try:
        return _caches() / "geoseg" / "embeddings"
    except RuntimeError as error:
        raise BackendError(
            "--cache auto: this user has no home, and so no folder for caches; give a folder"
        ) from error


def _caches() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    # Relative ones must be ignored (XDG Base Directory Specification).
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return named if named.is_absolute() else Path.home() / ".cache"


_told: set[Path] = set()
"""Folders of which was said that nothing is kept."""


def _tell(folder: Path, why: str) -> None:
    if folder not in _told:
        _told.add(folder)
        log.warning("embeddings are not kept in %s: %s", folder, why)
