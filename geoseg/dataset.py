"""How does a map become data that a model is trained on? Chips of its raster, with their masks.

The map is read twice and the raster once, part by part; memory does not grow with either. Of a map
that changes in between no data set is made: what the first reading kept apart may not be what the
second finds. What lies outside of the map's area of interest, or has no data, is black in the
pictures; they show the bands that the map was made with.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.analysis.looked import area_of
from geoseg.aoi import Within
from geoseg.bands import shown_roles
from geoseg.errors import ConfigError, MapError
from geoseg.export.burn import lean
from geoseg.export.coco import (
    Images,
    check_chips,
    check_pycocotools,
    facts_of,
    images_of,
    tell_bare,
)
from geoseg.export.dataset.labels import FORMS, SIDES, open_labels
from geoseg.export.dataset.pictures import deal, draw
from geoseg.export.dataset.replace import MARKER, check_dataset_folder, put_folder
from geoseg.export.dataset.split import NEITHER, TRAIN, VAL, split
from geoseg.export.dataset.survey import (
    BETWEEN,
    UNJUDGED,
    UNREADABLE,
    USED,
    WHY,
    Survey,
    rows_of,
    survey,
)
from geoseg.export.read import Map, open_map
from geoseg.export.stamp import Stamp, stamp
from geoseg.origin import open_origin
from geoseg.prepare import destination
from geoseg.raster import RasterReader
from geoseg.reviewed import check_only, told_rejected
from geoseg.runfolder import alone
from geoseg.stretch import Stretch, fit_stretch

log = logging.getLogger(__name__)

CHIP_PX = 1024
MOST_CHIP_PX = 8192
"""A chip is held in memory, in all bands."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What may be said of a data set."""

    raster: str | None = None
    """The raster of the map, where it is not at its place any more."""
    chips: int = CHIP_PX
    """Side of a chip in pixels; those at the right and the bottom may be smaller."""
    only: str | None = None
    """`accepted`: polygons that were accepted or edited; `kept`: all but rejected ones; or all."""
    val: float = 0.2
    """Share of validation in the chips; 0: all are for training."""
    seed: int = 0
    """Which blocks of chips are for validation."""
    overwrite: bool = False
    """Replace a data set that is there."""

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            ConfigError: Says what, and what can.
        """
        check_only(self.only)
        if not (math.isfinite(self.val) and 0 <= self.val < 1):
            raise ConfigError(f"--val {self.val} is no share of the chips; give 0 to below 1")
        check_chips(self.chips)
        if self.chips > MOST_CHIP_PX:
            raise ConfigError(f"--chips {self.chips} px is too large; at most {MOST_CHIP_PX}")


@dataclass(frozen=True, slots=True)
class Dataset:
    """What was written."""

    path: Path
    """The folder."""
    images: dict[str, int]
    """Number of pictures by side, `train` and `val`."""
    labels: dict[str, int]
    """Number of masks by side: a polygon has one in each chip that it has pixels in."""
    left_out: dict[str, int]
    """Number of chips that are in neither, by why: the words of WHY; 0 is not said."""
    missing: int
    """Number of tiles that the map lacks because they failed."""

    @property
    def complete(self) -> bool:
        """Whether nothing failed."""
        return self.missing == 0 and WHY[UNREADABLE] not in self.left_out

    def __str__(self) -> str:
        """Say it in a line."""
        sides = " and ".join(
            f"{self.images[s]} images with {self.labels[s]} labels for {s}" for s in SIDES
        )
        out = ", ".join(f"{n} {why}" for why, n in self.left_out.items())
        return f"{sides} in {self.path}" + (f"; chips in neither: {out}" if out else "")


def build(source: Path, form: str, out: Path, choices: Choices | None = None) -> Dataset:
    """Write a data set of a map and its raster.

    Args:
        source: A map that geoseg wrote, with its recipe: .gpkg or .parquet.
        form: `coco` or `yolo`.
        out: The folder; it is not there, empty, or a data set that may be replaced.
        choices: What else is to be said.

    Raises:
        GeosegError: The map or the raster cannot be read or used, or the folder not be written;
            what was there is still there.
    """
    choices = choices or Choices()
    if form not in FORMS:
        raise ConfigError(f"a data set is one of: {', '.join(FORMS)}; not '{form}'")
    choices.check()
    # Through a link: the folder itself is renamed.
    final = Path(os.path.realpath(destination(out)[0]))
    check_dataset_folder(final, overwrite=choices.overwrite)
    if form == "coco":
        check_pycocotools()
    opened = open_map(source)
    # After it was opened: that takes back what a killed review left half done.
    before = stamp(source)
    # Before any warning: what was given is refused if it cannot be used.
    raster, name = _shown(opened, choices.raster)
    found = opened.edited()
    # Who nobody has judged matters, too: all are read, and only those that count are labels.
    counted, rejected = found.reviewed(choices.only).count, found.rejected()
    if choices.only is None and rejected:
        log.warning(told_rejected(rejected, counted, str(source)))
    if found.made_by().asked.get("mask_clouds"):
        log.warning(
            "%s was made with --mask-clouds: what is under clouds looks as if nothing were there",
            found.path,
        )
    failed = found.failed()
    if failed:
        log.warning(
            "%d of the tiles of %s failed; chips that share a pixel with them are left out",
            len(failed),
            source,
        )
    images = images_of(raster.frame, choices.chips, name)
    work = _Work(found, before, raster, _roles(found, raster, name), images, form, choices)
    with lean(), alone(final) as place:
        made = put_folder(final, place, choices.overwrite, work.fill)
    return replace(made, path=out, missing=len(failed))


def _shown(found: Map, instead: str | None) -> tuple[RasterReader, str]:
    """Return the raster of a map, as far as it was looked at, and its name."""
    raster = open_origin(found, instead)
    area = area_of(found)
    name = Path(instead or next(iter(found.made_by().rasters), found.path.name)).name
    return (raster if area is None else Within(raster, area)), name


def _roles(found: Map, raster: RasterReader, name: str) -> Mapping[str, int]:
    """Return the bands that the model was shown as red, green and blue."""
    composite = found.made_by().asked.get("composite")
    try:
        return shown_roles(raster.roles, composite)
    except ConfigError as error:
        raise MapError(
            f"{found.path} was made with --composite {composite}, and which bands of {name} those "
            "are is not known; pass --raster FILE, one that says so"
        ) from error


@dataclass(frozen=True, slots=True)
class _Work:
    """What a data set is made of."""

    found: Map
    before: Stamp
    """Of its file, before it was read."""
    raster: RasterReader
    roles: Mapping[str, int]
    """1-based bands, by the colour that they are shown as."""
    images: Images
    form: str
    choices: Choices

    def fill(self, folder: Path) -> Dataset:
        """Write it into an empty folder.

        Raises:
            MapError: The map has no chip that can be used, or was changed meanwhile.
        """
        try:
            made = self._fill(folder)
        except (MapError, LookupError):
            # What was added meanwhile may be what is not understood.
            self._check_unchanged()
            raise
        self._check_unchanged()
        return made

    def _check_unchanged(self) -> None:
        path = self.found.path
        if stamp(path) != self.before:
            raise MapError(f"{path} was changed while it was read; run this again")

    def _fill(self, folder: Path) -> Dataset:
        images, only = self.images, self.choices.only
        known = survey(self.found, images, only)
        stretch = fit_stretch(self.raster, self.roles)
        draw(folder, self.raster, stretch, images, known)
        side_of = self._split(known)
        deal(folder, images, side_of)
        labels = self._label(folder, side_of)
        sides = Counter(side_of.values())
        left = {why: int((known.why == why).sum()) for why in WHY}
        made = Dataset(
            folder,
            {side: sides[side] for side in SIDES},
            labels,
            {WHY[why]: count for why, count in left.items() if count},
            missing=0,
        )
        text = json.dumps(self._facts(made, stretch), ensure_ascii=False, indent=1)
        (folder / MARKER).write_text(text + "\n", "utf-8", newline="\n")
        return made

    def _split(self, known: Survey) -> dict[int, str]:
        """Return the side of each chip in use, and note which are between."""
        usable = known.why == USED
        if not usable.any():
            said = ", ".join(f"{(known.why == w).sum()} {WHY[w]}" for w in WHY if w in known.why)
            knob = "review more of it, or pass --only kept" if UNJUDGED in known.why else ""
            raise MapError(
                f"no chip of {self.found.path} can be used ({said}); "
                f"give smaller --chips{knob and ', '}{knob}"
            )
        lattice = usable.reshape(-1, self.images.across)
        sides = split(lattice, known.ties, self.choices.val, self.choices.seed).ravel()
        train, val = (int((sides == side).sum()) for side in (TRAIN, VAL))
        if val < self.choices.val * (train + val):
            log.warning(
                "%d of %d chips are for validation, less than --val %g: others touch or share "
                "objects with too many for training; smaller --chips share less",
                val,
                train + val,
                self.choices.val,
            )
        known.why[usable & (sides == NEITHER)] = BETWEEN
        return {chip: SIDES[sides[chip] - TRAIN] for chip in np.flatnonzero(sides).tolist()}

    def _label(self, folder: Path, side_of: dict[int, str]) -> dict[str, int]:
        """Write the masks; return how many there are by side."""
        labels = open_labels(self.form, folder, self.found.legend, self.images, side_of)
        chips, count, bare = np.array(list(side_of)), Counter[int](), 0
        try:
            for rows in rows_of(self.found, self.images, self.choices.only):
                bare += int((rows.kept & (rows.chips == 0)).sum())
                pieces = rows.pieces
                mine = pieces.of(
                    np.flatnonzero(rows.kept[pieces.owner] & np.isin(pieces.chip, chips))
                )
                labels.add(mine, facts_of(rows.batch, self.found))
                count.update(mine.chip.tolist())
        finally:
            labels.close()
        tell_bare(bare)
        return {side: sum(count[c] for c, s in side_of.items() if s == side) for side in SIDES}

    def _facts(self, made: Dataset, stretch: Stretch) -> dict[str, Any]:
        chosen = self.choices
        return {
            "format": self.form,
            "map": self.found.path.name,
            "raster": self.images.name,
            "chips": chosen.chips,
            "only": chosen.only,
            "val": chosen.val,
            "seed": chosen.seed,
            "composite": self.found.made_by().asked.get("composite"),
            "stretch": {
                "bands": [band + 1 for band in stretch.bands],
                "low": stretch.low,
                "high": stretch.high,
            },
            "images": made.images,
            "labels": made.labels,
            "left_out": made.left_out,
        }
