"""How is a table of change written? As CSV or JSON, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.errors import OutputError
from geoseg.export.place import check_place
from geoseg.export.single import put_bytes
from geoseg.runfolder import RunFolder

if TYPE_CHECKING:
    import pandas as pd

ENDINGS = (".csv", ".json")


def check_table(path: Path, option: str, *, overwrite: bool) -> None:
    """Refuse a table that could not be written in the end, before any work.

    Raises:
        OutputError: Says why, and what to change.
    """
    if path.suffix.lower() not in ENDINGS:
        raise OutputError(f"{option} {path} has no known ending; it takes {', '.join(ENDINGS)}")
    check_place(path, overwrite=overwrite, option=option)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table with its index; what is no number is an empty cell, or null.

    Raises:
        OutputError: It cannot be written.
    """
    if path.suffix.lower() == ".csv":
        text = table.to_csv(lineterminator="\n")
    else:
        text = table.reset_index().to_json(orient="records", indent=1, double_precision=15) + "\n"
    place = RunFolder.beside(path)
    with place.hold():
        put_bytes(path, place, [text.encode()])
