"""How is a map made again? By what it says of itself.

What a map says is asked for as if the user had typed it, but for two things: whether an input may
reach outside itself, and the network. Those are for the user to allow, not for a file.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from geoseg.access import Access, is_network
from geoseg.config import OF_THE_USER, Finish, ModelOptions, difference
from geoseg.errors import MapError
from geoseg.export.check import rows_of
from geoseg.export.publish import digest
from geoseg.export.read import Map, open_map
from geoseg.export.tally import Tally
from geoseg.legend import Legend
from geoseg.outcome import Run
from geoseg.prepare import open_source, versions
from geoseg.progress import Progress
from geoseg.recipe import BY_HAND, IN_MEMORY, OF_THE_PLACE, Recipe, without
from geoseg.run import segment
from geoseg.stamps import WHOLE_BYTES
from geoseg.whereabouts import find

log = logging.getLogger(__name__)

_AS_IT_IS = ("backend", "mask_clouds", "tile", "overlap", "threshold", "bands", "sensor",
             "composite", *Finish.model_fields)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Means:
    """What a run takes, and what it may do: nothing of it changes the map."""

    workers: int = 1
    """Processes."""
    batch: int = 1
    """Tiles given to the backend at once."""
    memory: str | None = None
    """Most memory, as `2GB`."""
    trust_input: bool = False
    """Let a raster reach outside itself."""
    keep_going: bool = False
    """Map the rest of a damaged raster."""
    offline: bool = False
    """Open no socket."""


@dataclass(frozen=True, slots=True, eq=False)
class Again:
    """A map that was made again."""

    run: Run
    """The new one."""
    same: str
    """`bytes`, `polygons` or `nothing`: what of the new map is as in the old one."""


def rerun(
    source: Path,
    out: Path | None = None,
    *,
    raster: list[str] | None = None,
    means: Means | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Again:
    """Make a map again, beside the old one.

    Args:
        source: A .gpkg or .parquet that geoseg wrote.
        out: The new map; `NAME_rerun` beside the old one where None.
        raster: Rasters to take instead of those of the map.
        means: How it is worked.
        overwrite: Replace an output that is there.
        progress: Called with (step, done, total).

    Raises:
        GeosegError: The map does not say how it was made, or the raster is not that of the map.
    """
    means = means or Means()
    found = open_map(source)
    recipe = found.made_by()
    asked = recipe.asked
    if "change" in recipe.facts:
        raise MapError(f"{source} compares two dates; make it again with geoseg change")
    if BY_HAND in recipe.facts:
        raise MapError(f"{source} was drawn by hand; no command can make it again")
    lost = {*asked[IN_MEMORY], *({"source", "backend"} - asked.keys())}
    lost -= {"source"} if raster else set()
    if lost:
        raise MapError(
            f"{source} was made in Python with objects ({', '.join(sorted(lost))}), which no file "
            "can hold; run the script that made it"
        )
    rasters = raster or [_local(place, source) for place in asked["source"]]
    access = Access(
        trust_input=means.trust_input, keep_going=means.keep_going, offline=means.offline
    )
    reader = open_source(rasters, asked.get("bands"), asked.get("sensor"), access)
    _compare(source, recipe, reader.identity(), given=raster is not None)
    _tell_versions(source, recipe)
    words: dict[str, Any] = {name: asked[name] for name in _AS_IT_IS if name in asked}
    words |= {name: _layer(asked[name], source) for name in ("boxes", "aoi") if name in asked}
    run = segment(
        rasters,
        _legend(asked, source),
        out=out or source.with_stem(f"{source.stem}_rerun"),
        models=_models(asked, offline=means.offline),
        **words,
        workers=means.workers,
        batch=means.batch,
        memory=means.memory,
        trust_input=means.trust_input,
        keep_going=means.keep_going,
        overwrite=overwrite,
        progress=progress,
    )
    return Again(run, _same(found, run.path))


def _models(asked: Mapping[str, Any], *, offline: bool) -> ModelOptions:
    of_the_map = {k: v for k, v in asked.get("models", {}).items() if k not in OF_THE_USER}
    return ModelOptions.build(**of_the_map, offline=offline)


def _legend(asked: Mapping[str, Any], source: Path) -> Legend | None:
    try:
        return Legend.model_validate(asked["legend"]) if "legend" in asked else None
    except ValidationError as error:
        raise MapError(f"{source} asks for a legend that is none; make it anew") from error


def _local(place: str, source: Path) -> str:
    if is_network(place):
        raise MapError(
            f"{source} was made of {place}, and a file may not open the network; pass --raster "
            "with the URL to do so"
        )
    return find(place, source, "--raster FILE")


def _layer(place: str, source: Path) -> str:
    if is_network(place):
        raise MapError(f"{source} was made with {place} on the network; run geoseg segment again")
    path, mark, name = place.partition("|layername=")
    return find(path, source, "that file back to its place") + mark + name


def _compare(source: Path, recipe: Recipe, identity: Mapping[str, Any], *, given: bool) -> None:
    """Look whether the raster is that of the map.

    Raises:
        MapError: It is not, and the user did not give another.
    """
    old, new = recipe.raster, json.loads(json.dumps(dict(identity)))
    if old == new:
        return
    moved = given or _paths(old) != _paths(new)
    if not moved and without(old, {"mtime_ns"}) == without(new, {"mtime_ns"}):
        _accept_touched(source, old, new)
        return
    if moved:
        old, new = without(old, OF_THE_PLACE), without(new, OF_THE_PLACE)
    changes = difference(old, new)
    if not changes:
        log.warning("the raster was moved or touched; taken for the same by its size and both ends")
        return
    if given:
        log.warning("--raster is another raster than that of %s: %s", source, "; ".join(changes))
        return
    raise MapError(
        f"the raster is not as it was when {source} was made ({'; '.join(changes)}); pass it with "
        "--raster to take it all the same"
    )


def _accept_touched(source: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Accept a raster of which the time of change alone differs, if all of it was hashed.

    Raises:
        MapError: It was not: what lies between the ends may be another.
    """
    changes = "; ".join(difference(old, new))
    if all(size <= WHOLE_BYTES for size in _sizes(new)):
        log.warning("the raster was touched (%s), but every byte is as it was", changes)
        return
    raise MapError(
        f"the raster was touched since {source} was made ({changes}): its size and both ends are "
        f"the same, but the map knows no more of a file of over {WHOLE_BYTES // 1024} KiB; pass it "
        "with --raster to take it all the same"
    )


def _sizes(identity: Any) -> list[int]:
    if not isinstance(identity, Mapping):
        return []
    mine = [identity["bytes"]] if "bytes" in identity else []
    return mine + [size for part in identity.values() for size in _sizes(part)]


def _paths(identity: Any) -> list[Any]:
    if not isinstance(identity, Mapping):
        return []
    mine = [identity["path"]] if "path" in identity else []
    return mine + [p for _, part in sorted(identity.items()) for p in _paths(part)]


def _tell_versions(source: Path, recipe: Recipe) -> None:
    now = versions(recipe.asked["backend"], recipe.asked.get("mask_clouds"))
    changes = difference(recipe.facts.get("versions", {}), now)
    if changes:
        log.warning("%s was made with other versions: %s", source, "; ".join(changes))


def _same(old: Map, path: Path) -> str:
    """Tell what of a new map is as in an old one."""
    if digest(old.path) == digest(path):
        return "bytes"
    return "polygons" if _tally(old) == _tally(open_map(path)) else "nothing"


def _tally(found: Map) -> Tally:
    seen = Tally()
    seen.add(chain.from_iterable(map(rows_of, found.batches())))
    return seen
