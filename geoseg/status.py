"""How far is a run? Asked from outside, while it works or after it ended."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from geoseg import lock
from geoseg.errors import MapError
from geoseg.export.read import Map, open_map
from geoseg.grid import Grid
from geoseg.runfolder import SUFFIX, RunFolder
from geoseg.store import Completion, Store, read_completion, read_progress, read_record
from geoseg.window import Window


@dataclass(frozen=True, slots=True)
class Share:
    """What a map holds of one class."""

    features: int
    """Number of polygons."""
    area_ha: float | None
    """Sum of the column `area_ha`, hectares; None where none is known, as without a CRS."""


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
    classes: Mapping[str, Share] = field(default_factory=dict)
    """What is in the map, if there is one, in the order of its legend."""


def status(path: Path) -> Status:
    """Return how far a run is.

    Args:
        path: Its run folder, or its output.

    Raises:
        OutputError: There is neither a run folder nor a file.
        MapError: The file is no map of geoseg, or does not tell.
    """
    if _is_alone(path):
        found = open_map(path)
        if found.recipe is None:
            # Any layer with our columns would pass for a complete map.
            raise MapError(
                f"{path} holds no recipe, as {path.suffix} cannot: whether it is a map of geoseg, "
                "and a complete one, is not known; ask of a .gpkg or .parquet"
            )
        holes = {name: reason for name, reason, _ in found.failed()}
        state = "incomplete" if holes else "complete"
        return Status(state, None, None, None, holes, 0, None, None, None, _classes(found))
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
        _made(place) if state in ("complete", "incomplete") else {},
    )


def _made(place: RunFolder) -> dict[str, Share]:
    """Return what is in the map of a run that has ended; nothing where it has been moved."""
    output = Path(str(place.path).removesuffix(SUFFIX))
    return _classes(open_map(output)) if output.is_file() else {}


def _classes(found: Map) -> dict[str, Share]:
    areas: dict[str, list[float | None]] = {c.name: [] for c in found.edited().legend.classes}
    for name, area in found.columns("class", "area_ha"):
        areas[name].append(area)
    return {name: _share(each) for name, each in areas.items()}


def _share(areas: list[float | None]) -> Share:
    known = [area for area in areas if area is not None]
    # Whatever the order of the file, the sum is the same.
    total = math.fsum(known)
    return Share(len(areas), total if known or not areas else None)


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
