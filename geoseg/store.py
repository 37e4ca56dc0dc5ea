"""What is already done? One folder per run, one file per tile.

    NAME.geoseg/run.json     the fingerprint, written before the first tile
    NAME.geoseg/tiles/       one compressed, checksummed file per tile, empty tiles too
    NAME.geoseg/failed/      the reason, for each tile that failed

Files are written beside their place and renamed, so a reader sees a whole file or none.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.config import FORMAT_VERSION, difference
from geoseg.errors import OutputError, ResumeMismatchError
from geoseg.grid import Grid
from geoseg.instances import FACT, Labels
from geoseg.runs import RUN

_MAGIC = f"geoseg{FORMAT_VERSION}\n".encode()
_LEVEL = 1
_ENTRIES = {"run.json", "tiles", "failed"}
_COUNTS = np.dtype([("runs", "<i8"), ("facts", "<i8")])
_CRC_BYTES = 4


@dataclass(frozen=True, slots=True)
class Store:
    """A run folder."""

    path: Path
    """`NAME.geoseg`."""
    grid: Grid
    """Names the tiles."""

    def open(self, fingerprint: Mapping[str, Any], *, fresh: bool = False) -> None:
        """Create the folder, or continue in it.

        Args:
            fingerprint: What the tiles depend on.
            fresh: Throw away what is there.

        Raises:
            ResumeMismatchError: It belongs to a run with another fingerprint; says what differs.
            OutputError: It cannot be written.
        """
        record = self.path / "run.json"
        wanted = json.loads(json.dumps(dict(fingerprint)))
        try:
            found = {entry.name for entry in self.path.iterdir()} if self.path.exists() else set()
            if {n for n in found - _ENTRIES if not n.startswith(".") and not n.endswith(".part")}:
                raise OutputError(f"{self.path} is there but is no run folder; remove it")
            if fresh and found:
                self.remove()
            if record.exists():
                self._check(record, wanted)
                return
            (self.path / "tiles").mkdir(parents=True, exist_ok=True)
            (self.path / "failed").mkdir(exist_ok=True)
            _write(record, json.dumps(wanted, indent=1).encode())
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}") from error

    def _check(self, record: Path, wanted: dict[str, Any]) -> None:
        try:
            found = json.loads(record.read_bytes())
        except ValueError:
            found = {}
        changes = difference(found, wanted)
        if changes:
            raise ResumeMismatchError(
                f"{self.path} was begun with other settings ({'; '.join(changes)}); pass --fresh "
                "to start again, or use the same settings to continue"
            )

    def _tile(self, index: int) -> Path:
        return self.path / "tiles" / f"{self.grid.name(index)}.tile"

    def _failure(self, index: int) -> Path:
        return self.path / "failed" / f"{self.grid.name(index)}.txt"

    def put(self, index: int, labels: Labels) -> None:
        """Keep the labels of a tile."""
        notes = json.dumps(labels.notes).encode()
        body = zlib.compress(labels.runs.tobytes() + labels.facts.tobytes() + notes, _LEVEL)
        content = np.array((len(labels.runs), len(labels.facts)), _COUNTS).tobytes() + body
        crc = zlib.crc32(content).to_bytes(_CRC_BYTES, "little")
        _write(self._tile(index), _MAGIC + crc + content)
        self._failure(index).unlink(missing_ok=True)

    def get(self, index: int) -> Labels:
        """Return the labels of a tile; a tile that failed has none.

        Raises:
            OutputError: Its file is damaged.
        """
        try:
            blob = self._tile(index).read_bytes()
        except FileNotFoundError:
            return Labels.empty()
        crc, content = blob[len(_MAGIC) :][:_CRC_BYTES], blob[len(_MAGIC) + _CRC_BYTES :]
        intact = zlib.crc32(content) == int.from_bytes(crc, "little")
        if not (intact and blob.startswith(_MAGIC) and len(content) > _COUNTS.itemsize):
            raise OutputError(f"{self._tile(index)} is damaged; remove it and run again")
        counts = np.frombuffer(content[: _COUNTS.itemsize], _COUNTS)[0]
        body = zlib.decompress(content[_COUNTS.itemsize :])
        runs = int(counts["runs"]) * RUN.itemsize
        facts = runs + int(counts["facts"]) * FACT.itemsize
        return Labels(
            np.frombuffer(body[:runs], RUN),
            np.frombuffer(body[runs:facts], FACT),
            tuple(json.loads(body[facts:])),
        )

    def fail(self, index: int, reason: str) -> None:
        """Keep the reason why a tile has no labels."""
        _write(self._failure(index), reason.encode())

    def missing(self) -> list[int]:
        """Return the tiles that are not done; failed ones are tried again."""
        done = {file.name for file in (self.path / "tiles").iterdir()}
        return [i for i in range(len(self.grid)) if f"{self.grid.name(i)}.tile" not in done]

    def failed(self) -> dict[int, str]:
        """Return the reason for each tile that failed."""
        names = {file.name for file in (self.path / "failed").iterdir()}
        return {
            i: self._failure(i).read_text("utf-8")
            for i in (range(len(self.grid)) if names else ())
            if f"{self.grid.name(i)}.txt" in names
        }

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.path)


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
