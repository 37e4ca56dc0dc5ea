"""How do figures get into a file, so that it is whole or not there?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from geoseg.analysis.evaluation.report import Evaluation
from geoseg.errors import OutputError
from geoseg.export.place import check_place
from geoseg.export.single import put_bytes
from geoseg.prepare import destination
from geoseg.runfolder import RunFolder

ENDINGS = (".csv", ".json")


def check_out(out: Path, sources: Sequence[str], *, overwrite: bool) -> None:
    """Refuse a place where figures could not be written, before any work.

    Raises:
        OutputError: Says why, and what to change.
        ConfigError: Likewise, of its name.
    """
    destination(out, "--out")
    if out.suffix.lower() not in ENDINGS:
        raise OutputError(f"output '{out}': figures are written to {' or '.join(ENDINGS)}")
    check_place(out, overwrite=overwrite, sources=sources)


def as_csv(found: Evaluation) -> str:
    """Return the table as CSV; what has no value is empty."""
    # Fewer digits than what differs from machine to machine.
    return str(found.table.to_csv(index=False, float_format="%.10g", lineterminator="\n"))


def save(found: Evaluation, out: Path) -> None:
    """Write the table as .csv, or everything as .json; a file that is there is replaced.

    Raises:
        WriteFailedError: It could not be written; what was there is still there.
        OutputError: The place is in use.
    """
    csv = out.suffix.lower() == ".csv"
    text = as_csv(found) if csv else json.dumps(found.nested(), indent=1) + "\n"
    place = RunFolder.beside(out)
    place.check_free()
    place.tidy()
    with place.hold():
        put_bytes(out, place, [text.encode()])
