"""How are the masks of chips written, as COCO's run lengths or as YOLO's polygons?

What is written grows on the disk, batch by batch, in files that nobody reads yet.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np

from geoseg.export.coco import Images, categories, image, label, run_lengths
from geoseg.export.dataset.pictures import name_of
from geoseg.export.dataset.pieces import Pieces
from geoseg.export.dataset.rings import walks
from geoseg.legend import Legend
from geoseg.runs import RUN

SIDES = ("train", "val")

FORMS = ("coco", "yolo")

_CONFIG = "data.yaml"


class Labels(Protocol):
    """Files of labels that grow."""

    def add(self, pieces: Pieces, facts: Sequence[dict[str, Any]]) -> None:
        """Write masks.

        Args:
            pieces: Of polygons, in chips that are in use.
            facts: Of each polygon: `category_id`, `feature`, `score`.
        """
        ...

    def close(self) -> None:
        """Finish the files."""
        ...


def open_labels(
    form: str, folder: Path, legend: Legend, images: Images, side_of: dict[int, str]
) -> Labels:
    """Return files of labels, one of FORMS.

    Args:
        form: Which.
        folder: Where they go.
        legend: The classes.
        images: The chips.
        side_of: `train` or `val` of each chip that is in use, in the order of the chips.
    """
    kind = Coco if form == "coco" else Yolo
    return kind(folder, legend, images, side_of)


class Coco:
    """`train.json` and `val.json`."""

    def __init__(
        self, folder: Path, legend: Legend, images: Images, side_of: dict[int, str]
    ) -> None:
        self._images, self._side_of, self._count = images, side_of, 0
        self._files: dict[str, TextIO] = {}
        self._open = ExitStack()
        for side in _used(side_of):
            place = folder / f"{side}.json"
            file = self._open.enter_context(place.open("w", encoding="utf-8", newline="\n"))
            self._files[side] = file
            file.write('{"info": {"description": "made by geoseg"},\n')
            file.write(f'"categories": {json.dumps(categories(legend))},\n"images": [')
            comma = "\n"
            for chip in (c for c, where in side_of.items() if where == side):
                name = f"{name_of(images, chip)}.png"
                file.write(comma + json.dumps(image(images, chip, name)))
                comma = ",\n"
            file.write('\n],\n"annotations": [')
        self._comma = dict.fromkeys(self._files, "\n")

    def add(self, pieces: Pieces, facts: Sequence[dict[str, Any]]) -> None:
        """Write masks."""
        for number, (owner, chip) in enumerate(pieces):
            window, side = self._images.window(chip), self._side_of[chip]
            self._count += 1
            counts = run_lengths(pieces.runs(number), window)
            about = label(self._count, chip, facts[owner], counts, window.shape)
            self._files[side].write(self._comma[side] + json.dumps(about))
            self._comma[side] = ",\n"

    def close(self) -> None:
        """Finish the files."""
        with self._open:
            for file in self._files.values():
                file.write("\n]}\n")


class Yolo:
    """`data.yaml`, and `labels/train/NAME.txt` beside `images/train/NAME.png`."""

    def __init__(
        self, folder: Path, legend: Legend, images: Images, side_of: dict[int, str]
    ) -> None:
        self._images, self._side_of, self._folder = images, side_of, folder / "labels"
        used = _used(side_of)
        # Without `path` its readers take the folder of this file.
        lines = ["# made by geoseg; a class and a polygon per line, a line per part of a mask"]
        lines += [f"{side}: images/{side}" for side in used]
        lines += ["names:"]
        # A text of JSON is one of YAML.
        lines += [
            f"  {number}: {json.dumps(c.name, ensure_ascii=False)}"
            for number, c in enumerate(legend.classes)
        ]
        (folder / _CONFIG).write_text("\n".join(lines) + "\n", "utf-8", newline="\n")
        for side in used:
            (self._folder / side).mkdir(parents=True)
        for chip in side_of:
            self._file(chip).touch()

    def _file(self, chip: int) -> Path:
        return self._folder / self._side_of[chip] / f"{name_of(self._images, chip)}.txt"

    def add(self, pieces: Pieces, facts: Sequence[dict[str, Any]]) -> None:
        """Write masks."""
        chips = pieces.chip.tolist()
        numbers = [facts[owner]["category_id"] - 1 for owner in pieces.owner.tolist()]
        lines: dict[int, list[str]] = defaultdict(list)
        for piece, text in polygons(pieces, self._images):
            lines[chips[piece]].append(f"{numbers[piece]} {text}\n")
        for chip, found in lines.items():
            with self._file(chip).open("a", encoding="ascii", newline="\n") as file:
                file.writelines(found)

    def close(self) -> None:
        """Nothing is left to do."""


def _used(side_of: dict[int, str]) -> list[str]:
    return [side for side in SIDES if side in side_of.values()]


def polygons(pieces: Pieces, images: Images) -> Iterator[tuple[int, str]]:
    """Yield the number of a piece and a polygon, as YOLO has it: one for each of its parts."""
    runs = np.zeros(len(pieces.column), RUN)
    runs["label"] = np.repeat(np.arange(1, len(pieces) + 1), np.diff(pieces.stops))
    # Runs go down here, and across there: rows and columns change places.
    runs["y"], runs["x0"], runs["x1"] = pieces.column, pieces.top, pieces.bottom
    found = walks(runs)
    stops, chips = found.stops.tolist(), pieces.chip.tolist()
    for ring, owner in enumerate(found.owner.tolist()):
        window = images.window(chips[owner - 1])
        row, column = found.xy[stops[ring] : stops[ring + 1]].T
        words = np.empty(2 * len(row), object)
        words[0::2] = _places(window.width)[column - window.x0]
        words[1::2] = _places(window.height)[row - window.y0]
        yield owner - 1, " ".join(words.tolist())


@lru_cache(maxsize=8)
def _places(size: int) -> Any:
    """Return (size,) texts: where pixels lie in an image, as parts of its side.

    Of a pixel's width, a quarter is past its edge: Ultralytics cuts fractions off, supervision
    rounds them, and both find the pixel. They keep 32 bits, which is a thousand times finer.
    """
    digits = len(str(size)) + 2
    return np.array([f"{(k + 0.25) / size:.{digits}f}" for k in range(size)], object)
