"""What is already done? One folder per run, one file per tile.

    NAME.geoseg/run.json       the fingerprint and the number of tiles, written before the first
    NAME.geoseg/tiles/         one compressed, checksummed file per tile of the run, also if
                               nothing is found in it
    NAME.geoseg/failed/        why and how often, for each tile that failed
    NAME.geoseg/progress.json  how far the run is, for `geoseg status`
    NAME.geoseg/complete       the map is at its place: only cleaning up is left
    NAME.geoseg/writing/       the map, as long as it grows
    NAME.geoseg/made.json      size and time of the map that this run put to its place
    NAME.geoseg/lock           who works here

Files are whole or not there. A tile file that a failing disk has damaged counts as not there.
"""

from __future__ import annotations

import json
import logging
import zlib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

import numpy as np

from geoseg.config import FORMAT_VERSION, difference
from geoseg.errors import OutputError, ResumeMismatchError
from geoseg.folder import Folder
from geoseg.grid import Grid
from geoseg.instances import FACT, Labels
from geoseg.progress import Pace
from geoseg.runs import RUN

log = logging.getLogger(__name__)

TRIES = 2
"""How often a tile is tried before it is left out of the map."""

_MAGIC = f"geoseg{FORMAT_VERSION}\n".encode()
_LEVEL = 1
_COUNTS = np.dtype([("runs", "<i8"), ("facts", "<i8")])
_CRC_BYTES = 4

_RECORD, _PROGRESS, _COMPLETE = "run.json", "progress.json", "complete"
_ENTRIES = {
    "tiles",
    "failed",
    _RECORD,
    _PROGRESS,
    _COMPLETE,
    "lock",
    "store.json",
    "writing",
    "made.json",
}


class Completion(Enum):
    """Whether a map is at its place."""

    NO = "no"
    CLEARING = "clearing"
    """It is, and its tiles are being thrown away."""
    KEPT = "kept"
    """It is, and its tiles are kept."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a tile is not in the map."""

    reason: str
    """What was said."""
    attempts: int
    """How often it was tried."""

    def __str__(self) -> str:
        """Say why, and how often it was tried."""
        return f"{self.reason} (tried {self.attempts} times)" if self.attempts > 1 else self.reason


