"""How does a map begin whose polygons somebody draws?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geoseg import reviewed
from geoseg.errors import OutputError
from geoseg.export.place import check_output
from geoseg.export.table import Target
from geoseg.export.write import write
from geoseg.frame import Frame
from geoseg.legend import Legend
from geoseg.recipe import BY_HAND, recipe_text, words_of
from geoseg.runfolder import alone


def create(
    path: Path,
    frame: Frame,
    legend: Legend,
    *,
    facts: Mapping[str, Any],
    models: Sequence[Mapping[str, Any]] = (),
    words: Mapping[str, Any] | None = None,
) -> None:
    """Make a map without polygons, which an `Editor` then adds.

    Args:
        path: The file, .gpkg.
        frame: The raster's.
        legend: Its first classes.
        facts: What `RunConfig.fingerprint` gives: backend, tile, overlap, the raster's identity.
        models: Of each model: source, revision, digest and licence of its weights.
        words: What was asked for, as arguments of `recipe.words_of`.

    Raises:
        OutputError: It cannot be written there, or is there already.
    """
    if path.suffix.lower() != ".gpkg":
        raise OutputError(f"output '{path}' is no .gpkg, in which alone polygons can be drawn")
    check_output(path, overwrite=False, crs=frame.crs)
    made = {**facts, "legend": legend.model_dump(mode="json"), BY_HAND: True}
    recipe = recipe_text(made, models, frame, words_of(**(words or {})))
    extra = tuple((name, "string") for name in reviewed.COLUMNS)
    with alone(path) as place:
        write(Target(path, frame.crs, legend, recipe, extra), (), [], place)
