"""How far is a run? Asked from outside, while it works or after it ended."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from geoseg import lock
from geoseg.export.read import open_map
from geoseg.grid import Grid
from geoseg.runfolder import SUFFIX, RunFolder
from geoseg.store import Completion, Store, read_completion, read_progress, read_record
from geoseg.window import Window


@dataclass(frozen=True, slots=True)
class Status:
    """What a run folder tells."""

    state: str
    """`running`, `interrupted`, `incomplete` (ended, but tiles failed) or `complete`."""
    owner: str | None
    """Process, machine and time of the run that works now."""
    tiles: int | None
    """Number of tiles; None where the run folder is gone, as it is once a map is complete."""
    done: int | None
    """Tiles that are done; None where the run folder is gone."""
    failed: Mapping[str, str]
    """Why, for each tile that failed."""
    missing: int
    """Tiles that are neither."""
    step: str | None
    """What the run does: `detect`, `stitch` or `write`."""
    per_second: float | None
    """Tiles (or features, when writing) per second, as long as it runs."""
    seconds_left: float | None
    """How long that step still takes, as long as it runs."""


def status(path: Path) -> Status:
    """Return how far a run is.

    Args:
        path: Its run folder, or its output.

    Raises:
        OutputError: There is neither a run folder nor a map of geoseg.
    """
    if _is_alone(path):
        holes = {name: reason for name, reason, _ in open_map(path).failed()}
        state = "incomplete" if holes else "complete"
        return Status(state, None, None, None, holes, 0, None, None, None)
    place = RunFolder.at(path)
    owner = lock.owner(place.path)
    record = read_record(place.folder) or {"tiles": 0, "fingerprint": {}}
    store = Store(place.folder, _grid(record["fingerprint"]))
    done, failed = store.done(), store.failed()
    said = read_progress(place.folder)
    missing = record["tiles"] - len(done) - len(failed)
    complete = read_completion(place.folder) is not Completion.NO
    count = len(done)
    if complete:
        # Tiles go when they are needed no more.
        count, missing = record["tiles"], 0
    ended = said.get("step") == "write" and said.get("done") == said.get("total")
    state = "running" if owner else "complete" if complete else "interrupted"
    if state == "interrupted" and failed and ended and missing == 0:
        state = "incomplete"
    return Status(
        state,
        None if owner is None else str(owner),
        record["tiles"],
        count,
        {store.grid.name(i): str(failure) for i, failure in failed.items()},
        missing,
        said.get("step"),
        said.get("per_second") if owner else None,
        said.get("seconds_left") if owner else None,
    )


def _is_alone(path: Path) -> bool:
    """Tell whether a file has no run folder beside it, and is none."""
    # Too long a name is no file, and no error.
    is_file = os.path.isfile(path)  # noqa: PTH113
    return is_file and not os.path.isdir(f"{path}{SUFFIX}")  # noqa: PTH112


def _grid(fingerprint: Mapping[str, object]) -> Grid:
    match fingerprint:
        case {"tile": int(tile), "overlap": int(overlap), "raster.shape": [_, int(h), int(w)]}:
            return Grid(Window(0, 0, w, h), tile, overlap)
    return Grid(Window(0, 0, 1, 1), 1, 0)