@dataclass(frozen=True, slots=True)
class Store:
    """A run folder."""

    folder: Folder
    """`NAME.geoseg`."""
    grid: Grid
    """Names the tiles."""
    chosen: tuple[int, ...] | None = None
    """The tiles of the run, in order; every tile of the grid where None."""

    @property
    def tiles(self) -> Sequence[int]:
        """The tiles of the run, in order; others are never read, done or failed."""
        return range(len(self.grid)) if self.chosen is None else self.chosen

    def wants(self, index: int) -> bool:
        """Tell whether a tile of the grid is one of the run."""
        place = bisect_left(self.tiles, index)
        return place < len(self.tiles) and self.tiles[place] == index

    def open(
        self, fingerprint: Mapping[str, Any], *, fresh: bool = False, retry_failed: bool = False
    ) -> None:
        """Create the folder, or continue in it.

        Args:
            fingerprint: What the tiles depend on.
            fresh: Throw away what is there.
            retry_failed: Forget why tiles failed, so that they are tried again.

        Raises:
            ResumeMismatchError: It belongs to a run with another fingerprint; says what differs.
            OutputError: It cannot be written.
        """
        wanted = json.loads(json.dumps(dict(fingerprint)))
        try:
            self.check_ours()
            if fresh or read_completion(self.folder) == Completion.CLEARING:
                clear(self.folder)
            record = read_record(self.folder)
            if record is None:
                self._begin(wanted)
                return
            self._check(record["fingerprint"], wanted)
            self._tidy()
            if retry_failed:
                self.folder.discard(f"failed/{name}" for name in self.folder.names("failed"))
        except OSError as error:
            raise OutputError(f"cannot write {self.folder.name}: {error.strerror}") from error

    def check_ours(self) -> None:
        """Refuse a folder that holds something else.

        Raises:
            OutputError: It does.
        """
        foreign = {
            name
            for name in self.folder.names() - _ENTRIES
            if not name.startswith(".") and not name.endswith(".part")
        }
        if foreign:
            raise OutputError(f"{self.folder.name} is there but is no run folder; remove it")

    def _begin(self, wanted: dict[str, Any]) -> None:
        # Tiles without a record may be of any run.
        clear(self.folder)
        record = {"tiles": len(self.tiles), "fingerprint": wanted}
        self.folder.write(_RECORD, json.dumps(record, indent=1).encode())

    def _check(self, found: dict[str, Any], wanted: dict[str, Any]) -> None:
        changes = difference(found, wanted)
        if changes:
            raise ResumeMismatchError(
                f"{self.folder.name} was begun with other settings ({'; '.join(changes)}); pass "
                "--fresh to start again, or use the same settings to continue"
            )

    def _tidy(self) -> None:
        """Remove what a killed run left half done, and tiles that are damaged."""
        for under in ("", "tiles", "failed"):
            torn = [name for name in self.folder.names(under) if name.endswith(".part")]
            self.folder.discard(f"{under}/{name}".lstrip("/") for name in torn)
        damaged = [i for i in sorted(self.done()) if not self._intact(i)]
        self.folder.discard(self._tile(i) for i in damaged)
        if damaged:
            log.warning(
                "%d tile files in %s were damaged and are made again: %s%s",
                len(damaged),
                self.folder.name,
                ", ".join(self.grid.name(i) for i in damaged[:3]),
                ", ..." if len(damaged) > 3 else "",
            )

    def _intact(self, index: int) -> bool:
        try:
            self.get(index)
        except OutputError:
            return False
        return True

    def _tile(self, index: int) -> str:
        return f"tiles/{self.grid.name(index)}.tile"

    def _failure(self, index: int) -> str:
        return f"failed/{self.grid.name(index)}.json"

    def put(self, index: int, labels: Labels) -> None:
        """Keep the labels of a tile."""
        notes = json.dumps(labels.notes).encode()
        body = zlib.compress(labels.runs.tobytes() + labels.facts.tobytes() + notes, _LEVEL)
        content = np.array((len(labels.runs), len(labels.facts)), _COUNTS).tobytes() + body
        crc = zlib.crc32(content).to_bytes(_CRC_BYTES, "little")
        self.folder.write(self._tile(index), _MAGIC + crc + content)

    def has(self, index: int) -> bool:
        """Return whether a tile is done."""
        try:
            self.folder.read(self._tile(index))
        except FileNotFoundError:
            return False
        return True

    def get(self, index: int) -> Labels:
        """Return the labels of a tile; a tile that failed has none.

        Raises:
            OutputError: Its file is damaged, or gone: a map without it would look complete.
        """
        try:
            blob = self.folder.read(self._tile(index))
        except FileNotFoundError:
            if self._read_failure(index) is None:
                raise OutputError(
                    f"{self.folder.name}/{self._tile(index)} is gone: did another program remove "
                    "it? run the same again: it is made anew"
                ) from None
            return Labels.empty()
        crc, content = blob[len(_MAGIC) :][:_CRC_BYTES], blob[len(_MAGIC) + _CRC_BYTES :]
        intact = zlib.crc32(content) == int.from_bytes(crc, "little")
        if not (intact and blob.startswith(_MAGIC) and len(content) > _COUNTS.itemsize):
            raise OutputError(
                f"{self.folder.name}/{self._tile(index)} is damaged; run the same again: it is "
                "made anew"
            )
        counts = np.frombuffer(content[: _COUNTS.itemsize], _COUNTS)[0]
        body = zlib.decompress(content[_COUNTS.itemsize :])
        runs = int(counts["runs"]) * RUN.itemsize
        facts = runs + int(counts["facts"]) * FACT.itemsize
        return Labels(
            np.frombuffer(body[:runs], RUN),
            np.frombuffer(body[runs:facts], FACT),
            tuple(json.loads(body[facts:])),
        )

    def fail(self, index: int, reason: str, attempts: int = 1) -> None:
        """Keep the reason why a tile has no labels, and count how often it was tried."""
        before = self._read_failure(index)
        failure = Failure(reason, attempts + (before.attempts if before else 0))
        self.folder.write(self._failure(index), json.dumps(asdict(failure)).encode())

    def _read_failure(self, index: int) -> Failure | None:
        try:
            return Failure(**json.loads(self.folder.read(self._failure(index))))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            return Failure("the record of its failure is damaged", 1)

    def is_failed(self, index: int) -> bool:
        """Tell whether a tile was tried and is not done."""
        return self._read_failure(index) is not None and not self.has(index)

    def done(self) -> set[int]:
        """Return the tiles that are done."""
        return self._listed("tiles", ".tile")

    def failed(self) -> dict[int, Failure]:
        """Return why, for each tile that was tried and is not done."""
        listed = sorted(self._listed("failed", ".json") - self.done())
        return {i: f for i in listed if (f := self._read_failure(i)) is not None}

    def _listed(self, under: str, ending: str) -> set[int]:
        names = self.folder.names(under)
        if not names:
            return set()
        return {i for i in self.tiles if f"{self.grid.name(i)}{ending}" in names}

    def to_do(self) -> list[int]:
        """Return the tiles that are not done and have not failed too often, in order."""
        tired = {i for i, failure in self.failed().items() if failure.attempts >= TRIES}
        return sorted(set(self.tiles) - self.done() - tired)

    def report(self, step: str, done: int, total: int, pace: Pace) -> None:
        """Say how far the run is, to whoever asks from outside."""
        known = {"step": step, "done": done, "total": total}
        speed = {"per_second": pace.per_second, "seconds_left": pace.seconds_left(total)}
        self.folder.write(_PROGRESS, json.dumps({**known, **speed}).encode())

    def complete(self, *, keep: bool) -> None:
        """State that the map is at its place, then clean up unless the tiles are to be kept."""
        state = Completion.KEPT if keep else Completion.CLEARING
        self.folder.write(_COMPLETE, state.value.encode())
        if not keep:
            clear(self.folder)


def clear(folder: Folder) -> None:
    """Throw everything away but the lock; what says that it may be thrown away goes last."""
    folder.discard(["tiles", "failed", _PROGRESS, _RECORD, _COMPLETE])


def read_record(folder: Folder) -> dict[str, Any] | None:
    """Return the number of tiles and the fingerprint of a run folder, or None if it has none."""
    try:
        record = json.loads(folder.read(_RECORD))
    except FileNotFoundError:
        return None
    except ValueError:
        record = {}
    # A damaged record is that of another run.
    known: dict[str, Any] = record if isinstance(record, dict) else {}
    return {"tiles": 0, "fingerprint": {}, **known}


def read_progress(folder: Folder) -> dict[str, Any]:
    """Return what a run last said of itself; empty if it said nothing."""
    try:
        found = json.loads(folder.read(_PROGRESS))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def read_completion(folder: Folder) -> Completion:
    """Return whether the map of a run folder is at its place."""
    try:
        return Completion(folder.read(_COMPLETE).decode("ascii", "replace"))
    except FileNotFoundError:
        return Completion.NO
    except ValueError:
        return Completion.CLEARING
